//! The directory: which replica managers there are, what they are known to hold, and whom to ask next.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Stamp;
use crate::cluster::ClusterNames;
use crate::ids::ReplicaId;
use crate::messages::{Presence, Reply, Status, UNHEARD_MAX};
use crate::missed::Missed;
use crate::roster::{Change, MISSED_INTERVALS_MAX, Member, PRESENCE_INTERVAL_MS, Roster};
use crate::timestamp::Timestamp;

/// Gossip brings everybody what this frontend has seen within this time, in milliseconds; who showed itself later and
/// lacked it lags behind.
const GOSSIP_TAKES_MS: u64 = 100;
/// Maximum requests of one turn that go to the same replica manager before another one is ranked first.
const TURN_REQUESTS_MAX: usize = 1024;
/// Replica managers that are gone for so long are forgotten, in milliseconds.
const FORGET_AFTER_MS: u64 = 600_000;

/// Records that nothing waits for any more: those of `origin` after `held`, up to `count`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GivenUp {
    /// The replica that accepted them, and is gone.
    pub(super) origin: ReplicaId,
    /// The last record that a present replica holds.
    pub(super) held: u64,
    /// The last record that was given up.
    pub(super) count: u64,
    /// Whether this frontend has seen it in a label, and not only heard of it from a client.
    pub(super) proven: bool,
}

/// Replica managers by presence, and by what their replies showed.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    roster: Roster,
    /// The names of the cluster, as those that were there when this turn began showed them.
    cluster: ClusterNames,
    /// The names of the cluster in which this frontend has seen what it has seen.
    seen_in: ClusterNames,
    /// [`Roster::changes`] when these were put together.
    cluster_changes: u64,
    /// Timestamp of the records that each replica is known to hold.
    holds: BTreeMap<ReplicaId, Timestamp>,
    /// Replicas whose last presence lacked records that gossip should have brought by then.
    lagging: BTreeSet<ReplicaId>,
    /// Timestamp that this frontend had seen at least [`GOSSIP_TAKES_MS`] ago.
    settled: Timestamp,
    /// Timestamp that it had seen a moment ago, and the time of that, in milliseconds.
    recent: (Timestamp, u64),
    /// Replicas that have answered since they came: presence is a claim, an answer is proof.
    proven: BTreeSet<ReplicaId>,
    /// Replicas that left a request without an answer since their last presence.
    silent: BTreeSet<ReplicaId>,
    /// Number of the turn, which decides the replica to be ranked first, and requests left in this turn.
    turn: usize,
    left_in_turn: usize,
    /// Replicas to ask in this turn for updates that this frontend has seen itself, best first; empty if it must be
    /// worked out.
    ranking: Vec<ReplicaId>,
    /// The replica in the same process, if there is one.
    preferred: Option<ReplicaId>,
    /// Time since which every replica could show its presence, in milliseconds.
    listening_since_ms: u64,
    /// Replicas in this frontend's own `prev` that are not heard.
    unheard: Vec<ReplicaId>,
    /// Greatest stamp in the replies to updates.
    replied_clock: Stamp,
    /// Records of those who are gone that a `prev` names and nobody shows.
    missed: Missed,
    /// Records that replicas present count as lost: by origin, the number of the last one before them.
    shown_lost: BTreeMap<ReplicaId, u64>,
}

impl Directory {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            roster: Roster::new(FORGET_AFTER_MS, now_ms),
            cluster: ClusterNames::default(),
            seen_in: ClusterNames::default(),
            cluster_changes: 0,
            holds: BTreeMap::new(),
            lagging: BTreeSet::new(),
            settled: Timestamp::new(),
            recent: (Timestamp::new(), now_ms),
            proven: BTreeSet::new(),
            silent: BTreeSet::new(),
            turn: 0,
            left_in_turn: 0,
            ranking: Vec::new(),
            preferred: None,
            listening_since_ms: now_ms,
            unheard: Vec::new(),
            replied_clock: Stamp::ZERO,
            missed: Missed::default(),
            shown_lost: BTreeMap::new(),
        }
    }

    /// Takes in presence. Returns those that the replica was in earlier lives, where that is news: they do not come back.
    pub(super) fn heard(&mut self, presence: Presence, now_ms: u64) -> Vec<ReplicaId> {
        if self.roster.is_repeated(&presence, now_ms) {
            return Vec::new();
        }
        self.ranking.clear();
        let id = presence.id.clone();
        let former = if presence.status == Status::Left { Vec::new() } else { presence.former.clone() };
        let replica_timestamp = presence.replica_timestamp.clone().unwrap_or_default().replicas;
        let tells_of_losses = !presence.lost.is_empty() || !self.shown_lost.is_empty();
        let shown_before = self.roster.get(&id).and_then(|member| member.presence.replica_timestamp.clone());
        if replica_timestamp.is_plausible() && self.roster.heard(presence, now_ms) != Change::Refused {
            self.silent.remove(&id);
            if replica_timestamp.covers(&self.settled) {
                self.lagging.remove(&id);
            } else {
                self.lagging.insert(id.clone());
            }
            let holds = self.holds.entry(id.clone()).or_default();
            // It has retired what it does not show any more.
            let before = shown_before.unwrap_or_default().replicas;
            if !replica_timestamp.covers(&before) {
                let is_left_out = |(origin, _): &(&ReplicaId, u64)| replica_timestamp.get(origin) == 0;
                let left_out = before.iter().filter(is_left_out).map(|(origin, count)| (origin.clone(), count));
                holds.leave_out(&left_out.collect());
            }
            holds.merge_said(&replica_timestamp);
            if tells_of_losses {
                self.note_shown_losses();
            }
            return former.into_iter().filter(|earlier| self.roster.supersede(earlier, &id, now_ms)).collect();
        }
        Vec::new()
    }

    /// Takes notice of what replies show of their sender.
    pub(super) fn replied<'a>(&mut self, id: &ReplicaId, replies: impl Iterator<Item = &'a Reply>) {
        let was_silent = self.silent.remove(id);
        let is_news = !self.proven.contains(id) && self.is_up(id);
        if is_news {
            self.proven.insert(id.clone());
        }
        if was_silent || is_news {
            self.ranking.clear();
        }
        let Some(holds) = self.holds.get_mut(id) else { return };
        for reply in replies {
            match reply {
                Reply::Answered { label, .. } | Reply::Refused { label, .. } => holds.merge_said(&label.replicas),
                Reply::Accepted { records, .. } | Reply::Held { records, .. } => {
                    for record in records {
                        holds.raise(&record.i, record.seq);
                    }
                }
                _ => {}
            }
        }
    }

    /// Ranks this replica before others that are equally fit.
    pub(super) fn prefer(&mut self, id: &ReplicaId) {
        self.ranking.clear();
        self.preferred = Some(id.clone());
    }

    /// The replica in the same process, if there is one.
    pub(super) fn preferred(&self) -> Option<&ReplicaId> {
        self.preferred.as_ref()
    }

    /// Time since the last presence of a replica that was not OFFLINE, in milliseconds; 0 where none was heard.
    pub(super) fn silent_ms(&self, id: &ReplicaId, now_ms: u64) -> u64 {
        self.roster.get(id).map_or(0, |member| now_ms.saturating_sub(member.heard_ms))
    }

    /// Takes notice of what a replica is known to have applied.
    pub(super) fn holds(&mut self, id: &ReplicaId, value_timestamp: &Timestamp) {
        if let Some(holds) = self.holds.get_mut(id)
            && !holds.is_shared_with(value_timestamp)
        {
            holds.merge_said(value_timestamp);
        }
    }

    /// It kept somebody waiting: others are asked first until it shows itself again.
    pub(super) fn was_silent(&mut self, id: &ReplicaId) {
        self.ranking.clear();
        self.silent.insert(id.clone());
    }

    /// The broker says that nobody listens there. Says whether that is news.
    pub(super) fn unreachable(&mut self, id: &ReplicaId) -> bool {
        let news = self.is_up(id);
        self.ranking.clear();
        self.proven.remove(id);
        self.roster.unreachable(id);
        news
    }

    /// Lets time pass and gives those that are gone by now. `seen` is what this frontend has seen.
    pub(super) fn tick(&mut self, now_ms: u64, listened: bool, seen: &Timestamp) -> Vec<ReplicaId> {
        self.ranking.clear();
        if now_ms.saturating_sub(self.recent.1) >= GOSSIP_TAKES_MS {
            self.settled = std::mem::replace(&mut self.recent, (seen.clone(), now_ms)).0;
        }
        let gone = self.roster.tick(now_ms, listened);
        self.proven.retain(|id| !gone.contains(id));
        let roster = &self.roster;
        self.holds.retain(|id, _| roster.get(id).is_some());
        self.silent.retain(|id| roster.get(id).is_some());
        self.lagging.retain(|id| roster.get(id).is_some());
        let mut missed = std::mem::take(&mut self.missed);
        let is_gone = |id: &ReplicaId| self.roster.get(id).is_some_and(|member| !member.is_present());
        missed.retain(|origin, count| is_gone(origin) && self.held_by_those_left(origin) < count);
        self.missed = missed;
        self.unheard = self.find_unheard(seen);
        if !gone.is_empty() && !self.shown_lost.is_empty() {
            self.note_shown_losses();
        }
        gone
    }

    /// Puts together what the replicas present show as lost.
    fn note_shown_losses(&mut self) {
        self.shown_lost.clear();
        for lost in self.roster.present().flat_map(|(_, member)| &member.presence.lost) {
            let before = lost.first.saturating_sub(1);
            let noted = self.shown_lost.entry(lost.origin.clone()).or_insert(before);
            *noted = (*noted).max(before);
        }
    }

    /// Takes out of `prev` the records that died with the last replica that held them, and gives what it took out. `proven`
    /// says that it is this frontend's own `prev`; what a session brings proves nothing.
    pub(super) fn forget_the_dead(&mut self, prev: &mut Timestamp, proven: bool, now_ms: u64) -> Vec<GivenUp> {
        let mut all = self.forget_what_is_shown_lost(prev, proven, now_ms);
        let gone: Vec<(ReplicaId, u64)> = self
            .roster
            .all()
            .filter(|(_, member)| !member.is_present())
            .map(|(id, _)| (id.clone(), prev.get(id)))
            .filter(|(id, count)| *count > self.held_by_those_left(id))
            .collect();
        if gone.is_empty() {
            return all;
        }
        let dead = self.roster.dead(now_ms);
        for (origin, count) in gone {
            if self.missed.note(&origin, count, proven, now_ms) && dead.contains(&origin) {
                let held = self.held_by_those_left(&origin);
                prev.set(&origin, held);
                all.push(GivenUp { origin, held, count, proven });
            }
        }
        all
    }

    /// The same for records that a present replica counts as lost. This frontend may have started after their origin was
    /// gone, so that it would wait for that for ever.
    fn forget_what_is_shown_lost(&self, prev: &mut Timestamp, proven: bool, now_ms: u64) -> Vec<GivenUp> {
        if self.shown_lost.is_empty() || self.roster.may_somebody_return(now_ms) {
            return Vec::new();
        }
        let mut all = Vec::new();
        for (origin, before) in &self.shown_lost {
            let (count, held) = (prev.get(origin), self.held_by_those_left(origin).max(*before));
            if count > held && !self.is_present(origin) {
                prev.set(origin, held);
                all.push(GivenUp { origin: origin.clone(), held, count, proven });
            }
        }
        all
    }

    /// The replicas in `prev` that are not heard. `seen_here` says that this frontend's own `prev` covers it.
    pub(super) fn unheard(&self, prev: &Timestamp, seen_here: bool) -> Vec<ReplicaId> {
        if seen_here { self.unheard.clone() } else { self.find_unheard(prev) }
    }

    fn find_unheard(&self, prev: &Timestamp) -> Vec<ReplicaId> {
        prev.iter().map(|(id, _)| id).filter(|id| !self.is_present(id)).take(UNHEARD_MAX).cloned().collect()
    }

    /// Forgets the timestamps seen so far, which are of another cluster: no replica lags behind these.
    pub(super) fn forget_seen(&mut self) {
        self.settled = Timestamp::new();
        self.recent.0 = Timestamp::new();
        self.lagging.clear();
        self.unheard.clear();
        self.replied_clock = Stamp::ZERO;
        self.missed = Missed::default();
    }

    /// Whether a replica in `prev` is gone, and no present one is known to hold its updates: it is retired, or lost with them.
    pub(super) fn is_somebody_missing(&self, prev: &Timestamp) -> bool {
        let is_gone = |id: &ReplicaId| self.roster.get(id).is_some_and(|member| !member.is_present());
        prev.iter().any(|(id, count)| is_gone(id) && self.held_by_those_left(id) < count)
    }

    /// Leaves these retired ids out of the timestamps of replicas: an entry there proves nothing any more.
    pub(super) fn leave_out(&mut self, retired: &Timestamp) {
        for holds in self.holds.values_mut() {
            holds.leave_out(retired);
        }
    }

    /// Number of updates of `origin` that present replicas are known to hold.
    fn held_by_those_left(&self, origin: &ReplicaId) -> u64 {
        let shown = self.roster.present().filter_map(|(id, _)| self.holds.get(id));
        shown.map(|holds| holds.get(origin)).max().unwrap_or(0)
    }

    /// The names of the cluster. They change between turns only, so that all answers of a turn are of one cluster.
    pub(super) fn cluster(&self) -> &ClusterNames {
        &self.cluster
    }

    /// Puts the names together that the replicas present show. While none does, they stay as they were. Returns the names of
    /// the cluster before, where the replicas belong to another one now.
    fn name_cluster(&mut self) -> Option<ClusterNames> {
        if self.cluster_changes == self.roster.changes() {
            return None;
        }
        self.cluster_changes = self.roster.changes();
        let mut names = ClusterNames::default();
        for (_, member) in self.roster.present() {
            names.meet(member.presence.cluster.as_ref(), &member.presence.aliases);
        }
        if names.id.is_none() || names == self.cluster {
            return None;
        }
        self.cluster = names;
        self.leave_cluster()
    }

    /// Returns the names of the cluster in which this frontend has seen something, where no replica that is there shows one
    /// of them. Replicas of two clusters may be heard at the same time, where those of one have just ended: only what one
    /// replica shows together is one cluster.
    fn leave_cluster(&mut self) -> Option<ClusterNames> {
        if self.seen_in.id.is_none() {
            self.seen_in = self.cluster.clone();
            return None;
        }
        let mut is_there = false;
        loop {
            let mut is_news = false;
            for (_, Member { presence: Presence { cluster, aliases, .. }, .. }) in self.roster.present() {
                if cluster.iter().chain(aliases).any(|name| self.seen_in.contain(name)) {
                    is_there = true;
                    is_news |= self.seen_in.meet(cluster.as_ref(), aliases);
                }
            }
            if !is_news {
                break;
            }
        }
        (!is_there).then(|| std::mem::replace(&mut self.seen_in, self.cluster.clone()))
    }

    /// Whether one of these names is one of the cluster in which this frontend sees things now.
    pub(super) fn is_in(&self, names: &ClusterNames) -> bool {
        names.id.iter().chain(&names.aliases).any(|name| self.seen_in.contain(name))
    }

    pub(super) fn connected(&mut self, now_ms: u64) {
        self.roster.connected(now_ms);
        self.listening_since_ms = now_ms;
    }

    pub(super) fn disconnected(&mut self) {
        self.roster.disconnected();
    }

    /// Whether it counts as a holder of what it confirmed.
    pub(super) fn is_holder(&self, id: &ReplicaId) -> bool {
        self.roster.get(id).is_some_and(Member::is_holder)
    }

    pub(super) fn is_up(&self, id: &ReplicaId) -> bool {
        self.roster.get(id).is_some_and(|member| member.is_up())
    }

    /// Whether it is there with what it holds.
    pub(super) fn is_present(&self, id: &ReplicaId) -> bool {
        self.roster.get(id).is_some_and(|member| member.is_present())
    }

    /// Whether its process is gone, and what only that had with it, or with a later life that is there.
    pub(super) fn is_dead(&self, id: &ReplicaId) -> bool {
        let is_dead =
            |member: &Member| member.is_superseded() || (member.has_ended() && member.presence.durable != Some(true));
        self.roster.get(id).is_some_and(is_dead)
    }

    /// Whether somebody is away who may know what others don't, and come back. One that is silent may be paused, for however
    /// long, and go on with what it was sent.
    pub(super) fn is_somebody_away(&self) -> bool {
        let is_away = |member: &Member| !member.is_present() || member.presence.status == Status::Offline;
        self.roster.all().any(|(_, member)| is_away(member) && !member.has_died())
    }

    pub(super) fn has_somebody_up(&self) -> bool {
        self.roster.up().next().is_some()
    }

    pub(super) fn up(&self) -> Vec<ReplicaId> {
        self.roster.up().map(|(id, _)| id.clone()).collect()
    }

    /// Whether it says that it serves, and has not answered yet.
    pub(super) fn is_unproven(&self, id: &ReplicaId) -> bool {
        self.is_up(id) && !self.proven.contains(id)
    }

    /// The greatest stamp that a replica shows to hold, of those that are up and have answered: presence alone is a claim
    /// that any process on the broker can make. `None` before there is one.
    pub(super) fn clock(&self) -> Option<Stamp> {
        self.proven_up().map(|(_, member)| member.presence.clock.unwrap_or_default()).max()
    }

    /// The greatest stamp that any present replica shows to hold, whether it has answered or not, and that replies to updates
    /// told, which may be ahead of presence: good enough not to refuse a label that agrees with it.
    pub(super) fn clock_shown(&self) -> Stamp {
        let shown = self.roster.present().filter_map(|(_, member)| member.presence.clock).max();
        shown.unwrap_or_default().max(self.replied_clock)
    }

    /// Notes the clock of a replica that holds an update.
    pub(super) fn hear_clock(&mut self, clock: Stamp) {
        self.replied_clock = self.replied_clock.max(clock);
    }

    /// Whether the replicas that are up and have answered are known to hold all of `prev` together.
    pub(super) fn is_covered(&self, prev: &Timestamp) -> bool {
        prev.iter().all(|(origin, count)| {
            let mut held = self.proven_up().filter_map(|(id, _)| self.holds.get(id));
            held.any(|holds| holds.get(origin) >= count)
        })
    }

    fn proven_up(&self) -> impl Iterator<Item = (&ReplicaId, &Member)> {
        self.roster.up().filter(|(id, _)| self.proven.contains(*id))
    }

    /// The latest of the wall clocks of those that are up and have answered, in Unix milliseconds.
    pub(super) fn wall_ms(&self, now_ms: u64) -> u64 {
        let clocks = self
            .proven_up()
            .map(|(_, member)| member.presence.wall_ms.saturating_add(now_ms.saturating_sub(member.seen_ms)));
        clocks.max().unwrap_or(0)
    }

    /// The replicas that can be reached. Even one that doesn't serve yet may hold a record.
    pub(super) fn reachable(&self) -> Vec<ReplicaId> {
        let reachable = self.roster.present().filter(|(_, member)| member.presence.status != Status::Offline);
        reachable.map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn up_count(&self) -> usize {
        self.roster.up().count()
    }

    /// Whether somebody may still show up: not everybody had the time, or one is about to join.
    pub(super) fn is_somebody_expected(&self, now_ms: u64) -> bool {
        self.is_listening(now_ms) || self.roster.present().any(|(_, member)| member.presence.status == Status::Joining)
    }

    /// Whether this process listens for too short a time to conclude from silence.
    pub(super) fn is_listening(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.listening_since_ms) < MISSED_INTERVALS_MAX * PRESENCE_INTERVAL_MS
    }

    /// Whether every replica manager that was ever heard of, and is remembered, is up and one of `asked`.
    pub(super) fn is_everybody_up_among(&self, asked: &[ReplicaId]) -> bool {
        let is_settled = |member: &Member| member.is_superseded() || member.presence.status == Status::Left;
        self.roster.all().all(|(id, member)| (member.is_up() && asked.contains(id)) || is_settled(member))
    }

    /// Begins a turn: its first request goes to the next replica manager. Returns the names of the cluster before, where the
    /// replicas belong to another one now.
    pub(super) fn next_turn(&mut self) -> Option<ClusterNames> {
        self.left_in_turn = 0;
        self.name_cluster()
    }

    /// Chooses the replica to ask. Replicas that have answered before and are not silent now come first, then ACTIVE
    /// before OVERLOADED, then those that should hold `prev`, by turns.
    ///
    /// Gossip has brought updates that this frontend has seen itself (`seen_here`) to every replica that doesn't lag
    /// behind. Updates that a session brings from elsewhere are asked of replicas that are known to hold them.
    pub(super) fn choose(
        &mut self,
        prev: &Timestamp,
        seen_here: bool,
        not: impl Fn(&ReplicaId) -> bool,
    ) -> Option<ReplicaId> {
        if self.left_in_turn == 0 {
            self.turn = self.turn.wrapping_add(1);
            self.left_in_turn = TURN_REQUESTS_MAX;
            self.ranking.clear();
        }
        self.left_in_turn -= 1;
        if !seen_here {
            let lacks = |id: &ReplicaId| self.holds.get(id).is_none_or(|holds| !holds.covers(prev));
            return self.ranked(lacks).into_iter().find(|id| !not(id)).cloned();
        }
        if self.ranking.is_empty() {
            self.ranking = self.ranked(|id| self.lagging.contains(id)).into_iter().cloned().collect();
        }
        debug_assert!(self.ranking.iter().eq(self.ranked(|id| self.lagging.contains(id))), "it is worked out anew");
        self.ranking.iter().find(|id| !not(id)).cloned()
    }

    /// The replicas that are up, in the order in which they are to be asked now.
    fn ranked(&self, lacks: impl Fn(&ReplicaId) -> bool) -> Vec<&ReplicaId> {
        let count = self.roster.up().count().max(1);
        let turn = self.turn % count;
        let mut ranked: Vec<_> = self
            .roster
            .up()
            .enumerate()
            .map(|(place, (id, member))| {
                let is_overloaded = member.presence.status != Status::Active;
                let is_doubtful = self.silent.contains(id) || !self.proven.contains(id);
                let is_remote = self.preferred.as_ref() != Some(id);
                ((is_doubtful, is_overloaded, lacks(id), is_remote, (place + count - turn) % count), id)
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, id)| id).collect()
    }
}
