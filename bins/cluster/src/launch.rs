//! Starts everything in order, watches it, and stops it in order.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use natter_broker::logs;
use natter_client::menu::MenuEnd;
use natter_common::messages::{Presence, Role};
use natter_observer::launcher::LauncherState;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::arguments::ClusterArgs;
use crate::broker::Broker;
use crate::console::{Console, ConsoleEnd};
use crate::control::{Controls, Order};
use crate::error::ClusterError;
use crate::foreground_client::ForegroundClient;
use crate::log_folder::LogFolder;
use crate::members::{self, Ended, Member};
use crate::notices::{counted, tell};
use crate::observer::Observer;
use crate::outage::Outage;
use crate::readiness::Lookout;
use crate::signals::{Request, Signals};
use crate::sites::Site;
use crate::summary::summary;

/// Interval at which to check whether a process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Maximum time for the client to end after ctrl-c.
const INTERRUPT_GRACE: Duration = Duration::from_secs(2);

/// All that runs. The order of the fields is that of stopping, should this be dropped instead.
pub(crate) struct Cluster {
    pub(crate) arguments: ClusterArgs,
    observers: Vec<Observer>,
    pub(crate) members: Vec<Member>,
    pub(crate) lookout: Option<Lookout>,
    pub(crate) broker: Option<Broker>,
    pub(crate) logs: Option<LogFolder>,
    pub(crate) controls: Controls,
    orders: mpsc::Receiver<Order>,
    pub(crate) is_asked_to_end: bool,
    /// State of the processes, for the observer's page.
    pub(crate) state: watch::Sender<LauncherState>,
}

/// Runs a cluster until its client ends or a signal comes.
pub(crate) async fn run(arguments: ClusterArgs) -> ExitCode {
    let mut signals = match Signals::receive().map_err(ClusterError::Signals) {
        Ok(signals) => signals,
        Err(error) => return complain(&error),
    };
    let mut cluster = Cluster::new(arguments);
    let started = tokio::select! {
        started = cluster.start() => started.map_err(|error| complain(&error)),
        request = signals.next() => Err(request.status()),
    };
    let status = match started {
        Ok(()) if cluster.arguments.no_client => cluster.wait_for_signal(&mut signals).await,
        Ok(()) if cluster.arguments.console => cluster.run_console(&mut signals).await,
        Ok(()) => cluster.converse(&mut signals).await,
        Err(status) => status,
    };
    // A second signal ends the wait, and all processes are killed.
    let stopped = tokio::select! {
        () = cluster.stop() => true,
        _ = signals.next() => false,
    };
    if !stopped {
        cluster.kill();
    }
    status
}

impl Cluster {
    /// A cluster of which nothing runs yet.
    pub(crate) fn new(arguments: ClusterArgs) -> Self {
        let (controls, orders) = Controls::new();
        Self {
            arguments,
            observers: Vec::new(),
            members: Vec::new(),
            lookout: None,
            broker: None,
            logs: None,
            controls,
            orders,
            is_asked_to_end: false,
            state: watch::Sender::default(),
        }
    }

    /// Starts everything, and waits until it serves. On an error, [`Cluster::stop`] stops what was started.
    pub(crate) async fn start(&mut self) -> Result<(), ClusterError> {
        let arguments = &self.arguments;
        if let Some(path) = &arguments.database {
            std::fs::metadata(path).map_err(|source| ClusterError::Database { path: path.clone(), source })?;
        }
        let logs = self.logs.insert(LogFolder::at(arguments.logs.as_deref())?);
        let broker = self.broker.insert(Broker::open(arguments, logs).await?);
        let lookout = self.lookout.insert(Lookout::connect(broker).await?);
        tell(&format!(
            "starting {} and {}",
            counted(arguments.frontends.into(), "frontend"),
            counted(arguments.replicas.into(), "replica")
        ));
        let separate = if arguments.together { 0 } else { arguments.frontends };
        for (role, count) in [(Role::Replica, arguments.replicas), (Role::Frontend, separate)] {
            for n in 1..=count {
                self.members.push(Member::start(role, n, arguments, broker, logs)?);
            }
        }
        lookout.wait_until_ready(&mut self.members, arguments.ready_within()).await?;
        if let Some(listen) = arguments.observe {
            for site in broker.sites() {
                // The second page takes any free port.
                let port = if *site == Site::One { listen.port() } else { 0 };
                let listen = SocketAddr::new(listen.ip(), port);
                let page = arguments.control.then(|| (self.controls.clone(), self.state.subscribe()));
                self.observers.push(Observer::start(listen, *site, page, broker.options_at(*site), logs).await?);
            }
        }
        let pages: Vec<&str> = self.observers.iter().map(Observer::url).collect();
        tell(&summary(broker, &self.members, logs, &pages));
        Ok(())
    }

    /// Without a client: a signal is the way to end it, and no failure.
    async fn wait_for_signal(&mut self, signals: &mut Signals) -> ExitCode {
        tell("ready: ctrl-c stops it");
        tokio::select! {
            _ = signals.next() => ExitCode::SUCCESS,
            ended = self.watch() => status_of(ended),
        }
    }

    /// Reads verbs, and returns the exit status when they, or the cluster, end. A signal is a way to end it, and no failure.
    async fn run_console(&mut self, signals: &mut Signals) -> ExitCode {
        // The console writes to the terminal by itself.
        logs::flush();
        let console = Console::new(self.controls(), self.state.subscribe());
        tokio::select! {
            _ = signals.next() => ExitCode::SUCCESS,
            ended = self.watch() => status_of(ended),
            end = console.run() => {
                if end == ConsoleEnd::EndOfInput {
                    tell("standard input is at its end, so the console ends, and the cluster with it (--no-client keeps it running)");
                }
                ExitCode::SUCCESS
            }
        }
    }

    /// Runs the client, and returns the exit status when it, or the cluster, ends.
    async fn converse(&mut self, signals: &mut Signals) -> ExitCode {
        let arguments = &self.arguments;
        let Some(broker) = &self.broker else { return ExitCode::FAILURE };
        // The menu writes to the terminal by itself.
        logs::flush();
        // A cluster in memory ends here, and with it all that a session could go on with.
        let is_own = broker.is_own();
        let forget_session = is_own && arguments.data_dir.is_none();
        let client = ForegroundClient::start(arguments.user_id, broker.options(), is_own, forget_session);
        let mut client = match client {
            Ok(client) => client,
            Err(source) => return complain(&ClusterError::Start { what: "the client".to_owned(), source }),
        };
        tokio::select! {
            (status, end) = client.ended() => {
                if end == Some(MenuEnd::EndOfInput) {
                    tell("standard input is at its end, so the menu ends, and the cluster with it (--no-client keeps it running)");
                }
                status
            }
            ended = self.watch() => status_of(ended),
            request = signals.next() => match request {
                // The client got it too, and knows what it means to it.
                Request::Interrupt => match timeout(INTERRUPT_GRACE, client.ended()).await {
                    Ok((status, _)) => status,
                    Err(_) => request.status(),
                },
                Request::Terminate | Request::HangUp => request.status(),
            },
        }
    }

    /// Performs verbs, and tells of frontends and replicas that end by themselves and of times when no replica serves.
    /// Completes when a verb asks for the end, and with an error where nothing works any more.
    pub(crate) async fn watch(&mut self) -> Result<(), ClusterError> {
        let mut outage = Outage::default();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                presence = next_presence(self.lookout.as_mut()) => self.notice(&presence),
                Some(Order { verb, outcome }) = self.orders.recv() => {
                    let performed = self.perform(verb).await;
                    // A sender that is gone needs no outcome.
                    self.publish_state();
                    let _ = outcome.send(performed);
                    if self.is_asked_to_end {
                        return Ok(());
                    }
                }
                _ = look.tick() => {
                    if let Some(error) = self.broker.as_mut().and_then(Broker::ended) {
                        return Err(error);
                    }
                    for Ended { what, how, log } in self.members.iter_mut().filter_map(Member::newly_ended) {
                        tell(&format!("{what} {how}; the others go on (its log: {})", log.path().display()));
                    }
                    for line in self.observers.iter_mut().filter_map(Observer::newly_ended) {
                        tell(&line);
                    }
                    self.publish_state();
                    let replicas = self.members.iter().filter(|member| member.role() == Role::Replica);
                    let serving = replicas.clone().filter(|replica| replica.serves()).count();
                    let states = || replicas.clone().map(Member::state).collect::<Vec<_>>().join(", ");
                    if let Some(line) = outage.look(serving, states, Instant::now()) {
                        tell(&line);
                    }
                    if let Some(broker) = &mut self.broker {
                        broker.bound_log();
                    }
                }
            }
        }
    }

    /// Notes what a process shows of itself.
    pub(crate) fn notice(&mut self, presence: &Presence) {
        for member in &mut self.members {
            member.notice(presence);
        }
    }

    /// Stops everything: frontends first, so that no request is left without a replica; the broker last.
    pub(crate) async fn stop(&mut self) {
        for observer in self.observers.drain(..) {
            observer.stop().await;
        }
        members::stop_all(&mut self.members, Role::Frontend).await;
        members::stop_all(&mut self.members, Role::Replica).await;
        for member in &mut self.members {
            member.complete_log().await;
        }
        self.members.clear();
        self.lookout = None;
        if let Some(broker) = self.broker.take() {
            broker.stop().await;
        }
    }

    fn kill(&mut self) {
        for observer in &self.observers {
            observer.kill();
        }
        for member in &self.members {
            member.kill();
        }
        if let Some(broker) = &mut self.broker {
            broker.kill();
        }
    }
}

/// The next presence message. Nothing is lost where this is dropped.
pub(crate) async fn next_presence(lookout: Option<&mut Lookout>) -> Presence {
    match lookout {
        Some(lookout) => lookout.next().await,
        None => std::future::pending().await,
    }
}

fn status_of(ended: Result<(), ClusterError>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

fn complain(error: &ClusterError) -> ExitCode {
    tell(&format!("error: {error}"));
    ExitCode::FAILURE
}
