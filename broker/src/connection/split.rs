//! Decisions about a broker's cluster that has fallen apart: when to check, and which of two connections moves.
//!
//! A server that lost its routes answers its own clients, so that a connection to it looks healthy. A process with a second
//! connection at another server notices: the first one's messages do not arrive there. Which of the two servers is cut off,
//! it learns by a message through each server that it knows: the connection that hears fewer of them is on the lesser side.

use std::time::Duration;

use tokio::time::Instant;

/// Without a tick for this long, this process was paused: silence proves nothing.
const PAUSED_AFTER: Duration = Duration::from_millis(400);
/// The pause after the first check, doubled after each further one. A broker that stalls now and then is not left each time.
const CHECK_PAUSE: Duration = Duration::from_millis(500);
/// Weight of a check that is complete. The pause doubles after each such one, or after as many that are not.
const COMPLETE: u32 = 4;
/// The longest pause between two checks.
const CHECK_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Time in which messages arrive, after which the pauses start anew.
const STEADY_AFTER: Duration = Duration::from_secs(5);

/// Messages of one connection, as the other one hears them.
#[derive(Debug)]
pub(super) struct Watch {
    /// Silence after which a check is due.
    missed_after: Duration,
    heard: Instant,
    ticked: Instant,
    /// The end of the last check, and the weight of all checks since the messages arrived steadily.
    checked: Option<(Instant, u32)>,
}

impl Watch {
    pub(super) fn start(missed_after: Duration, now: Instant) -> Self {
        Self { missed_after, heard: now, ticked: now, checked: None }
    }

    /// A message arrived.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.checked = self.checked.filter(|(at, _)| now.saturating_duration_since(*at) < STEADY_AFTER);
    }

    /// A connection is another one now: the silence before proves nothing.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Time passes, and everything that came by now was heard. Returns whether a check is due.
    pub(super) fn tick(&mut self, are_connected: bool, now: Instant) -> bool {
        let was_paused = now.saturating_duration_since(std::mem::replace(&mut self.ticked, now)) > PAUSED_AFTER;
        if was_paused || !are_connected {
            self.begin_anew(now);
            return false;
        }
        let is_in_pause = self.checked.is_some_and(|(at, weight)| now < at + pause(weight));
        !self.is_whole(now) && !is_in_pause
    }

    /// A check is over. One that is not complete proves little, and is repeated sooner.
    pub(super) fn checked(&mut self, is_complete: bool, now: Instant) {
        self.ticked = now;
        let before = self.checked.map_or(0, |(_, weight)| weight);
        self.checked = Some((now, before.saturating_add(if is_complete { COMPLETE } else { 1 })));
    }

    /// Whether the messages arrive.
    pub(super) fn is_whole(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) < self.missed_after
    }
}

fn pause(weight: u32) -> Duration {
    (CHECK_PAUSE * (1 << (weight.saturating_sub(1) / COMPLETE).min(10))).min(CHECK_PAUSE_MAX)
}

/// Findings of a check.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    /// For each server that took a message: which of the two connections heard it.
    pub(super) heard: Vec<[bool; 2]>,
    /// The server of each connection, as an index of `heard`.
    pub(super) own: [Option<usize>; 2],
    /// Whether a connection brought nothing at all for long: its server may be frozen.
    pub(super) silent: [bool; 2],
}

/// A connection that moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// 0 or 1.
    pub(super) connection: usize,
    /// The servers to choose from.
    pub(super) to: Vec<usize>,
    /// The number of servers that each of the two hears.
    pub(super) counts: [usize; 2],
}

impl Findings {
    /// Whether every server that took a message was heard by one of the connections at least.
    pub(super) fn are_complete(&self) -> bool {
        !self.heard.is_empty() && self.heard.iter().all(|heard| *heard != [false; 2])
    }

    /// Whether both connections hear every server.
    pub(super) fn are_whole(&self) -> bool {
        !self.heard.is_empty() && self.heard.iter().all(|heard| *heard == [true; 2])
    }

    /// The connection on the side with fewer servers goes to the other side. Where neither hears more, and a server is heard
    /// by both, the first one goes to that.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let count = |connection: usize| self.heard.iter().filter(|heard| heard[connection]).count();
        let counts = [count(0), count(1)];
        let servers = |want: &dyn Fn(&[bool; 2]) -> bool| -> Vec<usize> {
            self.heard.iter().enumerate().filter(|(_, heard)| want(heard)).map(|(n, _)| n).collect()
        };
        // A message may be late on one connection. Those that hear each other's server are together.
        let hears = |connection: usize, server: Option<usize>| server.is_some_and(|n| self.heard[n][connection]);
        if hears(0, self.own[1]) || hears(1, self.own[0]) {
            return None;
        }
        let (connection, to) = if counts[0] == counts[1] {
            (0, servers(&|heard| *heard == [true; 2]))
        } else {
            let lesser = usize::from(counts[1] < counts[0]);
            // A connection that brings other things, and no message of a check, has a backlog.
            if counts[lesser] == 0 && !self.silent[lesser] {
                return None;
            }
            (lesser, servers(&|heard| heard[1 - lesser] && !heard[lesser]))
        };
        (!to.is_empty()).then_some(Verdict { connection, to, counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Findings where the servers whose bit is set in `second_side` are apart from the others, and those in `frozen` take
    /// no messages. The connections are at the servers `own`.
    fn findings(servers: usize, second_side: usize, frozen: usize, own: [usize; 2]) -> Findings {
        let is_in = |set: usize, server: usize| set & (1 << server) != 0;
        let running: Vec<usize> = (0..servers).filter(|server| !is_in(frozen, *server)).collect();
        let hears = |connection: usize, server: usize| {
            !is_in(frozen, own[connection]) && is_in(second_side, own[connection]) == is_in(second_side, server)
        };
        Findings {
            heard: running.iter().map(|server| [hears(0, *server), hears(1, *server)]).collect(),
            own: own.map(|own| running.iter().position(|server| *server == own)),
            silent: own.map(|own| is_in(frozen, own)),
        }
    }

    #[test]
    fn the_connection_on_the_side_with_fewer_servers_moves_in_every_grouping() {
        for servers in 2..=5_usize {
            for second_side in 1..(1 << servers) - 1_usize {
                for (first, second) in (0..servers).flat_map(|a| (0..servers).map(move |b| (a, b))) {
                    let is_second = |server: usize| second_side & (1 << server) != 0;
                    let verdict = findings(servers, second_side, 0, [first, second]).verdict();
                    if is_second(first) == is_second(second) {
                        assert_eq!(verdict, None, "{servers} {second_side:b} {first} {second}");
                        continue;
                    }
                    let size = |side: bool| (0..servers).filter(|server| is_second(*server) == side).count();
                    let sizes = [size(is_second(first)), size(is_second(second))];
                    let expected = (sizes[0] != sizes[1]).then(|| {
                        let connection = usize::from(sizes[1] < sizes[0]);
                        let side = is_second([second, first][connection]);
                        let to = (0..servers).filter(|server| is_second(*server) == side).collect();
                        Verdict { connection, to, counts: sizes }
                    });
                    assert_eq!(verdict, expected, "{servers} {second_side:b} {first} {second}");
                }
            }
        }
    }

    #[test]
    fn connection_to_a_frozen_server_moves_and_one_with_a_backlog_stays() {
        for servers in 2..=5_usize {
            for frozen in 0..servers {
                let healthy = (frozen + 1) % servers;
                for (own, connection) in [([frozen, healthy], 0), ([healthy, frozen], 1)] {
                    let mut findings = findings(servers, 0, 1 << frozen, own);
                    let verdict = findings.verdict().unwrap();
                    assert_eq!((verdict.connection, verdict.to.len()), (connection, servers - 1));
                    findings.silent = [false; 2];
                    assert_eq!(findings.verdict(), None);
                }
            }
        }
        // Where no connection hears anything, nothing is known.
        assert_eq!(findings(3, 0, 0b011, [0, 1]).verdict(), None);
        assert_eq!(Findings::default().verdict(), None);
    }

    #[test]
    fn message_that_one_connection_hears_late_moves_nothing() {
        let late = Findings {
            heard: vec![[true; 2], [true; 2], [false, true]],
            own: [Some(0), Some(1)],
            ..Default::default()
        };
        assert_eq!(late.verdict(), None);
        assert!(!late.are_whole());
        assert!(findings(3, 0, 0, [0, 1]).are_whole());
    }

    #[test]
    fn first_connection_goes_to_a_server_that_both_sides_reach() {
        let heard = vec![[true, false], [false, true], [true, true]];
        let chain = Findings { heard, own: [Some(0), Some(1)], ..Default::default() };
        assert_eq!(chain.verdict(), Some(Verdict { connection: 0, to: vec![2], counts: [2, 2] }));
    }

    const MISSED_AFTER: Duration = Duration::from_millis(500);

    /// Ticks through `range_ms`, with a message every 250 ms where `hears`. Gives the times of checks, which take 200 ms.
    fn pass(watch: &mut Watch, start: Instant, range_ms: std::ops::Range<u64>, hears: bool) -> Vec<u64> {
        let mut checks = Vec::new();
        let mut busy_until = 0;
        for ms in range_ms.step_by(50) {
            let now = start + Duration::from_millis(ms);
            if hears && ms % 250 == 0 {
                watch.heard(now);
            }
            if ms >= busy_until && watch.tick(true, now) {
                checks.push(ms);
                busy_until = ms + 200;
                watch.checked(true, now + Duration::from_millis(200));
            }
        }
        checks
    }

    #[test]
    fn checks_come_with_pauses_that_grow_and_start_anew_after_messages() {
        let start = Instant::now();
        let mut watch = Watch::start(MISSED_AFTER, start);
        assert!(pass(&mut watch, start, 0..10_000, true).is_empty());
        let checks = pass(&mut watch, start, 10_000..200_000, false);
        assert_eq!(checks[..5], [10_250, 10_950, 12_150, 14_350, 18_550]);
        assert!(checks.windows(2).all(|pair| pair[1] - pair[0] <= 30_250), "{checks:?}");
        assert!(pass(&mut watch, start, 200_000..240_000, true).is_empty());
        assert_eq!(pass(&mut watch, start, 240_000..241_000, false), [240_250, 240_950]);
    }

    #[test]
    fn pause_of_this_process_and_lost_connections_prove_nothing() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watch = Watch::start(MISSED_AFTER, start);
        assert!(!watch.tick(true, at(50)));
        assert!(!watch.tick(true, at(60_000)) && !watch.tick(true, at(60_300)));
        assert!(watch.tick(true, at(60_550)));
        assert!(!watch.tick(false, at(60_600)) && !watch.tick(true, at(60_900)));
    }
}
