//! Decisions of a seed before a run begins.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::kind::Kind;
use super::network::Weather;

/// Number of seeds of which one has a long cut.
const LONG_CUT_ONE_OF: u32 = 100;

/// Number of seeds of which one has clocks that are ahead for a while.
const AHEAD_ONE_OF: u32 = 8;
/// Number of seeds of which one has bystanders on the broker, and permissions that are taken away.
const NEIGHBOURS_ONE_OF: u32 = 4;
/// Time by which these clocks are ahead, in milliseconds: more than the minute which frontends and replicas allow for.
const AHEAD_MS: std::ops::RangeInclusive<i64> = 61_000..=3_600_000;

/// Maximum time by which a session raises the clock of its label, in milliseconds: clocks that are not ahead otherwise
/// differ by some seconds.
const RAISED_MS_MAX: u64 = 30_000;

/// Range of the faults in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Replica managers and frontends crash, and nothing else: no attempt of a client may fail.
    Crashes,
    /// All kinds of faults, but at most FAULT_TOLERANCE - 1 replica managers are in trouble at a time: nothing that was
    /// acknowledged or shown may be lost.
    Tolerable,
    /// All kinds of faults at any number of processes at a time; only what would lose the last copy of something shown
    /// is left out.
    Wild,
}

/// Decisions of a seed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Range of the faults.
    pub flavour: Flavour,
    /// Number of replicas.
    pub replicas: usize,
    /// Number of frontends.
    pub frontends: usize,
    /// Number of sessions.
    pub sessions: usize,
    /// Number of replicas that must hold an update.
    pub fault_tolerance: u32,
    /// Time after which an absent replica is forgotten, in milliseconds.
    pub forget_after_ms: u64,
    /// Replicas in a thousand that keep their state on a disk.
    pub durable_permille: u32,
    /// Disks in a thousand of those that may lose the latest commits.
    pub unsynced_permille: u32,
    /// Replicas in a thousand that are frontends as well.
    pub colocated_permille: u32,
    /// The longest time that a synced disk takes for a commit, in microseconds; 0 where a commit ends at once.
    pub sync_us_max: u64,
    /// Number of users: few, so that keys collide.
    pub users: u32,
    /// Number of movies: few, so that keys collide.
    pub movies: u32,
    /// Delays, losses and duplicates of messages during the faults.
    pub weather: Weather,
    /// Maximum error of a clock, in milliseconds.
    pub skew_ms_max: i64,
    /// The longest time for which a process gathers what arrives into one turn, in microseconds.
    pub processing_us_max: u64,
    /// Maximum time that a session thinks between operations, in microseconds.
    pub think_us_max: u64,
    /// Maximum time between faults, in microseconds.
    pub fault_us_max: u64,
    /// Time during which there are faults, in microseconds.
    pub faulty_us: u64,
    /// If not 0, the first fault is a cut between some replicas of this length, in microseconds. It is longer than the
    /// silence after which a replica counts as gone. Frontends hear all meanwhile: a replica that is apart with a
    /// frontend cannot tell that others live.
    pub long_cut_us: u64,
    /// Whether the run ends as soon as everything is well again: many short ones see as much as a few long ones, but
    /// for what takes its time.
    pub is_brief: bool,
    /// Interval of the ticks of processes' clocks, in microseconds.
    pub tick_us: u64,
    /// Maximum jump of a clock, in milliseconds; 0 if none jumps.
    pub jump_ms_max: i64,
    /// Whether there are bystanders on the broker, and permissions that are taken away.
    pub neighbours: bool,
    /// Whether one that listens to everything is there all the time.
    pub silent_always: bool,
    /// If not 0, wall clocks are once ahead by this time, in milliseconds.
    pub ahead_ms: i64,
    /// Maximum time by which sessions raise the clock of their label, in milliseconds: less than is refused.
    pub raised_ms_max: u64,
    /// Whether clients make ids of all kinds, also such that carry no stamp.
    pub any_ids: bool,
    /// Maximum operations that a session begins.
    pub operations_max: u64,
    /// Maximum number of faults.
    pub strikes_max: u64,
    /// Faults that are left out, by their number from 1.
    pub skipped: BTreeSet<u64>,
    /// Kinds of faults that may happen.
    pub faults: BTreeSet<Kind>,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(generator: &mut Rng) -> Self {
        let flavour = match generator.u32(..10) {
            0..2 => Flavour::Crashes,
            2..7 => Flavour::Tolerable,
            _ => Flavour::Wild,
        };
        let replicas = [1, 2, 2, 3, 3, 3, 3, 4, 4][generator.usize(..9)];
        let fault_tolerance = [1, 2, 2, 2, 2, 2, 3][generator.usize(..7)];
        let crashes = flavour == Flavour::Crashes;
        let fast = generator.bool();
        let lossy = !crashes && generator.u32(..3) > 0;
        let is_brief = generator.u32(..10) > 0;
        let weather = Weather {
            delay_us_min: if fast { 100 } else { 500 },
            delay_us_max: if fast { 1000 } else { generator.u64(1000..30_000) },
            slow_permille: if crashes { 0 } else { generator.u32(..20) },
            loss_permille: if lossy { generator.u32(1..120) } else { 0 },
            duplicate_permille: if generator.bool() { generator.u32(1..100) } else { 0 },
            reorder: generator.u32(..4) == 0 && !crashes,
        };
        Self {
            flavour,
            replicas,
            frontends: generator.usize(1..=2),
            sessions: generator.usize(3..=6),
            fault_tolerance,
            forget_after_ms: [600_000, 600_000, 5_000, 2_000, 1_000][generator.usize(..5)],
            durable_permille: [0, 0, 500, 1000][generator.usize(..4)],
            unsynced_permille: [0, 0, 500][generator.usize(..3)],
            colocated_permille: 0,
            sync_us_max: 0,
            users: generator.u32(1..=2),
            movies: generator.u32(1..=3),
            weather,
            skew_ms_max: if generator.bool() { generator.i64(1..8000) } else { 0 },
            processing_us_max: [200, 4000, 4000, 12_000][generator.usize(..4)],
            think_us_max: [5_000, 50_000, 400_000][generator.usize(..3)],
            fault_us_max: [400_000, 1_500_000, 4_000_000][generator.usize(..3)],
            faulty_us: if is_brief { generator.u64(500_000..2_500_000) } else { generator.u64(2_000_000..10_000_000) },
            long_cut_us: 0,
            is_brief,
            tick_us: if is_brief { 40_000 } else { 20_000 },
            jump_ms_max: if generator.u32(..3) == 0 { generator.i64(1000..8000) } else { 0 },
            neighbours: false,
            silent_always: false,
            ahead_ms: 0,
            raised_ms_max: 0,
            any_ids: generator.u32(..3) == 0,
            operations_max: u64::MAX,
            strikes_max: u64::MAX,
            skipped: BTreeSet::new(),
            faults: Kind::ALL.iter().map(|(kind, _)| *kind).collect(),
        }
    }

    /// In one seed of three, half or all of the replicas are frontends as well. Clocks far ahead do not happen to these
    /// yet.
    pub fn draw_colocated(mut self, seed: u64) -> Self {
        let mut generator = Rng::with_seed(seed ^ 0x636f_6c6f);
        let permille = [0, 0, 0, 0, 500, 1000][generator.usize(..6)];
        if self.ahead_ms == 0 {
            // A long cut leaves frontends out, so it needs replicas that are none.
            self.colocated_permille = if self.long_cut_us > 0 { permille.min(500) } else { permille };
        }
        self
    }

    /// In half of the seeds, commits take time, in which the process goes on.
    pub fn draw_slow_disks(mut self, seed: u64) -> Self {
        let mut generator = Rng::with_seed(seed ^ 0x64_6973_6b73);
        self.sync_us_max = [0, 0, 0, 3_000, 20_000, 200_000][generator.usize(..6)];
        self
    }

    /// One seed of many is about a long cut.
    pub fn draw_long_cut(mut self, seed: u64) -> Self {
        let mut generator = Rng::with_seed(seed ^ 0x6c6f_6e67);
        if generator.u32(..LONG_CUT_ONE_OF) > 0 {
            return self;
        }
        self.long_cut_us = generator.u64(12_000_000..25_000_000);
        self.faulty_us = self.long_cut_us + generator.u64(500_000..3_000_000);
        self.flavour = Flavour::Wild;
        self.replicas = self.replicas.max(3);
        // Replicas with a disk are waited for, however long they are away.
        self.durable_permille = 0;
        self.is_brief = false;
        self.tick_us = 40_000;
        self.think_us_max = self.think_us_max.max(50_000);
        self
    }

    /// One seed of some is about clocks that were once ahead. Its chances are its own: all else is as without it.
    pub fn draw_ahead(mut self, seed: u64) -> Self {
        let mut generator = Rng::with_seed(seed ^ 0x61_6865_6164);
        if generator.u32(..AHEAD_ONE_OF) == 0 && self.long_cut_us == 0 {
            self.ahead_ms = generator.i64(AHEAD_MS);
            self.raised_ms_max = if generator.bool() { RAISED_MS_MAX } else { 0 };
        }
        self
    }

    /// One seed of some has neighbours. Their chances are their own.
    pub fn draw_neighbours(mut self, seed: u64) -> Self {
        let mut generator = Rng::with_seed(seed ^ 0x6e_6569_6768);
        self.neighbours = generator.u32(..NEIGHBOURS_ONE_OF) == 0 && self.long_cut_us == 0;
        self.silent_always = self.neighbours && generator.u32(..4) == 0;
        self
    }

    /// The broker's largest payload, in bytes. Where logs are truncated it takes several messages to bring a snapshot:
    /// one for each row or executed update, or for ten of them in a history that is not brief, when there are ten times
    /// as many.
    pub fn message_bytes_max(&self) -> usize {
        match (self.forget_after_ms < 600_000, self.is_brief) {
            (false, _) => 1 << 20,
            (true, true) => 600,
            (true, false) => 6000,
        }
    }

    /// Maximum replicas that are in trouble at a time.
    pub fn troubled_max(&self) -> usize {
        match self.flavour {
            Flavour::Crashes | Flavour::Tolerable => (self.fault_tolerance as usize - 1).min(self.replicas - 1),
            Flavour::Wild => self.replicas,
        }
    }
}
