//! The environment variables as a value, so that a test can make them up.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Environment variables: those of this process, or made up for a test. An empty variable counts as absent.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The variables of this process, as they are now.
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// A variable's value; `None` where it is absent or empty.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The user's home directory (`HOME`).
    pub fn home(&self) -> Option<&Path> {
        self.get("HOME").map(Path::new)
    }

    /// A directory of the XDG base directory specification: the variable where it is an absolute path (the specification
    /// has others ignored), else `fallback` below the home directory; `None` where neither is known.
    pub fn base_directory(&self, variable: &str, fallback: &str) -> Option<PathBuf> {
        match self.get(variable).map(Path::new) {
            Some(path) if path.is_absolute() => Some(path.to_owned()),
            _ => self.home().map(|home| home.join(fallback)),
        }
    }

    /// Expands `$NAME` and `${NAME}` (an absent variable becomes nothing), then a leading `~`, as the `nats` CLI does with
    /// the paths in its contexts.
    pub fn expand_path(&self, path: &str) -> PathBuf {
        let expanded = self.expand_variables(path);
        match (expanded.strip_prefix('~'), self.home()) {
            (Some(""), Some(home)) => home.to_owned(),
            (Some(rest), Some(home)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
            _ => PathBuf::from(expanded),
        }
    }

    fn expand_variables(&self, text: &str) -> String {
        let value = |name: &str| self.get(name).map(OsStr::to_string_lossy).unwrap_or_default();
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            expanded.push_str(before);
            if let Some((name, after)) = after.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
                expanded.push_str(&value(name));
                rest = after;
                continue;
            }
            let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            if name.is_empty() {
                expanded.push('$'); // a dollar sign that names nothing stays
            } else {
                expanded.push_str(&value(name));
            }
            rest = after;
        }
        expanded.push_str(rest);
        expanded
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Shows the names only: values may be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_expand_as_in_the_nats_cli() {
        let environment: Environment = [("HOME", "/home/ann"), ("WHERE", "keys"), ("EMPTY", "")].into_iter().collect();
        let expand = |path: &str| environment.expand_path(path).to_string_lossy().into_owned();
        assert_eq!(expand("~/a.creds"), "/home/ann/a.creds");
        assert_eq!(expand("$HOME/${WHERE}/a"), "/home/ann/keys/a");
        assert_eq!(expand("/x/$WHERE.creds"), "/x/keys.creds");
        assert_eq!(expand("/a${MISSING}b$EMPTY"), "/ab");
        assert_eq!(expand("/cost$/~"), "/cost$/~");
        assert_eq!(expand("/open${brace"), "/open${brace");
    }

    #[test]
    fn base_directory_ignores_relative_paths() {
        let environment: Environment = [("HOME", "/h"), ("XDG_CONFIG_HOME", "relative")].into_iter().collect();
        assert_eq!(environment.base_directory("XDG_CONFIG_HOME", ".config"), Some(PathBuf::from("/h/.config")));
        assert_eq!(Environment::default().base_directory("XDG_CONFIG_HOME", ".config"), None);
    }
}
