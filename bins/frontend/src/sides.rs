//! Sides of a broker's cluster that has fallen apart: the two connections of this frontend may stand on different ones.
//!
//! A server that lost its routes answers its own clients, so that its connections look healthy. A frontend that hears its
//! replicas through such a server takes requests from healthy servers, and asks replicas that lack the rest. A frontend that
//! clients reach only through such a server is of no use to the clients of healthy ones. So both connections hear the
//! replicas show themselves, and the connection that misses more of them goes to another server.

use std::collections::BTreeMap;
use std::time::Duration;

use natter_common::roster::{MISSED_INTERVALS_MAX, PRESENCE_INTERVAL_MS};
use tokio::time::Instant;

/// Lead of one connection over the other in hearing a replica: two messages were missed. One may be dropped by chance.
const LAG: Duration = Duration::from_millis(PRESENCE_INTERVAL_MS * 2 - 100);
/// Time after which a replica that nobody hears counts for neither side.
const RECENT: Duration = Duration::from_millis(PRESENCE_INTERVAL_MS * MISSED_INTERVALS_MAX);
/// Time in which a new connection shows which replicas it hears.
const SETTLED_AFTER: Duration = Duration::from_millis(PRESENCE_INTERVAL_MS * 5);

/// One of the connections of a frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The connection to the replicas.
    Replicas,
    /// The connection that clients come in by.
    Entrance,
}

/// A way to the side where more replicas are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// This connection goes to another server.
    Hop(Side),
    /// The two connections exchange their servers: clients of healthy servers come in where no replica is heard, and the
    /// replicas are heard where only clients of a server that is cut off come in.
    Exchange,
}

/// The last presence of each replica on each connection.
#[derive(Debug)]
pub(crate) struct Sides {
    heard: BTreeMap<String, [Instant; 2]>,
    /// The last change of a connection.
    since: Instant,
    /// The connection that misses more, and since when.
    lesser: Option<(Side, Instant)>,
    /// The connections that changed their server since both heard the same. Each does so once: the other servers may hear no
    /// more.
    changed: [bool; 2],
    /// Whether the connections exchanged their servers since then.
    exchanged: bool,
}

impl Sides {
    pub(crate) fn start(now: Instant) -> Self {
        Self { heard: BTreeMap::new(), since: now, lesser: None, changed: [false; 2], exchanged: false }
    }

    /// A replica showed itself on one connection. A replica that is new has time to be heard on the other one.
    pub(crate) fn heard(&mut self, side: Side, replica: &str, now: Instant) {
        match self.heard.get_mut(replica) {
            Some(heard) => heard[side as usize] = now,
            None => drop(self.heard.insert(replica.to_owned(), [now; 2])),
        }
    }

    /// A connection is another one now, or this process was paused: what was heard before proves nothing.
    pub(crate) fn begin_anew(&mut self, now: Instant) {
        self.heard.values_mut().for_each(|heard| *heard = [now; 2]);
        (self.since, self.lesser) = (now, None);
    }

    /// The change that is due, if one is; then this counts as done. `alive` is when anything came in last on each connection:
    /// one that brings nothing at all has a frozen server, and is given up elsewhere.
    ///
    /// A frontend cannot tell which of its servers is cut off. Where it would have to know, `prefers_exchange` is a guess, in
    /// which frontends should differ. The wrong change is made good by the other one, a moment later.
    pub(crate) fn change(&mut self, alive: [Instant; 2], prefers_exchange: bool, now: Instant) -> Option<Change> {
        self.heard.retain(|_, heard| heard.iter().any(|heard| now.saturating_duration_since(*heard) < RECENT));
        let leads = |side: Side| {
            let (own, other) = (side as usize, 1 - side as usize);
            let is_ahead = |heard: &&[Instant; 2]| heard[own].saturating_duration_since(heard[other]) >= LAG;
            self.heard.values().filter(is_ahead).count()
        };
        let (replicas, entrance) = (leads(Side::Replicas), leads(Side::Entrance));
        if (replicas, entrance) == (0, 0) && now.saturating_duration_since(self.since) >= SETTLED_AFTER {
            self.changed = [false; 2];
            self.exchanged = false;
        }
        if replicas == entrance {
            self.lesser = None;
            return None;
        }
        let lesser = if replicas < entrance { Side::Replicas } else { Side::Entrance };
        let since = match self.lesser {
            Some((side, since)) if side == lesser => since,
            _ => self.lesser.insert((lesser, now)).1,
        };
        if alive[lesser as usize] <= since {
            return None;
        }
        let hears_none = lesser == Side::Replicas && entrance == self.heard.len();
        let exchanges = hears_none || prefers_exchange || self.changed[lesser as usize];
        if lesser == Side::Replicas && !self.exchanged && exchanges {
            self.exchanged = true;
            self.changed[Side::Replicas as usize] = true;
            return Some(Change::Exchange);
        }
        let hops = !std::mem::replace(&mut self.changed[lesser as usize], true);
        hops.then_some(Change::Hop(lesser))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time passes from `from_ms` on, and each connection hears these replicas. Gives the hops, with their time.
    fn pass(
        sides: &mut Sides,
        start: Instant,
        range_ms: std::ops::Range<u64>,
        hear: [&[&str]; 2],
        is_alive: bool,
    ) -> Vec<(u64, Change)> {
        let mut hops = Vec::new();
        let at = |ms| start + Duration::from_millis(ms);
        let mut alive = [at(range_ms.start); 2];
        for ms in range_ms.step_by(20) {
            if ms % 500 == 0 {
                for (side, replicas) in [(Side::Replicas, hear[0]), (Side::Entrance, hear[1])] {
                    replicas.iter().for_each(|replica| sides.heard(side, replica, at(ms)));
                }
                if is_alive {
                    alive = [at(ms); 2];
                }
            }
            if let Some(change) = sides.change(alive, false, at(ms)) {
                hops.push((ms, change));
                sides.begin_anew(at(ms));
            }
        }
        hops
    }

    const ALL: &[&str] = &["a", "b", "c"];

    #[test]
    fn the_connection_that_misses_more_replicas_goes_elsewhere_once() {
        let start = Instant::now();
        let mut sides = Sides::start(start);
        assert_eq!(pass(&mut sides, start, 0..5_000, [ALL; 2], true), []);
        let hops = pass(&mut sides, start, 5_000..60_000, [ALL, &["c"]], true);
        assert!(matches!(hops[..], [(..=6_500, Change::Hop(Side::Entrance))]), "{hops:?}");
        // Once both hear the same again, the next time counts anew.
        assert_eq!(pass(&mut sides, start, 60_000..65_000, [ALL; 2], true), []);
        assert_eq!(pass(&mut sides, start, 65_000..70_000, [ALL, &["c"]], true).len(), 1);
    }

    #[test]
    fn connections_exchange_their_servers_where_a_hop_does_not_help_or_no_replica_is_heard() {
        let start = Instant::now();
        let mut sides = Sides::start(start);
        assert_eq!(pass(&mut sides, start, 0..5_000, [ALL; 2], true), []);
        let changes = pass(&mut sides, start, 5_000..60_000, [&["a"], &["b", "c"]], true);
        assert!(
            matches!(changes[..], [(..=6_500, Change::Hop(Side::Replicas)), (..=8_500, Change::Exchange)]),
            "{changes:?}"
        );
        let mut sides = Sides::start(start);
        assert_eq!(pass(&mut sides, start, 0..5_000, [ALL; 2], true), []);
        let changes = pass(&mut sides, start, 5_000..6_500, [&[], ALL], true);
        assert!(matches!(changes[..], [(..=6_500, Change::Exchange)]), "{changes:?}");
        // Now clients come in where no replica is heard: they may elsewhere, and then that stays so.
        let changes = pass(&mut sides, start, 6_500..60_000, [ALL, &[]], true);
        assert!(matches!(changes[..], [(..=8_000, Change::Hop(Side::Entrance))]), "{changes:?}");
    }

    #[test]
    fn equal_sides_and_replicas_that_come_and_go_are_no_reason() {
        let start = Instant::now();
        let mut sides = Sides::start(start);
        assert_eq!(pass(&mut sides, start, 0..3_000, [&["a", "b"]; 2], true), []);
        assert_eq!(pass(&mut sides, start, 3_000..9_000, [&["a"]; 2], true), []);
        assert_eq!(pass(&mut sides, start, 9_000..12_000, [ALL; 2], true), []);
        assert_eq!(pass(&mut sides, start, 12_000..20_000, [&["a"], &["b"]], true), []);
        assert_eq!(pass(&mut sides, start, 20_000..23_000, [&[]; 2], true), []);
    }

    #[test]
    fn connection_that_brings_nothing_is_left_to_those_that_watch_for_that() {
        let start = Instant::now();
        let mut sides = Sides::start(start);
        assert_eq!(pass(&mut sides, start, 0..3_000, [ALL; 2], true), []);
        assert_eq!(pass(&mut sides, start, 3_000..9_000, [&[], ALL], false), []);
    }
}
