//! The frontends and replicas of one prefix.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{DEADLINE, Encoding, Member, Observer, Wire, World};

/// Settings of a cluster to be started.
pub struct ClusterPlan<'w> {
    world: &'w World,
    prefix: String,
    servers: Vec<String>,
    database: Option<PathBuf>,
    frontend_arguments: Vec<String>,
    replica_arguments: Vec<String>,
}

impl<'w> ClusterPlan<'w> {
    pub(super) fn new(world: &'w World, prefix: &str) -> Self {
        Self {
            world,
            prefix: prefix.to_owned(),
            servers: vec![world.broker.url()],
            database: None,
            frontend_arguments: Vec::new(),
            replica_arguments: Vec::new(),
        }
    }

    /// Uses another data set than the sample.
    #[must_use]
    pub fn database(mut self, path: &Path) -> Self {
        self.database = Some(path.to_owned());
        self
    }

    /// Uses other brokers than that of the test, as `--server` takes them: `r1` and `f1` get the first, `r2` and `f2`
    /// the second, and so on in a circle, by the number at the end of their name.
    #[must_use]
    pub fn servers(mut self, servers: Vec<String>) -> Self {
        self.servers = servers;
        self
    }

    fn server_of(&self, name: &str) -> &str {
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let number: usize = name[name.len() - digits..].parse().unwrap_or(1);
        &self.servers[number.saturating_sub(1) % self.servers.len()]
    }

    /// Arguments of every frontend.
    #[must_use]
    pub fn frontend_arguments(mut self, arguments: &[&str]) -> Self {
        self.frontend_arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self
    }

    /// Arguments of every replica.
    #[must_use]
    pub fn replica_arguments(mut self, arguments: &[&str]) -> Self {
        self.replica_arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self
    }

    /// Starts a process of this cluster and does not wait.
    pub fn start_member(&self, role: &'static str, name: &str, arguments: &[&str]) -> Member {
        self.start_command(self.world.role(role), role, name, arguments)
    }

    fn start_command(&self, mut command: Command, role: &'static str, name: &str, arguments: &[&str]) -> Member {
        command.args(["--name", name, "--server", self.server_of(name), "--prefix", &self.prefix]);
        match role {
            "frontend" => command.args(&self.frontend_arguments),
            _ => command.args(&self.replica_arguments),
        };
        if let ("replica", Some(database)) = (role, &self.database) {
            command.arg("--database").arg(database);
        }
        if std::env::var_os("NATTER_TEST_VERBOSE").is_some() {
            command.arg("-v");
        }
        command.args(arguments).env("NATTER_TEST_CLOCK", self.clock_file(name));
        Member::start(role, &self.log_name(name), command, self.world.directory())
    }

    /// The file that says how far the clock of a process is ahead; not there where it is right.
    fn clock_file(&self, name: &str) -> PathBuf {
        self.world.path(&format!("{}.clock", self.log_name(name)))
    }

    fn log_name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix.replace('.', "-"))
    }

    /// Starts without frontends and replicas, but with an observer.
    pub async fn empty(self) -> Cluster<'w> {
        let wire = Wire::connect(&self.servers[0], &self.prefix).await;
        let observer = Observer::start(&wire).await;
        Cluster { plan: self, wire, observer, members: Vec::new() }
    }

    /// Replicas `r1`, `r2`... and frontends `f1`, `f2`..., and waits until all serve and know each other.
    pub async fn start(self, frontends: usize, replicas: usize) -> Cluster<'w> {
        let mut cluster = self.empty().await;
        for n in 1..=replicas {
            cluster.start_replica(&format!("r{n}"), &[]);
        }
        for n in 1..=frontends {
            cluster.start_frontend(&format!("f{n}"), &[]);
        }
        cluster.until_ready().await;
        cluster
    }
}

/// Running frontends and replicas.
pub struct Cluster<'w> {
    plan: ClusterPlan<'w>,
    /// Asks in MessagePack and JSON.
    pub wire: Wire,
    /// Sees presence and gossip.
    pub observer: Observer,
    members: Vec<Member>,
}

impl Cluster<'_> {
    /// Starts a replica and does not wait.
    pub fn start_replica(&mut self, name: &str, arguments: &[&str]) {
        self.adopt(self.plan.start_member("replica", name, arguments));
    }

    /// Starts a replica from a shell that does `prelude` first, such as limiting what it may use.
    pub fn start_replica_after(&mut self, prelude: &str, name: &str, arguments: &[&str]) {
        let command = self.plan.world.role_after(prelude, "replica");
        self.adopt(self.plan.start_command(command, "replica", name, arguments));
    }

    /// Starts a frontend and does not wait.
    pub fn start_frontend(&mut self, name: &str, arguments: &[&str]) {
        self.adopt(self.plan.start_member("frontend", name, arguments));
    }

    /// Starts a frontend from a shell that does `prelude` first.
    pub fn start_frontend_after(&mut self, prelude: &str, name: &str, arguments: &[&str]) {
        let command = self.plan.world.role_after(prelude, "frontend");
        self.adopt(self.plan.start_command(command, "frontend", name, arguments));
    }

    /// Sets the wall clock of a process ahead, or behind with a negative offset. A process that is started later has it
    /// from its start.
    pub fn set_clock_ahead(&self, name: &str, offset_ms: i64) {
        // Whole at every moment.
        let (file, new) = (self.plan.clock_file(name), self.plan.clock_file(&format!("{name}.new")));
        std::fs::write(&new, offset_ms.to_string()).unwrap();
        std::fs::rename(&new, &file).unwrap();
    }

    /// Takes care of a process that was started before.
    pub fn adopt(&mut self, member: Member) {
        self.members.push(member);
    }

    /// The process that was started under this name.
    pub fn member(&mut self, name: &str) -> &mut Member {
        let log_name = self.plan.log_name(name);
        self.members.iter_mut().rfind(|member| member.name() == log_name).expect("a member of this name")
    }

    /// All processes.
    pub fn members(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// Freezes every replica (SIGSTOP).
    pub fn pause_all_replicas(&self) {
        self.replicas().for_each(Member::pause);
    }

    /// Lets every replica go on (SIGCONT).
    pub fn resume_all_replicas(&self) {
        self.replicas().for_each(Member::resume);
    }

    fn replicas(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.role() == "replica")
    }

    /// The ids of the replicas that are there, by name.
    pub fn replica_ids(&self) -> Vec<String> {
        let seen = self.observer.seen();
        let here = seen
            .members
            .iter()
            .filter(|(_, member)| member.presence["role"] == "replica" && !["LEFT", ""].contains(&member.status()));
        here.map(|(id, _)| id.clone()).collect()
    }

    /// Waits for the id of a process that was started.
    pub async fn id_of(&self, name: &str) -> String {
        self.observer.until(&format!("{name} shows itself"), |seen| seen.named(name).map(|(id, _)| id.clone())).await
    }

    /// Waits until `name` shows this status.
    pub async fn until_shows(&self, name: &str, status: &str) {
        self.observer.until(&format!("{name} is {status}"), |seen| seen.shows(name, status).then_some(())).await;
    }

    /// Waits until each of these replicas, started after `since`, serves; gives their ids.
    pub async fn until_serve_since(&mut self, names: &[&str], since: Instant) -> Vec<String> {
        let started = Instant::now();
        let serve = |seen: &super::Seen| {
            names.iter().map(|name| seen.serving_since(name, since).cloned()).collect::<Option<Vec<String>>>()
        };
        // A process that dies at its start is told of at once.
        loop {
            if let Some(ids) = self.observer.until_within(Duration::from_millis(500), serve).await {
                return ids;
            }
            for name in names {
                let member = self.member(name);
                assert!(!member.died(), "{name} died:\n{}", member.log_tail(20));
                assert!(started.elapsed() < DEADLINE, "{name} does not serve:\n{}", member.log_tail(20));
            }
        }
    }

    /// Waits until the processes of these ids gossip the same value timestamp and digest, heard after `since`.
    pub async fn until_ids_agree(&self, ids: &[String], since: Instant) {
        let what = format!("{ids:?} agree");
        self.observer.until(&what, |seen| seen.ids_agree(ids, since).then_some(())).await;
    }

    fn running_names(&mut self) -> Vec<String> {
        let start = self.plan.log_name("");
        let running = self.members.iter_mut().filter_map(|member| member.is_running().then_some(member));
        running.map(|member| member.name().strip_prefix(&start).expect("its own prefix").to_owned()).collect()
    }

    /// Waits until every process that runs is ACTIVE, and then until each has shown itself twice: by then each has heard
    /// all others.
    pub async fn until_ready(&mut self) {
        let names = self.running_names();
        let started = Instant::now();
        let everybody_is_active = |seen: &super::Seen| {
            let counts = names.iter().map(|name| {
                let (_, member) = seen.named(name)?;
                (member.status() == "ACTIVE").then_some(member.presences)
            });
            counts.collect::<Option<Vec<u64>>>()
        };
        // A process that dies at its start is told of at once.
        let counts = loop {
            if let Some(counts) = self.observer.until_within(Duration::from_millis(500), everybody_is_active).await {
                break counts;
            }
            for member in &mut self.members {
                assert!(!member.died(), "{} died:\n{}", member.name(), member.log_tail(20));
            }
            assert!(started.elapsed() < DEADLINE, "not ready within {DEADLINE:?}: {names:?}");
        };
        let shown_again = |seen: &super::Seen| {
            let again = |(name, count): (&String, &u64)| {
                seen.named(name).is_some_and(|(_, member)| member.presences >= count + 2)
            };
            names.iter().zip(&counts).all(again).then_some(())
        };
        self.observer.until("everybody shows itself twice", shown_again).await;
    }

    /// Asks a replica for its status, and sets its mode where one is given.
    pub async fn set_mode(&self, id: &str, mode: Option<&str>, encoding: Encoding) -> Value {
        let map = mode.map_or_else(|| json!({}), |mode| json!({"mode": mode}));
        let answer = self.wire.ask_in(encoding, &format!("replica.{id}.status"), &map).await;
        answer.unwrap_or_else(|silence| panic!("status of {id}: {silence:?}")).ok()
    }

    /// Sets the mode of all replicas.
    pub async fn set_all_modes(&self, mode: &str) {
        for id in self.replica_ids() {
            self.set_mode(&id, Some(mode), Encoding::MessagePack).await;
        }
    }

    /// Waits until all replicas named gossip the same value timestamp and digest, and gives the time from now.
    pub async fn until_agreed(&self, names: &[&str]) -> Duration {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let started = Instant::now();
        self.observer.until("the replicas agree", |seen| seen.agreed(&names)).await;
        started.elapsed()
    }

    /// Asks a process's log for lines that tell of something broken inside.
    fn check_logs(&mut self) {
        for member in &mut self.members {
            let log = member.log();
            for bad in ["panicked at", "DIVERGED", "cannot be encoded", "RUST_BACKTRACE"] {
                assert!(!log.contains(bad), "the log of {} has {bad:?}:\n{}", member.name(), member.log_tail(40));
            }
        }
    }

    /// Fails where a process died, a log tells of a panic, or replicas with equal timestamps showed different digests.
    pub fn assert_sound(&mut self) {
        for member in &mut self.members {
            assert!(!member.died(), "{} died:\n{}", member.name(), member.log_tail(40));
        }
        self.check_logs();
        self.observer.assert_convergence();
    }

    /// Does the same, and then ends every process as its operator would; each must obey.
    pub async fn finish(mut self) {
        self.assert_sound();
        let mut running: Vec<&mut Member> =
            self.members.iter_mut().filter_map(|m| m.is_running().then_some(m)).collect();
        for member in &mut running {
            member.resume();
            member.terminate();
        }
        for member in running {
            let ended = member.ended().await;
            assert!(ended.success(), "{} ends with {ended}:\n{}", member.name(), member.log_tail(20));
        }
        self.check_logs();
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        for member in &mut self.members {
            if std::thread::panicking() {
                eprintln!("---- the log of {}:\n{}", member.name(), member.log_tail(40));
            }
            if member.is_running() {
                member.kill_now();
            }
        }
    }
}
