//! Sessions (guarantee 1): an answer reflects `prev`, and exactly what its label says; so a session reads its own
//! writes and never reads backwards, which is checked once more by what it saw.

use std::collections::BTreeMap;

use natter_common::clock::Stamp;
use natter_common::edge::{ClientReply, FrontendError};
use natter_common::ids::{ReplicaId, UpdateId};
use natter_common::label::Label;
use natter_common::messages::Refusal;
use natter_common::rating::{Rating, RatingKey, Stars};
use natter_common::record::Record;
use natter_common::request::{Answer, Query, Update};

use super::ledger::Ledger;
use super::{Violation, check};
use crate::simulation::client::{Asked, Operation};
use crate::simulation::message::ClientAnswer;
use crate::simulation::value::{Rows, answer};

/// Order of two updates of one key: the greater one stands.
type Order = (Stamp, Option<UpdateId>, Option<Stars>, i64);

/// The latest that each session saw, or wrote, of each key.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    seen: BTreeMap<(ReplicaId, RatingKey), Order>,
}

impl Sessions {
    /// An operation has an answer. `is_lost` says of an update whether no replica is left that holds it.
    pub fn answered(
        &mut self,
        ledger: &Ledger,
        operation: &Operation,
        answer: &ClientAnswer,
        is_lost: &dyn Fn(UpdateId) -> bool,
    ) -> Result<(), Violation> {
        let label = match answer {
            Ok(ClientReply { label, .. }) | Err(FrontendError::Refused { label, .. }) => label,
            Err(FrontendError::BadRequest(text)) => {
                // An id that old is refused: its fate is not known any more.
                let is_good = !text.contains("made more than a minute ago");
                return check(!is_good, "a good request is not called bad", || format!("{operation:?}: {text}"));
            }
            Err(_) => return Ok(()),
        };
        check(label.clock >= ledger.greatest_stamp(&label.replicas), "the clock of a label", || format!("{label:?}"))?;
        match (&operation.asked, answer) {
            (Asked::Query(query), Ok(reply)) => self.query(ledger, operation, query, reply, is_lost),
            (Asked::Update(update), Ok(reply)) => self.update(ledger, operation, update, reply),
            (_, Err(FrontendError::Refused { refusal, label, .. })) => refused(ledger, operation, *refusal, label),
            (_, Err(_)) => Ok(()),
        }
    }

    fn query(
        &mut self,
        ledger: &Ledger,
        operation: &Operation,
        query: &Query,
        reply: &ClientReply,
        is_lost: &dyn Fn(UpdateId) -> bool,
    ) -> Result<(), Violation> {
        covers_prev(ledger, operation, &reply.label)?;
        let rows = ledger.rows_at(&reply.label.replicas);
        let expected = answer(&rows, query).ok();
        check(expected.as_ref() == Some(&reply.value), "an answer is what its label says", || {
            format!("{operation:?} got {reply:?} instead of {expected:?}")
        })?;
        match &reply.value {
            Answer::Rating(rating) => {
                let key = RatingKey { user_id: rating.user_id, movie_id: rating.movie_id };
                self.sees(operation, key, &rows, is_lost)
            }
            Answer::Ratings(ratings) => ratings.ratings.iter().try_for_each(|rating| {
                let key = RatingKey { user_id: rating.user_id, movie_id: rating.movie_id };
                self.sees(operation, key, &rows, is_lost)
            }),
            Answer::Average(_) | Answer::Movies(_) => Ok(()),
        }
    }

    fn sees(
        &mut self,
        operation: &Operation,
        key: RatingKey,
        rows: &Rows,
        is_lost: &dyn Fn(UpdateId) -> bool,
    ) -> Result<(), Violation> {
        let order = rows.get(&key).map(|row| row.order()).unwrap_or_default();
        let seen = self.seen.entry((operation.session.clone(), key)).or_default();
        // Whether so much may be lost, is not for this to say.
        check(order >= *seen || seen.1.is_some_and(is_lost), "read your writes, monotonic reads", || {
            format!("{operation:?} sees {order:?} after {seen:?}")
        })?;
        *seen = order;
        Ok(())
    }

    fn update(
        &mut self,
        ledger: &Ledger,
        operation: &Operation,
        update: &Update,
        reply: &ClientReply,
    ) -> Result<(), Violation> {
        // A frontend may lower a clock that is ahead, to that of a replica that covers the label: no lower than this.
        let seen = ledger.greatest_stamp(&operation.prev.replicas).min(operation.prev.clock);
        for record in ledger.named(&reply.label.replicas).filter(|record| record.request.is_some()) {
            check(record.stamp > seen, "a write follows what its session saw", || {
                format!("{operation:?} was stamped {}, not above {seen}", record.stamp)
            })?;
            if let (Update::Delete { .. }, Answer::Rating(rating)) = (update, &reply.value) {
                took_away(ledger, record, rating)?;
            }
            let seen = self.seen.entry((operation.session.clone(), update.key())).or_default();
            *seen = (*seen).max(record.row().map(|(_, row)| row.order()).unwrap_or_default());
        }
        Ok(())
    }
}

fn covers_prev(ledger: &Ledger, operation: &Operation, label: &Label) -> Result<(), Violation> {
    // Includes what the label left out of `prev` by then.
    check(ledger.covers(&label.replicas, &operation.seen), "an answer reflects prev", || {
        format!("{operation:?} got {label}")
    })
}

/// A delete tells the rating that it took away, which its record depends on; or none, where a greater stamp stands.
fn took_away(ledger: &Ledger, delete: &Record, told: &Rating) -> Result<(), Violation> {
    let Some((key, own)) = delete.row() else { return Ok(()) };
    let right = if let Some(stars) = told.rating {
        let mut before = delete.prev.clone();
        before.set(&delete.i, delete.seq - 1);
        let stood = ledger.rows_at(&before).get(&key).copied();
        stood
            .is_some_and(|row| row.order() < own.order() && (row.stars, row.update_id) == (Some(stars), told.update_id))
    } else {
        let rows = ledger.all().filter_map(|record| record.row()).filter(|(other, _)| *other == key);
        rows.map(|(_, row)| row).any(|row| row.stars.is_some() && row.order() > own.order())
    };
    check(right, "a delete tells what it took away", || format!("{delete:?} tells {told:?}"))
}

fn refused(ledger: &Ledger, operation: &Operation, refusal: Refusal, label: &Label) -> Result<(), Violation> {
    covers_prev(ledger, operation, label)?;
    let Asked::Update(update) = &operation.asked else { return Ok(()) };
    let row = ledger.rows_at(&label.replicas).get(&update.key()).copied();
    let exists = row.is_some_and(|row| row.stars.is_some());
    let right = match refusal {
        Refusal::MovieNotFound => false,
        Refusal::RatingExists => exists && matches!(update, Update::Create { .. }),
        Refusal::RatingNotFound => !exists && !matches!(update, Update::Create { .. }),
    };
    check(right, "a refusal is what its label says", || format!("{operation:?} got {refusal:?} {label}: {row:?}"))
}
