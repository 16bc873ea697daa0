//! Sizes of memory on the command line.

pub use bytesize::ByteSize;

/// Parses a size, for `#[arg(value_parser = parse_size)]`: a number of bytes, or a number and a unit (`64MiB`, `1GB`).
///
/// # Errors
///
/// A sentence for people where it is no size.
pub fn parse_size(text: &str) -> Result<ByteSize, String> {
    let is_number = text.trim_start().starts_with(|first: char| first.is_ascii_digit());
    let parsed = text.trim().parse::<ByteSize>().ok().filter(|_| is_number);
    parsed.ok_or_else(|| format!("\"{text}\" is no size: write a number and a unit, like 64MiB or 1GB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_people_write() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64MiB", 64 << 20),
            (" 64 mib ", 64 << 20),
            ("1.5GB", 1_500_000_000),
            ("64m", 64_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn refuses_with_an_example() {
        for text in ["", "much", "64 elephants", "-1MiB", "64MiB MiB", "NaN", "infinity", "."] {
            let refused = parse_size(text).unwrap_err();
            assert!(refused.contains("64MiB"), "{text}: {refused}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for bytes in [0, 1, 64 << 20, (64 << 20) + 1, 5 << 40] {
            assert_eq!(parse_size(&ByteSize(bytes).as_u64().to_string()), Ok(ByteSize(bytes)));
        }
    }
}
