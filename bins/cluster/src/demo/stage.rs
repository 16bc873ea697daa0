//! The cluster of a scene: real processes, and the operations of a scene on them.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use clap::Parser;
use natter_broker::options::BrokerOptions;
use natter_client::session::{
    BeginError, MovieId, RatingReply, Seen, Session, SessionOptions, Settings, Stars, UpdateId, UserId,
};
use natter_client::watch::listen::Scope;
use natter_client::watch::message::Heard;
use natter_client::watch::names::Names;
use natter_client::watch::status::Snapshot;
use natter_client::watch::trace::{Trace, Wanted};
use natter_common::messages::Role;
use natter_common::record::Record;
use tokio::time::{Instant, sleep, timeout_at};

use super::failure::DemoError;
use super::narrator::{Narrator, Pause};
use super::view::{View, record_of};
use super::words;
use crate::arguments::ClusterArgs;
use crate::broker::Broker;
use crate::log_folder::LogFolder;
use crate::members::{self, Member};
use crate::observer::Observer;
use crate::readiness::Lookout;
use crate::sites::Site;

/// Maximum time for an event that a scene waits for. Most come within a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// Maximum time for a frontend to answer in a scene. A request may wait while the text is read.
const FRONTEND_TIMEOUT: &str = "30s";
/// Maximum time for a session to wait for a frontend: a little longer.
const SESSION_TIMEOUT: Duration = Duration::from_secs(31);
/// Maximum time for all attempts of a session.
const SESSION_PATIENCE: Duration = Duration::from_secs(60);

/// The processes of a scene, and the messages that it listens to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Number of replicas.
    pub(super) replicas: u8,
    /// Whether there are two sites, each with a broker and a frontend of its own.
    pub(super) has_sites: bool,
    /// Messages that the scene shows. A scene that ends processes listens to the state only, as a subscriber to requests
    /// hides that nobody answers them.
    pub(super) scope: Scope,
}

/// A running scene. The order of the fields is that of stopping, should this be dropped.
pub(super) struct Stage<'n> {
    narrator: &'n mut Narrator,
    /// Views at the brokers, a view for each site.
    views: Vec<View>,
    observer: Option<Observer>,
    members: Vec<Member>,
    lookout: Lookout,
    arguments: ClusterArgs,
    broker: Broker,
    logs: LogFolder,
    /// The user that rates in the scene.
    pub(super) user: UserId,
    /// The movie that is rated.
    pub(super) movie: MovieId,
}

impl<'n> Stage<'n> {
    /// Starts the processes, waits until all serve, and tells what was started.
    pub(super) async fn open(
        plan: Plan,
        narrator: &'n mut Narrator,
        observe: Option<SocketAddr>,
    ) -> Result<Self, DemoError> {
        let arguments = arguments(plan)?;
        let logs = LogFolder::at(None)?;
        let broker = Broker::open(&arguments, &logs).await?;
        let mut lookout = Lookout::connect(&broker).await?;
        let mut members = Vec::new();
        for (role, count) in [(Role::Replica, arguments.replicas), (Role::Frontend, arguments.frontends)] {
            for n in 1..=count {
                members.push(Member::start(role, n, &arguments, &broker, &logs)?);
            }
        }
        lookout.wait_until_ready(&mut members, arguments.ready_within()).await?;
        let observer = match observe {
            Some(listen) => Some(Observer::start(listen, Site::One, None, broker.options(), &logs).await?),
            None => None,
        };
        let mut views = Vec::new();
        for site in broker.sites() {
            views.push(View::open(broker.options_at(*site), plan.scope).await?);
        }
        let (user, movie) =
            (UserId::new(42).map_err(DemoError::of_script)?, MovieId::new(1).map_err(DemoError::of_script)?);
        let mut stage = Self { narrator, views, observer, members, lookout, arguments, broker, logs, user, movie };
        stage.begin().await?;
        Ok(stage)
    }

    async fn begin(&mut self) -> Result<(), DemoError> {
        let (processes, replicas) = (self.members.len(), usize::from(self.arguments.replicas));
        let mut snapshot = None;
        for site in self.broker.sites() {
            let view = site.index();
            self.until_some("every process shows itself", |stage| {
                stage.views[view].is_complete(processes).then_some(())
            })
            .await?;
            let all_show = |seen: &Snapshot| {
                seen.replicas.len() == replicas && seen.replicas.iter().all(|row| row.digest.is_some())
            };
            snapshot = Some(self.until_at(*site, "every replica shows its digest", all_show).await?);
        }
        let ids: Vec<&str> = snapshot.iter().flat_map(|seen| &seen.replicas).map(|row| row.id.as_str()).collect();
        let ids = ids.join(", ");
        let text = match self.broker.second_url() {
            None => format!("A nats-server at {}, frontend f1, and {replicas} replicas: {ids}.", self.broker.url()),
            Some(second) => format!(
                "Two sites, each with a nats-server: site 1 at {} with f1, r1 and r3, site 2 at {second} with f2 and r2. \
                 The replicas: {ids}.",
                self.broker.url()
            ),
        };
        self.narrator.say(&text)?;
        if let Some(observer) = &self.observer {
            let of_site = if self.broker.second_url().is_some() { ", which listens at site 1" } else { "" };
            self.narrator.say(&format!("Live page: {}{of_site}", observer.url()))?;
        }
        self.pause_for_page().await
    }

    /// Ends the scene with its idea, and leaves time to read it.
    pub(super) async fn end(&mut self, idea: &str) -> Result<(), DemoError> {
        self.narrator.say("")?;
        self.narrator.say(idea)?;
        self.narrator.say("")?;
        self.pause_for_page().await
    }

    /// Begins a step, and leaves time to read it.
    pub(super) async fn step(&mut self, text: &str, expected: &str) -> Result<(), DemoError> {
        self.narrator.step(text, expected)?;
        let pause = self.narrator.pause();
        self.wait(pause).await
    }

    /// Tells an observation, and fails where it does not fit the expectation of the step.
    pub(super) fn observed(&mut self, fits: bool, text: &str) -> Result<(), DemoError> {
        self.narrator.observed(text)?;
        if fits {
            return Ok(());
        }
        let (step, expected) = self.narrator.current();
        Err(DemoError::Unexpected { step, expected, observed: text.to_owned() })
    }

    /// Shows lines that keep their form.
    pub(super) fn show(&mut self, text: &str) -> Result<(), DemoError> {
        Ok(self.narrator.shown(text.lines())?)
    }

    /// Shows a line for each replica.
    pub(super) fn show_replicas(&mut self, snapshot: &Snapshot) -> Result<(), DemoError> {
        let lines = words::table(snapshot, self.names());
        Ok(self.narrator.shown(lines.iter().map(String::as_str))?)
    }

    /// Short names of the processes.
    pub(super) fn names(&self) -> &Names {
        self.views[0].names()
    }

    /// The view at a site.
    pub(super) fn view(&self, site: Site) -> &View {
        &self.views[site.index().min(self.views.len() - 1)]
    }

    /// A new session of a client at site 1, or one that goes on from what another has seen.
    pub(super) async fn session(&self, seen: Seen) -> Result<Session, BeginError> {
        self.session_at(Site::One, seen, SESSION_PATIENCE).await
    }

    /// A session that asks only once.
    pub(super) async fn hasty_session(&self, seen: Seen) -> Result<Session, BeginError> {
        self.session_at(Site::One, seen, Duration::ZERO).await
    }

    /// A new session of a client at site 2.
    pub(super) async fn session_at_two(&self, seen: Seen) -> Result<Session, BeginError> {
        self.session_at(Site::Two, seen, SESSION_PATIENCE).await
    }

    async fn session_at(&self, site: Site, seen: Seen, patience: Duration) -> Result<Session, BeginError> {
        let settings = Settings { timeout: SESSION_TIMEOUT, patience, ..Settings::default() };
        let broker = self.broker.options_at(site).clone();
        Session::connect_with(SessionOptions { broker, settings, seen, own_subject: None }).await
    }

    /// Waits for what happens next at any broker. Cancel safe.
    async fn listen(&mut self) -> Result<(), DemoError> {
        match &mut self.views[..] {
            [near, far] => tokio::select! {
                listened = near.listen() => listened,
                listened = far.listen() => listened,
            },
            views => match views.first_mut() {
                Some(near) => near.listen().await,
                None => Err(DemoError::Closed),
            },
        }
    }

    /// Does something while listening goes on, so that the times of messages are right.
    pub(super) async fn during<T>(&mut self, doing: impl Future<Output = T>) -> Result<T, DemoError> {
        let mut doing = pin!(doing);
        loop {
            tokio::select! {
                done = &mut doing => return Ok(done),
                listened = self.listen() => listened?,
            }
        }
    }

    /// Listens until `find` finds something.
    async fn until_some<T>(
        &mut self,
        event: &str,
        mut find: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T, DemoError> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = find(self) {
                return Ok(found);
            }
            let Ok(listened) = timeout_at(end, self.listen()).await else {
                let (step, _) = self.narrator.current();
                let snapshot = self.views[0].snapshot();
                let last = words::table(&snapshot, self.names()).join("; ");
                return Err(DemoError::NotSeen { step, event: event.to_owned(), waited: PATIENCE, last });
            };
            listened?;
        }
    }

    /// Waits until the state of the cluster fits.
    pub(super) async fn until(&mut self, event: &str, fits: impl Fn(&Snapshot) -> bool) -> Result<Snapshot, DemoError> {
        self.until_at(Site::One, event, fits).await
    }

    /// Waits until the state of the cluster fits, as a site sees it.
    pub(super) async fn until_at(
        &mut self,
        site: Site,
        event: &str,
        fits: impl Fn(&Snapshot) -> bool,
    ) -> Result<Snapshot, DemoError> {
        let index = site.index();
        let find = |stage: &mut Self| Some(stage.views[index].snapshot()).filter(|snapshot| fits(snapshot));
        self.until_some(event, find).await
    }

    /// Waits until this many replicas show the same records as applied, all that any of them holds, and the same digest.
    pub(super) async fn until_converged(&mut self, replicas: usize) -> Result<Snapshot, DemoError> {
        let event = "all replicas have applied the same records and show one digest";
        self.until(event, |seen| seen.replicas.len() == replicas && seen.converged == Some(true)).await
    }

    /// Waits for a message.
    pub(super) async fn until_heard<T>(
        &mut self,
        event: &str,
        find: impl Fn(&[Heard]) -> Option<T>,
    ) -> Result<T, DemoError> {
        self.until_some(event, |stage| stage.views.iter().find_map(|view| find(view.heard()))).await
    }

    /// The record of an update that the label of its answer names, as gossip brings it.
    pub(super) async fn record(&mut self, id: UpdateId, answer: &RatingReply) -> Result<Record, DemoError> {
        let label = &answer.label.replicas;
        self.until_heard("gossip brings the record of the update", |heard| record_of(heard, id, label)).await
    }

    /// Begins to record messages for [`Stage::trace`].
    pub(super) fn start_recording(&mut self) {
        self.views[0].start_recording();
    }

    /// The way of a request, when it is answered and, for an update, applied by every replica.
    pub(super) async fn trace(&mut self, wanted: &Wanted) -> Result<Trace, DemoError> {
        let event = "the request is answered, and every replica shows that it has applied the update";
        self.until_some(event, |stage| {
            let view = &mut stage.views[0];
            let recording = view.recording.take_if(|recording| recording.is_complete(wanted))?;
            Some(recording.trace(wanted, view.names()))
        })
        .await
    }

    /// Starts another process, and waits until it serves.
    pub(super) async fn add(&mut self, role: Role, n: u8) -> Result<(), DemoError> {
        let member = Member::start(role, n, &self.arguments, &self.broker, &self.logs)?;
        self.members.push(member);
        let newest = self.members.len() - 1;
        let ready = self.lookout.wait_until_ready(&mut self.members[newest..], self.arguments.ready_within());
        Ok(ready.await?)
    }

    /// Stops a process in good order.
    pub(super) async fn stop(&mut self, role: Role, name: &str) -> Result<(), DemoError> {
        let index = self.find(role, name)?;
        self.members.remove(index).end().await;
        Ok(())
    }

    /// Ends a process without a word (SIGKILL), and waits for its end.
    pub(super) async fn kill(&mut self, role: Role, name: &str) -> Result<(), DemoError> {
        let index = self.find(role, name)?;
        self.members.remove(index).end_now().await;
        Ok(())
    }

    /// Cuts the link between the sites, and waits until its connections are broken.
    pub(super) async fn cut(&mut self) -> Result<(), DemoError> {
        let link = self.broker.link().ok_or_else(|| DemoError::Script("there is one site only".to_owned()))?;
        link.cut().await;
        Ok(())
    }

    /// Lets the link between the sites work again, and waits until the brokers use it.
    pub(super) async fn heal(&mut self) -> Result<bool, DemoError> {
        let link = self.broker.link().ok_or_else(|| DemoError::Script("there is one site only".to_owned()))?;
        Ok(link.heal().await)
    }

    /// A process by its name.
    pub(super) fn member(&self, role: Role, name: &str) -> Result<&Member, DemoError> {
        self.find(role, name).map(|index| &self.members[index])
    }

    fn find(&self, role: Role, name: &str) -> Result<usize, DemoError> {
        let index = self.members.iter().position(|member| member.role() == role && member.name() == name);
        index.ok_or_else(|| DemoError::Script(format!("there is no {role} {name}")))
    }

    /// A pause in the middle of an action.
    pub(super) async fn dwell(&mut self, time: Duration) -> Result<(), DemoError> {
        let time = self.narrator.dwell(time);
        self.during(sleep(time)).await
    }

    /// Time to read. Where there is a page, and a person at the terminal, the page stays until Enter.
    async fn pause_for_page(&mut self) -> Result<(), DemoError> {
        let pause = self.narrator.pause();
        let is_watched = self.observer.is_some() && io::stdin().is_terminal();
        self.wait(if is_watched && pause != Pause::None { Pause::Enter } else { pause }).await
    }

    async fn wait(&mut self, pause: Pause) -> Result<(), DemoError> {
        match pause {
            Pause::None => Ok(()),
            Pause::For(time) => self.during(sleep(time)).await,
            Pause::Enter => {
                self.narrator.prompt()?;
                let enter = tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new()));
                // Where standard input can't be read, the scene goes on without it.
                let _ = self.during(enter).await?;
                // On a terminal, Enter itself ends the line.
                if io::stdin().is_terminal() { Ok(()) } else { Ok(self.narrator.say("")?) }
            }
        }
    }

    /// Stops the processes: frontends first, the broker last.
    pub(super) async fn close(mut self) {
        if let Some(observer) = self.observer.take() {
            observer.stop().await;
        }
        members::stop_all(&mut self.members, Role::Frontend).await;
        members::stop_all(&mut self.members, Role::Replica).await;
        drop(self.lookout);
        drop(self.views);
        self.broker.stop().await;
    }
}

/// The arguments of a launcher that would start the same.
fn arguments(plan: Plan) -> Result<ClusterArgs, DemoError> {
    let mut arguments = ClusterArgs::try_parse_from(["cluster", "--timeout", FRONTEND_TIMEOUT])
        .map_err(|error| DemoError::Script(error.to_string()))?;
    // A scene has a broker of its own, whatever the environment names.
    arguments.broker = BrokerOptions::default();
    arguments.port = Some(0);
    arguments.replicas = plan.replicas;
    if plan.has_sites {
        arguments.sites = Some(2);
        arguments.frontends = 2;
    }
    Ok(arguments)
}

/// A rating on the scale of half stars.
pub(super) fn stars(number: f64) -> Result<Stars, DemoError> {
    Stars::try_from(number).map_err(DemoError::of_script)
}
