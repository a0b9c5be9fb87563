//! Owns base64, which descriptors and libarchive's attributes use. The one home of the `base64` crate.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// Decodes padded base64, as a descriptor's `data` has it (RFC 4648, section 4).
pub(crate) fn decode_padded(text: &[u8]) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|e| e.to_string())
}

/// Decodes base64 whose padding may be missing: libarchive leaves it away, others do not.
pub(crate) fn decode_any(text: &[u8]) -> Result<Vec<u8>, String> {
    let end = text
        .iter()
        .rposition(|b| *b != b'=')
        .map_or(0, |last| last + 1);
    STANDARD_NO_PAD
        .decode(&text[..end])
        .map_err(|e| e.to_string())
}
