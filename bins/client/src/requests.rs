//! Requests as they go over the wire, and as a person reads them.

use std::fmt;

use natter_common::cluster::ClusterId;
use natter_common::ids::{MovieId, UpdateId, UserId};
use natter_common::label::Label;
use natter_common::request::{Query, Update};
use natter_common::subjects::Operation;
use natter_common::wire::{self, WireError};
use serde::Serialize;

/// A request of the client: an update or a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// To modify, under an id.
    Update(Update, UpdateId),
    /// To read.
    Query(Query),
}

impl Question {
    /// The operation, whose endpoint takes the request.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Update(Update::Create { .. }, _) => Operation::Create,
            Self::Update(Update::Update { .. }, _) => Operation::Update,
            Self::Update(Update::Delete { .. }, _) => Operation::Delete,
            Self::Query(Query::Read { .. }) => Operation::Read,
            Self::Query(Query::All { .. }) => Operation::All,
            Self::Query(Query::Average { .. }) => Operation::Average,
            Self::Query(Query::Search { .. }) => Operation::Search,
        }
    }

    /// The update's id.
    pub fn update_id(&self) -> Option<UpdateId> {
        match self {
            Self::Update(_, id) => Some(*id),
            Self::Query(_) => None,
        }
    }

    /// The user that it concerns.
    pub fn user_id(&self) -> Option<UserId> {
        match self {
            Self::Update(update, _) => Some(update.key().user_id),
            Self::Query(Query::Read { user_id, .. } | Query::All { user_id, .. }) => Some(*user_id),
            Self::Query(Query::Average { .. } | Query::Search { .. }) => None,
        }
    }

    /// A query that takes next to nothing, to learn who answers; on this user, if given, as no other may be allowed.
    pub fn anything(user_id: Option<UserId>) -> Self {
        Self::Query(match user_id {
            Some(user_id) => Query::All { user_id, limit: 1, after: u32::MAX },
            None => Query::Average { movie_id: MovieId::FIRST },
        })
    }

    /// The payload, in MessagePack. `cluster` is the one in which the session has seen `prev`.
    ///
    /// # Errors
    ///
    /// Where it can't be encoded: a bug.
    pub fn encode(&self, prev: &Label, cluster: Option<&ClusterId>) -> Result<Vec<u8>, WireError> {
        let mut fields = Fields { prev: Some(prev), cluster, ..Fields::default() };
        match self {
            Self::Update(update, id) => {
                let key = update.key();
                fields.user_id = Some(key.user_id.get());
                fields.movie_id = Some(key.movie_id.get());
                fields.rating = update.stars().map(|stars| stars.as_f64());
                fields.id = Some(*id);
            }
            Self::Query(Query::Read { user_id, movie_id }) => {
                fields.user_id = Some(user_id.get());
                fields.movie_id = Some(movie_id.get());
            }
            Self::Query(Query::All { user_id, limit, after }) => {
                fields.user_id = Some(user_id.get());
                fields.limit = Some(*limit);
                fields.after = Some(*after);
            }
            Self::Query(Query::Average { movie_id }) => fields.movie_id = Some(movie_id.get()),
            Self::Query(Query::Search { title, limit }) => {
                fields.title = Some(title);
                fields.limit = Some(*limit);
            }
        }
        wire::encode(&fields)
    }
}

/// The fields of all requests; each has some of them.
#[derive(Default, Serialize)]
struct Fields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    movie_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rating: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<UpdateId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev: Option<&'a Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a ClusterId>,
}

/// `create user=42 movie=1 rating=4.5`: what a person is told was asked.
pub struct Asked<'a>(pub &'a Question);

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.operation().name())?;
        match self.0 {
            Question::Update(update, _) => {
                write!(f, " {}", update.key())?;
                match update.stars() {
                    Some(stars) => write!(f, " rating={stars}"),
                    None => Ok(()),
                }
            }
            Question::Query(Query::Read { user_id, movie_id }) => write!(f, " user={user_id} movie={movie_id}"),
            Question::Query(Query::All { user_id, after: 0, .. }) => write!(f, " user={user_id}"),
            Question::Query(Query::All { user_id, after, .. }) => write!(f, " user={user_id} after={after}"),
            Question::Query(Query::Average { movie_id }) => write!(f, " movie={movie_id}"),
            Question::Query(Query::Search { title, .. }) => write!(f, " title={title:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use natter_common::clock::Stamp;
    use natter_common::edge::{ClientRequest, decode_request};
    use natter_common::ids::{MovieId, ReplicaId, UserId};
    use natter_common::rating::Stars;

    #[test]
    fn frontends_understand_every_request_as_it_was_meant() {
        let (user_id, movie_id) = (UserId::new(42).unwrap(), MovieId::new(7).unwrap());
        let rating = Stars::try_from(4.5).unwrap();
        let id = UpdateId::from_stamp(Stamp::new(1_000, 2), 3);
        let prev = Label { replicas: [(ReplicaId::new("a").unwrap(), 3)].into_iter().collect(), clock: Stamp(99) };
        let cluster = ClusterId::new("c").unwrap();
        for (question, shown) in [
            (Question::Update(Update::Create { user_id, movie_id, rating }, id), "create user=42 movie=7 rating=4.5"),
            (Question::Update(Update::Update { user_id, movie_id, rating }, id), "update user=42 movie=7 rating=4.5"),
            (Question::Update(Update::Delete { user_id, movie_id }, id), "delete user=42 movie=7"),
            (Question::Query(Query::Read { user_id, movie_id }), "read user=42 movie=7"),
            (Question::Query(Query::All { user_id, limit: 9, after: 0 }), "all user=42"),
            (Question::Query(Query::All { user_id, limit: 9, after: 5 }), "all user=42 after=5"),
            (Question::Query(Query::Average { movie_id }), "average movie=7"),
            (Question::Query(Query::Search { title: "toy \"s".into(), limit: 5 }), "search title=\"toy \\\"s\""),
        ] {
            let payload = question.encode(&prev, Some(&cluster)).unwrap();
            let understood = decode_request(question.operation(), None, &payload).unwrap();
            let meant = match &question {
                Question::Update(request, id) => ClientRequest::Update {
                    request: *request,
                    id: Some(*id),
                    prev: prev.clone(),
                    cluster: Some(cluster.clone()),
                },
                Question::Query(request) => ClientRequest::Query {
                    request: request.clone(),
                    prev: prev.clone(),
                    cluster: Some(cluster.clone()),
                },
            };
            assert_eq!(understood, meant);
            assert_eq!(Asked(&question).to_string(), shown);
        }
    }
}
