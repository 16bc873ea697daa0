//! Connecting to the broker, staying connected, and telling of it.
//!
//! **For callers.** `request()` and `publish()` of the client wait without limit while the connection is down and the queue
//! of commands is full; a request's own timeout does not cover that. Wrap both in `tokio::time::timeout`. What was in flight
//! when the connection broke is gone.

mod denial;
mod error;
mod reporter;

use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::duration::roughly;
use crate::environment::Environment;
use crate::options::BrokerOptions;
use crate::target::Target;

pub use self::denial::{Access, Denial};
pub use self::error::ConnectError;
use self::error::Failure;
use self::reporter::Reporter;

/// How long to wait between attempts at the first connection.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// A pause shorter than this is none: time is up.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// How often to say again that there is still no broker.
const REMIND_EVERY: Duration = Duration::from_secs(30);

/// How long one attempt may take, with TLS and the exchange of credentials.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest pause between attempts to connect again.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(500);

/// How often to ping the broker: one that froze without closing the connection is noticed after about three of these.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Messages that one subscription holds for its reader before it loses any.
const SUBSCRIPTION_CAPACITY: usize = 256 * 1024;

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// The connection's name, which the broker's own reports show: `replica-<id>`.
    pub name: String,
    /// Whether the broker spares this connection what it published itself.
    pub no_echo: bool,
    /// How long to go on when there is no broker at the start.
    pub patience: Patience,
}

/// How long to go on when there is no broker at the start. Once connected, lost connections are always made again, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until there is one: for servers.
    Forever,
    /// At least one attempt, but none after this time: for people who wait.
    GiveUpAfter(Duration),
}

/// What happened to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// The connection is up: the first time, or again after [`ConnectionEvent::Disconnected`]. Subscriptions are being made
    /// again, but messages from now on may still be missed: one round trip, then all are in place.
    Connected,
    /// The connection is down, and is being made again.
    Disconnected,
    /// Subscriptions were full and lost messages. At most one such event comes in a second.
    SlowConsumer {
        /// How many messages were lost since the last such event, at least.
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
    let target = Target::resolve(options, &Environment::of_process())?;
    connect_to(&target, settings, events).await
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
    let connect = target.apply_to(plain_options(settings))?;
    let servers = target.servers().join(", ");
    let started = Instant::now();
    let mut said: Option<Instant> = None;
    loop {
        // A reporter for each attempt, as a failed one ends with it.
        let reporter = Reporter::new(&settings.name, events.clone());
        let attempt = connect
            .clone()
            .event_callback(move |event| {
                reporter.report(&event);
                std::future::ready(())
            })
            .connect(target.addresses());
        let allowed = match settings.patience {
            Patience::Forever => ATTEMPT_TIMEOUT,
            Patience::GiveUpAfter(limit) => limit.saturating_sub(started.elapsed()).clamp(RETRY_EVERY, ATTEMPT_TIMEOUT),
        };
        // Several servers, or several addresses of one, are tried one after the other.
        let failure = match timeout(allowed * u32::try_from(target.servers().len()).unwrap_or(1), attempt).await {
            Ok(Ok(client)) => {
                if said.is_some() {
                    info!(connection = %settings.name, "found the broker at {servers}");
                }
                return Ok(client);
            }
            Ok(Err(error)) => Failure::of(&error),
            Err(_) => Failure::Passing(format!("no answer within {}", roughly(allowed))),
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
    }
}

fn plain_options(settings: &ConnectionSettings) -> ConnectOptions {
    let mut connect = ConnectOptions::new()
        .name(&settings.name)
        .connection_timeout(ATTEMPT_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .max_reconnects(None)
        .reconnect_delay_callback(reconnect_delay);
    if settings.no_echo {
        connect = connect.no_echo();
    }
    connect
}

/// At once the first time, then 50 ms, doubled up to [`RECONNECT_DELAY_MAX`].
fn reconnect_delay(attempts: usize) -> Duration {
    match attempts {
        0 | 1 => Duration::ZERO,
        2..=5 => Duration::from_millis(50 << (attempts - 2)).min(RECONNECT_DELAY_MAX),
        _ => RECONNECT_DELAY_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnects_come_soon_and_stay_frequent() {
        let delays: Vec<u128> = (1..8).map(|attempts| reconnect_delay(attempts).as_millis()).collect();
        assert_eq!(delays, [0, 50, 100, 200, 400, 500, 500]);
    }
}
