//! One operation, read field by field, so that an error can name the field, the value and the mend.

use serde::Deserialize;

use super::FrontendError;
use super::field::{Field, IdField, OPERATIONS, OperationField, bad, missing};
use crate::ids::{UpdateId, UserId};
use crate::request::{ALL_LIMIT_DEFAULT, ALL_LIMIT_MAX, Query, SEARCH_LIMIT_DEFAULT, SEARCH_LIMIT_MAX, Update};
use crate::subjects::Operation;

/// Maximum length of a title to search for, in bytes.
pub const TITLE_BYTES_MAX: usize = 1000;

/// One operation, checked, without what its session has seen.
#[derive(Clone, Debug, PartialEq)]
pub enum SingleOperation {
    /// To modify.
    Update {
        /// The update itself.
        request: Update,
        /// The client's id for it, if it gave one.
        id: Option<UpdateId>,
    },
    /// To read.
    Query(Query),
}

/// The fields of all requests, whatever their types.
#[derive(Default, Deserialize)]
#[serde(default, expecting = "an operation, {op: \"create\", user_id: 42, ...}")]
pub(super) struct Fields {
    /// In a batch: which operation.
    pub(super) op: OperationField,
    user_id: Field,
    movie_id: Field,
    rating: Field,
    title: Field,
    limit: Field,
    after: Field,
    id: IdField,
    pub(super) prev: Field,
    pub(super) cluster: Field,
}

impl Fields {
    /// As an operation of a batch.
    pub(super) fn operation_of_batch(&self, of_subject: Option<UserId>) -> Result<SingleOperation, FrontendError> {
        match self.op.operation()? {
            other @ (Operation::All | Operation::Search | Operation::Batch) => Err(bad(format!(
                "op: {} is not served in a batch: send {OPERATIONS}, and this one by itself",
                other.name()
            ))),
            operation => self.operation(operation, || Ok(of_subject)),
        }
    }

    /// As a request for `operation`. `of_subject` is the user that the subject names, if it does.
    pub(super) fn operation(
        &self,
        operation: Operation,
        of_subject: impl Fn() -> Result<Option<UserId>, FrontendError>,
    ) -> Result<SingleOperation, FrontendError> {
        let user_id = || self.user_id.user(of_subject()?);
        let movie_id = || self.movie_id.movie();
        let rating = || self.rating.stars();
        let update = |request| Ok(SingleOperation::Update { request, id: self.id.id()? });
        let query = |request| Ok(SingleOperation::Query(request));
        match operation {
            Operation::Create => {
                update(Update::Create { user_id: user_id()?, movie_id: movie_id()?, rating: rating()? })
            }
            Operation::Update => {
                update(Update::Update { user_id: user_id()?, movie_id: movie_id()?, rating: rating()? })
            }
            Operation::Delete => update(Update::Delete { user_id: user_id()?, movie_id: movie_id()? }),
            Operation::Read => query(Query::Read { user_id: user_id()?, movie_id: movie_id()? }),
            Operation::All => query(Query::All {
                user_id: user_id()?,
                limit: self.limit(ALL_LIMIT_DEFAULT, ALL_LIMIT_MAX)?,
                after: self.after()?,
            }),
            Operation::Average => query(Query::Average { movie_id: movie_id()? }),
            Operation::Search => query(Query::Search {
                title: self.title()?,
                limit: self.limit(SEARCH_LIMIT_DEFAULT, SEARCH_LIMIT_MAX)?,
            }),
            Operation::Batch => Err(bad("a batch is no single operation: send it to its own subject")),
        }
    }

    fn title(&self) -> Result<String, FrontendError> {
        match &self.title {
            Field::Text(title) if title.len() <= TITLE_BYTES_MAX => Ok(title.clone()),
            Field::Text(_) => Err(bad(format!("title: longer than {TITLE_BYTES_MAX} bytes: send a part of the title"))),
            Field::Missing => Err(missing("title", "send a part of the title")),
            other => Err(bad(format!("title: {other} is not a text: send a part of the title"))),
        }
    }

    fn limit(&self, default: u32, max: u32) -> Result<u32, FrontendError> {
        if self.limit == Field::Missing {
            return Ok(default);
        }
        let mend = format!("send an integer from 1 to {max}");
        // More than the most is met by a page of the most, which says where the next begins.
        let limit = |number| (number >= 1).then(|| u32::try_from(number).unwrap_or(max).min(max));
        self.limit.number(["limit", "a limit", &mend], limit)
    }

    fn after(&self) -> Result<u32, FrontendError> {
        if self.after == Field::Missing {
            return Ok(0);
        }
        let words = ["after", "a movie id", "send the `next` of the last page"];
        self.after.number(words, |number| u32::try_from(number).ok())
    }
}
