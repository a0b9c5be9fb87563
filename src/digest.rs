//! Owns the names of bytes: OCI digests (image-spec descriptor.md, "Digests") and the store's BLAKE3 ids.
//! Refuses every spelling of a digest that is not `algorithm:lowercase hex of the right length`.

use std::fmt;

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// The registered digest algorithms of image-spec descriptor.md.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Algorithm {
    /// SHA-256, which nearly every image uses.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Every algorithm, in the order of their names.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// Returns the name as image-spec writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the length of a digest in bytes.
    pub fn len_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }
}

/// The digest of a blob: what registries, layouts and descriptors call it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    /// Zero beyond the algorithm's length, so that derived equality holds.
    bytes: [u8; 64],
}

/// Why a text is not a digest.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected algorithm:lowercase-hex (sha256, sha384 or sha512), got '{0}'")]
pub struct DigestError(String);

impl Digest {
    /// Parses `algorithm:hex`.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let refuse = || {
            DigestError(
                text.chars()
                    .take(160)
                    .collect::<String>()
                    .escape_debug()
                    .to_string(),
            )
        };
        let (name, hex) = text.split_once(':').ok_or_else(refuse)?;
        let algorithm = Algorithm::from_name(name).ok_or_else(refuse)?;
        let mut bytes = [0; 64];
        unhex(hex, &mut bytes[..algorithm.len_bytes()]).ok_or_else(refuse)?;
        Ok(Self { algorithm, bytes })
    }

    /// Hashes `data` with SHA-256.
    pub fn sha256(data: &[u8]) -> Self {
        let mut hasher = DigestHasher::new(Algorithm::Sha256);
        hasher.update(data);
        hasher.finish()
    }

    /// Hashes `data` with the algorithm of `self` and tells whether it is what `self` names.
    pub fn matches(&self, data: &[u8]) -> bool {
        let mut hasher = DigestHasher::new(self.algorithm);
        hasher.update(data);
        hasher.finish() == *self
    }

    /// Returns the algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the raw bytes, as long as the algorithm says.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.len_bytes()]
    }

    /// Returns the digest of `algorithm` with these raw bytes, if their number is right.
    pub fn from_raw(algorithm: Algorithm, raw: &[u8]) -> Option<Self> {
        let mut bytes = [0; 64];
        bytes
            .get_mut(..algorithm.len_bytes())
            .filter(|to| to.len() == raw.len())?
            .copy_from_slice(raw);
        Some(Self { algorithm, bytes })
    }

    /// Returns the part after the colon.
    pub fn hex(&self) -> String {
        hex(self.as_bytes())
    }

    /// Returns the first 12 hex digits, for people.
    pub fn short(&self) -> String {
        hex(&self.bytes[..6])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A running hash of one of the OCI algorithms.
#[derive(Clone, Debug)]
pub struct DigestHasher(Running);

#[derive(Clone, Debug)]
enum Running {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl DigestHasher {
    /// Starts a hash.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => Running::Sha256(Sha256::new()),
            Algorithm::Sha384 => Running::Sha384(Sha384::new()),
            Algorithm::Sha512 => Running::Sha512(Sha512::new()),
        })
    }

    /// Takes in more bytes.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            Running::Sha256(h) => h.update(data),
            Running::Sha384(h) => h.update(data),
            Running::Sha512(h) => h.update(data),
        }
    }

    /// Returns the digest of all bytes taken in.
    pub fn finish(self) -> Digest {
        let mut bytes = [0; 64];
        let algorithm = match self.0 {
            Running::Sha256(h) => {
                bytes[..32].copy_from_slice(&h.finalize());
                Algorithm::Sha256
            }
            Running::Sha384(h) => {
                bytes[..48].copy_from_slice(&h.finalize());
                Algorithm::Sha384
            }
            Running::Sha512(h) => {
                bytes.copy_from_slice(&h.finalize());
                Algorithm::Sha512
            }
        };
        Digest { algorithm, bytes }
    }
}

/// The digest of a layer's uncompressed tar (image-spec config.md, "Layer DiffID").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The name of a stack of layers (image-spec config.md, "Layer ChainID").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// Returns the chain id of every prefix of `layers`, bottom first.
    pub fn prefixes(layers: &[DiffId]) -> Vec<Self> {
        let mut chains: Vec<Self> = Vec::with_capacity(layers.len());
        for layer in layers {
            let next = match chains.last() {
                None => Self(layer.0),
                Some(below) => Self(Digest::sha256(format!("{} {layer}", below.0).as_bytes())),
            };
            chains.push(next);
        }
        chains
    }
}

macro_rules! blake3_id {
    ($(#[$doc:meta])* $name:ident, $context:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The BLAKE3 key context, so that ids of two kinds never meet.
            pub const CONTEXT: &str = $context;

            /// Names `data`.
            pub fn of(data: &[u8]) -> Self {
                let mut hasher = blake3::Hasher::new_derive_key(Self::CONTEXT);
                hasher.update(data);
                Self(*hasher.finalize().as_bytes())
            }

            /// Returns the id in lowercase hex.
            pub fn hex(&self) -> String {
                hex(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), &self.hex()[..12])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.hex())
            }
        }
    };
}

/// The name of a file's bytes: their plain BLAKE3, so that `b3sum` can check an object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(pub [u8; 32]);

impl ContentId {
    /// Names `data`.
    pub fn of(data: &[u8]) -> Self {
        Self(*blake3::hash(data).as_bytes())
    }

    /// Returns the id in lowercase hex.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Parses 64 lowercase hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        unhex(text, &mut bytes)?;
        Some(Self(bytes))
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentId({})", &self.hex()[..12])
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

/// A running BLAKE3 of a file's bytes.
#[derive(Clone, Debug, Default)]
pub struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    /// Takes in more bytes.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// Returns the name of all bytes taken in.
    pub fn finish(&self) -> ContentId {
        ContentId(*self.0.finalize().as_bytes())
    }
}

blake3_id!(
    /// The name of a directory with all its metadata, and of all below it.
    TreeId,
    "ocistore 2026-11 tree node"
);
blake3_id!(
    /// The name of a directory's names, types and contents alone, and of all below it.
    ShapeId,
    "ocistore 2026-11 tree shape"
);
blake3_id!(
    /// The name of a (content, metadata) pair: what a hard link leads to.
    InodeId,
    "ocistore 2026-11 inode"
);
blake3_id!(
    /// The checksum that closes a recipe file.
    RecipeSum,
    "ocistore 2026-11 recipe"
);
blake3_id!(
    /// The checksum that closes a compression recipe.
    StreamSum,
    "ocistore 2026-11 compression recipe"
);
blake3_id!(
    /// The checksum that closes an image record.
    ImageSum,
    "ocistore 2026-11 image"
);

blake3_id!(
    /// The checksum that closes the record of a tree in a directory; cut short, the fingerprint of a path there.
    RecordSum,
    "ocistore 2026-11 record of a tree"
);

blake3_id!(
    /// What a store calls the checkout at a path.
    CheckoutId,
    "ocistore 2026-11 path of a checkout"
);

impl InodeId {
    /// Parses 64 lowercase hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        ContentId::from_hex(text).map(|id| Self(id.0))
    }
}

/// A running checksum of a recipe file.
#[derive(Clone, Debug)]
pub struct RecipeHasher(blake3::Hasher);

impl Default for RecipeHasher {
    fn default() -> Self {
        Self(blake3::Hasher::new_derive_key(RecipeSum::CONTEXT))
    }
}

impl RecipeHasher {
    /// Takes in more bytes.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// Returns the checksum of all bytes taken in.
    pub fn finish(&self) -> RecipeSum {
        RecipeSum(*self.0.finalize().as_bytes())
    }
}

/// Names a link group: the 16 bytes that all names of one inode carry.
///
/// They are derived from the group's first path in tree order, so that they do not change when other groups do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkGroup(pub [u8; 16]);

impl LinkGroup {
    /// The BLAKE3 key context.
    pub const CONTEXT: &str = "ocistore 2026-11 link group";

    /// Names the group whose first path, components joined by `/`, is `path`.
    pub fn of_first_path(path: &[u8]) -> Self {
        let full = blake3::derive_key(Self::CONTEXT, path);
        let mut short = [0; 16];
        short.copy_from_slice(&full[..16]);
        Self(short)
    }
}

/// Returns `bytes` in lowercase hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Reads lowercase hex into exactly `to`; `None` where it is anything else.
fn unhex(text: &str, to: &mut [u8]) -> Option<()> {
    let digits = text.as_bytes();
    if digits.len() != to.len() * 2 {
        return None;
    }
    for (byte, pair) in to.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (nibble(pair[0])? << 4) | nibble(pair[1])?;
    }
    Some(())
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_round_trips_and_refuses_other_spellings() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let digest = Digest::parse(empty).unwrap();
        assert_eq!(digest.to_string(), empty);
        assert!(digest.matches(b""));
        for bad in [
            "",
            "sha256:",
            &empty[..70],
            &empty.to_uppercase(),
            &format!("{empty}0"),
            &empty.replace("sha256", "sha1"),
            "sha256:../../../../etc/passwd",
        ] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sha512_is_known_at_its_own_length() {
        let digest = {
            let mut hasher = DigestHasher::new(Algorithm::Sha512);
            hasher.update(b"abc");
            hasher.finish()
        };
        assert_eq!(Digest::parse(&digest.to_string()).unwrap(), digest);
        assert_eq!(digest.hex().len(), 128);
    }

    #[test]
    fn chain_id_of_one_layer_is_its_diff_id() {
        let a = DiffId(Digest::sha256(b"a"));
        let b = DiffId(Digest::sha256(b"b"));
        let chains = ChainId::prefixes(&[a, b]);
        assert_eq!(chains[0].0, a.0);
        assert_eq!(chains[1].0, Digest::sha256(format!("{a} {b}").as_bytes()));
    }

    #[test]
    fn ids_of_two_kinds_differ_for_the_same_bytes() {
        assert_ne!(TreeId::of(b"x").0, ShapeId::of(b"x").0);
        assert_ne!(TreeId::of(b"x").0, ContentId::of(b"x").0);
    }
}
