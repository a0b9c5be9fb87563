//! Owns the walk over a tar: headers and extension headers in, entries out, contents handed to the tape.

mod fields;
mod marker;
mod sparse;

use super::extended::{Extended, Globals, Keys};
use super::header::{BLOCK, Header};
use super::tape::{Stored, Tape};
use crate::entry::{Action, Entry, Payload};
use crate::error::Error;
use crate::limits::Limits;
use crate::meta::Meta;
use crate::path::{self, TreePath};
use crate::warning::{Warning, Warnings};
use fields::Fields;
use marker::Marker;

/// Why a tar could not be read.
#[derive(Debug)]
pub(crate) enum TarError {
    /// The tar is malformed or unsafe.
    Refused {
        /// Where its entry begins.
        at: u64,
        /// The entry's path, where that is known; empty where it is not.
        path: Vec<u8>,
        /// What is wrong.
        why: String,
    },
    /// What the tar comes from or goes to failed.
    Tape(Error),
}

impl From<Error> for TarError {
    fn from(e: Error) -> Self {
        Self::Tape(e)
    }
}

impl TarError {
    /// Names the layer.
    pub(crate) fn in_layer(self, layer: &str) -> Error {
        match self {
            Self::Refused { at, path, why } => {
                let place = place(&path, at);
                Error::malformed("read the layer", layer, format!("{place}: {why}"))
            }
            Self::Tape(e) => e,
        }
    }
}

/// Says which entry of a layer something is said of.
fn place(path: &[u8], at: u64) -> String {
    match path {
        b"" => format!("entry at byte {at}"),
        path => format!("entry '{}' at byte {at}", path::escape(path)),
    }
}

/// Reads a whole layer. Warnings name the entry; whoever knows the layer adds it ([`Warnings::in_layer`]).
pub(crate) fn parse_layer(
    tape: &mut dyn Tape,
    limits: &Limits,
    warnings: &mut Warnings,
) -> Result<Vec<Entry>, TarError> {
    let parser = Parser {
        tape,
        limits,
        warnings,
        entries: Vec::new(),
        globals: Globals::default(),
        extended: Extended::default(),
        ordinal: 0,
        content_bytes: 0,
        extension_bytes: 0,
        entry_at: 0,
        path: Vec::new(),
    };
    parser.run()
}

/// How many of the longest extension headers a layer's may be in all.
const EXTENSIONS: u64 = 1024;

struct Parser<'a> {
    tape: &'a mut dyn Tape,
    limits: &'a Limits,
    warnings: &'a mut Warnings,
    entries: Vec<Entry>,
    globals: Globals,
    extended: Extended,
    /// How many contents came so far.
    ordinal: u32,
    content_bytes: u64,
    /// Bytes of extension headers so far: names and attributes are held in memory, as long as the layer is.
    extension_bytes: u64,
    /// Where the entry being read begins, and its path once it is known, else nothing: for errors.
    entry_at: u64,
    path: Vec<u8>,
}

type Block = [u8; BLOCK];

impl Parser<'_> {
    fn run(mut self) -> Result<Vec<Entry>, TarError> {
        let mut block = [0; BLOCK];
        loop {
            if self.extended.began.is_none() {
                self.entry_at = self.tape.at();
                self.path.clear();
            }
            if !self.read_block(&mut block)? {
                self.no_extension_waits()?;
                return Ok(self.entries);
            }
            if Header(&block).is_end() {
                self.no_extension_waits()?;
                self.check_end()?;
                return Ok(self.entries);
            }
            let sum = Header(&block).check_sum();
            self.say(sum)?;
            if self.entries.len() as u64 >= self.limits.entries {
                return self.refuse(format!(
                    "over {} entries (--max-entries)",
                    self.limits.entries
                ));
            }
            self.take_header(&block)?;
        }
    }

    /// Reads a block; returns whether there was one.
    fn read_block(&mut self, block: &mut Block) -> Result<bool, TarError> {
        match self.tape.read(block)? {
            0 => Ok(false),
            BLOCK => Ok(true),
            // A cut-off block of zeros still ends the tar.
            got if block[..got].iter().all(|b| *b == 0) => Ok(false),
            got => self.refuse(format!("the tar is cut off: {got} bytes of a header")),
        }
    }

    fn no_extension_waits(&self) -> Result<(), TarError> {
        match self.extended.began {
            Some(_) => self.refuse("an extension header that no entry follows"),
            None => Ok(()),
        }
    }

    /// After one zero block only zeros may come in the next; what follows those is not part of the tree.
    fn check_end(&mut self) -> Result<(), TarError> {
        let mut block = [0; BLOCK];
        let got = self.tape.read(&mut block)?;
        if block[..got].iter().any(|b| *b != 0) {
            return self
                .refuse("a zero block and then other bytes: two readers would see two tars");
        }
        while self.tape.skip(1 << 20)? > 0 {}
        Ok(())
    }

    fn take_header(&mut self, block: &Block) -> Result<(), TarError> {
        match Header(block).kind() {
            kind @ (b'x' | b'X' | b'g' | b'L' | b'K') => self.take_extension(kind, block),
            b'V' => {
                if self.extended.began.is_some() {
                    // Some readers take it for the label's, others for that of the entry after it.
                    return self.refuse("an extension header before a volume label");
                }
                let size = self.header_size(block)?;
                self.skip_data(size)
            }
            _ => {
                let extended = std::mem::take(&mut self.extended);
                self.take_entry(block, &extended)
            }
        }
    }

    fn take_extension(&mut self, kind: u8, block: &Block) -> Result<(), TarError> {
        let size = self.header_size(block)?;
        if size > self.limits.extension_bytes {
            return self.refuse(format!(
                "an extension header of {size} bytes, over {} (--max-extension)",
                self.limits.extension_bytes
            ));
        }
        self.extension_bytes += size;
        let most = self.limits.extension_bytes.saturating_mul(EXTENSIONS);
        if self.extension_bytes > most {
            return self.refuse(format!(
                "extension headers of over {most} bytes in one layer (--max-extension)"
            ));
        }
        let data = self.read_data(size)?;
        if kind == b'g' {
            return self.take_globals(&data);
        }
        self.extended.began.get_or_insert(self.entry_at);
        let taken = match kind {
            b'L' => self.extended.take_long_name(&data),
            b'K' => self.extended.take_long_link(&data),
            _ => self.extended.take_pax(&data, self.limits.sparse_pieces),
        };
        self.say(taken)
    }

    fn take_globals(&mut self, data: &[u8]) -> Result<(), TarError> {
        if self.extended.began.is_some() {
            // Some readers forget the extension header then.
            return self.refuse("a global header between an extension header and its entry");
        }
        let taken = self.globals.take(data);
        if self.say(taken)? == Keys::Repeated {
            self.warn(Warning::RepeatedHeader);
        }
        Ok(())
    }

    fn take_entry(&mut self, block: &Block, extended: &Extended) -> Result<(), TarError> {
        let fields = self.fields(block, extended)?;
        if extended.repeated {
            self.warn(Warning::RepeatedHeader);
        }
        let pax = &extended.pax;
        if extended.long_name.is_some() && pax.path.is_some()
            || extended.long_link.is_some() && pax.linkpath.is_some()
        {
            self.warn(Warning::LongNameAndPax);
        }
        if fields.path.is_empty() {
            return self.refuse("empty name");
        }
        let parsed = TreePath::parse(&fields.path).map_err(|e| e.to_string());
        let path = self.say(parsed)?;
        match self.marker(&path)? {
            Marker::None => self.take_plain(block, extended, fields, path),
            Marker::Whiteout(path) => self.take_marker((&fields, extended), path, Action::Whiteout),
            Marker::Opaque(path) => self.take_marker((&fields, extended), path, Action::Opaque),
            Marker::Aufs => {
                self.check_marker(&fields, extended)?;
                self.warn(Warning::AufsEntry);
                self.skip_data(fields.stored)
            }
            Marker::Plink => {
                self.warn(Warning::AufsEntry);
                self.take_plain(block, extended, fields, path)
            }
        }
    }

    fn take_marker(
        &mut self,
        (fields, extended): (&Fields, &Extended),
        path: TreePath,
        action: Action,
    ) -> Result<(), TarError> {
        self.check_marker(fields, extended)?;
        if fields.stored > 0 || !matches!(fields.kind, b'0' | 0 | b'7') {
            self.warn(Warning::OddWhiteout);
        }
        self.push(path, action);
        self.skip_data(fields.stored)
    }

    /// Checks an entry of which only the name counts: every reader has to agree on where it ends.
    fn check_marker(&self, fields: &Fields, extended: &Extended) -> Result<(), TarError> {
        match fields.kind {
            b'0' | 0 | b'7' => Ok(()),
            kind @ b'1'..=b'6' => self.check_no_data(kind, fields.stored, extended),
            // Blocks may follow a sparse header that its size does not count.
            other => self.refuse(format!("a marker of type '{}'", other.escape_ascii())),
        }
    }

    /// Links, directories, devices and fifos have no data: readers differ on whether some that is claimed is there.
    fn check_no_data(&self, kind: u8, stored: u64, extended: &Extended) -> Result<(), TarError> {
        let kind = char::from(kind);
        if stored > 0 {
            return self.refuse(format!("an entry of type {kind} with {stored} bytes"));
        }
        if extended.pax.sparse.is_used() {
            return self.refuse(format!(
                "an entry of type {kind} with a sparse file's records"
            ));
        }
        Ok(())
    }

    fn take_plain(
        &mut self,
        block: &Block,
        extended: &Extended,
        mut fields: Fields,
        path: TreePath,
    ) -> Result<(), TarError> {
        let kind = self.settle_kind(&fields, &path)?;
        if !matches!(kind, b'0' | b'S') {
            self.check_no_data(kind, fields.stored, extended)?;
        }
        let meta = std::mem::take(&mut fields.meta);
        let action = match kind {
            b'0' | b'S' => return self.take_file(block, extended, path, (fields.stored, meta)),
            b'1' => Action::Link(self.link_target(block, extended)?),
            b'2' => Action::Symlink(meta, self.symlink_target(block, extended)?),
            b'3' => Action::Char(meta, self.device(block)?),
            b'4' => Action::Block(meta, self.device(block)?),
            b'5' => Action::Dir(meta),
            _ => Action::Fifo(meta),
        };
        self.push(path, action);
        Ok(())
    }

    /// Returns the type as one of 0 to 6 and S.
    fn settle_kind(&mut self, fields: &Fields, path: &TreePath) -> Result<u8, TarError> {
        let kind = match fields.kind {
            b'0' | 0 | b'7' | b'S' if fields.path.ends_with(b"/") => {
                if fields.stored > 0 || fields.kind == b'S' {
                    return self.refuse("a directory's name with a file's data");
                }
                if fields.kind != 0 {
                    self.warn(Warning::TrailingSlash);
                }
                b'5'
            }
            b'0' | 0 | b'7' => b'0',
            kind @ (b'1'..=b'6' | b'S') => kind,
            other => return self.refuse(format!("type '{}' is not known", other.escape_ascii())),
        };
        if path.is_root() && kind != b'5' {
            return self.refuse("the root of the image is no directory");
        }
        Ok(kind)
    }

    fn take_file(
        &mut self,
        block: &Block,
        extended: &Extended,
        path: TreePath,
        (stored, meta): (u64, Meta),
    ) -> Result<(), TarError> {
        let sparse = self.sparse(block, extended, stored)?;
        let (stored, size) = sparse
            .as_ref()
            .map_or((stored, stored), |s| (s.stored, s.size));
        self.content_bytes = self.content_bytes.saturating_add(size);
        if self.content_bytes > self.limits.layer_bytes {
            return self.refuse(format!(
                "files of over {} bytes in one layer (--max-layer)",
                self.limits.layer_bytes
            ));
        }
        let ordinal = (size > 0).then_some(self.ordinal);
        if ordinal.is_some() {
            let pieces = sparse.as_ref().map(|s| s.pieces.as_slice());
            if !self.tape.content(&Stored {
                bytes: stored,
                size,
                pieces,
                meta: &meta,
            })? {
                return self.refuse(format!("the tar is cut off within its {stored} bytes"));
            }
            let Some(next) = self.ordinal.checked_add(1) else {
                return self.refuse("too many files");
            };
            self.ordinal = next;
            self.pad(stored)?;
        }
        self.push(path, Action::File(meta, Payload { ordinal, size }));
        Ok(())
    }

    fn skip_data(&mut self, size: u64) -> Result<(), TarError> {
        if self.tape.skip(size)? < size {
            return self.refuse(format!("the tar is cut off within its {size} bytes"));
        }
        self.pad(size)
    }

    /// Reads data of a bounded size, as it comes: a claimed size alone allocates nothing.
    fn read_data(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        let mut data = Vec::new();
        let mut rest = size;
        while rest > 0 {
            let mut block = [0; BLOCK];
            let want = rest.min(BLOCK as u64);
            let got = self.tape.read(&mut block)? as u64;
            if got < want {
                return self.refuse("the tar is cut off within an extension header");
            }
            if got < BLOCK as u64 {
                self.warn(Warning::MissingPadding);
            }
            data.extend(block.iter().take(usize::try_from(want).unwrap_or(BLOCK)));
            rest -= want;
        }
        Ok(data)
    }

    /// Passes over what fills up the last block. The very last entry may lack it.
    fn pad(&mut self, size: u64) -> Result<(), TarError> {
        let pad = size.wrapping_neg() % BLOCK as u64;
        let got = self.tape.skip(pad)?;
        if got < pad {
            self.warn(Warning::MissingPadding);
        }
        Ok(())
    }

    fn push(&mut self, path: TreePath, action: Action) {
        self.entries.push(Entry {
            at: self.entry_at,
            path,
            action,
        });
    }

    fn warn(&mut self, warning: Warning) {
        let (path, at) = (&self.path, self.entry_at);
        self.warnings.note(warning, || place(path, at));
    }

    fn refuse<T>(&self, why: impl Into<String>) -> Result<T, TarError> {
        Err(TarError::Refused {
            at: self.entry_at,
            path: self.path.clone(),
            why: why.into(),
        })
    }

    fn say<T>(&self, result: Result<T, String>) -> Result<T, TarError> {
        result.or_else(|why| self.refuse(why))
    }
}
