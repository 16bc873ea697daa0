//! Random runs of the real protocol cores in virtual time; see `natter_tests::simulation`.
//!
//! Without more said, it runs the seeds from 1 on and then fresh ones, which it names. `SIM_SEED=n` runs one seed and prints
//! what happens; `SIM_SEEDS=n` runs that many from seed `SIM_FIRST` on; with `SIM_KEEP_GOING=1` it tells all seeds that
//! fail instead of stopping at the first.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use natter_tests::simulation::run::{Report, run};

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn a_seed_decides_everything() {
    for seed in [1, 2] {
        let once = run(seed, true).map_err(|failure| failure.trace);
        let again = run(seed, true).map_err(|failure| failure.trace);
        let (Ok((_, once)) | Err(once)) = once;
        let (Ok((_, again)) | Err(again)) = again;
        assert!(once.len() > 100 && once == again, "seed {seed} has two histories");
    }
}

/// So many histories show every kind of fault.
const HISTORIES_MIN: u64 = 60;
/// So many seeds are the same every time.
const SAME: u64 = 500;
/// How long histories are run where nobody says how many.
const TIME: Duration = Duration::from_secs(40);

/// The kinds of things that must have happened in a run over all seeds: otherwise the simulation has lost its teeth.
const MUST_HAPPEN: [&str; 24] = [
    "a replica manager was restarted from its disk",
    "snapshots merged",
    "snapshots broken off",
    "ids retired",
    "a replica manager crashed",
    "a replica manager died in the middle of sending",
    "a replica manager left",
    "a replica manager joined",
    "a replica manager was paused",
    "a replica manager was OFFLINE",
    "a replica manager was OVERLOADED",
    "a replica manager's status was arbitrary",
    "a frontend crashed",
    "a frontend was paused",
    "a cut",
    "a cut in one direction",
    "messages lost",
    "messages duplicated",
    "messages overtaken",
    "messages cut off",
    "updates acknowledged by fewer than asked for",
    "updates in several records",
    "records that lost against a greater stamp",
    "pulls",
];

#[test]
fn sessions_causal_order_convergence_and_durability_hold_under_faults() {
    if let Some(seed) = variable("SIM_SEED") {
        match run(seed, true) {
            Ok((report, trace)) => println!("{}\n{report:?}", trace.join("\n")),
            Err(failure) => panic!("{}\n{failure}", failure.trace.join("\n")),
        }
        return;
    }
    let seeds = variable("SIM_SEEDS");
    let first = variable("SIM_FIRST").unwrap_or(1);
    let began = Instant::now();
    let mut total = Report::default();
    let (mut histories, mut lost) = (0u64, 0u64);
    let mut failures = BTreeMap::new();
    let fresh = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64) << 16;
    loop {
        let enough = match seeds {
            Some(seeds) => histories >= seeds,
            None => histories >= HISTORIES_MIN && began.elapsed() > TIME,
        };
        if enough {
            break;
        }
        // The same ones every time first: what they show is known.
        let seed = if seeds.is_some() || histories < SAME { first + histories } else { fresh + histories };
        histories += 1;
        match run(seed, false) {
            Ok((report, _)) => {
                total.events += report.events;
                total.answered += report.answered;
                total.refused += report.refused;
                total.unknown += report.unknown;
                lost += u64::from(report.lost);
                for (kind, count) in report.counts {
                    *total.counts.entry(kind).or_default() += count;
                }
            }
            Err(failure) if variable("SIM_KEEP_GOING").is_some() => {
                println!("seed {seed}: {}", failure.violation.to_string().chars().take(220).collect::<String>());
                *failures.entry(failure.violation.invariant).or_insert(0) += 1;
            }
            // Once more, written down.
            Err(_) => panic!("{}", run(seed, true).map(|_| ()).unwrap_err()),
        }
    }
    println!(
        "seeds {first}..{} ({}): {histories} histories, {} events, {} operations answered, {} refused, {} unknown, {lost} \
         runs lost a last copy; {:.1} s",
        first + if seeds.is_some() { histories } else { histories.min(SAME) },
        if seeds.is_none() && histories > SAME {
            format!("and {} from {}", histories - SAME, fresh + SAME)
        } else {
            "no others".to_owned()
        },
        total.events,
        total.answered,
        total.refused,
        total.unknown,
        began.elapsed().as_secs_f64(),
    );
    for (kind, count) in &total.counts {
        println!("{count:>9}  {kind}");
    }
    assert!(failures.is_empty(), "{failures:?}");
    if histories < HISTORIES_MIN {
        return;
    }
    for kind in MUST_HAPPEN {
        assert!(total.counts.get(kind).is_some_and(|count| *count > 0), "no fault of this kind had any effect: {kind}");
    }
}
