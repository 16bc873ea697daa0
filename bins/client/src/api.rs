//! Typed calls of a session, which asks frontends, and asks again where that may help.
//!
//! An update is retried under the same id, which carries its stamp, so that it takes effect once however often and
//! through however many frontends it was sent. A query is simply asked again. Both end after [`Settings::patience`].

pub mod batch;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use natter_common::cluster::ClusterId;
use natter_common::edge::{AverageReply, ErrorBody, MoviesReply, RatingReply, RatingsReply, ReplyOf};
use natter_common::ids::{MovieId, UpdateId, UserId};
use natter_common::label::Label;
use natter_common::rating::{Ratings, Stars};
use natter_common::request::{ALL_LIMIT_DEFAULT, Query, SEARCH_LIMIT_MAX, Update};
use natter_common::subjects::Operation;
use natter_common::timestamp::Timestamp;
use natter_common::wire;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::{Instant, sleep};

use crate::error::{ClientError, ErrorName};
use crate::memory::Memory;
use crate::requests::Question;
use crate::retry::{PROBE_LIMIT, Patience, Reason};
use crate::show;
use crate::state::StateError;
use crate::transport::{COPY_AFTER, Transport};

/// Timeouts of a client, and where it tells of delays.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Maximum time of one attempt: a little longer than frontends take to say TIMEOUT.
    pub timeout: Duration,
    /// Maximum time of all attempts of one request.
    pub patience: Duration,
    /// Function that gets a sentence for the waiting person: why a call takes long, and what the session lost.
    pub notify: fn(&str),
}

impl Settings {
    /// A little longer than a frontend's own default of 2 s.
    pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(3);
    /// Long enough for the loss of a replica, a frontend or the connection to be noticed and mended.
    pub const PATIENCE_DEFAULT: Duration = Duration::from_secs(10);
}

impl Default for Settings {
    fn default() -> Self {
        Self { timeout: Self::TIMEOUT_DEFAULT, patience: Self::PATIENCE_DEFAULT, notify: |_| {} }
    }
}

/// A session with the frontends of one cluster.
#[derive(Debug)]
pub struct Client<T> {
    transport: T,
    memory: Memory,
    settings: Settings,
    /// The request that is not yet answered; it stays if a call was dropped before its end.
    pending: Option<Question>,
    /// Updates of the session that are lost, as far as that was told.
    told_lost: Timestamp,
    /// Replicas that the label may leave out, by the answer that came last.
    retired: Timestamp,
}

impl<T: Transport> Client<T> {
    /// Goes on with the session in `memory`.
    pub fn new(transport: T, memory: Memory, settings: Settings) -> Self {
        let (told_lost, retired) = (Timestamp::new(), Timestamp::new());
        Self { transport, memory, settings, pending: None, told_lost, retired }
    }

    /// The label of all that the session has seen so far.
    pub fn label(&self) -> &Label {
        self.memory.label()
    }

    /// The cluster that this session belongs to, once an answer has named it.
    pub fn cluster(&self) -> Option<&ClusterId> {
        self.memory.cluster()
    }

    /// The request of a call that was dropped before its end.
    pub fn pending(&self) -> Option<&Question> {
        self.pending.as_ref()
    }

    /// Goes on without what was seen: a new session begins.
    pub fn start_new_session(&mut self) {
        self.memory.begin_anew();
    }

    /// Removes what is kept of this session between runs.
    pub fn forget_session(&mut self) {
        self.tell(self.memory.forget().err());
    }

    /// An id for a new update, to be sent any number of times.
    pub fn new_update_id(&mut self) -> UpdateId {
        let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.memory.session().update_id(u64::try_from(wall_ms).unwrap_or(0), fastrand::u64(..))
    }

    /// Rates a movie that the user has not rated.
    ///
    /// # Errors
    ///
    /// Where it was not done, or where that is not known: then [`ClientError::doubtful`] has the update's id.
    pub async fn create(
        &mut self,
        user_id: UserId,
        movie_id: MovieId,
        rating: Stars,
    ) -> Result<RatingReply, ClientError> {
        let id = self.new_update_id();
        self.ask(Question::Update(Update::Create { user_id, movie_id, rating }, id)).await
    }

    /// Changes a rating.
    ///
    /// # Errors
    ///
    /// As [`Client::create`].
    pub async fn update(
        &mut self,
        user_id: UserId,
        movie_id: MovieId,
        rating: Stars,
    ) -> Result<RatingReply, ClientError> {
        let id = self.new_update_id();
        self.ask(Question::Update(Update::Update { user_id, movie_id, rating }, id)).await
    }

    /// Takes a rating away; the reply has the one that was there.
    ///
    /// # Errors
    ///
    /// As [`Client::create`].
    pub async fn delete(&mut self, user_id: UserId, movie_id: MovieId) -> Result<RatingReply, ClientError> {
        let id = self.new_update_id();
        self.ask(Question::Update(Update::Delete { user_id, movie_id }, id)).await
    }

    /// Any update, under an id that may have been sent before.
    ///
    /// # Errors
    ///
    /// As [`Client::create`].
    pub async fn write(&mut self, update: Update, id: UpdateId) -> Result<RatingReply, ClientError> {
        self.ask(Question::Update(update, id)).await
    }

    /// One rating; `rating: None` in the value where there is none.
    ///
    /// # Errors
    ///
    /// Where there is no such movie, or no answer.
    pub async fn read(&mut self, user_id: UserId, movie_id: MovieId) -> Result<RatingReply, ClientError> {
        self.ask(Question::Query(Query::Read { user_id, movie_id })).await
    }

    /// A page of a user's ratings, in ascending movie id, of movies above `after`.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub async fn page(&mut self, user_id: UserId, limit: u32, after: u32) -> Result<RatingsReply, ClientError> {
        self.ask(Question::Query(Query::All { user_id, limit, after })).await
    }

    /// A user's ratings of movies above `after`, at most `limit` of them, by as many pages as it takes.
    ///
    /// The reply has the last page's `total` and `next`, and all replicas that served a page.
    ///
    /// # Errors
    ///
    /// Where there is no answer to one of the pages.
    pub async fn all(&mut self, user_id: UserId, limit: Option<u32>, after: u32) -> Result<RatingsReply, ClientError> {
        let mut missing = limit.unwrap_or(u32::MAX);
        let less = |missing: u32, page: &RatingsReply| {
            missing.saturating_sub(u32::try_from(page.value.ratings.len()).unwrap_or(u32::MAX))
        };
        let mut all = self.page(user_id, missing.min(ALL_LIMIT_DEFAULT), after).await?;
        missing = less(missing, &all);
        let mut after = after;
        // A `next` that doesn't rise would never end.
        while let Some(next) = all.value.next.map(MovieId::get).filter(|next| *next > after && missing > 0) {
            after = next;
            let more = self.page(user_id, missing.min(ALL_LIMIT_DEFAULT), after).await?;
            missing = less(missing, &more);
            append(&mut all, more);
        }
        Ok(all)
    }

    /// The mean of a movie's ratings.
    ///
    /// # Errors
    ///
    /// As [`Client::read`].
    pub async fn average(&mut self, movie_id: MovieId) -> Result<AverageReply, ClientError> {
        self.ask(Question::Query(Query::Average { movie_id })).await
    }

    /// The movies whose title contains `title`, whatever its case; at most `limit`, which is at most 100.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub async fn search(&mut self, title: &str, limit: u32) -> Result<MoviesReply, ClientError> {
        let limit = limit.clamp(1, SEARCH_LIMIT_MAX);
        self.ask(Question::Query(Query::Search { title: title.to_owned(), limit })).await
    }

    /// Titles that contain `part`, at most [`SEARCH_LIMIT_MAX`], as suggestions: asked for once, within `limit`, and without
    /// a trace in the session. `None` where there is no answer.
    pub(crate) async fn suggested_titles(&self, part: &str, limit: Duration) -> Option<Vec<String>> {
        let question = Question::Query(Query::Search { title: part.to_owned(), limit: SEARCH_LIMIT_MAX });
        let payload = encode(&question, &Label::new(), None).ok()?;
        let response = self.transport.request(question.operation(), payload, limit).await.ok()?;
        let reply: MoviesReply = wire::decode(&response.body).ok()?;
        Some(reply.value.movies.into_iter().map(|movie| movie.title).collect())
    }

    /// The cluster that answers, if it has a name. Asks about `user_id`, if given, as no other may be allowed. Where `claim`
    /// names another cluster, the error is STALE.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub async fn find_cluster(
        &mut self,
        user_id: Option<UserId>,
        claim: Option<&ClusterId>,
    ) -> Result<Option<ClusterId>, ClientError> {
        let question = Question::anything(user_id);
        let payload = encode(&question, &Label::new(), claim)?;
        match self.ask_patiently(question.operation(), payload, None).await {
            Ok(body) => Ok(wire::decode::<ReplyOf<IgnoredAny>>(&body).ok().and_then(|reply| reply.cluster)),
            Err(error) if error.name == ErrorName::Stale && claim.is_some() => Err(error),
            // A refusal comes from a frontend of the cluster too.
            Err(error) if error.cluster.is_some() => Ok(error.cluster),
            Err(error) => Err(error),
        }
    }

    async fn ask<V: DeserializeOwned>(&mut self, question: Question) -> Result<ReplyOf<V>, ClientError> {
        self.pending = Some(question.clone());
        let answer = self.ask_as_session(&question).await;
        self.pending = None;
        let reply: ReplyOf<V> = wire::decode(&answer?).map_err(|error| {
            let mut error = ClientError::bad_reply(error);
            error.doubtful = question.update_id();
            error
        })?;
        self.learn(&reply.label, reply.cluster.as_ref());
        Ok(reply)
    }

    /// Asks with what the session has seen.
    async fn ask_as_session(&mut self, question: &Question) -> Result<Bytes, ClientError> {
        if self.memory.needs_cluster() {
            let cluster = self.find_cluster(question.user_id(), None).await?;
            let complaints = self.memory.meet(cluster.as_ref());
            self.tell(complaints);
        }
        loop {
            let payload = encode(question, self.label(), self.memory.claim())?;
            match self.ask_patiently(question.operation(), payload, question.update_id()).await {
                // Sessions of others are no reason to fail.
                Err(error) if error.name == ErrorName::Stale && self.is_helped() => {
                    (self.settings.notify)(&left_out(self.memory.cluster(), error.cluster.as_ref()));
                    self.memory.begin_anew();
                }
                answer => return answer,
            }
        }
    }

    /// Whether requests carry what sessions of others have seen.
    fn is_helped(&self) -> bool {
        self.memory.is_borrowed() && *self.label() != Label::new()
    }

    /// Asks until there is an answer, an error that asking again can't mend, or no patience left. Then the error is the
    /// best-known reason: see [`Reason`].
    async fn ask_patiently(
        &mut self,
        operation: Operation,
        payload: Bytes,
        id: Option<UpdateId>,
    ) -> Result<Bytes, ClientError> {
        let begun = Instant::now();
        let mut patience = Patience::new(self.settings.timeout, self.settings.patience);
        let mut reason = Reason::default();
        let mut doubtful = None;
        let mut staleness = None;
        loop {
            let limit = patience.limit(begun.elapsed());
            let asked = Instant::now();
            let mut error = match self.ask_once(operation, payload.clone(), limit).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            // Once copies are on their way, the answer to one of them proves nothing about the others.
            if error.name.leaves_doubt() || asked.elapsed() >= COPY_AFTER {
                doubtful = id;
            }
            let pause = patience.pause(&error.name, begun.elapsed(), fastrand::f64());
            let mut is_hopeless = false;
            if error.name == ErrorName::Stale {
                if self.is_helped() {
                    return Err(error);
                }
                if staleness.is_none() {
                    staleness = self.explain_stale(error.cluster.as_ref()).await;
                }
                if let Some(Staleness { text, is_permanent }) = &staleness {
                    error.text.clone_from(text);
                    is_hopeless = *is_permanent;
                }
            }
            let is_news = reason.take_in(error, limit < self.settings.timeout);
            let Some(pause) = pause.filter(|_| !is_hopeless) else {
                let mut error = reason.into_error();
                error.doubtful = doubtful;
                error.attempts = patience.attempts();
                error.waited = begun.elapsed();
                return Err(error);
            };
            if let Some(error) = reason.known().filter(|_| is_news) {
                (self.settings.notify)(&format!("{} ({}): trying again", show::clean(&error.text), error.name));
            }
            sleep(pause).await;
        }
    }

    async fn ask_once(&mut self, operation: Operation, payload: Bytes, limit: Duration) -> Result<Bytes, ClientError> {
        let response = self.transport.request(operation, payload, limit).await;
        let response = response.map_err(|error| ClientError::without_answer(error, limit, &self.transport.place()))?;
        self.take_losses(&response.lost);
        self.retired = response.retired;
        let Some((code, text)) = &response.error else { return Ok(response.body) };
        if let Ok(body) = wire::decode::<ErrorBody>(&response.body) {
            self.learn(&body.label, body.cluster.as_ref());
        }
        Err(ClientError { cluster: response.cluster, ..ClientError::from_headers(code, text) })
    }

    /// Tells of updates of this session that are lost, and leaves them out of its label from now on.
    fn take_losses(&mut self, lost: &Timestamp) {
        if *lost == Timestamp::new() || self.told_lost.covers(lost) {
            return;
        }
        self.told_lost.merge(lost);
        let text = format!(
            "updates that this session has seen are lost, as the last replica that held them is gone ({}): this answer and \
             those after it are without them",
            Entries(lost)
        );
        (self.settings.notify)(&text);
        let kept = self.memory.forget_updates(lost);
        self.tell(kept.err());
    }

    /// Finds out why no replica holds what this session has seen: the cluster is another one than the session's, or else an
    /// answer without a `prev` tells. `None` where there is none.
    async fn explain_stale(&mut self, cluster: Option<&ClusterId>) -> Option<Staleness> {
        if let (Some(ours), Some(theirs)) = (self.memory.cluster(), cluster)
            && ours != theirs
        {
            let text = format!(
                "this session belongs to cluster {ours}, but cluster {theirs} serves {}: was the cluster started anew?",
                self.transport.place()
            );
            return Some(Staleness { text, is_permanent: true });
        }
        let now = self.probe().await?;
        let seen = &self.label().replicas;
        let is_same_cluster = self.memory.cluster().is_some() && cluster.is_some();
        Some(if is_same_cluster || seen.iter().any(|(replica, _)| now.replicas.get(replica) > 0) {
            let text = format!(
                "this session has seen {seen}, of which no replica within reach holds all: the others may be back later"
            );
            Staleness { text, is_permanent: false }
        } else {
            let text = format!(
                "this session has seen {seen}, of which the replicas that answer now know nothing: was the cluster started \
                 anew, or is this another one?"
            );
            Staleness { text, is_permanent: true }
        })
    }

    /// Label of an answer to a request without a `prev`.
    async fn probe(&mut self) -> Option<Label> {
        /// The label is in replies and in refusals alike.
        #[derive(Deserialize)]
        struct Labelled {
            label: Label,
        }
        let question = Question::anything(self.pending.as_ref().and_then(Question::user_id));
        let payload = encode(&question, &Label::new(), None).ok()?;
        let limit = self.settings.timeout.min(PROBE_LIMIT);
        let response = self.transport.request(question.operation(), payload, limit).await.ok()?;
        Some(wire::decode::<Labelled>(&response.body).ok()?.label)
    }

    /// Takes in a label, and keeps it for the next run.
    fn learn(&mut self, label: &Label, cluster: Option<&ClusterId>) {
        let kept = self.memory.learn(label, &std::mem::take(&mut self.retired), cluster);
        self.tell(kept.err());
    }

    fn tell(&self, complaints: impl IntoIterator<Item = StateError>) {
        for complaint in complaints {
            (self.settings.notify)(&complaint.to_string());
        }
    }
}

fn encode(question: &Question, prev: &Label, cluster: Option<&ClusterId>) -> Result<Bytes, ClientError> {
    let encoded = question.encode(prev, cluster).map_err(|error| {
        ClientError::new(400, ErrorName::BadRequest, format!("the request can't be written: {error}"))
    })?;
    Ok(encoded.into())
}

/// Updates as a person reads them: `r1-pkbxhrtc:7, r2-ovkpygvf:1`.
struct Entries<'a>(&'a Timestamp);

impl fmt::Display for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (replica, count)) in self.0.iter().enumerate() {
            write!(f, "{}{replica}:{count}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Why a session is stale.
struct Staleness {
    text: String,
    /// Whether waiting can't help.
    is_permanent: bool,
}

/// Says that an answer leaves out what other sessions have seen: those of cluster `ours`, where cluster `theirs` answers.
fn left_out(ours: Option<&ClusterId>, theirs: Option<&ClusterId>) -> String {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours != theirs => format!(
            "earlier sessions of this machine belong to cluster {ours}, but cluster {theirs} answers: this answer is without \
             what they have seen"
        ),
        _ => "other sessions of this machine have seen more than the replicas within reach have: this answer is without that"
            .to_owned(),
    }
}

fn append(all: &mut RatingsReply, page: RatingsReply) {
    let Ratings { ratings, total, next } = page.value;
    all.value.ratings.extend(ratings);
    all.value.total = total;
    all.value.next = next;
    all.label.merge(&page.label);
    for replica in page.replicas {
        if !all.replicas.contains(&replica) {
            all.replicas.push(replica);
        }
    }
}

#[cfg(test)]
mod tests;
