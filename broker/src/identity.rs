//! Identity of this process towards the broker, and its proof at each connection attempt.
//!
//! Files are read anew for each proof: credentials that expire are renewed in their file while the process runs.

use std::path::{Path, PathBuf};

use async_nats::Auth;
use nkeys::KeyPair;

use crate::target::TargetError;

const CREDENTIALS: &str = "credentials file";
const NKEY_SEED: &str = "NKey seed file";

/// Identity of this process towards the broker.
#[derive(Clone)]
pub(crate) enum Identity {
    Nobody,
    User { user: String, password: String },
    Token(String),
    Credentials(PathBuf),
    NkeySeed(PathBuf),
}

impl Identity {
    /// The identity in words for people. Shows nothing secret.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Nobody => "no credentials".to_owned(),
            Self::User { user, .. } => format!("user {user}"),
            Self::Token(_) => "the token".to_owned(),
            Self::Credentials(path) => format!("the credentials in {}", path.display()),
            Self::NkeySeed(path) => format!("the NKey in {}", path.display()),
        }
    }

    /// The proof that the broker asks for, which signs `nonce` where keys are used. Reads the identity's file.
    ///
    /// # Errors
    ///
    /// Where the file can't be read, or holds no valid key.
    pub(crate) fn prove(&self, nonce: &[u8]) -> Result<Auth, TargetError> {
        let mut auth = Auth::new();
        match self {
            Self::Nobody => {}
            Self::User { user, password } => {
                (auth.username, auth.password) = (Some(user.clone()), Some(password.clone()));
            }
            Self::Token(token) => auth.token = Some(token.clone()),
            Self::Credentials(path) => {
                let text = read(CREDENTIALS, path)?;
                let (jwt, seed) =
                    jwt_and_seed(&text).ok_or_else(|| unusable(CREDENTIALS, path, "it holds no JWT and NKey seed"))?;
                let signature = key_of(CREDENTIALS, path, seed)?.sign(nonce);
                auth.jwt = Some(jwt.to_owned());
                auth.signature = Some(signature.map_err(|error| unusable(CREDENTIALS, path, error))?);
            }
            Self::NkeySeed(path) => {
                let text = read(NKEY_SEED, path)?;
                let seed = text.lines().map(str::trim).find(|line| line.starts_with('S'));
                let seed =
                    seed.ok_or_else(|| unusable(NKEY_SEED, path, "no line of it is a seed, which begins with SU"))?;
                let key = key_of(NKEY_SEED, path, seed)?;
                auth.nkey = Some(key.public_key());
                auth.signature = Some(key.sign(nonce).map_err(|error| unusable(NKEY_SEED, path, error))?);
            }
        }
        Ok(auth)
    }
}

/// Reads a file that the options or the context name.
pub(crate) fn read(what: &'static str, path: &Path) -> Result<String, TargetError> {
    std::fs::read_to_string(path).map_err(|error| unusable(what, path, error))
}

fn unusable(what: &'static str, path: &Path, reason: impl ToString) -> TargetError {
    TargetError::File { what, path: path.to_owned(), reason: reason.to_string() }
}

fn key_of(what: &'static str, path: &Path, seed: &str) -> Result<KeyPair, TargetError> {
    KeyPair::from_seed(seed).map_err(|error| unusable(what, path, format!("its NKey seed is not valid: {error}")))
}

/// The JWT and the seed of a credentials file: the first two lines between decorated BEGIN and END lines.
fn jwt_and_seed(text: &str) -> Option<(&str, &str)> {
    let is_decoration = |line: &str| line.starts_with("---") && line.ends_with("---");
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut blocks = lines.windows(3).filter_map(|window| match window {
        [begin, value, end] if is_decoration(begin) && is_decoration(end) && !is_decoration(value) => Some(*value),
        _ => None,
    });
    Some((blocks.next()?, blocks.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(jwt: &str, seed: &str) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\
             NKEY Seed printed below can be used to sign and prove identity.\n\n\
             -----BEGIN USER NKEY SEED-----\r\n{seed}\r\n------END USER NKEY SEED------\r\n\n\
             *************************************************************\n"
        )
    }

    #[test]
    fn each_proof_reads_the_credentials_file_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("user.creds");
        let identity = Identity::Credentials(path.clone());
        assert!(identity.prove(b"n").is_err_and(|error| error.to_string().contains("user.creds")));
        for jwt in ["first.jwt.x", "second.jwt.x"] {
            let key = KeyPair::new_user();
            std::fs::write(&path, credentials(jwt, &key.seed().unwrap())).unwrap();
            let auth = identity.prove(b"nonce").unwrap();
            assert_eq!(auth.jwt.as_deref(), Some(jwt));
            key.verify(b"nonce", &auth.signature.unwrap()).unwrap();
        }
        // A file that is being written at this moment.
        std::fs::write(&path, "-----BEGIN NATS USER JWT-----\neyJ").unwrap();
        assert!(identity.prove(b"n").is_err_and(|error| error.to_string().contains("no JWT and NKey seed")));
    }

    #[test]
    fn nkey_seed_is_found_bare_and_among_decorations() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("user.nk");
        let identity = Identity::NkeySeed(path.clone());
        for (before, after) in [("", ""), ("# mine\n\n", "\n# end\n")] {
            let key = KeyPair::new_user();
            std::fs::write(&path, format!("{before}{}{after}", key.seed().unwrap())).unwrap();
            let auth = identity.prove(b"nonce").unwrap();
            assert_eq!(auth.nkey, Some(key.public_key()));
            key.verify(b"nonce", &auth.signature.unwrap()).unwrap();
        }
        std::fs::write(&path, "nothing").unwrap();
        assert!(identity.prove(b"n").is_err_and(|error| error.to_string().contains("begins with SU")));
    }
}
