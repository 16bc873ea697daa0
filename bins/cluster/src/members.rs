//! The processes of the roles, below guards.

use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use futures_util::future::join_all;
use natter_broker::duration::format_duration;
use natter_broker::options::BrokerOptions;
use natter_common::ids::ReplicaId;
use natter_common::messages::{Presence, Role, Status};
use natter_common::roster::{MISSED_INTERVALS_MAX, PRESENCE_INTERVAL_MS};
use natter_processes::guard;
use natter_processes::owned_process::OwnedProcess;
use tokio::time::Instant;

use crate::arguments::ClusterArgs;
use crate::broker::Broker;
use crate::control::Names;
use crate::error::ClusterError;
use crate::log_file::{BOUND, LogFile};
use crate::log_folder::LogFolder;
use crate::log_pump::Log;
use crate::roles;
use crate::sites::Site;

/// A process's first presence can say that it is this much older than it is: clocks are read at different moments.
const UPTIME_SLACK: Duration = Duration::from_millis(100);

/// A member that has not shown itself for this long counts as gone.
const GONE_AFTER: Duration = Duration::from_millis(MISSED_INTERVALS_MAX * PRESENCE_INTERVAL_MS);

/// One frontend or replica.
#[derive(Debug)]
pub(crate) struct Member {
    role: Role,
    number: u8,
    site: Site,
    name: String,
    log: Log,
    process: OwnedProcess,
    condition: Condition,
    started: Instant,
    seen: Option<(ReplicaId, Status)>,
    /// Whether it is a replica that answers clients.
    has_entrance: bool,
    /// Id and status that its frontend half showed last.
    seen_entrance: Option<(ReplicaId, Status)>,
    /// When it showed itself last.
    heard: Instant,
}

/// Condition of a process, as far as the launcher knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It runs.
    Running,
    /// A verb has frozen it.
    Paused,
    /// A verb has ended it.
    Killed,
    /// It ended by itself.
    Ended,
}

impl Condition {
    /// One word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Killed => "killed",
            Self::Ended => "ended",
        }
    }
}

/// That a member ended by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `replica r1`.
    pub(crate) what: String,
    /// `ended with status 1`.
    pub(crate) how: String,
    /// Its log.
    pub(crate) log: Log,
}

impl Member {
    /// Starts number `n` of a role. Its log has every step of the protocol where logs are kept, else it is bounded.
    pub(crate) fn start(
        role: Role,
        n: u8,
        arguments: &ClusterArgs,
        broker: &Broker,
        logs: &LogFolder,
    ) -> Result<Self, ClusterError> {
        let name = format!("{}{n}", if role == Role::Frontend { 'f' } else { 'r' });
        let has_entrance = arguments.together && role == Role::Replica && n <= arguments.frontends;
        let plan = Plan { role, name: &name, has_entrance };
        let site = broker.site_of(n);
        let (log, process) = plan.spawn(LogFile::create, arguments, broker.options_at(site), logs)?;
        let now = Instant::now();
        Ok(Self {
            role,
            number: n,
            site,
            name,
            log,
            process,
            condition: Condition::Running,
            started: now,
            seen: None,
            has_entrance,
            seen_entrance: None,
            heard: now,
        })
    }

    /// Starts it again, after its end. Its log goes on.
    pub(crate) fn start_again(
        &mut self,
        arguments: &ClusterArgs,
        broker: &Broker,
        logs: &LogFolder,
    ) -> Result<(), ClusterError> {
        let plan = Plan { role: self.role, name: &self.name, has_entrance: self.has_entrance };
        let (log, process) = plan.spawn(LogFile::append, arguments, broker.options_at(self.site), logs)?;
        (self.log, self.process, self.condition) = (log, process, Condition::Running);
        (self.seen, self.seen_entrance) = (None, None);
        (self.started, self.heard) = (Instant::now(), Instant::now());
        Ok(())
    }

    /// Notes what a process shows of itself, where it is this one. On a broker that others use too there may be other
    /// clusters, whose members have the same names, but not the same age.
    pub(crate) fn notice(&mut self, presence: &Presence) {
        let age = self.started.elapsed() + UPTIME_SLACK;
        let is_of_this_age = Duration::from_millis(presence.uptime_ms) <= age;
        if self.has_entrance && presence.role == Role::Frontend && is_of_this_age && self.is_entrance(&presence.id) {
            self.seen_entrance = Some((presence.id.clone(), presence.status));
        }
        if presence.role == self.role && is_named(presence.id.as_str(), &self.name) && is_of_this_age {
            self.seen = Some((presence.id.clone(), presence.status));
            self.heard = Instant::now();
        }
    }

    /// Whether this is the id of the frontend half of this replica.
    fn is_entrance(&self, id: &ReplicaId) -> bool {
        id.as_str().strip_prefix("f-").is_some_and(|id| is_named(id, &self.name))
    }

    /// The ids under which it answers clients, once it has shown itself.
    pub(crate) fn frontend_id(&self) -> Option<&ReplicaId> {
        let seen = if self.role == Role::Frontend { &self.seen } else { &self.seen_entrance };
        seen.as_ref().map(|(id, _)| id)
    }

    /// Its id, once it has shown itself.
    pub(crate) fn id(&self) -> Option<&ReplicaId> {
        self.seen.as_ref().map(|(id, _)| id)
    }

    /// Its name: `r1`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its number among those of its role.
    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    /// Its site.
    pub(crate) fn site(&self) -> Site {
        self.site
    }

    /// `replica r1`.
    pub(crate) fn what(&self) -> String {
        described(self.role, &self.name)
    }

    /// All that a person may call it.
    pub(crate) fn names(&self) -> Names<'_> {
        let ids = [&self.seen, &self.seen_entrance].into_iter().flatten().map(|(id, _)| id.as_str());
        Names { name: &self.name, ids: ids.collect() }
    }

    /// Its condition.
    pub(crate) fn condition(&self) -> Condition {
        self.condition
    }

    /// Whether it has not ended, as far as was noticed; it may be paused.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.condition, Condition::Running | Condition::Paused)
    }

    /// Whether it has ended, noticed or not.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Its role.
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// Whether it serves, or would, were it not told to be OFFLINE.
    pub(crate) fn is_ready(&self) -> bool {
        let is_ready = |seen: &Option<(ReplicaId, Status)>| {
            matches!(seen, Some((_, Status::Active | Status::Overloaded | Status::Offline)))
        };
        is_ready(&self.seen) && (!self.has_entrance || is_ready(&self.seen_entrance))
    }

    /// Whether it takes requests, as far as it shows.
    pub(crate) fn serves(&self) -> bool {
        let serves = matches!(self.seen, Some((_, Status::Active | Status::Overloaded)));
        serves && self.condition == Condition::Running && self.heard.elapsed() < GONE_AFTER
    }

    /// Whether it has shown itself, or ended.
    pub(crate) fn is_settled(&self) -> bool {
        self.condition == Condition::Ended || self.seen.is_some()
    }

    /// Its name and what it said last: `r1 (JOINING)`.
    pub(crate) fn state(&self) -> String {
        match &self.seen {
            _ if self.condition == Condition::Ended => format!("{} (ended)", self.name),
            _ if self.condition == Condition::Killed => format!("{} (killed)", self.name),
            _ if self.condition == Condition::Paused => format!("{} (paused)", self.name),
            Some((_, status)) if self.heard.elapsed() >= GONE_AFTER => format!("{} (silent, was {status})", self.name),
            Some((_, status)) => format!("{} ({status})", self.name),
            None => format!("{} (not heard of)", self.name),
        }
    }

    /// Whether it has ended by itself; told once.
    pub(crate) fn newly_ended(&mut self) -> Option<Ended> {
        if !self.is_running() {
            return None;
        }
        let how = how_it_ended(self.process.try_wait())?;
        self.condition = Condition::Ended;
        Some(Ended { what: self.what(), how, log: self.log.clone() })
    }

    /// Waits until the last line of a member that has ended is in its log.
    pub(crate) async fn complete_log(&mut self) {
        self.log.complete().await;
    }

    /// Ends it without asking.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// Ends it without asking, as a verb wants it, and waits for its end.
    pub(crate) async fn end_now(&mut self) {
        self.condition = Condition::Killed;
        self.process.kill();
        // Errors in finding out how a process ended do not matter here and below.
        let _ = self.process.wait().await;
        self.log.complete().await;
    }

    /// Asks it to end, as a verb wants it, and waits for its end.
    pub(crate) async fn end(&mut self) {
        if self.is_running() {
            self.condition = Condition::Killed;
            let _ = self.process.stop().await;
        }
        self.log.complete().await;
    }

    /// Freezes it.
    pub(crate) fn pause(&mut self) {
        self.condition = Condition::Paused;
        self.process.pause();
    }

    /// Lets it go on.
    pub(crate) fn resume(&mut self) {
        self.condition = Condition::Running;
        self.process.resume();
    }
}

/// All that makes the command of a member.
struct Plan<'a> {
    role: Role,
    name: &'a str,
    has_entrance: bool,
}

impl Plan<'_> {
    fn spawn(
        &self,
        open: fn(&Path, Option<u64>) -> io::Result<LogFile>,
        arguments: &ClusterArgs,
        broker: &BrokerOptions,
        logs: &LogFolder,
    ) -> Result<(Log, OwnedProcess), ClusterError> {
        let Self { role, name, has_entrance } = *self;
        let (path, kept) = (logs.log_of(name), logs.scratch().is_none());
        let file = open(&path, (!kept).then_some(BOUND))
            .map_err(|source| ClusterError::Logs { path: path.clone(), source })?;
        let cannot_start = |source| ClusterError::Start { what: described(role, name), source };
        let (log, output) = Log::start(&described(role, name), &path, file, broker.log_format).map_err(cannot_start)?;
        let program = std::env::current_exe().map_err(cannot_start)?;
        let mut command = guard::command(program, logs.scratch()).map_err(cannot_start)?;
        command.arg(roles::word(role)).arg("--name").arg(name);
        match role {
            Role::Frontend => set_frontend_arguments(&mut command, arguments),
            Role::Replica => set_replica_arguments(&mut command, name, arguments),
        }
        if has_entrance {
            command.arg("--frontend");
            set_frontend_arguments(&mut command, arguments);
        }
        BrokerOptions { verbose: broker.verbose.max(kept.into()), ..broker.clone() }.apply_to(&mut command);
        command.stdout(output.try_clone().map_err(cannot_start)?).stderr(output);
        let process = guard::spawn(command).map_err(cannot_start)?;
        Ok((log, process))
    }
}

/// Stops all members of a role, at the same time, and waits for their end.
pub(crate) async fn stop_all(members: &mut [Member], role: Role) {
    let stopping = members.iter_mut().filter(|member| member.role == role).map(|member| member.process.stop());
    // Errors in finding out how a process ended do not matter here.
    join_all(stopping).await;
}

/// Describes for people how a process ended; `None` while it runs.
pub(crate) fn how_it_ended(ended: io::Result<Option<ExitStatus>>) -> Option<String> {
    match ended {
        Ok(None) => None,
        Ok(Some(status)) => Some(match status.code() {
            Some(0) => "ended by itself".to_owned(),
            // A guard gives 128 and the number of the signal that ended the child.
            Some(code @ 129..=192) => format!("was ended by signal {}", code - 128),
            Some(code) => format!("ended with status {code}"),
            None => "was killed".to_owned(),
        }),
        Err(error) => Some(format!("is lost ({error})")),
    }
}

/// `replica r1`.
fn described(role: Role, name: &str) -> String {
    format!("{} {name}", roles::word(role))
}

/// An id is the name, or the name with a random ending.
fn is_named(id: &str, name: &str) -> bool {
    id.strip_prefix(name).is_some_and(|ending| ending.is_empty() || ending.starts_with('-'))
}

fn set_frontend_arguments(command: &mut Command, arguments: &ClusterArgs) {
    command.arg("--fault-tolerance").arg(arguments.fault_tolerance.to_string());
    command.arg("--timeout").arg(format_duration(arguments.timeout));
    if arguments.strict {
        command.arg("--strict");
    }
}

fn set_replica_arguments(command: &mut Command, name: &str, arguments: &ClusterArgs) {
    command.arg("--status").arg(arguments.status.name());
    command.arg("--gossip-interval").arg(format_duration(arguments.gossip_interval));
    command.arg("--cache").arg(arguments.cache.as_u64().to_string());
    command.arg("--forget-after").arg(format_duration(arguments.forget_after));
    if arguments.changes {
        command.arg("--changes");
    }
    if let Some(data_dir) = &arguments.data_dir {
        command.arg("--data-dir").arg(data_dir.join(name)).arg("--sync").arg(&arguments.sync);
    }
    if let Some(database) = &arguments.database {
        command.arg("--database").arg(database);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn ids_are_names_with_random_endings() {
        assert!(is_named("r1-abc", "r1") && is_named("f1", "f1"));
        assert!(!is_named("r10-abc", "r1") && !is_named("r2-r1", "r1"));
    }

    #[test]
    fn ends_are_told_in_words() {
        let told = |raw| how_it_ended(Ok(Some(ExitStatus::from_raw(raw)))).unwrap();
        assert_eq!(told(0), "ended by itself");
        assert_eq!(told(1 << 8), "ended with status 1");
        assert_eq!(told(137 << 8), "was ended by signal 9");
        assert_eq!(told(9), "was killed");
        assert_eq!(how_it_ended(Ok(None)), None);
    }
}
