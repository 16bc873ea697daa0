//! Timestamps of clusters of several sizes.

use std::hint::black_box;

use anyhow::Result;
use natter_common::ids::ReplicaId;
use natter_common::timestamp::Timestamp;

use crate::measured;

/// Number of repetitions.
pub(crate) const ROUNDS: u64 = 1000;

/// Timestamp of this many replicas. Every second one has accepted one record more than in the timestamp of `phase` 1.
fn timestamp(replicas: usize, phase: usize) -> Result<Timestamp> {
    let entry = |n: usize| Ok((ReplicaId::known(&format!("r{n}-abcdefgh"))?, 1_000_000 + ((n + phase) % 2) as u64));
    (0..replicas).map(entry).collect()
}

/// Merges two timestamps, each of which has records that the other lacks.
pub(crate) fn merge(replicas: usize) -> Result<()> {
    let (ours, theirs) = (timestamp(replicas, 0)?, timestamp(replicas, 1)?);
    measured(&mut || {
        for _ in 0..ROUNDS {
            let mut merged = black_box(&ours).clone();
            merged.merge(black_box(&theirs));
            black_box(merged);
        }
    });
    Ok(())
}

/// Equal ones that share nothing, so that every entry is looked at.
pub(crate) fn compare(replicas: usize) -> Result<()> {
    let (ours, theirs) = (timestamp(replicas, 0)?, timestamp(replicas, 0)?);
    measured(&mut || {
        for _ in 0..ROUNDS {
            black_box(black_box(&ours).covers(black_box(&theirs)));
        }
    });
    Ok(())
}
