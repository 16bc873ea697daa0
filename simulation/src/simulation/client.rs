//! Clients: sessions that create, change, delete and read, hop between frontends with their label, and retry what got
//! no answer under the same id.

use fastrand::Rng;
use natter_common::clock::Stamp;
use natter_common::cluster::ClusterId;
use natter_common::edge::{ClientReply, ClientRequest, FrontendError};
use natter_common::frontend::Frontend;
use natter_common::ids::{MovieId, ReplicaId, UpdateId, UserId};
use natter_common::label::Label;
use natter_common::messages::Role;
use natter_common::rating::Stars;
use natter_common::request::{Query, Update};
use natter_common::session::Session;
use natter_common::timestamp::Timestamp;

use super::cluster::Cluster;
use super::message::ClientAnswer;
use super::plan::Plan;
use super::process::now;

/// Maximum attempts of an operation; then its outcome stays unknown.
const TRIES_MAX: u32 = 8;

/// Request of a client.
#[derive(Clone, Debug)]
pub enum Asked {
    /// To read.
    Query(Query),
    /// To modify.
    Update(Update),
}

/// One operation of a session, however often it is tried.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Name of the session.
    pub session: ReplicaId,
    /// The number of the latest attempt.
    pub n: u64,
    /// Content of the request.
    pub asked: Asked,
    /// An update's id; `None` while the frontend has made it and not told.
    pub id: Option<UpdateId>,
    /// Label of the session when it sent the attempt.
    pub prev: Label,
    /// The same with all that its label leaves out.
    pub seen: Timestamp,
    /// Number of attempts.
    pub tries: u32,
}

/// Next step of a session after an attempt, with an answer or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is over, and the session knows how it ended.
    Done,
    /// It is over, and the session does not know.
    Unknown,
    /// It is tried again.
    Retry,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    /// Its name.
    pub name: ReplicaId,
    /// The session, with its label.
    pub session: Session,
    /// The operation under way.
    pub operation: Option<Operation>,
    /// Number of operations that it has begun.
    pub operations: u64,
    generator: Rng,
    /// Number of ids it made that carry no stamp above what it had seen.
    pub unstamped: u64,
    /// Number of jumps of its machine's wall clock.
    pub jumps: u64,
    jump_ms_max: i64,
    /// Number of times that it raised the clock of its label.
    pub raised: u64,
    raised_ms_max: u64,
    any_ids: bool,
    skew_ms: i64,
    /// Time by which its wall clock is ahead beside that, in milliseconds.
    pub ahead_ms: i64,
    users: u32,
    movies: u32,
    last_n: u64,
    frontend: Option<ReplicaId>,
    /// All that it has ever seen, whatever its label leaves out.
    seen: Timestamp,
    /// Replicas that its label may leave out as soon as it has the label of an answer, with the number of that.
    retired: (u64, Timestamp),
    /// The number of the answer whose label it took in last.
    learned: u64,
    /// Number of replicas that its label left out.
    pub left_out: u64,
    /// The cluster of the last answer.
    cluster: Option<ClusterId>,
    /// Number of times that all replicas had been started anew with nothing by the session's first answer.
    pub epoch: Option<u64>,
    /// Number of its sessions that belonged to another cluster than the one that answered.
    pub strayed: u64,
    /// Whether the session belongs to another cluster: then a new one begins.
    is_astray: bool,
}

impl Client {
    /// A client that has seen nothing.
    pub fn new(name: &str, seed: u64, skew_ms: i64, plan: &Plan) -> Self {
        Self {
            name: ReplicaId::new(name).unwrap(),
            session: Session::new(),
            operation: None,
            operations: 0,
            generator: Rng::with_seed(seed),
            unstamped: 0,
            jumps: 0,
            jump_ms_max: plan.jump_ms_max,
            raised: 0,
            raised_ms_max: plan.raised_ms_max,
            any_ids: plan.any_ids,
            skew_ms,
            ahead_ms: 0,
            users: plan.users,
            movies: plan.movies,
            last_n: 0,
            frontend: None,
            seen: Timestamp::new(),
            retired: (0, Timestamp::new()),
            learned: 0,
            left_out: 0,
            cluster: None,
            epoch: None,
            strayed: 0,
            is_astray: false,
        }
    }

    /// Decides what to do next.
    pub fn begin(&mut self, now_us: u64) {
        self.operations += 1;
        if std::mem::take(&mut self.is_astray) {
            self.begin_new_session();
        }
        let generator = &mut self.generator;
        let user_id = UserId::new(generator.u32(1..=self.users)).unwrap();
        let movie_id = MovieId::new(generator.u32(1..=self.movies)).unwrap();
        let rating = Stars::from_half_stars(generator.u8(1..=10)).unwrap();
        let asked = match generator.u32(..100) {
            0..20 => Asked::Update(Update::Create { user_id, movie_id, rating }),
            20..40 => Asked::Update(Update::Update { user_id, movie_id, rating }),
            40..55 => Asked::Update(Update::Delete { user_id, movie_id }),
            55..80 => Asked::Query(Query::Read { user_id, movie_id }),
            80..90 => Asked::Query(Query::All { user_id, limit: 100, after: 0 }),
            90..99 => Asked::Query(Query::Average { movie_id }),
            _ => Asked::Query(Query::Search { title: "st".to_owned(), limit: 20 }),
        };
        if self.jump_ms_max > 0 && generator.u32(..20) == 0 {
            self.jumps += 1;
            self.skew_ms = generator.i64(-self.jump_ms_max..=self.jump_ms_max);
        }
        let makes_update = matches!(asked, Asked::Update(_));
        let makes_id = makes_update && generator.u32(..10) > 0;
        let id = makes_id.then(|| self.update_id(self.wall_ms(now_us)));
        let mut prev = self.session.label().clone();
        if self.raised_ms_max > 0 && makes_update && self.generator.u32(..4) == 0 {
            self.raised += 1;
            prev.clock = Stamp(prev.clock.0 + (self.generator.u64(..self.raised_ms_max) << 16));
        }
        let carries = |id: UpdateId| id.stamp().is_some_and(|stamp| stamp > prev.clock);
        self.unstamped += u64::from(id.is_some_and(|id| !carries(id)));
        let (session, seen) = (self.name.clone(), self.seen.clone());
        self.operation = Some(Operation { session, n: 0, asked, id, prev, seen, tries: 0 });
    }

    /// An id as Natter's own client makes it; or like those of other libraries, which know nothing of stamps.
    fn update_id(&mut self, wall_ms: u64) -> UpdateId {
        let random = self.generator.u64(..);
        match if self.any_ids { self.generator.u32(..4) } else { 0 } {
            0 | 1 => self.session.update_id(wall_ms, random),
            2 => UpdateId::from_stamp(Stamp::new(wall_ms, self.generator.u16(..)), random),
            _ => {
                let free = self.generator.u128(..) & !((0xf << 76) | (0b11 << 62));
                let bits = free | (4 << 76) | (0b10 << 62);
                format!("{bits:032x}").parse().expect("a UUID of version 4")
            }
        }
    }

    /// Asks a frontend, often another one than before. Gives the number of the attempt, or `None` where no frontend
    /// is there.
    pub fn attempt(&mut self, cluster: &mut Cluster) -> Option<u64> {
        let operation = self.operation.as_mut()?;
        // The frontend half of a replica can be reached only once it can serve.
        let now_us = cluster.now_us();
        let is_open = |id: &ReplicaId| {
            let process = cluster.process(id);
            let is_ready = |frontend: &Frontend| frontend.is_ready(process.now(now_us));
            process.replica().is_none() || process.frontend().is_some_and(is_ready)
        };
        let frontends: Vec<ReplicaId> = cluster.alive(Role::Frontend).into_iter().filter(is_open).collect();
        let stays = self.frontend.as_ref().is_some_and(|frontend| frontends.contains(frontend));
        if !stays || self.generator.u32(..3) == 0 {
            self.frontend = self.generator.choice(frontends);
        }
        let frontend = self.frontend.clone()?;
        self.last_n += 1;
        operation.n = self.last_n;
        operation.tries += 1;
        let prev = operation.prev.clone();
        let cluster_of_prev = self.cluster.clone().filter(|_| !prev.replicas.is_empty());
        let request = match &operation.asked {
            Asked::Query(query) => ClientRequest::Query { request: query.clone(), prev, cluster: cluster_of_prev },
            Asked::Update(update) => {
                ClientRequest::Update { request: *update, id: operation.id, prev, cluster: cluster_of_prev }
            }
        };
        cluster.ask(&self.name, &frontend, self.last_n, request);
        Some(self.last_n)
    }

    /// Goes on under another name, with nothing seen.
    fn begin_new_session(&mut self) {
        self.strayed += 1;
        let base = self.name.as_str().split('-').next().unwrap_or_default();
        self.name = ReplicaId::new(&format!("{base}-{}", self.strayed)).unwrap();
        (self.session, self.seen, self.cluster, self.epoch) = (Session::new(), Timestamp::new(), None, None);
    }

    /// An answer that it took in came from this cluster, before which all was started anew so many times.
    pub fn belongs_to(&mut self, cluster: Option<&ClusterId>, epoch: u64) {
        self.cluster = cluster.cloned();
        // Sessions that have seen nothing belong to no cluster.
        if !self.seen.is_empty() {
            self.epoch.get_or_insert(epoch);
        }
    }

    /// Takes in an answer to the operation under way.
    pub fn hear(&mut self, answer: &ClientAnswer) -> Next {
        match answer {
            Ok(ClientReply { label, .. }) | Err(FrontendError::Refused { label, .. }) => {
                self.session.merge(label);
                self.seen.merge(&label.replicas);
                self.learned = self.operation.as_ref().map_or(0, |operation| operation.n);
                self.leave_out();
                return Next::Done;
            }
            Err(
                FrontendError::UpdateTimeout { id, .. }
                | FrontendError::RefusalUncertain { id, .. }
                | FrontendError::NotEnoughReplicas { id, .. },
            ) => {
                if let Some(operation) = &mut self.operation {
                    operation.id = Some(*id);
                }
            }
            Err(FrontendError::OtherCluster { .. }) => {
                self.is_astray = true;
                return Next::Unknown;
            }
            Err(_) => {}
        }
        self.no_answer()
    }

    /// Hears beside an answer, before it or after it, that its label may leave these replicas out.
    pub fn hear_retired(&mut self, n: u64, retired: Timestamp) {
        self.retired = (n, retired);
        self.leave_out();
    }

    /// Leaves out what the label stands for that was taken in last.
    fn leave_out(&mut self) {
        if self.retired.0 == self.learned {
            let before = self.session.label().replicas.len();
            self.session.leave_out(&std::mem::take(&mut self.retired).1);
            self.left_out += (before - self.session.label().replicas.len()) as u64;
        }
    }

    /// Hears that these updates are lost.
    pub fn hear_lost(&mut self, lost: &Timestamp) {
        self.session.forget(lost);
    }

    /// Next step without an answer.
    pub fn no_answer(&self) -> Next {
        let Some(operation) = &self.operation else { return Next::Unknown };
        let may_retry = matches!(operation.asked, Asked::Query(_)) || operation.id.is_some();
        if may_retry && operation.tries < TRIES_MAX { Next::Retry } else { Next::Unknown }
    }

    /// Present time of its wall clock, in Unix milliseconds.
    pub fn wall_ms(&self, now_us: u64) -> u64 {
        now(now_us, self.skew_ms + self.ahead_ms).wall_ms
    }

    /// Time to wait before the next operation or attempt, in microseconds: random, less than `max_us`.
    pub fn think_us(&mut self, max_us: u64) -> u64 {
        self.generator.u64(..max_us)
    }
}
