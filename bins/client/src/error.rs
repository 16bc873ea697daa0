//! Why a request was not done, in words for people.

use std::fmt;
use std::time::Duration;

use natter_common::cluster::ClusterId;
use natter_common::ids::UpdateId;

use crate::transport::TransportError;

/// Beginning of the reason that a frontend gives while the broker does not permit what it needs.
const NOT_PERMITTED: &str = "the broker does not permit";

/// The names of errors: the wire contract's, and those that arise on the client's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorName {
    /// The request doesn't follow the contract. Nothing changed.
    BadRequest,
    /// The data set has no such movie. Nothing changed.
    MovieNotFound,
    /// There is no rating to update or delete. Nothing changed.
    RatingNotFound,
    /// This user has rated this movie already. Nothing changed.
    RatingExists,
    /// Every replica is OFFLINE or gone. Nothing changed.
    Unavailable,
    /// The frontend's queue is full. Nothing changed.
    Overloaded,
    /// Fewer replicas hold the update than a strict frontend asks for. It may take effect.
    NotEnoughReplicas,
    /// No reachable replica holds all that the session has seen. Nothing changed.
    Stale,
    /// The frontend had no answer in time. An update may take effect.
    Timeout,
    /// No frontend listens at the broker. Nothing changed.
    NoFrontend,
    /// A frontend or the broker did not answer in time. An update may take effect.
    NoAnswer,
    /// The answer can't be read. An update may have taken effect.
    BadReply,
    /// The broker does not permit this user the request, or to hear the answer. Nothing changed.
    Denied,
    /// The broker takes no message as large as this request. Nothing changed.
    TooLarge,
    /// The answer to a part of a batch is larger than the broker allows. An update may have taken effect.
    ReplyTooLarge,
    /// A name that this client doesn't know.
    Other(String),
}

impl ErrorName {
    const KNOWN: [(&'static str, Self); 15] = [
        ("BAD_REQUEST", Self::BadRequest),
        ("MOVIE_NOT_FOUND", Self::MovieNotFound),
        ("RATING_NOT_FOUND", Self::RatingNotFound),
        ("RATING_EXISTS", Self::RatingExists),
        ("UNAVAILABLE", Self::Unavailable),
        ("OVERLOADED", Self::Overloaded),
        ("NOT_ENOUGH_REPLICAS", Self::NotEnoughReplicas),
        ("STALE", Self::Stale),
        ("TIMEOUT", Self::Timeout),
        ("NO_FRONTEND", Self::NoFrontend),
        ("NO_ANSWER", Self::NoAnswer),
        ("BAD_REPLY", Self::BadReply),
        ("DENIED", Self::Denied),
        ("TOO_LARGE", Self::TooLarge),
        ("REPLY_TOO_LARGE", Self::ReplyTooLarge),
    ];

    /// From the word before the colon in a `Nats-Service-Error` header.
    pub fn parse(text: &str) -> Self {
        let known = Self::KNOWN.into_iter().find(|(name, _)| *name == text);
        known.map_or_else(|| Self::Other(text.to_owned()), |(_, name)| name)
    }

    /// As the wire contract writes it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => Self::KNOWN.iter().find(|(_, name)| name == known).map_or("", |(text, _)| text),
        }
    }

    /// Whether an update that met this error may have taken effect, or still may.
    pub fn leaves_doubt(&self) -> bool {
        matches!(
            self,
            Self::NotEnoughReplicas
                | Self::Timeout
                | Self::NoAnswer
                | Self::BadReply
                | Self::ReplyTooLarge
                | Self::Other(_)
        )
    }

    /// Whether the same request, an update under the same id, may be answered a little later.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::NotEnoughReplicas
                | Self::Timeout
                | Self::NoAnswer
                | Self::NoFrontend
                | Self::Stale
                | Self::Overloaded
                | Self::Unavailable
        )
    }
}

impl fmt::Display for ErrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a request was not done. `Display` is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} ({name}){}", Doubt(self))]
pub struct ClientError {
    /// As HTTP has it: 400 the request is wrong, 404 and 409 the ratings don't allow it, 5xx not now.
    pub code: u16,
    /// Which error.
    pub name: ErrorName,
    /// Description of the problem, and advice.
    pub text: String,
    /// The update's id where it may have taken effect or still may: a retry with this id is safe.
    pub doubtful: Option<UpdateId>,
    /// The cluster of the frontend that said so, if that names one.
    pub cluster: Option<ClusterId>,
    /// Number of attempts; 0 if the request was not sent.
    pub attempts: u32,
    /// Time spent on all attempts.
    pub waited: Duration,
}

impl ClientError {
    /// An error of one attempt.
    pub fn new(code: u16, name: ErrorName, text: impl Into<String>) -> Self {
        Self { code, name, text: text.into(), doubtful: None, cluster: None, attempts: 1, waited: Duration::ZERO }
    }

    /// From the two headers of an error by the NATS services convention.
    pub fn from_headers(code: &str, error: &str) -> Self {
        let (name, text) = match error.split_once(':') {
            Some((name, text)) if is_name(name) => (ErrorName::parse(name), text.trim()),
            _ => (ErrorName::Other("ERROR".to_owned()), error.trim()),
        };
        // An unreadable code is the frontend's fault: 500.
        let code = code.trim().parse().unwrap_or(500);
        let text = match name {
            // The frontend's own text tells what to do with the id and the label. The client does that itself.
            ErrorName::Timeout if !text.starts_with(NOT_PERMITTED) => "the replicas did not answer in time",
            ErrorName::Stale => "no reachable replica holds all that this session has seen",
            ErrorName::Timeout => text.split_once("; ").map_or(text, |(missing, _)| missing),
            _ if text.is_empty() => "the frontend gave no reason",
            _ => text,
        };
        Self::new(code, name, text.to_owned())
    }

    /// An attempt at `place`, limited to `limit`, that brought no answer.
    pub fn without_answer(error: TransportError, limit: Duration, place: &str) -> Self {
        match error {
            TransportError::NoFrontend => {
                let text = format!(
                    "no frontend serves {place}: none runs there, or those that run hear no replica; start `frontend`, \
                     `replica` or all with `cluster`, or name another cluster with --prefix or --server"
                );
                Self::new(503, ErrorName::NoFrontend, text)
            }
            TransportError::NoAnswer => Self::no_answer(limit),
            TransportError::WrongAnswer(wrong) => {
                let error = Self::no_answer(limit);
                Self { text: format!("{}; {wrong}", error.text), ..error }
            }
            TransportError::Denied(denial) => {
                let text = format!(
                    "the broker does not permit this client to {denial}: connect as a user that may, or have it permitted \
                     (docs/PROTOCOL.md lists the subjects of each role)"
                );
                Self::new(403, ErrorName::Denied, text)
            }
            TransportError::TooLarge => {
                Self::new(400, ErrorName::TooLarge, "the request is larger than the broker allows")
            }
        }
    }

    /// Silence for this long.
    pub fn no_answer(limit: Duration) -> Self {
        let text = format!("no answer came within {}", seconds(limit));
        Self::new(504, ErrorName::NoAnswer, text)
    }

    /// An answer that can't be read.
    pub fn bad_reply(reason: impl fmt::Display) -> Self {
        let text = format!("the frontend's answer can't be read: is it of another version of Natter? {reason}");
        Self::new(502, ErrorName::BadReply, text)
    }

    /// Whether a new session is the way out: what this one has seen is in the way.
    pub fn wants_new_session(&self) -> bool {
        match self.name {
            ErrorName::Stale => true,
            ErrorName::BadRequest => self.text.starts_with("prev"),
            _ => false,
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

/// End of the error message: the number and time of the attempts, and that an update may still take effect.
struct Doubt<'a>(&'a ClientError);

impl fmt::Display for Doubt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.0;
        if error.attempts > 1 {
            write!(f, "; tried {} times in {}", error.attempts, seconds(error.waited))?;
        }
        match error.doubtful {
            Some(id) => write!(f, "; update {id} may still take effect"),
            None => Ok(()),
        }
    }
}

/// A duration for people: `3 s`, `2.5 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{} s", (duration.as_secs_f64() * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use natter_common::clock::Stamp;

    #[test]
    fn headers_become_name_and_sentence() {
        let error = ClientError::from_headers("409", "RATING_EXISTS: user 42 rated movie 1 already: update it");
        assert_eq!((error.code, &error.name), (409, &ErrorName::RatingExists));
        assert_eq!(error.to_string(), "user 42 rated movie 1 already: update it (RATING_EXISTS)");
        let error = ClientError::from_headers("503", "UNAVAILABLE: all replicas are OFFLINE");
        assert_eq!(error.to_string(), "all replicas are OFFLINE (UNAVAILABLE)");
    }

    #[test]
    fn a_frontend_without_permissions_is_told_as_the_reason() {
        let missing = "the broker does not permit this frontend to publish a.b: permit it";
        for (code, header) in [
            ("504", format!("TIMEOUT: {missing}; update 0190 may still take effect: retry it with the same id")),
            ("503", format!("UNAVAILABLE: {missing}")),
        ] {
            let error = ClientError::from_headers(code, &header);
            assert_eq!(error.text, missing);
        }
    }

    #[test]
    fn headers_of_strangers_do_no_harm() {
        for (code, header, shown) in [
            ("x", "NEW_ERROR: it broke", "it broke (NEW_ERROR)"),
            ("500", "it broke: badly", "it broke: badly (ERROR)"),
            ("500", "", "the frontend gave no reason (ERROR)"),
        ] {
            let error = ClientError::from_headers(code, header);
            assert_eq!((error.code, error.to_string().as_str()), (500, shown));
        }
    }

    #[test]
    fn every_name_is_read_as_it_is_written() {
        for (text, name) in ErrorName::KNOWN {
            assert_eq!((ErrorName::parse(text), name.as_str()), (name.clone(), text));
        }
    }

    #[test]
    fn giving_up_says_how_long_and_what_may_still_happen() {
        let id = UpdateId::from_stamp(Stamp::new(1, 0), 0);
        let error = ClientError {
            doubtful: Some(id),
            attempts: 4,
            waited: Duration::from_millis(9_960),
            ..ClientError::from_headers("504", "TIMEOUT: x")
        };
        assert_eq!(
            error.to_string(),
            format!(
                "the replicas did not answer in time (TIMEOUT); tried 4 times in 10 s; update {id} may still take effect"
            )
        );
    }
}
