//! Owns the limits on input: what documents and layers may ask for.

/// How much a source may ask for before it is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one document: a manifest, an index, a config; at most [`crate::wire::DOCUMENT_MAX`].
    pub document_bytes: u64,
    /// Layers of an image.
    pub layers: u64,
    /// Entries in a layer.
    pub entries: u64,
    /// Bytes of a layer's tar, and of all its files with their holes filled in.
    pub layer_bytes: u64,
    /// Bytes of one PAX header or one long name.
    pub extension_bytes: u64,
    /// Pieces of one sparse file.
    pub sparse_pieces: u64,
    /// How many times larger than its blob a tar may be, once it is over `free_bytes`.
    pub expansion: u64,
    /// Bytes of a tar that `expansion` does not look at.
    pub free_bytes: u64,
}

impl Limits {
    /// No limits, for what was within them when it was taken in.
    pub(crate) const NONE: Self = Self {
        document_bytes: u64::MAX,
        layers: u64::MAX,
        entries: u64::MAX,
        layer_bytes: u64::MAX,
        extension_bytes: u64::MAX,
        sparse_pieces: u64::MAX,
        expansion: u64::MAX,
        free_bytes: u64::MAX,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes: 4 << 20,
            layers: 1024,
            entries: 4 << 20,
            layer_bytes: 64 << 30,
            extension_bytes: 1 << 20,
            sparse_pieces: 1 << 20,
            expansion: 1000,
            free_bytes: 64 << 20,
        }
    }
}
