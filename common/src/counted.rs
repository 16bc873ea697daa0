//! Counts with their noun: `1 rating`, `2 ratings`.

use std::fmt::Display;

/// The count and its noun, which is given in the singular.
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let noun = nouns(&count, noun);
    format!("{count} {noun}")
}

/// The noun for a count, given in the singular. For counts that are shown in another way than by their digits.
pub fn nouns<N: PartialEq + From<u8>>(count: &N, noun: &str) -> String {
    if *count == N::from(1) {
        return noun.to_owned();
    }
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if noun.ends_with("ch") || noun.ends_with('s') || noun.ends_with('x') => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_of_something_is_singular() {
        assert_eq!(counted(1u64, "rating"), "1 rating");
        assert_eq!(counted(0u8, "log line"), "0 log lines");
        assert_eq!(counted(2usize, "query"), "2 queries");
        assert_eq!(counted(5u32, "batch"), "5 batches");
        assert_eq!(counted(5i64, "day"), "5 days");
        assert_eq!(nouns(&1_000u64, "movie"), "movies");
    }
}
