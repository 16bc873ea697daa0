//! Membership by presence: the place of a name server.
//!
//! Every process shows its presence at every presence interval and at once on a change. One that misses
//! [`MISSED_INTERVALS_MAX`] intervals counts as gone. While this process itself was cut off or paused, no other is
//! declared gone: silence proves something only to a listener.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::clock::Now;
use crate::ids::ReplicaId;
use crate::messages::{Presence, Status};
use crate::timestamp::Timestamp;

/// Interval of presence messages, in milliseconds.
pub const PRESENCE_INTERVAL_MS: u64 = 500;
/// Presence intervals after which a silent process counts as gone.
pub const MISSED_INTERVALS_MAX: u64 = 3;
/// Time for which a replica in memory must be gone before records that only it held count as lost, in milliseconds.
pub const LOST_AFTER_MS: u64 = 10_000;
/// A replica whose later life shows itself is gone when it was silent for longer than this, in milliseconds: one interval,
/// and what a message may take. One that runs, of whose directory the other one has a copy, shows itself in that time.
const SUPERSEDED_SILENCE_MS: u64 = PRESENCE_INTERVAL_MS + 100;
/// Maximum other processes that are remembered. More of them are no cluster, but a program that makes up names.
pub const MEMBERS_MAX: usize = 128;

/// Change that a presence message makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was unknown or gone, and is there.
    Joined,
    /// It has another status.
    Status,
    /// It said that it leaves.
    Left,
    /// Nothing but its numbers.
    None,
    /// It was not taken in: too many others, or a message no real process sends.
    Refused,
}

/// One of the others.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its last presence message.
    pub presence: Presence,
    /// Time of that message, in milliseconds.
    pub seen_ms: u64,
    /// Time at which it was last there without being OFFLINE, in milliseconds.
    pub heard_ms: u64,
    present: bool,
    /// Time since which it has no subscription, as the broker says, in milliseconds.
    unreachable_since_ms: Option<u64>,
    /// Whether that is long enough for its process to have ended.
    ended: bool,
    /// Whether a later life of the same replica has shown itself, with all that this one had saved.
    superseded: bool,
    /// A later life that was heard while this one still counts as present: the two are one holder, until this one shows that
    /// it ran on.
    later_life: Option<LaterLife>,
    /// Replicas that say to be its later lives, and that it outlived: their directories are copies of its own.
    copies: Vec<ReplicaId>,
    /// Wall-clock time here at which an earlier life of this process last heard it, in Unix milliseconds; `None` if
    /// this life has heard it.
    heard_before_ms: Option<u64>,
}

/// A replica that says that another one was itself in an earlier life.
#[derive(Clone, Debug)]
struct LaterLife {
    id: ReplicaId,
    /// Time at which the later life was first heard, in milliseconds.
    since_ms: u64,
    /// Time for which the earlier life would have run by then, in milliseconds, and what a message may take.
    uptime_ms: u64,
}

impl LaterLife {
    /// Whether a message of the earlier life shows that it still ran when the later one was there.
    fn is_outlived(&self, presence: &Presence, now_ms: u64) -> bool {
        match presence.uptime_ms {
            // Some senders do not say for how long they have run.
            0 => now_ms > self.since_ms + SUPERSEDED_SILENCE_MS,
            uptime_ms => uptime_ms > self.uptime_ms,
        }
    }
}

impl Member {
    fn heard(presence: Presence, seen_ms: u64, heard_ms: u64) -> Self {
        let present = presence.status != Status::Left;
        Self {
            presence,
            seen_ms,
            heard_ms,
            present,
            unreachable_since_ms: None,
            ended: false,
            superseded: false,
            later_life: None,
            copies: Vec::new(),
            heard_before_ms: None,
        }
    }

    /// Whether it is there, whatever its status.
    pub fn is_present(&self) -> bool {
        self.present
    }

    /// Whether it counts as a holder of what it shows to hold. One whose later life is there too does not: most likely it
    /// has just ended, and the later life holds the same.
    pub fn is_holder(&self) -> bool {
        self.present && self.later_life.is_none()
    }

    /// Whether it never comes back with something that nobody else has: it was in memory, and left or died; or a later
    /// life has all that it saved.
    pub fn has_died(&self) -> bool {
        let was_in_memory = self.presence.durable == Some(false);
        self.superseded || (was_in_memory && (self.presence.status == Status::Left || self.ended))
    }

    /// Whether a later life of the same replica is there in its place.
    pub fn is_superseded(&self) -> bool {
        self.superseded
    }

    /// Whether it ran on beside `by`, which says to be its later life: the directory of `by` is a copy of its own.
    pub fn has_outlived(&self, by: &ReplicaId) -> bool {
        self.copies.contains(by)
    }

    /// Time at which it was last heard, in Unix milliseconds by the wall clock here.
    pub fn heard_wall_ms(&self, now: Now) -> u64 {
        let for_ms = now.monotonic_ms.saturating_sub(self.seen_ms);
        self.heard_before_ms.unwrap_or_else(|| now.wall_ms.saturating_sub(for_ms))
    }

    /// Whether its process has ended. Silence alone does not prove that: one that is only paused wakes again and goes
    /// on with what it was sent. Nor does one word of the broker: one that lost its connection, or the permission to
    /// subscribe, is back soon. Proof is that the broker finds no subscription there for [`LOST_AFTER_MS`].
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether it is there and serves.
    pub fn is_up(&self) -> bool {
        self.present && self.presence.is_serving()
    }

    /// Timestamp of the records that it has applied, as it showed last.
    pub fn value_timestamp(&self) -> Option<&Timestamp> {
        self.presence.value_timestamp.as_ref().map(|timestamp| &timestamp.replicas)
    }
}

/// The others of one role.
#[derive(Clone, Debug)]
pub struct Roster {
    members: BTreeMap<ReplicaId, Member>,
    forget_after_ms: u64,
    connected: bool,
    /// Time of the last tick at which every message received so far was handled, in milliseconds.
    tick_ms: u64,
    changes: u64,
}

impl Roster {
    /// A roster without members. A member that is gone for `forget_after_ms` is forgotten.
    pub fn new(forget_after_ms: u64, now_ms: u64) -> Self {
        Self { members: BTreeMap::new(), forget_after_ms, connected: true, tick_ms: now_ms, changes: 0 }
    }

    /// Number of possible changes of membership so far: a result drawn from the roster holds as long as this is the
    /// same.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether this presence message is an old one that some other program sends again: it shows that less time has passed
    /// since the start of its sender than an earlier message did, or as much long ago.
    pub fn is_repeated(&self, presence: &Presence, now_ms: u64) -> bool {
        let Some(member) = self.members.get(&presence.id) else { return false };
        let is_long_ago = now_ms.saturating_sub(member.seen_ms) > PRESENCE_INTERVAL_MS;
        let is_old = !member.present || (is_long_ago && presence.status != Status::Left);
        match presence.uptime_ms.cmp(&member.presence.uptime_ms) {
            Ordering::Less => true,
            // Some senders do not say for how long they have run.
            Ordering::Equal => is_old && presence.uptime_ms > 0,
            Ordering::Greater => false,
        }
    }

    /// Takes in a presence message.
    pub fn heard(&mut self, presence: Presence, now_ms: u64) -> Change {
        self.changes += 1;
        if !presence.is_plausible() {
            return Change::Refused;
        }
        let present = presence.status != Status::Left;
        let Some(member) = self.members.get_mut(&presence.id) else {
            if !present {
                return Change::None;
            }
            if self.members.len() >= MEMBERS_MAX && !self.evict() {
                return Change::Refused;
            }
            self.members.insert(presence.id.clone(), Member::heard(presence, now_ms, now_ms));
            return Change::Joined;
        };
        let change = match (member.present, present) {
            (false, true) => Change::Joined,
            (true, false) => Change::Left,
            _ if member.presence.status != presence.status => Change::Status,
            _ => Change::None,
        };
        let heard_ms = if presence.status == Status::Offline { member.heard_ms } else { now_ms };
        // The same moment again is no sign of life.
        let is_later = presence.uptime_ms > member.presence.uptime_ms || presence.uptime_ms == 0;
        let seen_ms = if is_later { now_ms } else { member.seen_ms };
        let mut copies = std::mem::take(&mut member.copies);
        let outlived = member.later_life.take_if(|later| later.is_outlived(&presence, now_ms));
        copies.extend(outlived.map(|later| later.id).filter(|_| copies.len() < MEMBERS_MAX));
        let later_life = member.later_life.take();
        *member = Member { later_life, copies, ..Member::heard(presence, seen_ms, heard_ms) };
        change
    }

    /// Remembers somebody from an earlier life of this process, who was heard at `heard_wall_ms` and may be there or come
    /// back; not one that would be forgotten by now.
    pub fn remember(&mut self, id: ReplicaId, durable: bool, heard_wall_ms: u64, now: Now) {
        if now.wall_ms.saturating_sub(heard_wall_ms) > self.forget_after_ms {
            return;
        }
        self.changes += 1;
        let presence = Presence { status: Status::Joining, ..Presence::of_the_past(id.clone(), durable) };
        let heard = Member::heard(presence, now.monotonic_ms, now.monotonic_ms);
        let member = Member { present: false, heard_before_ms: Some(heard_wall_ms), ..heard };
        self.members.entry(id).or_insert(member);
    }

    /// Forgets one of those that are gone: one that never held anything, which made-up ones never do, or else the one
    /// that is gone for the longest time. Says whether there was one.
    fn evict(&mut self) -> bool {
        let holds_something =
            |member: &Member| member.presence.replica_timestamp.as_ref().is_some_and(|held| !held.replicas.is_empty());
        let gone = self.members.iter().filter(|(_, member)| !member.present);
        let evicted = gone.min_by_key(|(_, member)| (!member.superseded, holds_something(member), member.seen_ms));
        let Some(id) = evicted.map(|(id, _)| id.clone()) else { return false };
        self.members.remove(&id);
        true
    }

    /// Counts `id` as gone until it is heard of again: the broker said that nobody listens there.
    pub fn unreachable(&mut self, id: &ReplicaId) {
        self.changes += 1;
        if let Some(member) = self.members.get_mut(id) {
            member.present = false;
            member.unreachable_since_ms.get_or_insert(self.tick_ms);
        }
    }

    /// The replica `by`, which is there, says that `id` was its own in an earlier life. Returns whether that is news: not
    /// while `id` shows itself, nor where it is unknown, nor where it ran on beside `by`, whose directory is a copy then.
    pub fn supersede(&mut self, id: &ReplicaId, by: &ReplicaId, now_ms: u64) -> bool {
        let Some(member) = self.members.get_mut(id).filter(|member| !member.superseded && !member.has_outlived(by))
        else {
            return false;
        };
        self.changes += 1;
        let runs_ms = now_ms.saturating_sub(member.seen_ms) + SUPERSEDED_SILENCE_MS;
        let uptime_ms = member.presence.uptime_ms.saturating_add(runs_ms);
        member.later_life.get_or_insert_with(|| LaterLife { id: by.clone(), since_ms: now_ms, uptime_ms });
        if member.present && now_ms.saturating_sub(member.seen_ms) <= SUPERSEDED_SILENCE_MS {
            return false;
        }
        member.present = false;
        member.superseded = true;
        true
    }

    /// Lets time pass and gives those that are gone by now. `listened` says whether everything that has come was heard:
    /// a presence message may be among what was not.
    pub fn tick(&mut self, now_ms: u64, listened: bool) -> Vec<ReplicaId> {
        self.changes += 1;
        let silence_max_ms = PRESENCE_INTERVAL_MS * MISSED_INTERVALS_MAX;
        if !listened {
            return Vec::new();
        }
        // A process with too much to read for that long was as good as paused.
        let paused = now_ms.saturating_sub(self.tick_ms) > PRESENCE_INTERVAL_MS;
        self.tick_ms = now_ms;
        if paused || !self.connected {
            self.excuse(now_ms);
            return Vec::new();
        }
        let mut gone = Vec::new();
        for (id, member) in &mut self.members {
            if member.present && now_ms.saturating_sub(member.seen_ms) > silence_max_ms {
                member.present = false;
                gone.push(id.clone());
            }
            let is_long_ago = |since_ms: u64| now_ms.saturating_sub(since_ms) >= LOST_AFTER_MS;
            member.ended |= member.unreachable_since_ms.is_some_and(is_long_ago);
        }
        // Records that only this member held may yet have to be given up.
        let forget_after_ms = self.forget_after_ms.max(2 * LOST_AFTER_MS);
        self.members.retain(|_, member| member.present || now_ms.saturating_sub(member.seen_ms) <= forget_after_ms);
        gone
    }

    /// This process lost its connection: silence proves nothing any more.
    pub fn disconnected(&mut self) {
        self.connected = false;
    }

    /// This process listens again: the others get all the time that they had.
    pub fn connected(&mut self, now_ms: u64) {
        self.connected = true;
        self.tick_ms = now_ms;
        self.excuse(now_ms);
    }

    fn excuse(&mut self, now_ms: u64) {
        for member in self.members.values_mut() {
            if member.present {
                member.seen_ms = now_ms;
            }
            // It may have been back meanwhile.
            member.unreachable_since_ms = member.unreachable_since_ms.map(|_| now_ms);
        }
    }

    /// The members that are gone for good with all they had in memory. None while [`Roster::may_somebody_return`].
    pub fn dead(&self, now_ms: u64) -> Vec<ReplicaId> {
        if self.may_somebody_return(now_ms) {
            return Vec::new();
        }
        self.members.iter().filter(|(_, member)| !member.present).map(|(id, _)| id.clone()).collect()
    }

    /// Whether `id` is not awaited any more.
    pub fn is_forgotten(&self, id: &ReplicaId, now_ms: u64) -> bool {
        let is_awaited =
            |member: &Member| member.present || now_ms.saturating_sub(member.seen_ms) <= self.forget_after_ms;
        let is_awaited = |member: &Member| !member.superseded && is_awaited(member);
        !self.members.get(id).is_some_and(is_awaited)
    }

    /// Whether somebody may yet come back with what it knows: who is durable, who is OFFLINE only, who is gone for less
    /// than [`LOST_AFTER_MS`].
    pub fn may_somebody_return(&self, now_ms: u64) -> bool {
        let may_return = |member: &Member| match member.present {
            true => member.presence.status == Status::Offline,
            false if member.superseded => false,
            false => member.presence.durable != Some(false) || now_ms.saturating_sub(member.seen_ms) < LOST_AFTER_MS,
        };
        self.members.values().any(may_return)
    }

    /// All members remembered, gone or not.
    pub fn all(&self) -> impl Iterator<Item = (&ReplicaId, &Member)> {
        self.members.iter()
    }

    /// The members that are present, whatever their status.
    pub fn present(&self) -> impl Iterator<Item = (&ReplicaId, &Member)> {
        self.members.iter().filter(|(_, member)| member.present)
    }

    /// The members that are present and serve.
    pub fn up(&self) -> impl Iterator<Item = (&ReplicaId, &Member)> {
        self.members.iter().filter(|(_, member)| member.is_up())
    }

    /// The member with this id.
    pub fn get(&self, id: &ReplicaId) -> Option<&Member> {
        self.members.get(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Role;

    fn presence(id: &str, status: Status) -> Presence {
        Presence {
            role: Role::Replica,
            id: ReplicaId::new(id).unwrap(),
            status,
            mode: None,
            wall_ms: 0,
            version: String::new(),
            dataset: None,
            durable: None,
            uptime_ms: 0,
            value_timestamp: None,
            replica_timestamp: None,
            digest: None,
            log_length: None,
            snapshot: None,
            clock: None,
            prev: None,
            cluster: None,
            aliases: Vec::new(),
            former: Vec::new(),
            lost: Vec::new(),
        }
    }

    fn ticks(roster: &mut Roster, range: std::ops::RangeInclusive<u64>) -> Vec<ReplicaId> {
        range.step_by(100).flat_map(|now_ms| roster.tick(now_ms, true)).collect()
    }

    #[test]
    fn who_misses_three_intervals_is_gone() {
        let mut roster = Roster::new(10_000, 0);
        assert_eq!(roster.heard(presence("a", Status::Active), 0), Change::Joined);
        assert_eq!(ticks(&mut roster, 100..=1500), []);
        assert_eq!(ticks(&mut roster, 1600..=1600).len(), 1);
        assert_eq!(roster.present().count(), 0);
        assert_eq!(roster.heard(presence("a", Status::Active), 1700), Change::Joined);
    }

    #[test]
    fn nobody_is_gone_because_this_process_was_paused_or_cut_off() {
        let mut roster = Roster::new(10_000, 0);
        roster.heard(presence("a", Status::Active), 0);
        assert_eq!(roster.tick(60_000, true), [], "a pause");
        for now_ms in (60_100..=63_000).step_by(100) {
            assert_eq!(roster.tick(now_ms, false), [], "a backlog");
        }
        roster.disconnected();
        assert_eq!(ticks(&mut roster, 63_100..=90_000), []);
        roster.connected(90_000);
        assert_eq!(ticks(&mut roster, 90_100..=91_500), []);
        assert_eq!(ticks(&mut roster, 91_600..=91_600).len(), 1);
    }

    #[test]
    fn old_presence_that_is_sent_again_is_told_from_news() {
        let mut roster = Roster::new(10_000, 0);
        let of = |uptime_ms, status| Presence { uptime_ms, ..presence("a", status) };
        roster.heard(of(700, Status::Active), 1_000);
        assert!(roster.is_repeated(&of(699, Status::Active), 1_000));
        // A change of status within a millisecond is news.
        assert!(!roster.is_repeated(&of(700, Status::Overloaded), 1_001));
        roster.heard(of(700, Status::Overloaded), 1_400);
        assert!(!roster.is_repeated(&of(700, Status::Active), 1_500));
        assert!(roster.is_repeated(&of(700, Status::Active), 1_501), "however often it was sent again before");
        assert!(!roster.is_repeated(&of(700, Status::Left), 1_501), "the last word may come late");
        assert!(!roster.is_repeated(&of(701, Status::Active), 1_501));
        roster.heard(presence("b", Status::Active), 0);
        assert!(
            !roster.is_repeated(&presence("b", Status::Active), 9_000),
            "its sender does not tell how long it runs"
        );
    }

    #[test]
    fn who_is_gone_for_long_is_forgotten_and_made_up_names_have_a_limit() {
        let mut roster = Roster::new(2_000, 0);
        for n in 0..2 * MEMBERS_MAX {
            roster.heard(presence(&format!("x{n}"), Status::Active), 0);
        }
        assert_eq!(roster.all().count(), MEMBERS_MAX);
        assert_eq!(roster.heard(presence("real", Status::Active), 1_000), Change::Refused);
        ticks(&mut roster, 100..=1_600);
        assert_eq!(
            roster.heard(presence("real", Status::Active), 1_600),
            Change::Joined,
            "in the place of one that is gone"
        );
        ticks(&mut roster, 1_700..=2_100);
        assert!(roster.is_forgotten(&ReplicaId::new("x9").unwrap(), 2_100), "not awaited any more");
        ticks(&mut roster, 2_200..=21_000);
        assert_eq!(roster.all().count(), 1);
    }
}
