//! Connecting to the broker, staying connected, and telling of it.
//!
//! **For callers.** `request()` and `publish()` of the client wait without limit while the connection is down and the queue
//! of commands is full; a request's own timeout does not cover that. Wrap both in `tokio::time::timeout`. Messages in
//! flight when the connection breaks are lost.

mod check;
mod choice;
mod denial;
mod error;
mod pair;
mod reporter;
mod siblings;
mod split;

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::duration::roughly;
use crate::environment::Environment;
use crate::options::BrokerOptions;
use crate::target::Target;

use self::choice::{Choice, STAGGER};
pub use self::denial::{Access, Denial};
pub use self::error::ConnectError;
use self::error::Failure;
pub use self::pair::{Departure, Pair, PairPlan, Sign};
use self::reporter::Reporter;
pub use self::siblings::Siblings;

/// Pause between attempts at the first connection.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// A pause shorter than this is none: time is up.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// Interval of warnings that there is still no broker.
const REMIND_EVERY: Duration = Duration::from_secs(30);

/// Maximum time for one attempt, with TLS and the exchange of credentials.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Interval of pings to a silent broker. The third one without any sign of life ends the connection: a server that froze is
/// noticed after 1.5 s, before requests of clients time out. Everything that the broker sends counts as a sign of life,
/// so that a busy one is not given up.
const PING_INTERVAL: Duration = Duration::from_millis(500);

/// Messages that one subscription holds for its reader before it loses any.
const SUBSCRIPTION_CAPACITY: usize = 256 * 1024;

/// Settings of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// The connection's name, which the broker's own reports show: `replica-<id>`.
    pub name: String,
    /// Whether the broker spares this connection what it published itself.
    pub no_echo: bool,
    /// Time for which the first connection is tried when there is no broker.
    pub patience: Patience,
}

impl ConnectionSettings {
    /// Settings of a frontend or a replica: it waits for its broker, and does not hear itself.
    pub fn of_role(name: impl Into<String>) -> Self {
        Self { name: name.into(), no_echo: true, patience: Patience::Forever }
    }
}

/// Time for which the first connection is tried when there is no broker. Connections lost later are always made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until there is one: for servers.
    Forever,
    /// At least one attempt, but none after this time: for people who wait.
    GiveUpAfter(Duration),
}

/// Event of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// The connection is up: the first time, or again after [`ConnectionEvent::Disconnected`]. Subscriptions are being made
    /// again, but messages from now on may still be missed: one round trip, then all are in place.
    Connected,
    /// The connection is down, and is being made again.
    Disconnected,
    /// Subscriptions were full and lost messages. At most one such event comes in a second.
    SlowConsumer {
        /// Minimum number of messages lost since the last such event.
        dropped: u64,
    },
    /// The broker refused a publish or a subscription. One event comes for each refusal.
    Denied(Denial),
}

/// Connects to the broker that `options` name, and tells `events`, if given, what happens to the connection.
///
/// Waits until the connection stands. While there is no broker, it says so in the log and tries again every second, for as
/// long as `settings.patience` allows. Once the connection stands, it is made again whenever it breaks, for ever.
///
/// # Errors
///
/// Where the options name no broker, where the broker refuses the credentials or can't be trusted (trying again would not
/// help), and where patience is at its end.
pub async fn connect(
    options: &BrokerOptions,
    settings: &ConnectionSettings,
    events: Option<UnboundedSender<ConnectionEvent>>,
) -> Result<Client, ConnectError> {
    connect_beside(options, settings, &Siblings::default(), events).await
}

/// As [`connect`], to another server than those that `siblings` use where there is one.
///
/// # Errors
///
/// As [`connect`].
pub async fn connect_beside(
    options: &BrokerOptions,
    settings: &ConnectionSettings,
    siblings: &Siblings,
    events: Option<UnboundedSender<ConnectionEvent>>,
) -> Result<Client, ConnectError> {
    let target = Target::resolve(options, &Environment::of_process())?;
    connect_to_target(&target, settings, siblings, events).await
}

/// As [`connect`], where the target is known already.
///
/// # Errors
///
/// As [`connect`].
pub async fn connect_to(
    target: &Target,
    settings: &ConnectionSettings,
    events: Option<UnboundedSender<ConnectionEvent>>,
) -> Result<Client, ConnectError> {
    connect_to_target(target, settings, &Siblings::default(), events).await
}

async fn connect_to_target(
    target: &Target,
    settings: &ConnectionSettings,
    siblings: &Siblings,
    events: Option<UnboundedSender<ConnectionEvent>>,
) -> Result<Client, ConnectError> {
    let mut target = target.clone();
    let mut options = with_settings(target.connect_options()?, settings);
    let started = Instant::now();
    let mut said: Option<Instant> = None;
    loop {
        let servers = target.servers().join(", ");
        let allowed = match settings.patience {
            Patience::Forever => ATTEMPT_TIMEOUT,
            Patience::GiveUpAfter(limit) => limit.saturating_sub(started.elapsed()).clamp(RETRY_EVERY, ATTEMPT_TIMEOUT),
        };
        let failure = match attempt(&target, &options, settings, siblings, events.clone(), allowed).await {
            Ok(client) => {
                if said.is_some() {
                    info!(connection = %settings.name, "found the broker at {servers}");
                }
                return Ok(client);
            }
            Err(failure) => failure,
        };
        let reason = match failure {
            Failure::Passing(reason) => reason,
            Failure::Refused(reason) => {
                return Err(ConnectError::Refused {
                    servers,
                    identity: target.identity(),
                    reason,
                    anonymous: target.is_anonymous(),
                });
            }
            Failure::Untrusted(reason) => return Err(ConnectError::Untrusted { servers, reason }),
        };
        let waited = started.elapsed();
        let pause = match settings.patience {
            Patience::Forever => RETRY_EVERY,
            Patience::GiveUpAfter(limit) => limit.saturating_sub(waited).min(RETRY_EVERY),
        };
        if pause < SHORTEST_PAUSE {
            return Err(ConnectError::NoBroker { servers, reason, waited });
        }
        if said.is_none_or(|said| said.elapsed() >= REMIND_EVERY) {
            said = Some(Instant::now());
            warn!(
                "no broker at {servers} yet ({reason}): is nats-server running? retrying every {} s",
                RETRY_EVERY.as_secs()
            );
        }
        sleep(pause).await;
        // A context that cannot be read at this moment may be in the middle of being written.
        if let Ok(renewed) = target.renewed()
            && let Ok(renewed_options) = renewed.connect_options()
        {
            (target, options) = (renewed, with_settings(renewed_options, settings));
        }
    }
}

/// One attempt at the first connection, within `allowed`.
async fn attempt(
    target: &Target,
    options: &ConnectOptions,
    settings: &ConnectionSettings,
    siblings: &Siblings,
    events: Option<UnboundedSender<ConnectionEvent>>,
    allowed: Duration,
) -> Result<Client, Failure> {
    // Both live as long as the connection; a failed attempt ends with them.
    let reporter = Reporter::new(&settings.name, events);
    let choice = Choice::new(&settings.name, options, siblings.clone());
    let addresses = siblings.known_beside(target.addresses());
    let candidates = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let only = if let [only] = addresses.as_slice() { Some(only.clone()) } else { None };
    let connecting = options
        .clone()
        .event_callback(move |event| {
            reporter.report(&event);
            std::future::ready(())
        })
        .reconnect_to_server_callback(move |pool, _| Arc::clone(&choice).next(pool))
        .connect(addresses);
    // Several candidates are proven first, each a little after the one before it.
    let allowed = if candidates > 1 { 2 * allowed + STAGGER * candidates } else { allowed };
    match timeout(allowed, connecting).await {
        Ok(Ok(client)) => {
            siblings.learn(&settings.name, only.as_ref(), &client.server_info());
            Ok(client)
        }
        Ok(Err(error)) => Err(Failure::of(&error)),
        Err(_) => Err(Failure::Passing(format!("no answer within {}", roughly(allowed)))),
    }
}

fn with_settings(options: ConnectOptions, settings: &ConnectionSettings) -> ConnectOptions {
    let options = options
        .name(&settings.name)
        .connection_timeout(ATTEMPT_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .max_reconnects(None);
    if settings.no_echo { options.no_echo() } else { options }
}
