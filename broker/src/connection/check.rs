//! One check which servers of the broker are together: a message through each of them, by a short-lived connection.

use std::time::Duration;

use async_nats::{Client, Message, ServerAddr};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::pair::{Shared, publish};
use super::split::Findings;

/// Pause before a check connects to the next server, so that servers do not get all at once.
const STAGGER: Duration = Duration::from_millis(10);
/// Time for the first connection of a check.
pub(super) const CONNECT_MAX: Duration = Duration::from_millis(1500);
/// Time for all connections of a check, where servers are near. Else it is three times as long as the first one took.
const CONNECT_ALL: Duration = Duration::from_millis(300);
/// Time for a message to arrive, where servers are near. Else it is as long as the first connection took.
const HEAR_MAX: Duration = Duration::from_millis(150);
/// Interval at which the message is published again: it may be lost where a server has just heard of a subscription.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Silence of a connection, after which one that brought nothing may have a frozen server. Each idle one has brought a PONG.
const SILENT_AFTER: Duration = Duration::from_millis(850);
/// Time for a message that neither connection has heard.
const LATE_MAX: Duration = Duration::from_millis(800);
/// A check that ends so much later than planned was held up with the whole process, and proves nothing.
const HELD_UP_AFTER: Duration = Duration::from_millis(400);

impl Shared {
    /// Whether a message through the server at `address` arrives at this connection.
    pub(super) async fn is_reached(&self, connection: usize, address: &ServerAddr) -> bool {
        let Some(mut heard) = self.subscribe(connection, &self.plan.proof).await else { return false };
        let Ok(Ok(probe)) = timeout(CONNECT_MAX, self.probe.clone().connect(address.clone())).await else {
            return false;
        };
        let token = fastrand::u64(..);
        publish(&probe, &self.plan.proof, payload(token, 0)).await;
        let arrives = async {
            while let Some(message) = heard.next().await {
                if read(token, &message).is_some() {
                    return true;
                }
            }
            false
        };
        timeout(CONNECT_MAX, arrives).await.unwrap_or(false)
    }

    /// Publishes a message through each server, and finds out which connections hear it. `quiet_since` is the time of the
    /// last sign of the first connection, and the bytes that both had brought by then.
    pub(super) async fn check(&self, quiet_since: (Instant, [u64; 2])) -> Option<(Findings, Vec<ServerAddr>)> {
        let begun = Instant::now();
        let (Some(mut first), Some(mut second)) =
            (self.subscribe(0, &self.plan.proof).await, self.subscribe(1, &self.plan.proof).await)
        else {
            return None;
        };
        let addresses = self.siblings.known_beside(self.target.addresses());
        let mut heard = vec![[false; 2]; addresses.len()];
        let mut probes: Vec<Option<Client>> = vec![None; addresses.len()];
        let mut connecting = JoinSet::new();
        for (n, address) in addresses.iter().cloned().enumerate() {
            let (options, pause) = (self.probe.clone(), STAGGER * n as u32);
            connecting.spawn(async move {
                sleep(pause).await;
                (n, timeout(CONNECT_MAX, options.connect(address)).await.ok().and_then(Result::ok))
            });
        }
        let token = fastrand::u64(..);
        let (mut hear_max, mut is_first) = (HEAR_MAX, true);
        let mut end = begun + CONNECT_MAX + HEAR_MAX;
        let mut again = interval(AGAIN_AFTER);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(message) = first.next() => note(&mut heard, 0, read(token, &message)),
                Some(message) = second.next() => note(&mut heard, 1, read(token, &message)),
                Some(connected) = connecting.join_next() => {
                    if let Ok((n, Some(probe))) = connected {
                        publish(&probe, &self.plan.proof, payload(token, n)).await;
                        probes[n] = Some(probe);
                        if std::mem::take(&mut is_first) {
                            let took = begun.elapsed();
                            hear_max = HEAR_MAX.max(took);
                            end = begun + CONNECT_ALL.max(3 * took) + hear_max;
                        }
                    }
                    if connecting.is_empty() {
                        end = end.min(Instant::now() + hear_max);
                    }
                }
                _ = again.tick() => {
                    for (n, probe) in probes.iter().enumerate() {
                        if let Some(probe) = probe {
                            publish(probe, &self.plan.proof, payload(token, n)).await;
                        }
                    }
                }
                () = sleep_until(end) => {
                    // A silent connection has the time in which an idle one brings something, and a message that neither
                    // connection has heard may only be late.
                    let bytes = self.in_bytes();
                    let is_silent = (0..2).any(|n| bytes[n] == quiet_since.1[n]);
                    let is_late = heard.iter().zip(&probes).any(|(heard, probe)| probe.is_some() && *heard == [false; 2]);
                    let silent_until = if is_silent { quiet_since.0 + SILENT_AFTER } else { end };
                    let late_until = if is_late { begun + LATE_MAX } else { end };
                    let later = silent_until.max(late_until);
                    if later <= end {
                        break;
                    }
                    // It looks again soon: the message may come.
                    end = later.min(Instant::now() + AGAIN_AFTER);
                }
            }
            if connecting.is_empty()
                && heard.iter().zip(&probes).all(|(heard, probe)| probe.is_none() || *heard == [true; 2])
            {
                break;
            }
        }
        if Instant::now() > end + HELD_UP_AFTER {
            return None;
        }
        let bytes = self.in_bytes();
        let silent = [0, 1].map(|n| bytes[n] == quiet_since.1[n]);
        Some(self.findings(&addresses, &probes, &heard, silent))
    }

    /// One server may have several addresses.
    fn findings(
        &self,
        addresses: &[ServerAddr],
        probes: &[Option<Client>],
        heard: &[[bool; 2]],
        silent: [bool; 2],
    ) -> (Findings, Vec<ServerAddr>) {
        let (mut ids, mut servers) = (Vec::<String>::new(), Vec::new());
        let mut findings = Findings { silent, ..Findings::default() };
        for ((address, probe), heard) in addresses.iter().zip(probes).zip(heard) {
            let Some(probe) = probe else { continue };
            let id = probe.server_info().server_id;
            match ids.iter().position(|known| *known == id) {
                Some(n) => [0, 1].iter().for_each(|c| findings.heard[n][*c] |= heard[*c]),
                None => {
                    ids.push(id);
                    servers.push(address.clone());
                    findings.heard.push(*heard);
                }
            }
        }
        findings.own = [0, 1].map(|c| {
            let own = self.client(c).server_info().server_id;
            ids.iter().position(|id| *id == own)
        });
        (findings, servers)
    }
}

/// Message of a check, through the server with this number.
fn payload(token: u64, server: usize) -> Bytes {
    format!("{token:016x} {server}").into()
}

/// The number of the server, if it is a message of this check.
fn read(token: u64, message: &Message) -> Option<usize> {
    let (read, server) = std::str::from_utf8(&message.payload).ok()?.split_once(' ')?;
    (read == format!("{token:016x}")).then(|| server.parse().ok())?
}

fn note(heard: &mut [[bool; 2]], connection: usize, server: Option<usize>) {
    if let Some(heard) = server.and_then(|server| heard.get_mut(server)) {
        heard[connection] = true;
    }
}
