//! A frontend for tests: in memory, with a script of what goes wrong.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use natter_common::clock::Stamp;
use natter_common::cluster::{ClusterId, ClusterNames};
use natter_common::edge::{
    Answers, BatchReply, ClientBatch, ClientReply, ClientRequest, FrontendError, Outcome, SingleOperation,
    decode_request, encode_batch_reply, encode_reply,
};
use natter_common::ids::{MovieId, ReplicaId, UpdateId, UserId};
use natter_common::label::Label;
use natter_common::messages::Refusal;
use natter_common::rating::{Average, Movie, Movies, Rating, RatingKey, Ratings, Stars};
use natter_common::request::{Answer, Query, Update};
use natter_common::subjects::Operation;
use natter_common::timestamp::Timestamp;
use natter_common::wire::Format;

use crate::api::{Client, Settings};
use crate::memory::Memory;
use crate::transport::{Response, Transport, TransportError};

/// 2026-07-30.
const TIMESTAMP: i64 = 1_785_369_600;

/// A fault that a test injects into a request. `executed` tells whether the request is executed before it.
pub(crate) enum Mishap {
    Error(u16, &'static str),
    Lost { executed: bool },
    NoFrontend,
    TooLarge,
}

/// One frontend with all replicas behind it.
#[derive(Default)]
pub(crate) struct FakeFrontend {
    state: RefCell<State>,
    /// Number of requests until there is no frontend.
    left: Option<Cell<usize>>,
    /// Size of the largest request that the broker takes, in bytes.
    max_payload: Option<usize>,
    names: RefCell<ClusterNames>,
    /// Replicas that it calls retired in each answer.
    pub(crate) retired: Timestamp,
}

#[derive(Default)]
struct State {
    ratings: BTreeMap<RatingKey, (Stars, UpdateId)>,
    executed: BTreeMap<UpdateId, Result<ClientReply, FrontendError>>,
    count: u64,
    mishaps: VecDeque<Mishap>,
    asked: Vec<(Operation, ClientRequest)>,
}

const MOVIES: [(u32, &str, &[&str]); 4] = [
    (1, "Toy Story (1995)", &["Animation", "Comedy"]),
    (2, "Jumanji (1995)", &["Adventure"]),
    (7, "Sabrina (1995)", &["Comedy", "Romance"]),
    (3114, "Toy Story 2 (1999)", &[]),
];

pub(crate) fn client(frontend: &FakeFrontend) -> Client<&FakeFrontend> {
    Client::new(frontend, Memory::unkept(), Settings::default())
}

impl FakeFrontend {
    /// A frontend with faults for the next requests, one each.
    pub(crate) fn with(mishaps: impl IntoIterator<Item = Mishap>) -> Self {
        let fake = Self::default();
        fake.state.borrow_mut().mishaps.extend(mishaps);
        fake
    }

    /// Takes the frontend away after this number of further requests.
    pub(crate) fn answers_at_most(&mut self, requests: usize) {
        self.left = Some(Cell::new(requests));
    }

    /// Larger requests are refused by the broker.
    pub(crate) fn takes_at_most(&mut self, bytes: usize) {
        self.max_payload = Some(bytes);
    }

    /// From now on its cluster is this one; also known by its aliases.
    pub(crate) fn serve(&self, cluster: &str, aliases: &[&str]) {
        let id = |text: &str| ClusterId::new(text).unwrap();
        let aliases = aliases.iter().map(|text| id(text)).collect();
        self.names.replace(ClusterNames { id: Some(id(cluster)), aliases });
    }

    /// Number of updates that took effect, each id counted once.
    pub(crate) fn executed(&self) -> usize {
        self.state.borrow().executed.values().filter(|answer| answer.is_ok()).count()
    }

    /// A rating as it stands.
    pub(crate) fn stars(&self, key: RatingKey) -> Option<Stars> {
        self.state.borrow().ratings.get(&key).map(|(stars, _)| *stars)
    }

    pub(crate) fn asked(&self) -> Vec<(Operation, ClientRequest)> {
        self.state.borrow().asked.clone()
    }

    /// The ids of all updates that arrived, in their order.
    pub(crate) fn ids(&self) -> Vec<UpdateId> {
        let id = |(_, request): (Operation, ClientRequest)| match request {
            ClientRequest::Update { id, .. } => id,
            _ => None,
        };
        self.asked().into_iter().filter_map(id).collect()
    }

    /// Rates every movie that there is, up to `count`, for `all`.
    pub(crate) fn rate_many(&self, user: u32, count: u32) {
        let mut state = self.state.borrow_mut();
        for movie in 1..=count {
            let key = RatingKey { user_id: UserId::new(user).unwrap(), movie_id: MovieId::new(movie).unwrap() };
            state.ratings.insert(key, (Stars::from_half_stars(8).unwrap(), UpdateId::from_stamp(Stamp(1), 1)));
        }
    }
}

impl Transport for &FakeFrontend {
    async fn request(&self, operation: Operation, payload: Bytes, limit: Duration) -> Result<Response, TransportError> {
        if self.max_payload.is_some_and(|max| payload.len() > max) {
            return Err(TransportError::TooLarge);
        }
        if let Some(left) = &self.left {
            match left.get().checked_sub(1) {
                Some(rest) => left.set(rest),
                None => return Err(TransportError::NoFrontend),
            }
        }
        let request = decode_request(operation, None, &payload).unwrap();
        let mishap = {
            let mut state = self.state.borrow_mut();
            state.asked.push((operation, request.clone()));
            state.mishaps.pop_front()
        };
        let names = self.names.borrow().clone();
        match mishap {
            None => {
                let mut state = self.state.borrow_mut();
                let cluster = names.id.as_ref();
                let other = request.cluster().zip(cluster).filter(|(theirs, _)| !names.contain(theirs));
                let encoded = if let Some((theirs, ours)) = other {
                    let error = FrontendError::OtherCluster { theirs: theirs.clone(), ours: ours.clone() };
                    encode_reply(&Err(error), cluster, Format::MessagePack).unwrap()
                } else {
                    match request {
                        ClientRequest::Batch(batch) => {
                            encode_batch_reply(&state.execute_all(batch), cluster, Format::MessagePack, 1 << 20)
                                .unwrap()
                        }
                        single => encode_reply(&state.execute(single), cluster, Format::MessagePack).unwrap(),
                    }
                };
                let error = encoded.error.map(|(code, text)| (code.to_string(), text));
                let (cluster, retired) = (encoded.cluster, self.retired.clone());
                Ok(Response { error, cluster, lost: Timestamp::new(), retired, body: encoded.body.into() })
            }
            Some(Mishap::Error(code, text)) => {
                let error = Some((code.to_string(), text.to_owned()));
                Ok(Response {
                    error,
                    cluster: names.id,
                    lost: Timestamp::new(),
                    retired: Timestamp::new(),
                    body: Bytes::new(),
                })
            }
            Some(Mishap::Lost { executed }) => {
                if executed {
                    let mut state = self.state.borrow_mut();
                    match request {
                        ClientRequest::Batch(batch) => drop(state.execute_all(batch)),
                        single => drop(state.execute(single)),
                    }
                }
                tokio::time::sleep(limit).await;
                Err(TransportError::NoAnswer)
            }
            Some(Mishap::NoFrontend) => Err(TransportError::NoFrontend),
            Some(Mishap::TooLarge) => Err(TransportError::TooLarge),
        }
    }

    fn place(&self) -> String {
        "the prefix \"ratings\" at nats://fake:4222".to_owned()
    }
}

impl State {
    fn label(&self) -> Label {
        let replica = ReplicaId::new("r1").unwrap();
        Label { replicas: [(replica, self.count)].into_iter().collect(), clock: Stamp(self.count) }
    }

    fn execute(&mut self, request: ClientRequest) -> Result<ClientReply, FrontendError> {
        match request {
            ClientRequest::Update { request, id, .. } => {
                let id = id.unwrap();
                if let Some(answer) = self.executed.get(&id) {
                    return answer.clone();
                }
                let answer = self.write(request, id);
                if answer.is_ok() {
                    self.executed.insert(id, answer.clone());
                }
                answer
            }
            ClientRequest::Query { request, .. } => {
                let replicas = vec![ReplicaId::new("r1").unwrap()];
                Ok(ClientReply { value: self.answer(request)?, label: self.label(), replicas })
            }
            ClientRequest::Batch(_) => panic!("a batch is no single request"),
        }
    }

    fn execute_all(&mut self, batch: ClientBatch) -> BatchReply {
        let mut execute = |operation| match operation {
            Err(error) => Outcome::Failed(error),
            Ok(SingleOperation::Update { request, id }) => {
                match self.execute(ClientRequest::Update { request, id, prev: Label::new(), cluster: None }) {
                    Ok(_) if batch.answers == Answers::Brief => Outcome::Done,
                    Ok(reply) => Outcome::Written(reply),
                    Err(error) => Outcome::Failed(error),
                }
            }
            Ok(SingleOperation::Query(request)) => {
                let answer = self.execute(ClientRequest::Query { request, prev: Label::new(), cluster: None });
                answer.map_or_else(Outcome::Failed, Outcome::Read)
            }
        };
        let outcomes = batch.operations.into_iter().map(&mut execute).collect();
        BatchReply { outcomes, label: self.label(), replicas: Vec::new(), copies: None }
    }

    fn write(&mut self, update: Update, id: UpdateId) -> Result<ClientReply, FrontendError> {
        let key = update.key();
        let title = self.title(key.movie_id)?;
        let stands = self.ratings.get(&key).map(|(stars, _)| *stars);
        let shown = match (update, stands) {
            (Update::Create { .. }, Some(_)) => {
                return self.refuse(
                    Refusal::RatingExists,
                    format!("user {} has rated movie {}: update it", key.user_id, key.movie_id),
                );
            }
            (Update::Update { .. } | Update::Delete { .. }, None) => {
                let text = format!(
                    "user {} has not rated movie {}: check both numbers, or create it",
                    key.user_id, key.movie_id
                );
                return self.refuse(Refusal::RatingNotFound, text);
            }
            (Update::Delete { .. }, stands) => {
                self.ratings.remove(&key);
                stands
            }
            (Update::Create { rating, .. } | Update::Update { rating, .. }, _) => {
                self.ratings.insert(key, (rating, id));
                Some(rating)
            }
        };
        self.count += 1;
        let value = Answer::Rating(Rating {
            user_id: key.user_id,
            movie_id: key.movie_id,
            title,
            rating: shown,
            timestamp: Some(TIMESTAMP),
            update_id: Some(id),
        });
        let replicas = ["r1", "r2"].map(|id| ReplicaId::new(id).unwrap()).to_vec();
        Ok(ClientReply { value, label: self.label(), replicas })
    }

    fn refuse<V>(&self, refusal: Refusal, text: String) -> Result<V, FrontendError> {
        Err(FrontendError::Refused { refusal, text, label: self.label() })
    }

    fn title(&self, movie_id: MovieId) -> Result<String, FrontendError> {
        match MOVIES.iter().find(|(id, ..)| *id == movie_id.get()) {
            Some((_, title, _)) => Ok((*title).to_owned()),
            None => self.refuse(Refusal::MovieNotFound, format!("there is no movie {movie_id}: search for it")),
        }
    }

    fn mean(&self, movie_id: u32) -> (Option<f64>, u64) {
        let stars = self.ratings.iter().filter(|(key, _)| key.movie_id.get() == movie_id);
        let stars: Vec<f64> = stars.map(|(_, (stars, _))| stars.as_f64()).collect();
        let mean = (!stars.is_empty()).then(|| stars.iter().sum::<f64>() / stars.len() as f64);
        (mean, stars.len() as u64)
    }

    fn answer(&self, query: Query) -> Result<Answer, FrontendError> {
        Ok(match query {
            Query::Read { user_id, movie_id } => {
                let title = self.title(movie_id)?;
                let row = self.ratings.get(&RatingKey { user_id, movie_id }).copied();
                let (rating, update_id) = (row.map(|row| row.0), row.map(|row| row.1));
                Answer::Rating(Rating {
                    user_id,
                    movie_id,
                    title,
                    rating,
                    timestamp: row.map(|_| TIMESTAMP),
                    update_id,
                })
            }
            Query::All { user_id, limit, after } => {
                let mine = self.ratings.iter().filter(|(key, _)| key.user_id == user_id);
                let all: Vec<Rating> = mine
                    .map(|(key, (stars, id))| Rating {
                        user_id,
                        movie_id: key.movie_id,
                        title: self.title(key.movie_id).unwrap_or_else(|_| format!("Movie {}", key.movie_id)),
                        rating: Some(*stars),
                        timestamp: Some(TIMESTAMP),
                        update_id: Some(*id),
                    })
                    .collect();
                let total = all.len() as u64;
                let mut rest = all.into_iter().filter(|rating| rating.movie_id.get() > after);
                let ratings: Vec<Rating> = rest.by_ref().take(limit as usize).collect();
                let next = rest.next().and(ratings.last().map(|rating| rating.movie_id));
                Answer::Ratings(Ratings { ratings, total, next })
            }
            Query::Average { movie_id } => {
                let (average, count) = self.mean(movie_id.get());
                Answer::Average(Average { movie_id, title: self.title(movie_id)?, average, count })
            }
            Query::Search { title, limit } => {
                let found = MOVIES.iter().filter(|(_, t, _)| t.to_lowercase().contains(&title.to_lowercase()));
                let movie = |(id, title, genres): &(u32, &str, &[&str])| {
                    let (average, count) = self.mean(*id);
                    let genres = genres.iter().map(|genre| (*genre).to_owned()).collect();
                    Movie { movie_id: MovieId::new(*id).unwrap(), title: (*title).to_owned(), genres, average, count }
                };
                Answer::Movies(Movies { movies: found.take(limit as usize).map(movie).collect(), shortened: false })
            }
        })
    }
}
