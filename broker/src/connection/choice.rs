//! Choice of the server for each connection attempt.
//!
//! A server that accepts connections but never answers would hold up a reconnect for the whole timeout of an attempt. So
//! where there are several addresses, each candidate is proven first by a short-lived connection of its own (TLS,
//! credentials, PING and PONG), and the next candidate starts soon after the previous one: one that answers wins.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{ConnectErrorKind, ConnectOptions, ReconnectToServer, Server, ServerAddr};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::siblings::Siblings;
use crate::secrets::without_secrets;

/// The longest pause between attempts to connect again, while no server answers.
const FAILED_PAUSE_MAX: Duration = Duration::from_millis(500);

/// A connection that ends sooner than this counts as expelled: the broker may do the same to the next one.
const STEADY_AFTER: Duration = Duration::from_secs(1);

/// The pause after the first expelled connection, doubled after each further one.
const EXPELLED_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause after an expelled connection.
const EXPELLED_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Time after which the next candidate is tried too, while the earlier ones have not answered.
pub(super) const STAGGER: Duration = Duration::from_millis(100);

/// Time for slow candidates once another one has refused; doubled after each failed attempt.
const ROUND: Duration = Duration::from_secs(1);

/// The longest time for slow candidates: an attempt takes no longer.
const ROUND_MAX: Duration = Duration::from_secs(5);

/// Chooses a server for one connection, again and again.
pub(super) struct Choice {
    name: String,
    /// Options of the short-lived connections.
    probe: ConnectOptions,
    siblings: Siblings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last choice, and its time.
    last: Option<(ServerAddr, Instant)>,
    /// Attempts that failed in a row.
    failed: u32,
    /// Connections that were expelled in a row.
    expelled: u32,
}

/// The end of a race.
enum Race {
    Won(ServerAddr, String),
    /// No candidate answered, and this one's refusal tells the reason best.
    Refused(ServerAddr),
    /// No candidate said anything.
    Silent,
}

impl Choice {
    /// A choice for the connection `name`, made with `options`.
    pub(super) fn new(name: &str, options: &ConnectOptions, siblings: Siblings) -> Arc<Self> {
        let probe = options.clone().name(format!("{name}-probe"));
        Arc::new(Self { name: name.to_owned(), probe, siblings, state: Mutex::default() })
    }

    /// The server to connect to, once it is time for that.
    pub(super) async fn next(self: Arc<Self>, pool: Vec<Server>) -> Option<ReconnectToServer> {
        let mut choosing = JoinSet::new(); // ends with this future
        choosing.spawn(async move {
            let (preferred, candidates, pause) = self.prepare(pool);
            sleep(pause).await;
            let address = match self.prefer(&preferred).await {
                Some(address) => address,
                None => self.choose(&candidates).await?,
            };
            debug!(connection = self.name, server = without_secrets(address.as_url_str()), "connects");
            self.state().last = Some((address.clone(), Instant::now()));
            Some(ReconnectToServer { addr: address, delay: Some(Duration::ZERO) })
        });
        choosing.join_next().await?.ok()?
    }

    /// Candidates to try before all others, all candidates in their order, and the pause before the first one.
    fn prepare(&self, mut pool: Vec<Server>) -> (Vec<ServerAddr>, Vec<ServerAddr>, Duration) {
        let mut state = self.state();
        let last = state.last.take();
        let mut pause = Duration::ZERO;
        if let Some((address, since)) = &last {
            let has_failed = pool.iter().any(|server| server.addr == *address && server.failed_attempts > 0);
            if has_failed {
                state.failed = state.failed.saturating_add(1);
                pause = failed_pause(state.failed);
            } else {
                state.failed = 0;
                state.expelled = if since.elapsed() < STEADY_AFTER { state.expelled.saturating_add(1) } else { 0 };
                pause = expelled_pause(state.expelled);
            }
        }
        drop(state);
        fastrand::shuffle(&mut pool);
        // Another server than the one that was just lost, and than those of this process's other connections.
        let is_last = |address: &ServerAddr| last.as_ref().is_some_and(|(last, _)| last == address);
        pool.sort_by_key(|server| {
            (self.siblings.use_address(&self.name, &server.addr) || is_last(&server.addr), server.failed_attempts > 0)
        });
        let candidates: Vec<ServerAddr> = pool.into_iter().map(|server| server.addr).collect();
        let wanted = self.siblings.take_preferred(&self.name);
        let preferred = candidates.iter().filter(|candidate| wanted.contains(candidate)).cloned().collect();
        (preferred, candidates, pause)
    }

    /// One of the addresses that the connection should take, if one answers soon.
    async fn prefer(&self, preferred: &[ServerAddr]) -> Option<ServerAddr> {
        match timeout(ROUND, self.race(preferred, ROUND)).await {
            Ok(Race::Won(address, server)) => {
                self.siblings.sit(&self.name, address.clone(), server);
                Some(address)
            }
            _ => None,
        }
    }

    async fn choose(&self, candidates: &[ServerAddr]) -> Option<ServerAddr> {
        if let [only] = candidates {
            return Some(only.clone()); // it is tried anyway
        }
        while !candidates.is_empty() {
            let round = doubled(ROUND, self.state().failed + 1).min(ROUND_MAX);
            match self.race(candidates, round).await {
                Race::Won(address, server) => {
                    self.siblings.sit(&self.name, address.clone(), server);
                    return Some(address);
                }
                Race::Refused(address) => return Some(address), // the attempt tells the reason
                Race::Silent => sleep(FAILED_PAUSE_MAX).await,
            }
        }
        None
    }

    /// Starts one candidate after the other. The first that answers wins, where possible one whose server no sibling uses.
    async fn race(&self, candidates: &[ServerAddr], round: Duration) -> Race {
        let deadline = Instant::now() + round;
        let mut probes = JoinSet::new();
        let mut waiting = candidates.iter();
        let mut start = |probes: &mut JoinSet<_>| {
            let next = waiting.next();
            if let Some(address) = next {
                probes.spawn(prove(self.probe.clone(), address.clone()));
            }
            next.is_some()
        };
        let (mut shared, mut refused) = (None, None::<(bool, ServerAddr)>);
        start(&mut probes);
        while !probes.is_empty() {
            tokio::select! {
                Some(ended) = probes.join_next() => {
                    match ended {
                        Ok((address, Ok(server))) => {
                            if !self.siblings.use_server(&self.name, &server) {
                                return Race::Won(address, server);
                            }
                            shared.get_or_insert((address, server));
                        }
                        Ok((address, Err(kind))) if kind != ConnectErrorKind::TimedOut => {
                            let says_more = is_about_credentials(kind);
                            if refused.as_ref().is_none_or(|(said_more, _)| says_more && !said_more) {
                                refused = Some((says_more, address));
                            }
                        }
                        Ok(_) | Err(_) => {}
                    }
                    start(&mut probes);
                }
                () = sleep(STAGGER) => {
                    let all_started = !start(&mut probes);
                    if all_started && (shared.is_some() || (refused.is_some() && Instant::now() >= deadline)) {
                        break;
                    }
                }
            }
        }
        match (shared, refused) {
            (Some((address, server)), _) => Race::Won(address, server),
            (None, Some((_, address))) => Race::Refused(address),
            (None, None) => Race::Silent,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects to a server, and closes the connection. Gives the server's id.
async fn prove(options: ConnectOptions, address: ServerAddr) -> (ServerAddr, Result<String, ConnectErrorKind>) {
    let proof = options.connect(address.clone()).await;
    (address, proof.map(|client| client.server_info().server_id).map_err(|error| error.kind()))
}

fn is_about_credentials(kind: ConnectErrorKind) -> bool {
    matches!(kind, ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication | ConnectErrorKind::Tls)
}

/// None before the first attempt, then 50 ms, doubled up to [`FAILED_PAUSE_MAX`].
fn failed_pause(failed: u32) -> Duration {
    doubled(Duration::from_millis(50), failed).min(FAILED_PAUSE_MAX)
}

fn expelled_pause(expelled: u32) -> Duration {
    doubled(EXPELLED_PAUSE, expelled).min(EXPELLED_PAUSE_MAX)
}

/// Zero the first time, then `pause`, then twice that, and so on.
fn doubled(pause: Duration, times: u32) -> Duration {
    times.checked_sub(1).map_or(Duration::ZERO, |doublings| pause * (1 << doublings.min(10)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let failed: Vec<u128> = (0..7).map(|n| failed_pause(n).as_millis()).collect();
        assert_eq!(failed, [0, 50, 100, 200, 400, 500, 500]);
        let expelled: Vec<u128> = (0..9).map(|n| expelled_pause(n).as_millis()).collect();
        assert_eq!(expelled, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[tokio::test(start_paused = true)]
    async fn pause_after_expelled_connections_grows_until_one_is_steady() {
        let choice = Choice::new("test", &ConnectOptions::new(), Siblings::default());
        let address: ServerAddr = "nats://127.0.0.1:4222".parse().unwrap();
        let pool = || {
            let server = Server {
                addr: "nats://127.0.0.1:4222".parse().unwrap(),
                failed_attempts: 0,
                did_connect: true,
                is_discovered: false,
                last_error: None,
            };
            vec![server]
        };
        let mut pauses = Vec::new();
        for lasted in [60_000, 5, 5, 5, 1_000, 5] {
            let before = Instant::now();
            let chosen = Arc::clone(&choice).next(pool()).await.unwrap();
            assert_eq!(chosen.addr, address);
            pauses.push(before.elapsed().as_millis());
            sleep(Duration::from_millis(lasted)).await;
        }
        assert_eq!(pauses, [0, 0, 100, 200, 400, 0]);
    }
}
