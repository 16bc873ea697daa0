//! Titles as a search compares them.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Makes texts equal that differ only in case or in how their accents are encoded, letter by letter: `ß` is `ss`, every
/// sigma is `σ`, and `é` is one letter whether it came as one code point or as two.
///
/// Lower, upper and lower again, because neither alone does: `ẞ` has no upper case but itself, `ς` and `σ` share one.
pub(crate) fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let folded: String = text
        .nfc()
        .flat_map(char::to_lowercase)
        .flat_map(char::to_uppercase)
        // Letter by letter: `str::to_lowercase` would look at a sigma's neighbours.
        .flat_map(char::to_lowercase)
        .collect();
    match is_nfc_quick(folded.chars()) {
        IsNormalized::Yes => folded,
        _ => folded.nfc().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::fold;
    use proptest::prelude::*;

    #[test]
    fn case_beyond_ascii_does_not_count() {
        for (one, other) in [
            ("AMÉLIE", "amélie"),
            ("Große Stille", "GROSSE STILLE"),
            ("GROẞE", "große"),
            ("Ο Θίασος", "Ο ΘΊΑΣΟΣ"),
            ("Сталкер", "СТАЛКЕР"),
            ("Člověk", "ČLOVĚK"),
            ("Kış", "KIŞ"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
    }

    #[test]
    fn the_encoding_of_an_accent_does_not_count() {
        assert_eq!(fold("Ame\u{301}lie"), fold("Am\u{e9}lie"));
        assert_ne!(fold("Amelie"), fold("Am\u{e9}lie"));
    }

    #[test]
    fn a_word_is_found_at_the_end_and_in_the_middle() {
        assert!(fold("Θίασος Β").contains(&fold("ΣΟΣ")));
        assert!(fold("Θίασος").contains(&fold("σοσ")));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn upper_and_lower_case_fold_to_the_same(text in "[\\PC]{0,20}") {
            prop_assert_eq!(fold(&text.to_lowercase()), fold(&text));
        }
    }
}
