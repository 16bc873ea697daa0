//! The `nats` CLI's contexts (ADR-21): a server, credentials and TLS under a name, in a JSON file each.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::environment::Environment;

/// Contents of a context. Every field may be missing; an empty text counts as missing. Unknown fields are ignored.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Context {
    /// For people.
    pub description: String,
    /// The servers, with commas between them.
    pub url: String,
    /// The user name.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// A token, in place of a user.
    pub token: String,
    /// The path of a credentials file.
    pub creds: String,
    /// The path of a file with an NKey seed.
    pub nkey: String,
    /// The path of a client certificate (PEM).
    pub cert: String,
    /// The path of the client certificate's private key (PEM).
    pub key: String,
    /// The path of the certificate authority's certificate (PEM).
    pub ca: String,
    /// First words of reply subjects, in place of `_INBOX`.
    pub inbox_prefix: String,
    /// TLS before the server's first word.
    pub tls_first: bool,
    /// A look-up with the `nsc` tool, which Natter does not do.
    pub nsc: String,
    /// A JWT in the context itself, which Natter does not read.
    pub user_jwt: String,
    /// A SOCKS proxy, which Natter does not use.
    pub socks_proxy: String,
}

/// Hides what is secret.
impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("description", &self.description).finish_non_exhaustive()
    }
}

/// Why a context could not be read. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The name could not be a file's.
    #[error("\"{name}\" can't be the name of a context: it is empty or contains \"..\" or \"/\"")]
    Name {
        /// The name as given.
        name: String,
    },
    /// Neither `XDG_CONFIG_HOME` nor `HOME` is set.
    #[error("no place to look for the context \"{name}\": set HOME or XDG_CONFIG_HOME")]
    NoHome {
        /// The name as given.
        name: String,
    },
    /// No such context.
    #[error("no context \"{name}\" in {}: {}", directory.display(), known_contexts(known))]
    Unknown {
        /// The name as given.
        name: String,
        /// Where it was looked for.
        directory: PathBuf,
        /// The contexts that exist, in ascending order.
        known: Vec<String>,
    },
    /// The file is there but can't be read.
    #[error("can't read the context file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The file is no context.
    #[error("{}, line {line}: {reason}; mend it with `nats context edit`", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Problem on that line.
        reason: String,
    },
}

fn known_contexts(known: &[String]) -> String {
    if known.is_empty() {
        "there is no context at all; make one with `nats context add`".to_owned()
    } else {
        format!("there is {}", known.join(", "))
    }
}

impl Context {
    /// Reads the context `name` of the user whom the environment belongs to.
    ///
    /// # Errors
    ///
    /// Any [`ContextError`].
    pub fn load(name: &str, environment: &Environment) -> Result<Self, ContextError> {
        if name.is_empty() || name.contains("..") || name.contains(['/', '\0']) {
            return Err(ContextError::Name { name: name.to_owned() });
        }
        let directory = directory(environment).ok_or_else(|| ContextError::NoHome { name: name.to_owned() })?;
        let path = directory.join(format!("{name}.json"));
        let text = std::fs::read_to_string(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                ContextError::Unknown { name: name.to_owned(), known: known(&directory), directory }
            }
            _ => ContextError::Unreadable { path: path.clone(), source },
        })?;
        serde_json::from_str(&text).map_err(|error| ContextError::Broken {
            path,
            line: error.line(),
            reason: reason(&error),
        })
    }
}

/// Where the contexts are; `None` where the environment names no home.
fn directory(environment: &Environment) -> Option<PathBuf> {
    Some(environment.base_directory("XDG_CONFIG_HOME", ".config")?.join("nats").join("context"))
}

/// The names of the contexts in a directory, in ascending order.
fn known(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json").map(str::to_owned)).collect();
    names.sort();
    names
}

/// serde_json's message without its own "at line … column …".
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_contexts(files: &[(&str, &str)]) -> (tempfile::TempDir, Environment) {
        let config = tempfile::tempdir().unwrap();
        let directory = config.path().join("nats/context");
        std::fs::create_dir_all(&directory).unwrap();
        for (name, text) in files {
            std::fs::write(directory.join(name), text).unwrap();
        }
        let environment = [("XDG_CONFIG_HOME", config.path().as_os_str())].into_iter().collect();
        (config, environment)
    }

    #[test]
    fn reads_what_the_cli_writes_and_ignores_the_rest() {
        let text = r#"{"description": "d", "url": "nats://a:1,nats://b:2", "creds": "~/x.creds", "tls_first": true,
            "jetstream_domain": "", "color_scheme": "cyan", "something_new": {"a": [1]}}"#;
        let (_config, environment) = with_contexts(&[("prod.json", text)]);
        let context = Context::load("prod", &environment).unwrap();
        assert_eq!((context.url.as_str(), context.creds.as_str()), ("nats://a:1,nats://b:2", "~/x.creds"));
        assert!(context.tls_first && context.user.is_empty());
    }

    #[test]
    fn home_is_the_fallback() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join(".config/nats/context");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("ngs.js.json"), r#"{"token": "t"}"#).unwrap();
        let environment = [("HOME", home.path().as_os_str())].into_iter().collect();
        assert_eq!(Context::load("ngs.js", &environment).unwrap().token, "t");
    }

    #[test]
    fn an_unknown_context_lists_those_that_exist() {
        let (_config, environment) = with_contexts(&[("b.json", "{}"), ("a.json", "{}"), ("notes.txt", "")]);
        let error = Context::load("c", &environment).unwrap_err().to_string();
        assert!(error.contains("no context \"c\"") && error.ends_with("there is a, b"), "{error}");
        let (_config, environment) = with_contexts(&[]);
        assert!(Context::load("c", &environment).unwrap_err().to_string().contains("nats context add"));
    }

    #[test]
    fn broken_json_names_file_and_line() {
        let (_config, environment) = with_contexts(&[("x.json", "{\n  \"url\": \"a\",\n  \"user\": 7\n}")]);
        let error = Context::load("x", &environment).unwrap_err().to_string();
        assert!(error.contains("x.json, line 3: invalid type"), "{error}");
        assert!(!error.contains("column"), "{error}");
    }

    #[test]
    fn a_name_cannot_leave_the_directory() {
        for name in ["", "../x", "a/b"] {
            let error = Context::load(name, &Environment::default()).unwrap_err();
            assert!(matches!(error, ContextError::Name { .. }), "{error}");
        }
        assert!(matches!(Context::load("a", &Environment::default()), Err(ContextError::NoHome { .. })));
    }
}
