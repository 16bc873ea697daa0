//! Everything of one run: brokers, processes, sessions, observers, and the verdict.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::answers;
use super::digests::DigestWatch;
use super::sessions::{Sessions, SessionsPlan, movies, users};
use crate::harness::{BrokerCluster, BrokerPlan, Cluster, DEADLINE, Encoding, Wire, World, data};
use natter_simulation::history::{self, Final, file};

/// Maximum time for which one question may wait at a replica, in milliseconds.
const WAIT_MS: u64 = 1000;
/// Maximum time for its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Processes and settings of a test.
#[derive(Clone, Debug)]
pub struct StagePlan {
    /// The test's name.
    pub test: &'static str,
    /// Folder for a history that breaks a promise.
    pub keep_in: &'static str,
    /// The brokers.
    pub brokers: BrokerPlan,
    /// Whether each process knows all brokers, or only that of its number.
    pub know_all_brokers: bool,
    /// Replicas `d1`, `d2`... with a directory.
    pub durable: usize,
    /// Replicas `m1`, `m2`... in memory.
    pub in_memory: usize,
    /// Frontends `f1`, `f2`...
    pub frontends: usize,
    /// Clocks that are wrong from the start: by name, in milliseconds ahead.
    pub clocks: Vec<(&'static str, i64)>,
    /// Arguments of every replica.
    pub replica_arguments: Vec<&'static str>,
    /// Further arguments of every replica in memory.
    pub in_memory_arguments: Vec<&'static str>,
    /// The sessions.
    pub sessions: SessionsPlan,
}

impl StagePlan {
    /// Three brokers, three replicas in memory and two frontends, each of which knows all brokers.
    pub fn new(test: &'static str, keep_in: &'static str) -> Self {
        Self {
            test,
            keep_in,
            brokers: BrokerPlan::default(),
            know_all_brokers: true,
            durable: 0,
            in_memory: 3,
            frontends: 2,
            clocks: Vec::new(),
            replica_arguments: Vec::new(),
            in_memory_arguments: Vec::new(),
            sessions: SessionsPlan::default(),
        }
    }
}

/// A run.
pub struct Stage<'w> {
    world: &'w World,
    plan: StagePlan,
    seed: u64,
    /// The brokers.
    pub brokers: BrokerCluster,
    /// The processes.
    pub cluster: Cluster<'w>,
    /// A connection to each broker.
    pub wires: Vec<Wire>,
    /// The sessions.
    pub sessions: Sessions,
    /// Listener to all gossip.
    pub digests: DigestWatch,
    /// Names of the replicas with a directory.
    pub durable: Vec<String>,
    /// Names of the replicas in memory.
    pub in_memory: Vec<String>,
    /// The frontends.
    pub frontends: Vec<String>,
    calm_since: Instant,
    is_judged: bool,
}

impl<'w> Stage<'w> {
    /// Starts all processes, and the sessions once all serve.
    pub async fn start(world: &'w World, plan: StagePlan, seed: u64) -> Self {
        let brokers = BrokerCluster::start(plan.brokers.clone(), world.directory()).await;
        let servers = if plan.know_all_brokers { vec![brokers.urls().join(",")] } else { brokers.urls() };
        let database = data::write_small(world.directory());
        let cluster_plan = world.cluster("ratings").database(&database).servers(servers);
        let cluster = cluster_plan.replica_arguments(&plan.replica_arguments).empty().await;
        let mut wires = Vec::new();
        for url in brokers.urls() {
            wires.push(Wire::connect(&url, "ratings").await);
        }
        let digests = DigestWatch::start(&wires).await;
        let names = |letter: &str, count| (1..=count).map(|n| format!("{letter}{n}")).collect::<Vec<String>>();
        let (durable, in_memory) = (names("d", plan.durable), names("m", plan.in_memory));
        let frontends = names("f", plan.frontends);
        let idle = SessionsPlan { sessions: 0, ..plan.sessions.clone() };
        let sessions = Sessions::start(&idle, &wires, seed);
        let mut stage = Self {
            world,
            plan,
            seed,
            brokers,
            cluster,
            wires,
            sessions,
            digests,
            durable,
            in_memory,
            frontends,
            calm_since: Instant::now(),
            is_judged: false,
        };
        for (name, offset_ms) in stage.plan.clocks.clone() {
            stage.cluster.set_clock_ahead(name, offset_ms);
        }
        for name in stage.durable.clone() {
            stage.start_durable(&name);
        }
        for name in stage.in_memory.clone() {
            stage.start_in_memory(&name);
        }
        for name in stage.frontends.clone() {
            stage.cluster.start_frontend(&name, &[]);
        }
        stage.cluster.until_ready().await;
        stage.sessions = Sessions::start(&stage.plan.sessions, &stage.wires, seed);
        stage
    }

    /// Starts a replica on its directory, so that its files may be limited later.
    pub fn start_durable(&mut self, name: &str) {
        let directory = self.world.path(&format!("data-{name}"));
        let arguments = ["--data-dir", directory.to_str().unwrap()];
        self.cluster.start_replica_after("trap '' XFSZ", name, &arguments);
    }

    /// Starts a replica in memory.
    pub fn start_in_memory(&mut self, name: &str) {
        self.cluster.start_replica(name, &self.plan.in_memory_arguments);
    }

    /// The names of all replicas.
    pub fn replicas(&self) -> Vec<String> {
        [&self.durable[..], &self.in_memory[..]].concat()
    }

    /// Waits until all serve, and every replica has what any session had seen by then.
    pub async fn until_calm(&mut self) {
        self.cluster.until_ready().await;
        self.assert_right();
        let (label, since) = (self.sessions.tally().label(), Instant::now());
        for name in self.replicas() {
            self.ask_replica(&name, &label, "READ", json!({"user_id": 1, "movie_id": 1})).await;
        }
        self.calm_since = since;
        self.assert_right();
    }

    /// Returns the start of the last calm time.
    pub fn calm_since(&self) -> Instant {
        self.calm_since
    }

    /// Waits until it is calm, and the sessions get on.
    pub async fn until_well(&mut self) {
        self.until_calm().await;
        self.sessions.until_answered(40).await;
        self.assert_right();
    }

    /// Fails where an answer broke the contract, digests contradict each other, or a process died.
    pub fn assert_right(&mut self) {
        let wrong = self.sessions.tally().wrong.clone();
        assert!(wrong.is_empty(), "{} answers break the contract:\n{}", wrong.len(), wrong.join("\n"));
        self.digests.assert_equal();
        self.cluster.assert_sound();
    }

    /// Asks one replica, as a frontend does, with all that `label` names, until it answers: the value. It may go on under a new
    /// id meanwhile.
    async fn ask_replica(&self, name: &str, label: &Value, method: &str, params: Value) -> Value {
        let request = json!({"n": 1, "prev": label["replicas"], "proven": true, "wait_ms": WAIT_MS,
            "request": {"method": method, "params": params}});
        let payload = Encoding::MessagePack.encode(&json!({"requests": [request]}));
        let began = Instant::now();
        for wire in self.wires.iter().cycle() {
            let rest = format!("replica.{}.query", self.cluster.id_of(name).await);
            let answer = wire.send_within(&rest, payload.clone(), Encoding::MessagePack, PATIENCE).await;
            let reply = answer.as_ref().map(|answer| &answer.body["replies"][0]["reply"]);
            match reply {
                Ok(reply) if reply["answered"].is_object() => return reply["answered"]["value"].clone(),
                other => assert!(began.elapsed() < DEADLINE, "{name} lacks something of {label}: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        unreachable!("there are connections");
    }

    /// All is over and quiet: every replica holds the same, and what it holds is read there. Then the history is checked.
    /// Gives one line of what was done.
    pub async fn finish(mut self) -> String {
        self.sessions.stop().await;
        self.until_calm().await;
        let (names, label) = (self.replicas(), self.sessions.tally().label());
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.cluster.until_agreed(&names).await;
        for name in &names {
            let state = self.read_all(name, &label).await;
            self.sessions.recorder().quiet(state);
        }
        self.assert_right();
        for member in self.cluster.members() {
            let log = member.log();
            let lost = log.lines().find(|line| line.contains("LOST records"));
            assert!(lost.is_none(), "{}: {lost:?}, though fewer were lost than is survived", member.name());
        }
        let compared = self.digests.compared();
        assert!(compared > 0, "no two replicas ever showed the same value timestamp");
        let history = self.sessions.history();
        let verdict = history::check(&history);
        assert!(verdict.is_ok(), "{verdict}");
        let tally = self.sessions.tally().to_string();
        self.is_judged = true;
        format!("{tally}; {verdict}; {compared} digests compared at equal value timestamps")
    }

    /// Reads all that a replica holds.
    async fn read_all(&self, name: &str, label: &Value) -> Final {
        let mut state = Final { replica: self.cluster.id_of(name).await, users: users(), ..Final::default() };
        for user_id in users() {
            let params = json!({"user_id": user_id, "limit": 1000, "after": 0});
            let page = self.ask_replica(name, label, "ALL", params).await;
            let rows = page["ratings"]["ratings"].as_array().unwrap_or_else(|| panic!("a page, not {page}"));
            state.rows.extend(rows.iter().map(|row| answers::row(row).unwrap()));
        }
        for movie_id in movies() {
            let mean = self.ask_replica(name, label, "AVERAGE", json!({"movie_id": movie_id})).await;
            state.means.push(answers::mean(&mean["average"]).unwrap());
        }
        state
    }

    /// Keeps the history and says what to do with it.
    fn keep(&self) {
        let StagePlan { test, keep_in, .. } = self.plan;
        let seed = self.seed;
        let path: PathBuf = Path::new(keep_in).join(format!("{test}-{seed}.jsonl"));
        let written =
            File::create(&path).and_then(|file| file::write(&self.sessions.history(), &mut BufWriter::new(file)));
        match written {
            Ok(()) => eprintln!(
                "the history is kept in {0}; check it again:\n  cargo run -p natter-simulation --bin check_history -- {0}",
                path.display()
            ),
            Err(error) => eprintln!("the history cannot be kept in {}: {error}", path.display()),
        }
        eprintln!(
            "the same faults again:\n  LIVE_SEED={seed} cargo test -p natter-tests --test live_faults {test} -- --nocapture"
        );
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if !self.is_judged {
            self.keep();
        }
    }
}
