//! Requests of clients: read in one go where they are plain, and else field by field.

use super::FrontendError;
use super::batch::{ClientBatch, decode_batch_by_field};
use super::field::{bad, subject_user};
use super::operation::{Fields, SingleOperation};
use super::plain_request::{read_plain, read_plain_batch};
use crate::cluster::ClusterId;
use crate::ids::UpdateId;
use crate::label::Label;
use crate::request::{Query, Update};
use crate::subjects::Operation;
use crate::wire::Format;

/// Request of a client, checked.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientRequest {
    /// To modify.
    Update {
        /// The update itself.
        request: Update,
        /// The client's id for it, if it gave one.
        id: Option<UpdateId>,
        /// Label of the session, as the client sent it.
        prev: Label,
        /// The cluster in which the session has seen it, if the client says so.
        cluster: Option<ClusterId>,
    },
    /// To read.
    Query {
        /// The query itself.
        request: Query,
        /// Label of the session, as the client sent it.
        prev: Label,
        /// The cluster in which the session has seen it, if the client says so.
        cluster: Option<ClusterId>,
    },
    /// Several of these at once.
    Batch(ClientBatch),
}

impl ClientRequest {
    /// Label of the session, as the client sent it.
    pub fn prev(&self) -> &Label {
        match self {
            Self::Update { prev, .. } | Self::Query { prev, .. } | Self::Batch(ClientBatch { prev, .. }) => prev,
        }
    }

    /// The same, to be changed.
    pub fn prev_mut(&mut self) -> &mut Label {
        match self {
            Self::Update { prev, .. } | Self::Query { prev, .. } | Self::Batch(ClientBatch { prev, .. }) => prev,
        }
    }

    /// The cluster in which the session has seen that.
    pub fn cluster(&self) -> Option<&ClusterId> {
        match self {
            Self::Update { cluster, .. } | Self::Query { cluster, .. } | Self::Batch(ClientBatch { cluster, .. }) => {
                cluster.as_ref()
            }
        }
    }
}

/// Decodes a request for `operation`. `user_token` is the last token of a subject that names the user.
///
/// Fails with [`FrontendError::BadRequest`], naming the field.
///
/// # Errors
///
/// [`FrontendError::BadRequest`], which names the field, its value and the mend.
pub fn decode_request(
    operation: Operation,
    user_token: Option<&str>,
    payload: &[u8],
) -> Result<ClientRequest, FrontendError> {
    if operation == Operation::Batch {
        return decode_batch(user_token, payload).map(ClientRequest::Batch);
    }
    let of_subject = user_token.map(subject_user);
    if let Some(mut plain) = read_plain(payload)
        && let Ok(of_subject) = of_subject.transpose()
        && let cluster = plain.take_cluster()
        && let Some((operation, prev)) = plain.request(operation, of_subject)
    {
        return Ok(operation.of_session(prev, cluster));
    }
    decode_by_field(operation, user_token, payload)
}

/// Decodes a batch. `user_token` is the last token of a subject that names the user.
///
/// Fails with [`FrontendError::BadRequest`] where the batch as a whole can't be read.
fn decode_batch(user_token: Option<&str>, payload: &[u8]) -> Result<ClientBatch, FrontendError> {
    let of_subject = user_token.map(subject_user).transpose()?;
    if let Some(batch) = read_plain_batch(payload, of_subject) {
        return Ok(batch);
    }
    decode_batch_by_field(of_subject, payload)
}

/// Decodes a request whatever its fields are, to say what is wrong with one.
pub(super) fn decode_by_field(
    operation: Operation,
    user_token: Option<&str>,
    payload: &[u8],
) -> Result<ClientRequest, FrontendError> {
    let fields: Fields = Format::of(payload).decode(payload).map_err(|error| bad(error.to_string()))?;
    let (prev, cluster) = (fields.prev.label()?, fields.cluster.cluster()?);
    Ok(fields.operation(operation, || user_token.map(subject_user).transpose())?.of_session(prev, cluster))
}

impl SingleOperation {
    /// The request of a session that has seen `prev` in `cluster`.
    fn of_session(self, prev: Label, cluster: Option<ClusterId>) -> ClientRequest {
        match self {
            Self::Update { request, id } => ClientRequest::Update { request, id, prev, cluster },
            Self::Query(request) => ClientRequest::Query { request, prev, cluster },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::ids::{MovieId, UserId};

    fn refusal(operation: Operation, json: &str) -> String {
        decode_request(operation, None, json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn every_bad_field_is_named_with_its_value_and_the_mend() {
        let cases = [
            (r#"{"movie_id":1,"rating":3}"#, "user_id is missing: send an integer"),
            (r#"{"user_id":0,"movie_id":1,"rating":3}"#, "user_id: 0 is not an id"),
            (r#"{"user_id":4294967296,"movie_id":1,"rating":3}"#, "user_id: 4294967296 is not an id"),
            (r#"{"user_id":-1,"movie_id":1,"rating":3}"#, "user_id: -1"),
            (r#"{"user_id":1.5,"movie_id":1,"rating":3}"#, "user_id: 1.5"),
            (r#"{"user_id":"7","movie_id":1,"rating":3}"#, "user_id: \"7\""),
            (r#"{"user_id":7,"movie_id":[1],"rating":3}"#, "movie_id: a list"),
            (r#"{"user_id":7,"movie_id":1,"rating":4.3}"#, "rating: 4.3 is not on the scale"),
            (r#"{"user_id":7,"movie_id":1,"rating":true}"#, "rating: a boolean is not on the scale"),
            (r#"{"user_id":7,"movie_id":1}"#, "rating is missing: send 0.5"),
            (r#"{"user_id":7,"movie_id":1,"rating":3,"id":"x"}"#, "id: \"x\" is not a UUID"),
            (r#"{"user_id":7,"movie_id":1,"rating":3,"id":5}"#, "id: 5 is not a UUID"),
            (r#"{"user_id":7,"movie_id":1,"rating":3,"prev":5}"#, "prev: 5 is not a label"),
            (r#"{"user_id":7,"movie_id":1,"rating":3,"prev":{"replicas":{"a.b":1}}}"#, "\"a.b\" is not a replica id"),
            (r#"{"user_id":7,"movie_id":1,"rating":3,"prev":{"replicas":{"a":-1}}}"#, "-1 is not a count"),
            (r#"{"user_id":7,"movie_id":1,"rating":3,"prev":{"replicas":[1]}}"#, "a list is not a map of counts"),
            (r#"{"user_id":7,"movie_id":1,"rating":3,"prev":{"clock":1.5}}"#, "clock: 1.5 is not a clock"),
            (r#"{"user_id":7,"movie_id":1,"rating":3,"cluster":5}"#, "cluster: 5 is not a cluster"),
            (r#"{"user_id":7,"movie_id":1,"rating":3,"cluster":"a.b"}"#, "cluster: \"a.b\" is not a cluster"),
            (r#"{"user_id":7"#, "not a JSON object"),
        ];
        for (json, expected) in cases {
            let text = refusal(Operation::Create, json);
            assert!(text.starts_with("BAD_REQUEST: ") && text.contains(expected), "{json}: {text}");
        }
        assert!(refusal(Operation::All, r#"{"user_id":7,"limit":0}"#).contains("limit: 0 is not a limit"));
        assert!(refusal(Operation::All, r#"{"user_id":7,"after":-3}"#).contains("after: -3 is not a movie id"));
        assert!(refusal(Operation::Search, "{}").contains("title is missing"));
    }

    #[test]
    fn ratings_that_are_not_numbers_are_off_the_scale() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut payload = vec![0x83];
            for (name, value) in [("user_id", &[7u8][..]), ("movie_id", &[1]), ("rating", &[0xcb])] {
                payload.push(0xa0 | name.len() as u8);
                payload.extend(name.as_bytes());
                payload.extend(value);
            }
            payload.extend(number.to_be_bytes());
            let error = decode_request(Operation::Create, None, &payload).unwrap_err().to_string();
            assert!(error.contains("is not on the scale"), "{error}");
        }
    }

    #[test]
    fn the_user_of_the_subject_counts_and_another_in_the_payload_is_refused() {
        let read = |subject, json: &str| decode_request(Operation::Read, Some(subject), json.as_bytes());
        let expected = Query::Read { user_id: UserId::new(42).unwrap(), movie_id: MovieId::new(1).unwrap() };
        for json in [r#"{"movie_id":1}"#, r#"{"movie_id":1,"user_id":42}"#] {
            assert_eq!(
                read("42", json),
                Ok(ClientRequest::Query { request: expected.clone(), prev: Label::new(), cluster: None })
            );
        }
        for (subject, json) in [
            ("42", r#"{"movie_id":1,"user_id":43}"#),
            ("042", r#"{"movie_id":1}"#),
            ("+42", r#"{"movie_id":1}"#),
            ("0", r#"{"movie_id":1}"#),
            ("x", r#"{"movie_id":1}"#),
        ] {
            assert!(read(subject, json).is_err(), "{subject} {json}");
        }
    }

    #[test]
    fn a_whole_request_is_understood() {
        let json = r#"{"user_id":7,"movie_id":2,"rating":4,"id":"019a0000-0000-7000-8000-000000000001",
            "prev":{"replicas":{"a":3,"b":0},"clock":9},"unknown":{"x":[1]}}"#;
        let Ok(ClientRequest::Update { request, id, prev, cluster: None }) =
            decode_request(Operation::Create, None, json.as_bytes())
        else {
            panic!("refused");
        };
        assert_eq!(request.stars().unwrap().as_f64(), 4.0);
        assert!(id.is_some());
        assert_eq!((prev.replicas.to_string(), prev.clock), ("{a:3}".to_owned(), Stamp(9)));
    }
}
