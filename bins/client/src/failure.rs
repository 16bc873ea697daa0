//! Report of a request that was not done: an exit status, a sentence and a JSON object.

use std::process::ExitCode;

use natter_broker::connection::ConnectError;
use natter_common::ids::UpdateId;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{ClientError, ErrorName};
use crate::import::{ImportError, JournalError, RejectsError};
use crate::show;

/// Exit status other than 0. `client --help`, RUNNING.md and PROTOCOL.md list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Not done for a reason of its own: a file, or an answer that cannot be read.
    Failed = 1,
    /// Wrong command line. clap uses the same number.
    Usage = 2,
    /// Refused: the request, the rating that is there already, or the credentials.
    Refused = 3,
    /// No such movie, or no such rating.
    NotFound = 4,
    /// No broker, frontend or replica answered in time. An update may still take effect.
    Unavailable = 5,
    /// No reachable replica holds what the session has seen, or the session belongs to another cluster.
    Stale = 6,
    /// Ended by ctrl-c: 128 and the signal's number.
    Interrupted = 130,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// Why the program did not do what it was asked. Serialised, it is what `--json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    #[allow(missing_docs)]
    #[serde(skip)]
    pub status: Status,
    /// HTTP-like code, as in [`ClientError::code`].
    pub code: u16,
    /// Name of the wire contract, or of the client's own.
    pub name: String,
    /// Sentence for people.
    pub message: String,
    /// Id of the update that may have taken effect or still may: the same command with `--id` is a safe retry.
    pub update_id: Option<UpdateId>,
    /// Result of the part that was done, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Steps of the request, where it was traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Box<Value>>,
}

impl Failure {
    /// A failure that concerns no update.
    pub fn new(status: Status, code: u16, name: &str, message: impl Into<String>) -> Self {
        Self { status, code, name: name.to_owned(), message: message.into(), update_id: None, value: None, trace: None }
    }

    /// Adds the result of the part that was done.
    #[must_use]
    pub fn with_value(self, value: Value) -> Self {
        Self { value: Some(value), ..self }
    }

    /// Adds the steps of a traced request.
    #[must_use]
    pub fn with_trace(self, trace: Value) -> Self {
        Self { trace: Some(Box::new(trace)), ..self }
    }

    /// A wrong command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Status::Usage, 400, "USAGE", message)
    }

    /// A file, standard input or standard output that cannot be used.
    pub fn file(message: impl Into<String>) -> Self {
        Self::new(Status::Failed, 500, "FILE", message)
    }

    /// The JSON object on one line.
    pub fn to_json(&self) -> String {
        // Strings, numbers and a UUID always encode.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Exit status for an error of a request.
fn status_of(error: &ClientError) -> Status {
    match &error.name {
        ErrorName::BadRequest | ErrorName::RatingExists | ErrorName::Denied | ErrorName::TooLarge => Status::Refused,
        ErrorName::MovieNotFound | ErrorName::RatingNotFound => Status::NotFound,
        ErrorName::Stale => Status::Stale,
        ErrorName::Unavailable
        | ErrorName::Overloaded
        | ErrorName::NotEnoughReplicas
        | ErrorName::Timeout
        | ErrorName::NoFrontend
        | ErrorName::NoAnswer => Status::Unavailable,
        ErrorName::BadReply | ErrorName::ReplyTooLarge => Status::Failed,
        ErrorName::Other(_) => match error.code {
            404 => Status::NotFound,
            400..=499 => Status::Refused,
            503 | 504 => Status::Unavailable,
            _ => Status::Failed,
        },
    }
}

impl From<&ClientError> for Failure {
    fn from(error: &ClientError) -> Self {
        let message = show::clean(&error.to_string());
        let failure = Self::new(status_of(error), error.code, error.name.as_str(), message);
        Self { update_id: error.doubtful, ..failure }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let (status, code, name) = match &error {
            ConnectError::Target(_) => return Self::usage(error.to_string()),
            ConnectError::Refused { .. } => (Status::Refused, 401, "NOT_AUTHORIZED"),
            ConnectError::Untrusted { .. } => (Status::Refused, 401, "NOT_TRUSTED"),
            ConnectError::NoBroker { .. } => (Status::Unavailable, 503, "NO_BROKER"),
        };
        Self::new(status, code, name, error.to_string())
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        let message = show::clean(&error.to_string());
        match &error {
            ImportError::Stopped { done, error } => {
                Self { message, ..Self::from(&**error) }.with_value(json!({"done": done}))
            }
            ImportError::Journal { error: JournalError::Busy | JournalError::Changed, .. } => {
                Self::new(Status::Refused, 409, "IMPORT_BEGUN", message)
            }
            ImportError::Rejects { error: RejectsError::Source(_), .. } => Self::usage(message),
            ImportError::Header { .. } => Self::new(Status::Failed, 400, "FILE", message),
            ImportError::Unreadable { .. } | ImportError::Journal { .. } | ImportError::Rejects { .. } => {
                Self::file(message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use natter_common::clock::Stamp;

    #[test]
    fn every_error_has_the_exit_status_of_its_kind() {
        for (code, text, status) in [
            ("400", "BAD_REQUEST: x", Status::Refused),
            ("409", "RATING_EXISTS: x", Status::Refused),
            ("404", "MOVIE_NOT_FOUND: x", Status::NotFound),
            ("404", "RATING_NOT_FOUND: x", Status::NotFound),
            ("503", "UNAVAILABLE: x", Status::Unavailable),
            ("503", "OVERLOADED: x", Status::Unavailable),
            ("503", "NOT_ENOUGH_REPLICAS: x", Status::Unavailable),
            ("504", "TIMEOUT: x", Status::Unavailable),
            ("504", "STALE: x", Status::Stale),
            ("504", "NEW_NAME: x", Status::Unavailable),
            ("403", "NEW_NAME: x", Status::Refused),
            ("404", "NEW_NAME: x", Status::NotFound),
            ("what", "", Status::Failed),
        ] {
            let failure = Failure::from(&ClientError::from_headers(code, text));
            assert_eq!(failure.status, status, "{code} {text}");
        }
        let statuses = [
            Status::Failed,
            Status::Usage,
            Status::Refused,
            Status::NotFound,
            Status::Unavailable,
            Status::Stale,
            Status::Interrupted,
        ];
        for (n, status) in statuses.iter().enumerate() {
            assert!(*status as u8 != 0 && statuses[n + 1..].iter().all(|other| other != status));
        }
    }

    #[test]
    fn json_of_a_failure_has_code_name_message_and_update_id() {
        let id = UpdateId::from_stamp(Stamp::new(1, 0), 0);
        let error = ClientError { doubtful: Some(id), ..ClientError::from_headers("504", "TIMEOUT: x") };
        let value: serde_json::Value = serde_json::from_str(&Failure::from(&error).to_json()).unwrap();
        assert_eq!((&value["code"], &value["name"]), (&504.into(), &"TIMEOUT".into()));
        assert_eq!(value["update_id"], id.to_string());
        assert!(value["message"].as_str().unwrap().contains("may still take effect"));
        let value: serde_json::Value = serde_json::from_str(&Failure::usage("no \"user\"").to_json()).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 4);
        assert!(value["update_id"].is_null() && value["message"] == "no \"user\"");
    }
}
