//! Owns sizes as they are typed: bytes, or a number with K, M, G or T behind it, in powers of 1024.

/// Reads a size.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &text[..text.len() - unit.len()];
    let shift = match unit {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err(format!("expected K, M, G or T, got '{unit}'")),
    };
    let number: u64 = digits.parse().map_err(|_| "expected a number".to_owned())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "more than any file can have".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_powers_of_1024() {
        for (text, size) in [("0", 0), ("12", 12), ("4M", 4 << 20), ("64GiB", 64 << 30)] {
            assert_eq!(parse(text), Ok(size));
        }
        for bad in ["", "M", "-1", "4m", "1.5G", "16777216T"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
