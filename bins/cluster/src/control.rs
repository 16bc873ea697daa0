//! Verbs that change the running cluster: kill, pause, add, cut and the like.
//!
//! - [`Verb::parse`] reads one from a line of text.
//! - [`Controls::perform`] has the launcher perform one and gives a sentence on what happened, or why nothing did. A
//!   [`Controls`] can be cloned, and works from any task while the launcher watches ([`Cluster::watch`]).
//! - [`Cluster::perform`] is the same for code that owns the cluster itself.
//!
//! A verb has taken effect when its sentence comes: a killed process has ended, an added or restarted one serves, a cut link
//! has lost its connections, and a healed one has new ones. A process that a verb ended is no failure of the run. The
//! launcher performs one verb at a time.

mod error;
mod names;
mod verb;

use std::time::Duration;

use natter_common::messages::{Mode, Role};
use natter_observer::launcher::{LauncherState, MemberState};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};

pub(crate) use self::error::ControlError;
pub(crate) use self::names::Names;
pub(crate) use self::verb::{Name, Verb};
use crate::arguments::MEMBERS_MAX;
use crate::broker::Broker;
use crate::error::ClusterError;
use crate::launch::{Cluster, next_presence};
use crate::log_file;
use crate::members::{Condition, Member};
use crate::roles;
use crate::sites::{Link, Site};

/// Verbs that may wait for the launcher.
const WAITING_MAX: usize = 16;
/// Interval at which to check whether a process that starts has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A verb on its way to the launcher.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) verb: Verb,
    pub(crate) outcome: oneshot::Sender<Result<String, ControlError>>,
}

/// The way of verbs to the launcher.
#[derive(Clone, Debug)]
pub(crate) struct Controls(mpsc::Sender<Order>);

impl Controls {
    /// The way, and its end at the launcher.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Order>) {
        let (sender, orders) = mpsc::channel(WAITING_MAX);
        (Self(sender), orders)
    }

    /// Has the launcher perform a verb, and waits until that is done.
    pub(crate) async fn perform(&self, verb: Verb) -> Result<String, ControlError> {
        let (outcome, answer) = oneshot::channel();
        self.0.send(Order { verb, outcome }).await.map_err(|_| ControlError::Ending)?;
        answer.await.map_err(|_| ControlError::Ending)?
    }
}

impl Cluster {
    /// A way to have verbs performed while the launcher watches.
    pub(crate) fn controls(&self) -> Controls {
        self.controls.clone()
    }

    /// Performs a verb, and returns a sentence on what happened.
    pub(crate) async fn perform(&mut self, verb: Verb) -> Result<String, ControlError> {
        match verb {
            Verb::Kill(name) => {
                let index = self.running("kill", &name)?;
                self.members[index].end_now().await;
                Ok(format!("{} is killed", self.members[index].what()))
            }
            Verb::Pause(name) => {
                let index = self.running("pause", &name)?;
                self.not_paused(index)?;
                self.members[index].pause();
                Ok(format!("{} is paused", self.members[index].what()))
            }
            Verb::Resume(name) => {
                let index = self.running("resume", &name)?;
                if self.members[index].condition() != Condition::Paused {
                    return Err(ControlError::NotPaused(self.members[index].what()));
                }
                self.members[index].resume();
                Ok(format!("{} goes on", self.members[index].what()))
            }
            Verb::Restart(name) => self.restart(&name).await,
            Verb::Add(role) => self.add(role).await,
            Verb::Set(name, mode) => self.set_mode(&name, mode).await,
            Verb::Cut => self.cut().await,
            Verb::Heal => self.heal().await,
            Verb::Status => Ok(self.status()),
            Verb::Help => Ok(format!("verbs: {}", verb::VERBS)),
            Verb::Quit => {
                self.is_asked_to_end = true;
                Ok("the cluster ends".to_owned())
            }
        }
    }

    /// The state of every process, in one line.
    pub(crate) fn status(&self) -> String {
        let states =
            |members: &mut dyn Iterator<Item = &Member>| members.map(Member::state).collect::<Vec<_>>().join(", ");
        let Some((sites, link)) = self.broker.as_ref().and_then(|broker| Some((broker.sites(), broker.link()?))) else {
            return states(&mut self.members.iter());
        };
        let of_site = |site: &Site| {
            let states = states(&mut self.members.iter().filter(|member| member.site() == *site));
            format!("{site}: {states}; ")
        };
        let link = if link.is_cut() { "the link is cut" } else { "the link works" };
        sites.iter().map(of_site).collect::<String>() + link
    }

    /// Tells the observer's page the state of the processes, where it has changed.
    pub(crate) fn publish_state(&self) {
        let has_sites = self.link().is_ok();
        let member = |member: &Member| MemberState {
            name: member.name().to_owned(),
            role: roles::word(member.role()).to_owned(),
            site: has_sites.then(|| member.site().to_string()),
            condition: member.condition().word().to_owned(),
        };
        let link = self.link().ok().map(|link| if link.is_cut() { "cut" } else { "works" }.to_owned());
        let now = LauncherState { members: self.members.iter().map(member).collect(), link };
        self.state.send_if_modified(|state| {
            let is_changed = *state != now;
            *state = now;
            is_changed
        });
    }

    async fn cut(&self) -> Result<String, ControlError> {
        let link = self.link()?;
        if link.is_cut() {
            return Err(ControlError::AlreadyCut);
        }
        link.cut().await;
        Ok("the link between the sites is cut".to_owned())
    }

    async fn heal(&self) -> Result<String, ControlError> {
        let link = self.link()?;
        if !link.is_cut() {
            return Err(ControlError::NotCut);
        }
        let words = if link.heal().await { "is healed" } else { "is open again, but the brokers do not use it yet" };
        Ok(format!("the link between the sites {words}"))
    }

    fn link(&self) -> Result<&Link, ControlError> {
        self.broker.as_ref().and_then(Broker::link).ok_or(ControlError::OneSite)
    }

    async fn add(&mut self, role: Role) -> Result<String, ControlError> {
        let is_running = |member: &&Member| member.role() == role && member.is_running();
        if self.members.iter().filter(is_running).count() >= MEMBERS_MAX.into() {
            return Err(ControlError::TooMany(role));
        }
        // A number that was used once names that process for ever, in logs and on the page.
        let last = self.members.iter().filter(|member| member.role() == role).map(Member::number).max();
        let number = last.unwrap_or(0).checked_add(1).ok_or(ControlError::TooMany(role))?;
        let (Some(broker), Some(logs)) = (&self.broker, &self.logs) else { return Err(ControlError::Ending) };
        let member = Member::start(role, number, &self.arguments, broker, logs)?;
        self.members.push(member);
        self.until_serving(self.members.len() - 1, "added").await
    }

    async fn restart(&mut self, name: &Name) -> Result<String, ControlError> {
        let index = self.find("restart", name)?;
        self.members[index].end().await;
        let (Some(broker), Some(logs)) = (&self.broker, &self.logs) else { return Err(ControlError::Ending) };
        self.members[index].start_again(&self.arguments, broker, logs)?;
        self.until_serving(index, "restarted").await
    }

    /// Waits until a process that was just started serves.
    async fn until_serving(&mut self, index: usize, how_started: &str) -> Result<String, ControlError> {
        let (started, within) = (Instant::now(), self.arguments.ready_within());
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let member = &self.members[index];
            if member.is_ready() {
                return Ok(format!("{} is {how_started} and serves: {}", member.what(), member.state()));
            }
            if started.elapsed() >= within {
                return Ok(format!("{} is {how_started}, but does not serve yet: {}", member.what(), member.state()));
            }
            tokio::select! {
                presence = next_presence(self.lookout.as_mut()) => self.notice(&presence),
                _ = look.tick() => {
                    self.publish_state();
                    if let Some(mut ended) = self.members[index].newly_ended() {
                        ended.log.complete().await;
                        let last_words = log_file::last_words(ended.log.path());
                        return Err(ClusterError::EndedEarly { what: ended.what, how: ended.how, last_words }.into());
                    }
                }
            }
        }
    }

    async fn set_mode(&mut self, name: &Name, mode: Mode) -> Result<String, ControlError> {
        let index = self.running(mode.name(), name)?;
        self.not_paused(index)?;
        let member = &self.members[index];
        if member.role() != Role::Replica {
            return Err(ControlError::NoMode(member.what()));
        }
        let (Some(lookout), Some(id)) = (&self.lookout, member.id()) else {
            return Err(ControlError::NotSeen(member.what()));
        };
        let reply = lookout.set_mode(member.site(), id, mode).await;
        let reply = reply.map_err(|reason| ControlError::NoAnswer { what: member.what(), reason })?;
        Ok(format!("replica {} is {} (mode {})", reply.id, reply.status, reply.mode))
    }

    fn not_paused(&self, index: usize) -> Result<(), ControlError> {
        let member = &self.members[index];
        if member.condition() == Condition::Paused { Err(ControlError::Paused(member.what())) } else { Ok(()) }
    }

    /// The index of a process that runs, or is paused.
    fn running(&mut self, verb: &'static str, name: &Name) -> Result<usize, ControlError> {
        let index = self.find(verb, name)?;
        let member = &mut self.members[index];
        // It may have ended a moment ago. The watch tells of that, too, so this is not the place.
        if !member.is_running() || member.has_ended() {
            return Err(ControlError::NotRunning { what: member.what(), name: member.name().to_owned() });
        }
        Ok(index)
    }

    fn find(&self, verb: &'static str, name: &Name) -> Result<usize, ControlError> {
        let names: Vec<Names<'_>> = self.members.iter().map(Member::names).collect();
        names::find(verb, name, &names)
    }
}
