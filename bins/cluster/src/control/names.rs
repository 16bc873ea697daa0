//! Finding a process by what a person calls it.

use super::error::ControlError;
use super::verb::Name;

/// The names of one process.
#[derive(Clone, Debug)]
pub(crate) struct Names<'a> {
    /// Its name: `r2`.
    pub(crate) name: &'a str,
    /// Its ids, as far as they are known: `r2-amegxysk`, and `f-r2-amegxysk` for its frontend half.
    pub(crate) ids: Vec<&'a str>,
}

impl Names<'_> {
    fn is(&self, text: &str) -> bool {
        self.name == text || self.ids.contains(&text)
    }

    fn begins(&self, text: &str) -> bool {
        self.name.starts_with(text) || self.ids.iter().any(|id| id.starts_with(text))
    }
}

/// The index of the process of this name or id, or of the only one whose name or id begins like that.
pub(super) fn find(verb: &'static str, name: &Name, all: &[Names<'_>]) -> Result<usize, ControlError> {
    let text = name.0.as_str();
    let list = |indexes: &[usize]| indexes.iter().map(|&index| all[index].name).collect::<Vec<_>>().join(", ");
    let every: Vec<usize> = (0..all.len()).collect();
    if text.is_empty() {
        return Err(ControlError::NoName { verb, names: list(&every) });
    }
    if let Some(exact) = all.iter().position(|names| names.is(text)) {
        return Ok(exact);
    }
    let beginning: Vec<usize> = every.iter().copied().filter(|&index| all[index].begins(text)).collect();
    match beginning[..] {
        [index] => Ok(index),
        [] => Err(ControlError::UnknownName { name: name.to_string(), names: list(&every) }),
        _ => Err(ControlError::Ambiguous { name: name.to_string(), names: list(&beginning) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_find_their_process_where_they_are_unambiguous() {
        let names = |name, ids: &[&'static str]| Names { name, ids: ids.to_vec() };
        let all = [
            names("r1", &["r1-amegxysk", "f-r1-amegxysk"]),
            names("r10", &["r10-bbbbbbbb"]),
            names("r2", &["r2-cccccccc"]),
            names("f1", &[]),
        ];
        let found = |text: &str| find("kill", &Name(text.to_owned()), &all).map_err(|error| error.to_string());
        for (text, index) in
            [("r1", 0), ("r1-amegxysk", 0), ("r1-a", 0), ("f-r1", 0), ("r10", 1), ("r2-", 2), ("f1", 3), ("r2", 2)]
        {
            assert_eq!(found(text), Ok(index), "{text}");
        }
        for (text, words) in [
            ("r", "\"r\" may mean several processes: write one of r1, r10, r2"),
            ("f", "write one of r1, f1"),
            ("r3", "no process is named \"r3\": write one of r1, r10, r2, f1"),
            ("r2-d", "no process is named"),
            ("", "`kill` needs a name: write one of r1, r10, r2, f1"),
        ] {
            let error = found(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
