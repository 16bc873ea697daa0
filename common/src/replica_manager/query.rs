//! Answering queries.

use super::waiting::{Parked, Request};
use super::{ReplicaManager, Step};
use crate::messages::{Refusal, Reply};
use crate::value::{QueryError, ValueError};

impl ReplicaManager {
    pub(super) fn handle_query(&mut self, parked: Parked, step: &mut Step<'_>) -> Result<(), ValueError> {
        let Request::Query(query) = &parked.request else { return Ok(()) };
        if let Some(missing) = self.first_missing(&query.prev, query.proven, &query.unheard, step)? {
            self.park(missing, parked, step);
            return Ok(());
        }
        let reply = match step.value.answer(&query.request) {
            Ok(value) => Reply::Answered { value, label: self.label() },
            Err(QueryError::MovieNotFound(_)) => {
                Reply::Refused { refusal: Refusal::MovieNotFound, label: self.label() }
            }
            Err(QueryError::Failed(error)) => return Err(error),
        };
        step.reply(parked.to, reply);
        Ok(())
    }
}
