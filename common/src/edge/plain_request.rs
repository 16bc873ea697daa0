//! The requests that most clients send, read in one go: a MessagePack map of the fields of one rating, or a batch of such.
//!
//! Any other request, valid or not, is read field by field in `operation`, which can name the error. So this accepts no
//! request that is refused there; a test compares the two.

use rmp::decode;

use super::FrontendError;
use super::batch::{Answers, ClientBatch, OPERATIONS_MAX};
use super::operation::SingleOperation;
use crate::clock::Stamp;
use crate::cluster::ClusterId;
use crate::ids::{MovieId, ReplicaId, UpdateId, UserId};
use crate::label::Label;
use crate::rating::Stars;
use crate::request::{Query, Update};
use crate::subjects::Operation;
use crate::timestamp::Timestamp;

/// The fields that such a request may have.
#[derive(Default)]
pub(super) struct Plain {
    /// In a batch: which operation.
    operation: Option<Operation>,
    user_id: Option<UserId>,
    movie_id: Option<MovieId>,
    rating: Option<Stars>,
    id: Option<UpdateId>,
    prev: Option<Label>,
    cluster: Option<ClusterId>,
}

/// Reads all of `payload`.
pub(super) fn read_plain(payload: &[u8]) -> Option<Plain> {
    let mut reader = Reader(payload);
    let plain = reader.plain()?;
    (reader.0.is_empty() && plain.operation.is_none()).then_some(plain)
}

/// Reads all of `payload`, as a batch. `of_subject` is the user that the subject names, if it does.
pub(super) fn read_plain_batch(payload: &[u8], of_subject: Option<UserId>) -> Option<ClientBatch> {
    let mut reader = Reader(payload);
    let (mut operations, mut prev, mut cluster, mut answers) = (None, None, None, None);
    for _ in 0..reader.map()? {
        let is_first = match reader.text()? {
            "operations" => operations.replace(reader.operations(of_subject)?).is_none(),
            "prev" => prev.replace(reader.label()?).is_none(),
            "cluster" => cluster.replace(reader.cluster()?).is_none(),
            "answers" => answers.replace(reader.answers()?).is_none(),
            _ => false,
        };
        if !is_first {
            return None;
        }
    }
    let (prev, answers) = (prev.unwrap_or_default(), answers.unwrap_or_default());
    reader.0.is_empty().then_some(ClientBatch { operations: operations?, prev, cluster, answers })
}

impl Plain {
    /// The cluster in which the session has seen `prev`.
    pub(super) fn take_cluster(&mut self) -> Option<ClusterId> {
        self.cluster.take()
    }

    /// As a request for `operation`, and what the session has seen. `of_subject` is the user that the subject names, if it
    /// does.
    pub(super) fn request(self, operation: Operation, of_subject: Option<UserId>) -> Option<(SingleOperation, Label)> {
        let user_id = match (self.user_id, of_subject) {
            (Some(user_id), Some(of_subject)) if user_id != of_subject => return None,
            (user_id, of_subject) => user_id.or(of_subject),
        };
        let (user_id, movie_id) = (user_id?, self.movie_id?);
        let request = match operation {
            Operation::Create => Update::Create { user_id, movie_id, rating: self.rating? },
            Operation::Update => Update::Update { user_id, movie_id, rating: self.rating? },
            Operation::Delete => Update::Delete { user_id, movie_id },
            Operation::Read => {
                let query = Query::Read { user_id, movie_id };
                return Some((SingleOperation::Query(query), self.prev.unwrap_or_default()));
            }
            Operation::All | Operation::Average | Operation::Search | Operation::Batch => return None,
        };
        Some((SingleOperation::Update { request, id: self.id }, self.prev.unwrap_or_default()))
    }
}

/// Bytes that are not read yet.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn plain(&mut self) -> Option<Plain> {
        let mut plain = Plain::default();
        for _ in 0..self.map()? {
            let is_first = match self.text()? {
                "user_id" => plain.user_id.replace(UserId::try_from(self.number()?).ok()?).is_none(),
                "movie_id" => plain.movie_id.replace(MovieId::try_from(self.number()?).ok()?).is_none(),
                "rating" => plain.rating.replace(self.stars()?).is_none(),
                "id" => plain.id.replace(self.update_id()?).is_none(),
                "prev" => plain.prev.replace(self.label()?).is_none(),
                "cluster" => plain.cluster.replace(self.cluster()?).is_none(),
                "op" => plain.operation.replace(self.operation()?).is_none(),
                _ => false,
            };
            if !is_first {
                return None;
            }
        }
        Some(plain)
    }

    fn operations(&mut self, of_subject: Option<UserId>) -> Option<Vec<Result<SingleOperation, FrontendError>>> {
        let count = self.list()?;
        // The length is only a claim of the sender.
        if count > OPERATIONS_MAX {
            return None;
        }
        let mut operations = Vec::with_capacity(count);
        for _ in 0..count {
            let plain = self.plain()?;
            let operation = plain.operation?;
            let (operation, _) = plain.request(operation, of_subject)?;
            operations.push(Ok(operation));
        }
        Some(operations)
    }
}

impl<'a> Reader<'a> {
    /// Reads the number of entries of a map.
    fn map(&mut self) -> Option<u32> {
        decode::read_map_len(&mut self.0).ok()
    }

    /// Reads the number of items of a list.
    fn list(&mut self) -> Option<usize> {
        usize::try_from(decode::read_array_len(&mut self.0).ok()?).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let (text, rest) = decode::read_str_from_slice(self.0).ok()?;
        self.0 = rest;
        Some(text)
    }

    /// An integer that is not negative.
    fn number(&mut self) -> Option<u64> {
        decode::read_int(&mut self.0).ok()
    }

    /// The name of an operation.
    fn operation(&mut self) -> Option<Operation> {
        let name = self.text()?;
        Operation::ALL.into_iter().find(|operation| operation.name() == name)
    }

    fn answers(&mut self) -> Option<Answers> {
        match self.text()? {
            "full" => Some(Answers::Full),
            "brief" => Some(Answers::Brief),
            _ => None,
        }
    }

    fn stars(&mut self) -> Option<Stars> {
        let stars = match *self.0.first()? {
            0xcb => decode::read_f64(&mut self.0).ok()?,
            0xca => decode::read_f32(&mut self.0).ok()?.into(),
            _ => self.number()? as f64,
        };
        Stars::try_from(stars).ok()
    }

    fn update_id(&mut self) -> Option<UpdateId> {
        uuid::Uuid::try_parse(self.text()?).ok().map(UpdateId::from_uuid)
    }

    fn cluster(&mut self) -> Option<ClusterId> {
        ClusterId::known(self.text()?).ok()
    }

    /// A label, both of whose fields may be left out.
    fn label(&mut self) -> Option<Label> {
        let (mut replicas, mut clock) = (None, None);
        for _ in 0..self.map()? {
            let is_first = match self.text()? {
                "replicas" => {
                    let entry = |reader: &mut Self| Some((ReplicaId::known(reader.text()?).ok()?, reader.number()?));
                    let entries = (0..self.map()?).map(|_| entry(self)).collect::<Option<Vec<_>>>()?;
                    let count = entries.len();
                    let entries: Timestamp = entries.into_iter().collect();
                    // An id that stands twice, or with 0, leaves fewer.
                    entries.len() == count && replicas.replace(entries).is_none()
                }
                "clock" => clock.replace(Stamp(self.number()?)).is_none(),
                _ => false,
            };
            if !is_first {
                return None;
            }
        }
        Some(Label { replicas: replicas.unwrap_or_default(), clock: clock.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests;
