//! Executed updates that a directory's next life remembers: by how long the lives ran, whatever their clocks showed.

use natter_common::clock::Stamp;
use natter_common::ids::{MovieId, UserId};
use natter_common::messages::{Reply, Status, UpdateRequest};
use natter_common::rating::Stars;
use natter_common::replica_manager::executed_operations::RETENTION_MS;
use natter_common::replica_manager::{Config, Input, ReplicaManager};
use natter_common::request::Update;
use natter_simulation::simulation::disk::{Disk, Sync};

use super::bench::{Bench, config, confirm, id, reply, to, update};

const HOUR_MS: u64 = 3_600_000;

/// A replica that starts again and again.
struct Lives {
    bench: Bench,
    disk: Disk,
    lives: u64,
}

impl Lives {
    fn new() -> Self {
        let bench = Bench::new(Config { durable: true, ..config() });
        let mut lives = Self { bench, disk: Disk::new(Sync::Full), lives: 1 };
        lives.run(3_000);
        assert_eq!(lives.bench.manager.status(), Status::Active);
        lives
    }

    fn run(&mut self, for_ms: u64) {
        self.bench.pass(for_ms);
        self.disk.commit(self.bench.value.take_committed());
    }

    /// Accepts update `n`, stamped by the clock of this life.
    fn accept(&mut self, n: u64) {
        let stamp = Stamp::new(self.bench.now.wall_ms, n as u16);
        let (user_id, movie_id) = (UserId::new(n as u32).unwrap(), MovieId::new(2).unwrap());
        let request = Update::Create { user_id, movie_id, rating: Stars::from_half_stars(8).unwrap() };
        let outputs = self.bench.update(UpdateRequest { stamp, ..update(n, request) });
        assert!(matches!(reply(&outputs), Reply::Accepted { .. }), "{outputs:?}");
        self.disk.commit(self.bench.value.take_committed());
    }

    /// Loses its power, and starts again with a clock that has moved by `moved_ms`. The clock of a process begins at 0.
    fn start_again(&mut self, moved_ms: i64) {
        let (saved, value) = self.disk.contents();
        let before = self.bench.manager.id().clone();
        self.lives += 1;
        let config = Config { id: id(&format!("own{}", self.lives)), durable: true, ..config() };
        self.bench.now.wall_ms = self.bench.now.wall_ms.saturating_add_signed(moved_ms);
        self.bench.now.monotonic_ms = 0;
        self.bench.manager = ReplicaManager::recover(config, saved, &[before], self.bench.now).unwrap();
        self.bench.value = value;
    }

    fn knows(&mut self, n: u64) -> bool {
        let outputs = self.bench.hear(Input::Confirm(to(n), confirm(n, 0)));
        match reply(&outputs) {
            Reply::Held { .. } => true,
            Reply::NotHeld => false,
            other => panic!("{other:?}"),
        }
    }

    /// Number of updates in the directory; the records that retire former lives are none.
    fn remembered(&self) -> usize {
        self.disk.contents().0.records.iter().filter(|record| record.request.is_some()).count()
    }
}

#[test]
fn an_update_is_remembered_whatever_the_clocks_of_the_lives_after_it_show() {
    let hour = HOUR_MS as i64;
    for moves in [[hour, 0], [hour, -hour], [-hour, 0], [-hour, hour]] {
        let mut lives = Lives::new();
        lives.accept(1);
        for (n, moved_ms) in (2..).zip(moves) {
            lives.run(1_000);
            lives.start_again(moved_ms);
            lives.run(3_000);
            assert!(lives.knows(1), "clocks moved by {moves:?} ms, before update {n}");
            lives.accept(n);
        }
        lives.start_again(0);
        assert!(lives.knows(1), "clocks moved by {moves:?} ms");
    }
}

#[test]
fn a_replica_that_starts_every_five_seconds_remembers_the_updates_of_two_retentions_at_most() {
    let mut lives = Lives::new();
    let life_ms = 5_000;
    let of_a_retention = RETENTION_MS / life_ms;
    let mut most = 0;
    for n in 1..=6 * of_a_retention {
        lives.accept(n);
        assert!((n.saturating_sub(of_a_retention).max(1)..=n).all(|n| lives.knows(n)), "at update {n}");
        lives.run(life_ms - 4_000);
        lives.start_again(if n % 2 == 0 { -(HOUR_MS as i64) } else { HOUR_MS as i64 });
        lives.run(4_000);
        most = most.max(lives.remembered() as u64);
    }
    assert!(!lives.knows(1), "the first one is long ago");
    assert!(most <= 2 * of_a_retention + 2, "{most} updates, of which a retention has {of_a_retention}");
}
