//! Owns warnings: what is odd but has one clear meaning. They are values in a report, each kind with its count.

use std::collections::BTreeMap;

/// A kind of warning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Warning {
    /// A path comes twice in one layer.
    DuplicatePath,
    /// A key, a PAX header or a long name comes twice before one entry.
    RepeatedHeader,
    /// A GNU long name and a PAX path describe one entry, or a long target and a PAX one.
    LongNameAndPax,
    /// A whiteout is no empty regular file.
    OddWhiteout,
    /// AUFS kept something for itself.
    AufsEntry,
    /// A regular file's name ends with a slash.
    TrailingSlash,
    /// The last entry's padding is missing.
    MissingPadding,
    /// Two forms of one extended attribute differ.
    XattrConflict,
    /// A layer's bytes are compressed otherwise than its media type says.
    CompressionDiffers,
    /// A name in a layout is no valid reference.
    InvalidName,
    /// A layout holds no image.
    NoImages,
}

impl Warning {
    /// Returns the name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::DuplicatePath => "duplicate-path",
            Self::RepeatedHeader => "repeated-header",
            Self::LongNameAndPax => "long-name-and-pax",
            Self::OddWhiteout => "odd-whiteout",
            Self::AufsEntry => "aufs-entry",
            Self::TrailingSlash => "trailing-slash",
            Self::MissingPadding => "missing-padding",
            Self::XattrConflict => "xattr-conflict",
            Self::CompressionDiffers => "compression-differs",
            Self::InvalidName => "invalid-name",
            Self::NoImages => "no-images",
        }
    }

    /// Returns what it means, for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::DuplicatePath => "a path comes twice in one layer; the last entry counts",
            Self::RepeatedHeader => "an extension header or key comes twice; the last counts",
            Self::LongNameAndPax => {
                "a long name or target and a PAX one describe one entry; the PAX one counts"
            }
            Self::OddWhiteout => {
                "a whiteout is not an empty regular file; it is applied by its name"
            }
            Self::AufsEntry => "an entry of AUFS's own is not part of the tree",
            Self::TrailingSlash => {
                "a file without data whose name ends with a slash is taken as a directory"
            }
            Self::MissingPadding => "the last entry's padding is missing",
            Self::XattrConflict => {
                "two forms of one extended attribute differ; the SCHILY one counts"
            }
            Self::CompressionDiffers => {
                "a layer is compressed otherwise than its media type says; its bytes count"
            }
            Self::InvalidName => "a name is no valid reference; the image is named by its digest",
            Self::NoImages => "there is no image in it",
        }
    }
}

/// Warnings, each kind once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Warnings(BTreeMap<Warning, Noted>);

/// How often a kind of warning came, and where first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Noted {
    /// How often.
    pub count: u64,
    /// Where first.
    pub first: String,
}

impl Warnings {
    /// Notes one; `place` is only asked for the first of its kind.
    pub fn note(&mut self, warning: Warning, place: impl FnOnce() -> String) {
        let noted = self.0.entry(warning).or_insert_with(|| Noted {
            count: 0,
            first: place(),
        });
        noted.count += 1;
    }

    /// Names the layer that these are of.
    #[must_use]
    pub fn in_layer(mut self, layer: &str) -> Self {
        for noted in self.0.values_mut() {
            noted.first = format!("layer {layer} {}", noted.first);
        }
        self
    }

    /// Takes in those of another part of the work.
    pub fn merge(&mut self, other: Self) {
        for (warning, noted) in other.0 {
            self.0
                .entry(warning)
                .or_insert(Noted {
                    count: 0,
                    first: noted.first,
                })
                .count += noted.count;
        }
    }

    /// Returns each kind, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Warning, &Noted)> {
        self.0.iter().map(|(warning, noted)| (*warning, noted))
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
