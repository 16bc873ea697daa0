//! Errors as the NATS services convention has them: a code and a text, in two headers. The one place where both are made.

use async_nats::HeaderMap;

/// The header of the code.
pub const CODE_HEADER: &str = "Nats-Service-Error-Code";
/// The header of the text.
pub const TEXT_HEADER: &str = "Nats-Service-Error";

/// Maximum length of a header's text, in bytes: beyond it the text is cut. Some texts repeat what a sender wrote, and a
/// broker counts headers as part of a message.
pub const TEXT_BYTES_MAX: usize = 1000;

/// The headers of an error.
pub fn headers(code: u16, text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CODE_HEADER, code.to_string().as_str());
    headers.insert(TEXT_HEADER, header_text(text).as_str());
    headers
}

/// A text as a header's value: one line of printable ASCII. Client libraries drop all headers of a message where one has
/// anything else. A control character is a blank, every other character is escaped as `\u{e9}`.
pub fn header_text(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        let before = line.len();
        match c {
            ' '..='~' => line.push(c),
            _ if c.is_control() => line.push(' '),
            _ => line.extend(c.escape_unicode()),
        }
        if line.len() > TEXT_BYTES_MAX - 3 {
            line.truncate(before.min(TEXT_BYTES_MAX - 3));
            line.push_str("...");
            break;
        }
    }
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_one_line_of_printable_ascii() {
        assert_eq!(header_text("BAD_REQUEST: movie_id: \"Amélie\""), "BAD_REQUEST: movie_id: \"Am\\u{e9}lie\"");
        assert_eq!(header_text(" \u{feff}two\r\nlines\t\u{1f3ac} "), "\\u{feff}two  lines \\u{1f3ac}");
        assert_eq!(header_text("\u{85}\u{2028}\0"), "\\u{2028}");
        for c in '\0'..=char::MAX {
            assert!(header_text(&c.to_string()).bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{c:?}");
        }
    }

    #[test]
    fn a_long_header_is_cut_between_characters() {
        for text in ["x".repeat(5000), "é".repeat(5000), format!("x{}", "🎬".repeat(5000))] {
            let line = header_text(&text);
            assert!(line.len() <= TEXT_BYTES_MAX && line.len() > TEXT_BYTES_MAX - 12, "{}", line.len());
            assert!(line.ends_with("}...") || line.ends_with("x..."), "{line}");
        }
        let exact = "x".repeat(TEXT_BYTES_MAX - 3);
        assert_eq!(header_text(&exact), exact);
    }
}
