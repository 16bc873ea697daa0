//! Makes a failing run smaller: leaves out what the violation of the same invariant does not need.
//!
//! Greedy, after Zeller & Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002): whatever can be left
//! out is, the greatest first, until nothing more can. As every change leads to other chances, each smaller plan is
//! tried with several.

use std::collections::BTreeSet;

use super::kind::Kind;
use super::only::Only;
use super::outcome::Failure;
use super::plan::Plan;
use super::run::run_only;

/// Number of different chances with which a smaller plan is tried.
const CHANCES: u64 = 12;
/// Number of chances with which, in the end, the plan is tried for the run that fails soonest.
const LAST_CHANCES: u64 = 200;

/// A failing run under way to be the smallest.
struct Shrinking {
    seed: u64,
    invariant: &'static str,
    runs_left: u64,
    smallest: Box<Failure>,
}

/// The smallest run found that violates the same invariant as `failure`, in `runs` runs at most; with its trace.
pub fn shrink(failure: Box<Failure>, runs: u64) -> Box<Failure> {
    let (seed, invariant) = (failure.seed, failure.violation.invariant);
    let mut shrinking = Shrinking { seed, invariant, runs_left: runs, smallest: failure };
    while shrinking.round() {}
    let only = shrinking.smallest.only.clone();
    for salt in 0..LAST_CHANCES {
        let sooner = shrinking.fails(&Only { salt, ..only.clone() });
        if let Some(failure) = sooner.filter(|failure| failure.events < shrinking.smallest.events) {
            shrinking.smallest = failure;
        }
    }
    let traced = run_only(seed, &shrinking.smallest.only, true);
    traced.err().unwrap_or(shrinking.smallest)
}

impl Shrinking {
    fn fails(&mut self, only: &Only) -> Option<Box<Failure>> {
        self.runs_left = self.runs_left.checked_sub(1)?;
        let failure = run_only(self.seed, only, false).err()?;
        (failure.violation.invariant == self.invariant).then_some(failure)
    }

    /// Tries everything that may be left out once. Says whether something was.
    fn round(&mut self) -> bool {
        let mut any = false;
        for smaller in CANDIDATES {
            // Parts that can be left out once can often be left out again.
            while let Some(failure) = self.try_smaller(smaller) {
                self.smallest = failure;
                any = true;
            }
        }
        any
    }

    fn try_smaller(&mut self, smaller: &Candidate) -> Option<Box<Failure>> {
        let (only, plan) = (self.smallest.only.clone(), self.smallest.plan.clone());
        smaller(&only, &plan).into_iter().find_map(|candidate| {
            let salts = std::iter::once(only.salt).chain(0..CHANCES);
            salts.into_iter().find_map(|salt| self.fails(&Only { salt, ..candidate.clone() }))
        })
    }
}

/// Smaller plans, the smallest first.
type Candidate = dyn Fn(&Only, &Plan) -> Vec<Only> + Sync;

/// Parts that may be left out, the greatest first.
const CANDIDATES: [&Candidate; 7] =
    [&shorter, &fewer_sessions, &fewer_kinds, &fewer_replicas, &fewer_strikes, &fewer_operations, &fewer_frontends];

/// From 1 up to what is there: half of it, then one less.
fn less(now: u64, least: u64) -> impl Iterator<Item = u64> {
    let tries = [least, now / 4, now / 2, now * 3 / 4, now.saturating_sub(1)];
    let tries: BTreeSet<u64> = tries.into_iter().filter(|&n| n >= least && n < now).collect();
    tries.into_iter()
}

fn shorter(only: &Only, plan: &Plan) -> Vec<Only> {
    let steps = plan.faulty_us / 50_000;
    less(steps, 1).map(|steps| Only { until: Some(steps * 50_000), ..only.clone() }).collect()
}

fn fewer_sessions(only: &Only, plan: &Plan) -> Vec<Only> {
    less(plan.sessions as u64, 1).map(|n| Only { sessions: Some(n as usize), ..only.clone() }).collect()
}

fn fewer_replicas(only: &Only, plan: &Plan) -> Vec<Only> {
    less(plan.replicas as u64, 1).map(|n| Only { replicas: Some(n as usize), ..only.clone() }).collect()
}

fn fewer_frontends(only: &Only, plan: &Plan) -> Vec<Only> {
    less(plan.frontends as u64, 1).map(|n| Only { frontends: Some(n as usize), ..only.clone() }).collect()
}

fn fewer_operations(only: &Only, plan: &Plan) -> Vec<Only> {
    less(plan.operations_max.min(64), 1).map(|n| Only { operations: Some(n), ..only.clone() }).collect()
}

fn fewer_kinds(only: &Only, _: &Plan) -> Vec<Only> {
    let now = only.faults.clone().unwrap_or_else(|| Kind::ALL.iter().map(|(kind, _)| *kind).collect());
    let none = (!now.is_empty()).then(BTreeSet::new);
    let without = |kind: &Kind| now.iter().copied().filter(|other| other != kind).collect();
    none.into_iter()
        .chain(now.iter().map(without))
        .map(|faults| Only { faults: Some(faults), ..only.clone() })
        .collect()
}

fn fewer_strikes(only: &Only, plan: &Plan) -> Vec<Only> {
    let now = plan.strikes_max.min(64);
    let none = (now > 0).then_some(0);
    let fewer = none.into_iter().chain(less(now, 1)).map(|n| Only { strikes: Some(n), ..only.clone() });
    let skipping = (1..=now.min(24)).filter(|n| !only.skip.contains(n)).map(|n| {
        let mut skip = only.skip.clone();
        skip.insert(n);
        Only { skip, ..only.clone() }
    });
    fewer.chain(skipping).collect()
}
