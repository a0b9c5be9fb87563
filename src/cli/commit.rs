//! `commit`: a root filesystem becomes an image.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde_json::json;

use super::build_args::{self, Commit};
use super::export::compression;
use super::output::{self, Output};
use super::session::Session;
use super::{clock, laying};
use crate::build::bundle::{Bundle, BundleInfo, CONFIG, INFO, ROOTFS, Rootfs};
use crate::build::commit::{
    Base, Committed, Extent, Labels, Options, Source, Unchanged, commit, volumes,
};
use crate::build::mounted::{Opened, open_at, open_bundle};
use crate::error::{Context as _, Error, Result, quoted};
use crate::meta::Mtime;
use crate::reference::ImageName;
use crate::rootfs::Ownership;
use crate::rootfs::record::Record;
use crate::rootfs::scan::{self, Mask};
use crate::store::{Reader, Store, Writer, host_platform};
use crate::wire::Descriptor;

pub(super) fn run(session: &Session, args: &Commit) -> Result<()> {
    let names = build_args::names(&args.names)?;
    let labels = labels(args)?;
    let store = session.open_or_make()?;
    // Before anything is looked up: what is found then stays.
    let writer = store.write()?;
    let reader = store.read()?;
    let place = Place::find(args, &reader, session)?;
    let committed = place.commit(session, args, (&writer, labels), &names)?;
    if let (Place::Bundle { bundle, .. }, true) = (&place, args.refresh) {
        let info = BundleInfo {
            image: names.first().map_or_else(String::new, ToString::to_string),
            manifest: committed.manifest.clone(),
            root: committed.root,
            ..bundle.info.clone()
        };
        bundle.refresh(&info, &committed.record)?;
    }
    print(session, &names, &committed)
}

/// What is committed.
enum Place {
    Bundle {
        bundle: Box<Bundle>,
        rootfs: File,
        record: Option<Record>,
    },
    Mount(Opened),
    Directory {
        dir: File,
        owners: Ownership,
    },
}

impl Place {
    fn find(args: &Commit, reader: &Reader<'_>, session: &Session) -> Result<Self> {
        let path = &args.source;
        if args.base.is_none() && Bundle::is_at(path) {
            let bundle = Box::new(Bundle::open(path)?);
            if let Rootfs::Mount(_) = &bundle.info.rootfs {
                check_refresh(args)?;
                return open_bundle(reader, &bundle, session.watch()).map(Self::Mount);
            }
            return Ok(Self::Bundle {
                rootfs: bundle.rootfs()?,
                record: bundle.record()?,
                bundle,
            });
        }
        if Bundle::is_at(path) {
            let why = "a bundle knows what it was made from";
            return Err(
                Error::usage("commit with --base", quoted(path), why).hint(format!(
                    "leave out --base, or commit {}",
                    quoted(&path.join(ROOTFS))
                )),
            );
        }
        if path.join(CONFIG).is_file() && path.join(ROOTFS).is_dir() {
            return Err(refuse_bundle(path));
        }
        check_refresh(args)?;
        if args.base.is_none()
            && let Some(opened) = open_at(reader, path, session.watch())?
        {
            return Ok(Self::Mount(opened));
        }
        let dir = File::open(path).context("open the directory", quoted(path))?;
        if !dir.metadata().is_ok_and(|stat| stat.is_dir()) {
            return Err(Error::usage("commit", quoted(path), "it is no directory")
                .hint("`ocistore import tar:FILE` takes a root filesystem tarball"));
        }
        Ok(Self::Directory {
            dir,
            owners: laying::owners(&args.owners)?,
        })
    }

    fn commit(
        &self,
        session: &Session,
        args: &Commit,
        (writer, labels): (&Writer<'_>, Labels),
        names: &[ImageName],
    ) -> Result<Committed> {
        let store = writer.store();
        let (dir, owners, base, record) = match self {
            Self::Bundle {
                bundle,
                rootfs,
                record,
            } => (
                rootfs.as_fd(),
                bundle.info.owners.clone(),
                Some(bundle.info.manifest.clone()),
                record.as_ref(),
            ),
            Self::Mount(opened) => (
                opened.merged.as_fd(),
                Ownership::AsImage,
                Some(opened.manifest.clone()),
                None,
            ),
            Self::Directory { dir, owners } => {
                let find = |base: &String| store.find_image(base, args.platform.as_deref());
                let base = args.base.as_ref().map(find).transpose()?;
                (dir.as_fd(), owners.clone(), base, None)
            }
        };
        let base = base.map(|manifest| Ok::<_, Error>((base_image(store, &manifest)?, manifest)));
        let base = base.transpose()?;
        let source = Source {
            dir,
            base: base.as_ref().map(|(image, manifest)| Base {
                manifest,
                image,
                record,
            }),
            upper: match self {
                Self::Mount(opened) => Some(opened.upper.as_fd()),
                Self::Bundle { .. } | Self::Directory { .. } => None,
            },
        };
        let mut mask = Mask::default();
        for path in &args.mask_path {
            mask.add(path.as_bytes())?;
        }
        if let (Some((image, _)), false) = (&base, args.no_mask_volumes) {
            for path in volumes(store, image)? {
                mask.add(path.as_bytes())
                    .map_err(|e| e.hint("pass --no-mask-volumes"))?;
            }
        }
        if let Self::Directory { .. } = self {
            refuse_store(store, &args.source, &mask)?;
        }
        let options = options(session, args, (owners, mask))?;
        commit(writer, source, (labels, &options), names, session.watch())
    }
}

/// Only a bundle with files of its own can become one of another image: a mount stays one of its image.
fn check_refresh(args: &Commit) -> Result<()> {
    if !args.refresh {
        return Ok(());
    }
    let why = "it is no bundle with files of its own";
    Err(Error::usage("refresh", quoted(&args.source), why)
        .hint("leave out --refresh; `ocistore unpack` makes a bundle of the new image"))
}

/// Refuses to take in the store that it is taken in to.
fn refuse_store(store: &Store, source: &Path, mask: &Mask) -> Result<()> {
    let whole = |path: &Path| std::fs::canonicalize(path).context("look at", quoted(path));
    let (source, root) = (whole(source)?, whole(store.root())?);
    if source.starts_with(&root) {
        let why = "it is in the store";
        return Err(Error::failed("commit", quoted(&source), why).hint("name another folder"));
    }
    match root.strip_prefix(&source) {
        Ok(below) if !mask.covers_all(below.as_os_str().as_bytes()) => {
            let why = "the store itself is in it";
            let hint = format!("leave the store out with --mask-path /{}", below.display());
            Err(Error::failed("commit", quoted(&source), why).hint(hint))
        }
        _ => Ok(()),
    }
}

fn refuse_bundle(path: &Path) -> Error {
    let why = format!("it looks like a bundle, but has no {INFO}");
    let rootfs = path.join("rootfs");
    let hint = format!("commit {} with --base REF", quoted(&rootfs));
    Error::failed("commit", quoted(path), why).hint(hint)
}

/// Returns the base; what made a bundle may be gone since.
fn base_image(store: &Store, manifest: &Descriptor) -> Result<crate::image::Image> {
    let image = store.view(|view| view.image(&manifest.digest))?;
    image.ok_or_else(|| {
        let why = "the image that it is to be compared with is not in this store any more";
        Error::missing("commit over", manifest.digest, why)
            .hint("import that image again, or name the store that it is in with --store")
    })
}

fn labels(args: &Commit) -> Result<Labels> {
    Ok(Labels {
        created: args.history.time()?,
        changes: args.fields.changes()?,
        history: args.history.entry("ocistore commit")?,
        unchanged: match args.history_empty {
            true => Unchanged::Noted,
            false => Unchanged::Unsaid,
        },
        platform: args.platform.clone().unwrap_or_else(host_platform),
    })
}

fn options(session: &Session, args: &Commit, scan: (Ownership, Mask)) -> Result<Options> {
    let clamp = clock::source_date_epoch()?.map(|epoch| Mtime {
        secs: i64::try_from(epoch).unwrap_or(i64::MAX),
        nanos: 0,
    });
    let (owners, mask) = scan;
    Ok(Options {
        scan: scan::Options {
            owners,
            mask,
            clamp,
        },
        extent: match args.squash {
            true => Extent::Squashed,
            false => Extent::Changes,
        },
        compression: compression(args.compress),
        jobs: std::num::NonZeroUsize::new(session.jobs()),
    })
}

fn print(session: &Session, names: &[ImageName], committed: &Committed) -> Result<()> {
    let digest = committed.manifest.digest.to_string();
    match &committed.layer {
        Some(layer) => session.note(&format!(
            "new layer: {} entries, {} as files, {} as a blob",
            layer.entries,
            output::bytes(layer.contents.iter().map(|content| content.size).sum()),
            output::bytes(layer.size),
        )),
        None => session.note("nothing changed: no new layer"),
    }
    let lines = names.iter().map(|name| format!("{name} {digest}\n"));
    let images = names
        .iter()
        .map(|name| json!({"name": name.to_string(), "digest": digest}));
    let layer = committed.layer.as_ref().map(|layer| {
        json!({
            "digest": layer.digest.to_string(), "size": layer.size, "diff_id": layer.diff_id.to_string(),
            "entries": layer.entries,
        })
    });
    Output {
        text: lines.collect(),
        json: json!({"images": images.collect::<Vec<_>>(), "layer": layer}),
        quiet: vec![digest.clone()],
    }
    .print(session)
}
