//! Why there is no connection, in words for people.

use std::error::Error;
use std::io;
use std::time::Duration;

use async_nats::ConnectErrorKind;

use crate::duration::roughly;
use crate::target::TargetError;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The options name no broker that could be connected to; nothing was tried.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The broker answered, and did not let us in. Trying again with the same credentials would not help.
    #[error("the broker at {servers} refused {} ({reason}): {}", who(identity, *anonymous), advice(*anonymous))]
    Refused {
        /// The servers' URLs.
        servers: String,
        /// Identity that we gave, without secrets.
        identity: String,
        /// Message of the broker.
        reason: String,
        /// Whether we came without any credentials.
        anonymous: bool,
    },
    /// TLS could not be agreed upon. Trying again would not help.
    #[error(
        "no safe connection to {servers} ({reason}): name the certificate authority as `ca` in a context of the nats CLI, \
         and that context with --context"
    )]
    Untrusted {
        /// The servers' URLs.
        servers: String,
        /// Reason why TLS failed.
        reason: String,
    },
    /// Nobody answered for as long as the caller was ready to wait.
    #[error(
        "no broker at {servers} ({reason}; tried for {}): is nats-server running? Start one with `nats-server -c nats.conf`, \
         or name another with --server",
        roughly(*waited)
    )]
    NoBroker {
        /// The servers' URLs.
        servers: String,
        /// Failure of the last attempt.
        reason: String,
        /// Time for which attempts were made.
        waited: Duration,
    },
}

fn who(identity: &str, anonymous: bool) -> &str {
    if anonymous { "a connection without credentials" } else { identity }
}

fn advice(anonymous: bool) -> &'static str {
    if anonymous {
        "it wants to know who you are; give --user and --password, --creds or --context"
    } else {
        "check --user and --password, --creds or --context"
    }
}

/// Failure of an attempt, by its meaning for the next one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The next one may succeed.
    Passing(String),
    /// The broker knows us, and does not want us.
    Refused(String),
    /// TLS is set up so that no attempt can succeed.
    Untrusted(String),
}

impl Failure {
    pub(super) fn of(error: &async_nats::ConnectError) -> Self {
        let reason = reason(error);
        match error.kind() {
            ConnectErrorKind::AuthorizationViolation => Self::Refused("authorization violation".to_owned()),
            ConnectErrorKind::Authentication => Self::Refused(reason),
            ConnectErrorKind::Tls => Self::Untrusted(reason),
            // The broker's other words on credentials, such as "User Authentication Expired", come as plain errors.
            _ if reason.to_lowercase().contains("authentication") && !reason.to_lowercase().contains("timeout") => {
                Self::Refused(reason)
            }
            _ if reason.contains("certificate") => Self::Untrusted(reason),
            _ => Self::Passing(reason),
        }
    }
}

/// The innermost cause of a failed attempt, in few words.
fn reason(error: &async_nats::ConnectError) -> String {
    let mut innermost: &(dyn Error + 'static) = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if let Some(error) = innermost.downcast_ref::<io::Error>() {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => return "connection refused".to_owned(),
            io::ErrorKind::ConnectionReset => return "connection reset".to_owned(),
            io::ErrorKind::TimedOut => return "no answer".to_owned(),
            _ => {}
        }
    }
    let text = innermost.to_string();
    let text = text.trim_start_matches("nats: ");
    match error.kind() {
        ConnectErrorKind::TimedOut => "no answer".to_owned(),
        ConnectErrorKind::Dns => format!("the host's name can't be resolved: {text}"),
        _ if text.starts_with("expected INFO") => "something else than a NATS server answers there".to_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: ConnectErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        // async-nats makes its errors from the outside only out of input and output errors.
        assert_eq!(kind, ConnectErrorKind::Io);
        Failure::of(&async_nats::ConnectError::from(io::Error::other(source)))
    }

    #[test]
    fn refused_connections_pass_and_refused_credentials_stay() {
        let refused = async_nats::ConnectError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(Failure::of(&refused), Failure::Passing("connection refused".into()));
        let expired = failed(ConnectErrorKind::Io, "nats: User Authentication Expired");
        assert_eq!(expired, Failure::Refused("User Authentication Expired".into()));
        let slow = failed(ConnectErrorKind::Io, "nats: Authentication Timeout");
        assert!(matches!(slow, Failure::Passing(_)));
        let untrusted = failed(ConnectErrorKind::Io, "invalid peer certificate: UnknownIssuer");
        assert!(matches!(untrusted, Failure::Untrusted(_)));
    }
}
