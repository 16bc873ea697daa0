//! Lines for people, on standard error.

/// Writes a line, in order with the logs and without waiting for the terminal.
pub(crate) fn tell(line: &str) {
    natter_broker::logs::tell(line);
}

/// `1 frontend`, `3 replicas`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    natter_common::counted::counted(count, what)
}

/// A path as a shell reads it.
pub(crate) fn shell_word(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn paths_are_quoted_where_a_shell_needs_it() {
        for (path, word) in [("/tmp/a-1", "/tmp/a-1"), ("my logs", "'my logs'"), ("it's", r"'it'\''s'"), ("", "''")] {
            assert_eq!(shell_word(Path::new(path)), word);
        }
    }

    #[test]
    fn counts_read_well() {
        assert_eq!((counted(1, "replica"), counted(3, "replica")), ("1 replica".into(), "3 replicas".into()));
    }
}
