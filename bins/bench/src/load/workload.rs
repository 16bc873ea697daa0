//! Requests of a measurement, and checks of the answers.

use async_nats::{Message, StatusCode, Subject};
use bytes::Bytes;

use super::job::Outcome;

/// Makes requests and checks replies. A *slot* is a request's place among those that are open: a number that is used again
/// once its reply has come.
pub(super) trait Workload {
    /// The next request of a slot that has none open.
    fn request(&mut self, slot: usize) -> (Subject, Bytes);

    /// Takes in the reply to a slot's request; the error says why it is wrong.
    fn reply(&mut self, slot: usize, message: &Message) -> Result<(), String>;

    /// Notes that a slot's request was not answered.
    fn unanswered(&mut self, slot: usize);

    /// Returns the number of operations in a request.
    fn operations(&self) -> u64 {
        1
    }

    /// Adds what it counted itself.
    fn tell(&self, _outcome: &mut Outcome) {}
}

/// Returns the error that the headers state: no responder, or an error of a service.
pub(crate) fn error_in_headers(message: &Message) -> Option<String> {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Some("nobody answers at this subject".to_owned());
    }
    if let Some(status) = message.status {
        return Some(format!("status {status}: {}", message.description.as_deref().unwrap_or_default()));
    }
    let headers = message.headers.as_ref()?;
    headers.get("Nats-Service-Error").map(|text| text.as_str().to_owned())
}
