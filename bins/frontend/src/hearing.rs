//! Whether replicas are heard: a frontend that hears none must not take requests away from those that do.

use std::time::Duration;

use natter_common::roster::{MISSED_INTERVALS_MAX, PRESENCE_INTERVAL_MS};
use tokio::time::Instant;

/// Silence of all replicas after which another server of the broker is tried. Shorter than the silence after which they
/// count as gone: if this connection is the reason, they are asked again at once.
const HOP_AFTER: Duration = Duration::from_millis(PRESENCE_INTERVAL_MS * (MISSED_INTERVALS_MAX - 1));
/// Silence of all replicas after which no more requests are taken. Longer, so that a quick change of the server goes unnoticed.
const DEAF_AFTER: Duration = Duration::from_millis(PRESENCE_INTERVAL_MS * (MISSED_INTERVALS_MAX + 1));
/// Time that replicas have to be heard on a new connection.
const FIRST_PRESENCE: Duration = Duration::from_millis(2 * PRESENCE_INTERVAL_MS);
/// Time without a connection after which no more requests are taken.
const DOWN_MAX: Duration = Duration::from_millis(PRESENCE_INTERVAL_MS);
/// Without a tick for this long, this process was paused: silence proves nothing.
const PAUSED_AFTER: Duration = Duration::from_millis(PRESENCE_INTERVAL_MS);
/// The longest pause between two changes of the server.
const HOP_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Presence of any replica, as this frontend hears it.
#[derive(Debug)]
pub(crate) struct Hearing {
    /// The last presence of a replica; `None` before the first.
    heard: Option<Instant>,
    ticked: Instant,
    down_since: Option<Instant>,
    /// The last change of the server, and the number of those since a replica was heard.
    hopped: Option<(Instant, u32)>,
}

impl Hearing {
    pub(crate) fn start(now: Instant) -> Self {
        Self { heard: None, ticked: now, down_since: None, hopped: None }
    }

    /// A replica showed itself.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
        self.hopped = None;
    }

    /// The connection to the replicas is lost.
    pub(crate) fn disconnected(&mut self, now: Instant) {
        self.down_since.get_or_insert(now);
    }

    /// The connection to the replicas stands again.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.down_since = None;
        let excused = (now + FIRST_PRESENCE).checked_sub(DEAF_AFTER);
        // A frontend that was deaf before the connection broke stays deaf until it hears a replica.
        if !self.is_silent(now, DEAF_AFTER + DOWN_MAX) {
            self.heard = self.heard.max(excused);
        }
    }

    /// Time passes, and everything that came by now was heard.
    pub(crate) fn tick(&mut self, now: Instant) {
        let missed = now - self.ticked;
        self.ticked = now;
        if missed > PAUSED_AFTER
            && let Some(heard) = &mut self.heard
        {
            *heard += missed;
        }
    }

    /// Whether no replica is heard.
    pub(crate) fn is_deaf(&self, now: Instant) -> bool {
        self.is_silent(now, DEAF_AFTER) || self.down_since.is_some_and(|since| now - since > DOWN_MAX)
    }

    /// Whether to try another server now; then this counts as done. The pauses between two tries grow. Where another
    /// connection `is_together` with this one, servers nearby hear no more than this one, and it takes its time.
    pub(crate) fn takes_a_hop(&mut self, is_together: bool, now: Instant) -> bool {
        let hop_after = if is_together { DEAF_AFTER } else { HOP_AFTER };
        if self.heard.is_none() || self.down_since.is_some() || !self.is_silent(now, hop_after) {
            return false;
        }
        let hops = match self.hopped {
            Some((at, hops)) if now - at < (FIRST_PRESENCE * (1 << hops.min(5))).min(HOP_PAUSE_MAX) => return false,
            Some((_, hops)) => hops + 1,
            None => 0,
        };
        self.hopped = Some((now, hops));
        true
    }

    fn is_silent(&self, now: Instant, limit: Duration) -> bool {
        self.heard.is_none_or(|heard| now.saturating_duration_since(heard) > limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks until `until`, in milliseconds after `start`.
    fn tick(hearing: &mut Hearing, start: Instant, range: std::ops::Range<u64>) {
        range.step_by(20).for_each(|ms| hearing.tick(start + Duration::from_millis(ms)));
    }

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn silence_of_all_replicas_makes_deaf_until_one_is_heard() {
        let start = Instant::now();
        let mut hearing = Hearing::start(start);
        assert!(hearing.is_deaf(start), "none was heard yet");
        hearing.heard(start);
        tick(&mut hearing, start, 0..3_000);
        assert!(!hearing.is_deaf(at(start, 1_900)) && hearing.is_deaf(at(start, 2_100)));
        hearing.heard(at(start, 3_000));
        assert!(!hearing.is_deaf(at(start, 3_000)));
    }

    #[test]
    fn pause_of_this_process_proves_nothing() {
        let start = Instant::now();
        let mut hearing = Hearing::start(start);
        hearing.heard(start);
        hearing.tick(at(start, 20));
        hearing.tick(at(start, 60_000));
        assert!(!hearing.is_deaf(at(start, 60_100)) && !hearing.takes_a_hop(false, at(start, 60_100)));
    }

    #[test]
    fn brief_change_of_the_server_goes_unnoticed_and_a_long_one_does_not() {
        let start = Instant::now();
        let mut hearing = Hearing::start(start);
        hearing.heard(start);
        tick(&mut hearing, start, 0..1_600);
        hearing.disconnected(at(start, 1_500));
        assert!(!hearing.is_deaf(at(start, 1_600)));
        hearing.connected(at(start, 1_700));
        tick(&mut hearing, start, 1_600..2_800);
        assert!(!hearing.is_deaf(at(start, 2_600)) && hearing.is_deaf(at(start, 2_800)));
        hearing.heard(at(start, 2_900));
        hearing.disconnected(at(start, 3_000));
        assert!(!hearing.is_deaf(at(start, 3_400)) && hearing.is_deaf(at(start, 3_600)));
    }

    #[test]
    fn another_server_is_tried_with_pauses_that_grow() {
        let start = Instant::now();
        let mut hearing = Hearing::start(start);
        hearing.heard(start);
        let mut hops = Vec::new();
        for ms in (0..60_000).step_by(20) {
            hearing.tick(at(start, ms));
            if hearing.takes_a_hop(false, at(start, ms)) {
                hops.push(ms);
            }
        }
        assert_eq!(hops, [1_020, 2_020, 4_020, 8_020, 16_020, 32_020]);
        hearing.heard(at(start, 60_000));
        tick(&mut hearing, start, 60_000..62_100);
        assert!(!hearing.takes_a_hop(true, at(start, 61_900)) && hearing.takes_a_hop(true, at(start, 62_020)));
    }
}
