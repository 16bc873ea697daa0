//! A replica that restarts again and again, as often as one likes: nothing that is kept or sent grows.
//!
//! `RESTARTS=120960 cargo test -p natter-simulation --test simulation restarts` has as many as a week of one every 5 s.

use natter_common::edge::{ClientRequest, FrontendError};
use natter_common::ids::{MovieId, ReplicaId, UserId};
use natter_common::messages::{Mode, Presence};
use natter_common::rating::Stars;
use natter_common::request::{Query, Update};
use natter_common::session::Session;
use natter_common::wire;
use natter_simulation::simulation::cluster::{Cluster, Happened, Settings};
use natter_simulation::simulation::disk::Sync;
use natter_simulation::simulation::network::Weather;
use natter_simulation::simulation::process::now;

/// Restarts where `RESTARTS` names no other number.
const RESTARTS: u64 = 800;
/// Time from one restart to the next, in microseconds. Half of it the replica joins.
const LIFE_US: u64 = 2_500_000;
/// Time between the requests of a session, in microseconds.
const THINK_US: u64 = 700_000;
/// Maximum entries of a timestamp or a label, and maximum former ids: those of the last minute or two.
const ENTRIES_MAX: usize = 48;
/// Maximum bytes of a presence message: former ids and two timestamps.
const PRESENCE_BYTES_MAX: usize = 4_000;
/// Maximum updates in a log, or remembered: those of the 11 minutes for which a replica that starts again remembers
/// them, with the records that retire ids.
const UPDATES_MAX: usize = 1_700;
/// An old id may stand in two lists of retired ids, each of limited length, and in one of the dead.
const MENTIONS_MAX: usize = 5;

/// The greatest sizes that were seen, by name.
#[derive(Debug, Default)]
struct Sizes(std::collections::BTreeMap<&'static str, usize>);

impl Sizes {
    fn note(&mut self, name: &'static str, size: usize, max: usize) {
        let greatest = self.0.entry(name).or_default();
        *greatest = size.max(*greatest);
        assert!(size <= max, "{name}: {size}, more than {max}");
    }

    fn note_presence(&mut self, presence: &Presence) {
        self.note("presence, bytes", wire::encode(presence).unwrap().len(), PRESENCE_BYTES_MAX);
        self.note("former ids", presence.former.len(), ENTRIES_MAX);
    }
}

/// A session that only writes, or only reads.
struct Client {
    name: ReplicaId,
    frontend: ReplicaId,
    writes: bool,
    session: Session,
    asked: u64,
    answered: u64,
    /// Replicas that its label may leave out when it has that of the answer with this number.
    retired: Option<(u64, natter_common::timestamp::Timestamp)>,
}

impl Client {
    fn new(name: &str, frontend: &ReplicaId, writes: bool) -> Self {
        let (name, frontend) = (ReplicaId::new(name).unwrap(), frontend.clone());
        Self { name, frontend, writes, session: Session::new(), asked: 0, answered: 0, retired: None }
    }

    fn ask(&mut self, cluster: &mut Cluster) {
        let (user_id, movie_id) = (UserId::new(7).unwrap(), MovieId::new(2).unwrap());
        self.asked += 1;
        let (prev, cluster_of_prev) = (self.session.label().clone(), None);
        let request = if self.writes {
            let rating = Stars::from_half_stars(1 + (self.asked % 10) as u8).unwrap();
            let id = Some(self.session.update_id(now(cluster.now_us(), 0).wall_ms, self.asked));
            let request = match self.answered {
                0 => Update::Create { user_id, movie_id, rating },
                _ => Update::Update { user_id, movie_id, rating },
            };
            ClientRequest::Update { request, id, prev, cluster: cluster_of_prev }
        } else {
            ClientRequest::Query { request: Query::Read { user_id, movie_id }, prev, cluster: cluster_of_prev }
        };
        cluster.ask(&self.name, &self.frontend, self.asked, request);
    }

    fn leave_out(&mut self) {
        if let Some((_, retired)) = self.retired.take_if(|(n, _)| *n == self.answered) {
            self.session.leave_out(&retired);
        }
    }
}

/// Number of times that `text` names `id`.
fn mentions(text: &str, id: &str) -> usize {
    let is_whole = |at: usize| !text[at + id.len()..].starts_with(|next: char| next.is_ascii_digit());
    text.match_indices(id).filter(|(at, _)| is_whole(*at)).count()
}

#[test]
fn nothing_grows_however_often_a_replica_restarts() {
    let restarts = super::variable("RESTARTS").unwrap_or(RESTARTS);
    let weather = Weather::fair();
    let settings = Settings { tick_us: 100_000, ..Settings::default() };
    let mut cluster = Cluster::new(settings, weather, 16, false);
    let stable = ["A", "B"].map(|name| cluster.start_replica(name, Mode::Measured, 0));
    let frontends = ["F", "G"].map(|name| cluster.start_frontend(name, 0));
    let mut restless = cluster.start_durable("D", Sync::Full, 0);
    // G is asked for nothing but reads.
    let mut clients = [Client::new("writer", &frontends[0], true), Client::new("reader", &frontends[1], false)];
    for n in 0..clients.len() {
        cluster.set_alarm(3_000_000, n as u64);
    }
    const RESTART: u64 = 100;
    cluster.set_alarm(3_000_000, RESTART);
    let (mut sizes, mut lives, mut gone) = (Sizes::default(), 0, Vec::new());
    while lives < restarts {
        match cluster.step().unwrap() {
            Happened::Alarm(RESTART) => {
                lives += 1;
                cluster.set_alarm(LIFE_US, RESTART);
                cluster.crash(&restless);
                let next = cluster.restart(&restless);
                gone.push(std::mem::replace(&mut restless, next));
                // Nothing is on its way any more to one that died so long ago.
                if gone.len() > 3 {
                    cluster.processes.remove(&gone.remove(0));
                }
                if lives % 10 == 0 {
                    look(&cluster, &frontends, &restless, &clients, &mut sizes);
                }
            }
            Happened::Alarm(n) => clients[n as usize].ask(&mut cluster),
            Happened::Answered { client, n, answer, .. } => {
                let place = clients.iter().position(|other| other.name == client).unwrap();
                cluster.set_alarm(THINK_US, place as u64);
                let client = &mut clients[place];
                match &answer {
                    Ok(reply) => {
                        client.session.merge(&reply.label);
                        client.answered = n;
                        client.leave_out();
                    }
                    Err(FrontendError::Refused { label, .. }) => drop(client.session.merge(label)),
                    Err(error) => panic!("{client} {n}: {error}", client = client.name),
                }
            }
            Happened::Retired { client, n, retired } => {
                let client = clients.iter_mut().find(|other| other.name == client).unwrap();
                client.retired = Some((n, retired));
                client.leave_out();
            }
            Happened::Lost { lost, .. } => panic!("{lost} is told as lost"),
            Happened::Stepped { process, notices, frontend_notices, .. } => {
                let lost = frontend_notices.iter().find(|notice| notice.is_warning());
                assert!(lost.is_none(), "{process}: {lost:?}");
                let lost = notices.iter().find(|notice| notice.to_string().contains("LOST"));
                assert!(lost.is_none(), "{process}: {lost:?}");
            }
            Happened::Nothing => {}
        }
    }
    println!("{restarts} restarts, {:.1} h, sizes at most: {sizes:?}", cluster.now_us() as f64 / 3.6e9);
    assert!(clients.iter().all(|client| client.answered > restarts), "a request waits for ever");
    // Ids of the first lives are in nothing but the lists of retired and dead ids.
    let old = format!("D_{}", restarts / 20);
    for id in stable.iter().chain([&restless]) {
        let (manager, value) = cluster.process(id).replica().unwrap();
        let count = mentions(&format!("{manager:?} {value:?}"), &old);
        assert!(count <= MENTIONS_MAX, "{id} names {old} {count} times");
    }
    for id in &frontends {
        let count = mentions(&format!("{:?}", cluster.process(id).frontend().unwrap()), &old);
        assert!(count <= MENTIONS_MAX, "{id} names {old} {count} times");
    }
}

fn look(cluster: &Cluster, frontends: &[ReplicaId], restless: &ReplicaId, clients: &[Client], sizes: &mut Sizes) {
    for process in cluster.processes.values().filter(|process| process.is_alive()) {
        let now = process.now(cluster.now_us());
        if let Some((manager, value)) = process.replica() {
            sizes.note_presence(&manager.introduction(now, value).0);
            for timestamp in [manager.value_timestamp(), manager.replica_timestamp(), &manager.log().starts()] {
                sizes.note("timestamps of a replica", timestamp.len(), ENTRIES_MAX);
            }
            sizes.note("timestamp table, rows", manager.timestamp_table().iter().count(), 128);
            for (_, entry) in manager.timestamp_table().iter() {
                let len = entry.value_timestamp.len().max(entry.replica_timestamp.len());
                sizes.note("timestamps of the table", len, ENTRIES_MAX);
            }
            sizes.note("log", manager.log().len(), UPDATES_MAX);
            sizes.note("executed updates", manager.executed_operations().len(), UPDATES_MAX);
            sizes.note("retired ids", manager.retired().len(), 65_536);
        }
    }
    for id in frontends {
        let frontend = cluster.process(id).frontend().unwrap();
        sizes.note("label of a frontend", frontend.prev().replicas.len(), ENTRIES_MAX);
        sizes.note_presence(&frontend.presence(cluster.process(id).now(cluster.now_us())));
    }
    for client in clients {
        let name = if client.writes { "label of the session that writes" } else { "label of the session that reads" };
        sizes.note(name, client.session.label().replicas.len(), ENTRIES_MAX);
    }
    let disk = cluster.process(restless).disk.as_ref().unwrap();
    let saved = disk.contents().0;
    sizes.note("former ids on the disk", disk.former.len(), ENTRIES_MAX);
    sizes.note("members on the disk", saved.state.members.len(), 128);
    sizes.note("timestamps on the disk", saved.state.replica_timestamp.replicas.len(), ENTRIES_MAX);
    sizes.note("records on the disk", saved.records.len(), UPDATES_MAX);
    sizes.note("executed updates on the disk", saved.executed.len(), UPDATES_MAX);
    sizes.note("retired ids on the disk", saved.retired.len(), 65_536);
}
