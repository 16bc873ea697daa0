//! Batches of a session: several operations in one message, each with an answer of its own.

use natter_common::cluster::ClusterId;
use natter_common::counted::counted;
use natter_common::edge::{BatchReplyOf, OPERATIONS_MAX, OutcomeOf};
use natter_common::ids::{MovieId, UpdateId, UserId};
use natter_common::label::Label;
use natter_common::rating::{Average, Rating, RatingKey, Stars};
use natter_common::request::Update;
use natter_common::subjects::Operation;
use natter_common::wire;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::Client;
use crate::error::{ClientError, ErrorName};
use crate::retry::Patience;
use crate::transport::Transport;

/// One operation of a batch.
///
/// ```
/// use natter_client::session::{BatchOperation, MovieId, Stars, Update, UserId};
///
/// let (user_id, movie_id) = (UserId::new(42)?, MovieId::new(1)?);
/// let create = Update::Create { user_id, movie_id, rating: Stars::try_from(4.5)? };
/// let operations = [BatchOperation::Write(create), BatchOperation::Average { movie_id }];
/// # let _ = operations;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchOperation {
    /// A create, an update or a delete.
    Write(Update),
    /// A query of one rating.
    Read {
        /// The user that rated.
        user_id: UserId,
        /// The movie that is rated.
        movie_id: MovieId,
    },
    /// A query of a movie's average.
    Average {
        /// The movie.
        movie_id: MovieId,
    },
}

/// The answer to one operation of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchAnswer {
    /// The rating that was written, taken away or read.
    Rating(Rating),
    /// The average that was asked for.
    Average(Average),
    /// The update was done. The reply had no room for its rating.
    Done,
}

/// A batch as it is sent.
#[derive(Serialize)]
struct Request<'a> {
    operations: Vec<Fields>,
    prev: &'a Label,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a ClusterId>,
}

/// The fields of all operations. Each operation has some of them.
#[derive(Serialize)]
struct Fields {
    op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    movie_id: MovieId,
    #[serde(skip_serializing_if = "Option::is_none")]
    rating: Option<Stars>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<UpdateId>,
}

/// A rating or an average, as the operation tells.
#[derive(Deserialize)]
struct Value {
    user_id: Option<UserId>,
    movie_id: MovieId,
    title: String,
    rating: Option<Stars>,
    timestamp: Option<i64>,
    update_id: Option<UpdateId>,
    average: Option<f64>,
    count: Option<u64>,
}

/// An operation on its way.
struct Item {
    operation: BatchOperation,
    /// The id of an update, which all its attempts share.
    id: Option<UpdateId>,
    /// Whether an attempt may have taken effect.
    is_doubtful: bool,
    answer: Option<Result<BatchAnswer, ClientError>>,
}

impl<T: Transport> Client<T> {
    /// Sends operations in batches of at most 8192, and gives the answers in the order of the operations.
    ///
    /// Operations on the same rating take effect in their order, others in any order. An operation that fails is no reason
    /// for others to fail. Those that a frontend could not do in time are sent again, updates under the same id, as single
    /// requests are.
    ///
    /// ```no_run
    /// use natter_client::session::{BatchAnswer, BatchOperation, MovieId, Session, SessionError, UserId};
    ///
    /// # async fn example(session: &mut Session, user_id: UserId) -> Result<(), Box<dyn std::error::Error>> {
    /// let operations = [1, 2, 3].map(|movie| MovieId::new(movie).map(|movie_id| BatchOperation::Read { user_id, movie_id }));
    /// let operations = operations.into_iter().collect::<Result<Vec<_>, _>>()?;
    /// for answer in session.batch(&operations).await {
    ///     match answer {
    ///         Ok(BatchAnswer::Rating(rating)) => println!("{}: {:?}", rating.title, rating.rating),
    ///         Ok(_) => {}
    ///         Err(error) => println!("{error}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn batch(&mut self, operations: &[BatchOperation]) -> Vec<Result<BatchAnswer, ClientError>> {
        let mut answers = Vec::with_capacity(operations.len());
        for chunk in operations.chunks(OPERATIONS_MAX) {
            let items = chunk.iter().map(|operation| self.item(*operation)).collect();
            answers.extend(self.ask_in_batches(items).await);
        }
        answers
    }

    fn item(&mut self, operation: BatchOperation) -> Item {
        let id = matches!(operation, BatchOperation::Write(_)).then(|| self.new_update_id());
        Item { operation, id, is_doubtful: false, answer: None }
    }

    /// Sends these in one message, and what stays open again, until all have an answer or patience ends.
    async fn ask_in_batches(&mut self, mut items: Vec<Item>) -> Vec<Result<BatchAnswer, ClientError>> {
        let begun = Instant::now();
        let mut patience = Patience::new(self.settings.timeout, self.settings.patience);
        // Retries have the `prev` of the first attempt: ids made before carry stamps above that one.
        let (prev, cluster) = (self.label().clone(), self.memory.claim().cloned());
        loop {
            let mut open: Vec<&mut Item> = items.iter_mut().filter(|item| item.answer.is_none()).collect();
            let Err(error) = self.ask_once_in_batch(&mut open, &prev, cluster.as_ref()).await else { break };
            // An error of the whole batch is final; one of some operations may pass.
            let Some(pause) = patience.pause(&error.name, begun.elapsed(), fastrand::f64()) else {
                let (attempts, waited) = (patience.attempts(), begun.elapsed());
                for item in open.into_iter().filter(|item| item.answer.is_none()) {
                    item.fail(ClientError { attempts, waited, ..error.clone() });
                }
                break;
            };
            sleep(pause).await;
        }
        items.into_iter().filter_map(|item| item.answer).collect()
    }

    /// One batch. Its error is that of an operation without an answer that may have one later.
    async fn ask_once_in_batch(
        &mut self,
        items: &mut [&mut Item],
        prev: &Label,
        cluster: Option<&ClusterId>,
    ) -> Result<(), ClientError> {
        let request = Request { operations: items.iter().map(|item| item.fields()).collect(), prev, cluster };
        let marker = items.iter().find_map(|item| item.id);
        let reply = match wire::encode(&request) {
            Ok(payload) => self.ask_patiently(Operation::Batch, payload.into(), marker).await,
            Err(error) => {
                Err(ClientError::new(400, ErrorName::BadRequest, format!("the batch can't be written: {error}")))
            }
        };
        let reply = reply.and_then(|body| {
            let reply: BatchReplyOf<Value> = wire::decode(&body).map_err(ClientError::bad_reply)?;
            if reply.outcomes.len() == items.len() {
                return Ok(reply);
            }
            let wrong =
                format!("{} for {}", counted(reply.outcomes.len(), "outcome"), counted(items.len(), "operation"));
            Err(ClientError::bad_reply(wrong))
        });
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                for item in items {
                    item.is_doubtful |= error.doubtful.is_some() || error.name.leaves_doubt();
                    item.fail(error.clone());
                }
                return Ok(());
            }
        };
        self.learn(&reply.label, reply.cluster.as_ref());
        let mut open = None;
        for (item, outcome) in items.iter_mut().zip(reply.outcomes) {
            match item.take_in(outcome) {
                Err(error) if error.name.is_passing() => {
                    item.is_doubtful |= error.name.leaves_doubt();
                    open.get_or_insert(error);
                }
                Err(error) => item.fail(error),
                Ok(answer) => item.answer = Some(Ok(answer)),
            }
        }
        open.map_or(Ok(()), Err)
    }
}

impl Item {
    fn fields(&self) -> Fields {
        match self.operation {
            BatchOperation::Write(update) => {
                let op = match update {
                    Update::Create { .. } => "create",
                    Update::Update { .. } => "update",
                    Update::Delete { .. } => "delete",
                };
                let RatingKey { user_id, movie_id } = update.key();
                Fields { op, user_id: Some(user_id), movie_id, rating: update.stars(), id: self.id }
            }
            BatchOperation::Read { user_id, movie_id } => {
                Fields { op: "read", user_id: Some(user_id), movie_id, rating: None, id: None }
            }
            BatchOperation::Average { movie_id } => {
                Fields { op: "average", user_id: None, movie_id, rating: None, id: None }
            }
        }
    }

    fn take_in(&self, outcome: OutcomeOf<Value>) -> Result<BatchAnswer, ClientError> {
        if let Some(error) = outcome.error {
            let text = error.text.unwrap_or_else(|| "the frontend gave no reason".to_owned());
            return Err(ClientError::new(error.code, ErrorName::parse(&error.name), text));
        }
        let incomplete = || ClientError::bad_reply("an outcome lacks its value");
        let Some(value) = outcome.value else {
            return if self.id.is_some() { Ok(BatchAnswer::Done) } else { Err(incomplete()) };
        };
        let Value { user_id, movie_id, title, rating, timestamp, update_id, average, count } = value;
        Ok(match self.operation {
            BatchOperation::Average { .. } => {
                BatchAnswer::Average(Average { movie_id, title, average, count: count.ok_or_else(incomplete)? })
            }
            _ => {
                let user_id = user_id.ok_or_else(incomplete)?;
                BatchAnswer::Rating(Rating { user_id, movie_id, title, rating, timestamp, update_id })
            }
        })
    }

    fn fail(&mut self, error: ClientError) {
        let doubtful = self.id.filter(|_| self.is_doubtful || error.name.leaves_doubt());
        self.answer = Some(Err(ClientError { doubtful, ..error }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeFrontend, Mishap, client};

    fn user() -> UserId {
        UserId::new(42).unwrap()
    }

    fn create(movie: u32) -> BatchOperation {
        let (user_id, movie_id) = (user(), MovieId::new(movie).unwrap());
        BatchOperation::Write(Update::Create { user_id, movie_id, rating: Stars::try_from(4.5).unwrap() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_has_an_answer_for_each_operation_in_their_order() {
        let frontend = FakeFrontend::default();
        let mut client = client(&frontend);
        let movie_id = MovieId::new(1).unwrap();
        let read = BatchOperation::Read { user_id: user(), movie_id };
        let answers = client.batch(&[create(1), read, create(1), create(999)]).await;
        let rating = |answer: &Result<BatchAnswer, ClientError>| match answer {
            Ok(BatchAnswer::Rating(rating)) => rating.rating.map(Stars::as_f64),
            other => panic!("{other:?}"),
        };
        assert_eq!((rating(&answers[0]), rating(&answers[1])), (Some(4.5), Some(4.5)));
        let name = |answer: &Result<BatchAnswer, ClientError>| answer.as_ref().unwrap_err().name.clone();
        assert_eq!((name(&answers[2]), name(&answers[3])), (ErrorName::RatingExists, ErrorName::MovieNotFound));
        assert_eq!(client.label().to_string(), "{r1:1}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_batch_is_sent_again_and_done_once() {
        let frontend = FakeFrontend::with([Mishap::Lost { executed: true }, Mishap::Lost { executed: false }]);
        let mut client = client(&frontend);
        let answers = client.batch(&[create(1), create(2)]).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!(frontend.executed(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_without_an_answer_leaves_each_update_in_doubt_under_an_id_of_its_own() {
        let frontend = FakeFrontend::with((0..100).map(|_| Mishap::Lost { executed: false }));
        let mut client = client(&frontend);
        let movie_id = MovieId::new(1).unwrap();
        let answers = client.batch(&[create(1), create(2), BatchOperation::Average { movie_id }]).await;
        let doubts: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap_err().doubtful).collect();
        assert!(
            doubts[0].is_some() && doubts[1].is_some() && doubts[0] != doubts[1] && doubts[2].is_none(),
            "{doubts:?}"
        );
    }
}
