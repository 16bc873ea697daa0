//! Copies of a directory, made while a replica writes into it, as a stand-in for a loss of power.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use natter_common::clock::Stamp;
use natter_common::rating::RatingKey;
use natter_common::record::RecordRef;
use natter_common::replica_manager::{Changes, Saved};
use natter_common::value::{Row, Value};
use natter_database::{Store, Sync};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::common::key;
use crate::replica_files::{
    MOVIE_NUMBERS, Place, Seen, applied, copy_directory, counts, held, name, record, replica, replicas, row, seen,
    state,
};

/// Changes of one batch.
#[derive(Clone, Debug)]
struct Batch {
    rows: Vec<(RatingKey, Row)>,
    /// Number of additional records of replica a that are held.
    records: u64,
    /// Number of held records that are not applied yet, if those before were not either.
    waiting: u64,
    /// Record, or update known by a snapshot, that is forgotten.
    forgotten: Option<RecordRef>,
    executed: Option<u64>,
    retired: Option<(u8, Option<u64>)>,
    /// Whether the batch ends as the process does: without a commit.
    is_lost: bool,
    what_then: Then,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    GoOn,
    Checkpoint,
    Kill,
    CloseCleanly,
}

fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let row = (1u32..=3, prop::sample::select(MOVIE_NUMBERS.to_vec()), 0u64..20, 0u64..3).prop_map(
        |(user_number, movie_number, stamp, id)| {
            let half_stars = ((u64::from(user_number) + stamp * 3 + id) % 11) as u8;
            // Some before, some after those of the records.
            let stamp = Stamp::new(stamp * 10, 1).0;
            (key(user_number, movie_number), row((half_stars > 0).then_some(half_stars), stamp, id))
        },
    );
    let forgotten =
        prop::option::of((any::<bool>(), 1u64..20).prop_map(|(own, seq)| name(["x", "a"][usize::from(own)], seq)));
    let retired = prop::option::of((0u8..3, prop::option::of(1u64..9)));
    let then = prop_oneof![
        6 => Just(Then::GoOn),
        1 => Just(Then::Checkpoint),
        1 => Just(Then::Kill),
        1 => Just(Then::CloseCleanly),
    ];
    let counts = (0u64..40, 0u64..20);
    let parts = (prop::collection::vec(row, 0..5), counts, forgotten, prop::option::of(1u64..20), retired, then);
    let batch = (parts, prop::bool::weighted(0.1)).prop_map(
        |((rows, (records, waiting), forgotten, executed, retired, what_then), is_lost)| Batch {
            rows,
            records,
            waiting,
            forgotten,
            executed,
            retired,
            is_lost,
            what_then,
        },
    );
    prop::collection::vec(batch, 1..25)
}

/// State that the store must give back, kept beside it.
#[derive(Clone)]
struct Model {
    saved: Saved,
    /// Records that may still be there, beside records that were saved together with them.
    forgotten: Vec<RecordRef>,
    seen: Seen,
}

fn sorted(mut saved: Saved) -> Saved {
    saved.records.sort_by_key(|record| record.name());
    saved.executed.sort_by_key(|operation| operation.name());
    saved
}

impl Model {
    /// Returns the number of records of replica a that are applied.
    fn applied(&self) -> u64 {
        self.saved.state.value_timestamp.replicas.get(&replica("a"))
    }

    fn changes(&self, batch: &Batch) -> Changes {
        let first = held(&self.saved) + 1;
        let last = first + batch.records - 1;
        Changes {
            held: (first..=last).map(|seq| Arc::new(record("a", seq))).collect(),
            executed: batch.executed.map(|seq| record("x", seq).executed()).into_iter().collect(),
            forgotten: batch.forgotten.clone().into_iter().collect(),
            retired: batch.retired.map(|(id, count)| (replica(&format!("z{id}")), count)).into_iter().collect(),
            staged: false,
            known: None,
            // The clock goes on with each batch, so that no two are alike.
            state: Some(natter_common::replica_manager::durable::State {
                clock: self.saved.state.clock.next(),
                value_timestamp: replicas(&[("a", self.applied().max(last.saturating_sub(batch.waiting)))]),
                ..state(last)
            }),
        }
    }

    fn save(&mut self, changes: Changes) {
        let Changes { held, executed, forgotten, retired, state, known: _, staged: _ } = changes;
        let saved = &mut self.saved;
        self.forgotten.extend(forgotten.clone());
        saved.records.retain(|record| !forgotten.contains(&record.name()));
        saved.executed.retain(|operation| !forgotten.contains(&operation.name()));
        saved.executed.retain(|operation| !executed.contains(operation));
        saved.records.extend(held);
        saved.executed.extend(executed);
        for (id, count) in retired {
            saved.retired.set(&id, count.unwrap_or(0));
        }
        saved.state = state.unwrap();
    }
}

fn assert_is(place: &Place, path: &Path, model: &Model) {
    let (store, mut recovered) = place.open_at(path, Sync::Normal).unwrap();
    recovered
        .saved
        .records
        .retain(|record| !model.forgotten.contains(&record.name()) || model.saved.records.contains(record));
    assert_eq!(sorted(recovered.saved), sorted(model.saved.clone()));
    assert_eq!(seen(&store), model.seen);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_copy_made_after_a_commit_has_exactly_what_was_committed(batches in batches()) {
        let place = Place::new();
        let copies = TempDir::new().unwrap();
        let mut store = place.start(Sync::Normal);
        let mut model = Model { saved: Saved::default(), forgotten: Vec::new(), seen: seen(&store) };
        for (n, batch) in batches.into_iter().enumerate() {
            for (key, row) in &batch.rows {
                store.apply(*key, *row).unwrap();
            }
            let changes = model.changes(&batch);
            let value_timestamp = &changes.state.as_ref().unwrap().value_timestamp.replicas;
            for seq in model.applied() + 1..=value_timestamp.get(&replica("a")) {
                let (key, row) = record("a", seq).row().unwrap();
                store.apply(key, row).unwrap();
            }
            store.save(&changes).unwrap();
            if batch.is_lost {
                drop(store);
                store = place.open_at(&place.path(), Sync::Normal).unwrap().0;
            } else {
                store.commit().unwrap();
                model.save(changes);
                model.seen = seen(&store);
            }
            match batch.what_then {
                Then::GoOn => {}
                Then::Checkpoint => store.checkpoint_if_idle().unwrap(),
                Then::Kill => {
                    drop(store);
                    store = place.open_at(&place.path(), Sync::Normal).unwrap().0;
                }
                Then::CloseCleanly => {
                    store.close_cleanly().unwrap();
                    let (opened, recovered) = place.open_at(&place.path(), Sync::Normal).unwrap();
                    prop_assert!(recovered.clean);
                    store = opened;
                }
            }
            let copy = copies.path().join(format!("{n}"));
            copy_directory(&place.path(), &copy);
            assert_is(&place, &copy, &model);
        }
        drop(store);
        assert_is(&place, &place.path(), &model);
    }
}

/// Number of records that the continuous saver keeps.
const KEPT: u64 = 400;

fn save_and_forget(store: &mut Store, seq: u64) {
    let held = vec![applied(store, "a", seq)];
    let forgotten = seq.checked_sub(KEPT).map(|seq| name("a", seq)).into_iter().collect();
    store.save(&Changes { held, forgotten, state: Some(state(seq)), ..Changes::default() }).unwrap();
    store.commit().unwrap();
}

/// Says so when it is dropped.
struct Done<'flag>(&'flag AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_copy_made_while_batches_are_saved_has_all_that_were_before_or_is_refused() {
    let place = Place::new();
    let mut store = place.start(Sync::Normal);
    let copies = TempDir::new().unwrap();
    let (committed, done) = (AtomicU64::new(0), AtomicBool::new(false));
    // Odd while one runs.
    let checkpoints = AtomicU64::new(0);
    let (opened, refused) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut seq = 0;
            while !done.load(Ordering::SeqCst) {
                seq += 1;
                save_and_forget(&mut store, seq);
                committed.store(seq, Ordering::SeqCst);
                if seq % 300 == 0 {
                    checkpoints.fetch_add(1, Ordering::SeqCst);
                    store.checkpoint_if_idle().unwrap();
                    checkpoints.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        // Also after a failed check: otherwise the writer would never end.
        let _done = Done(&done);
        let mut counts = (0, 0);
        for n in 0..100 {
            let (before, checkpoint) = (committed.load(Ordering::SeqCst), checkpoints.load(Ordering::SeqCst));
            let copy = copies.path().join(format!("{n}"));
            copy_directory(&place.path(), &copy);
            let is_calm = checkpoint % 2 == 0 && checkpoints.load(Ordering::SeqCst) == checkpoint;
            match place.open_at(&copy, Sync::Normal) {
                Ok((copied, recovered)) => {
                    assert_copy(&copied, &recovered.saved, before);
                    counts.0 += 1;
                }
                Err(error) => {
                    let error = error.to_string();
                    assert!(!is_calm && error.contains("damaged"), "{error}");
                    counts.1 += 1;
                }
            }
            std::fs::remove_dir_all(&copy).unwrap();
        }
        counts
    });
    assert!(opened > 0 && opened + refused == 100, "{opened} opened, {refused} refused");
}

/// Has some first part of the batches, not less than `before` of them.
fn assert_copy(store: &Store, saved: &Saved, before: u64) {
    let count = held(saved);
    assert!(count >= before, "{count} of {before}");
    assert_eq!(saved.records.len() as u64, count.min(KEPT));
    assert_eq!(saved.state.value_timestamp.replicas, counts(&[("a", count)]));
    // Batch n rated movie 1 for user 1 + n % 3: the last three stand.
    for seq in count.saturating_sub(2).max(1)..=count {
        let (key, expected) = record("a", seq).row().unwrap();
        assert_eq!(store.row(key).unwrap(), Some(expected));
    }
}
