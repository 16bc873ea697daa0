//! Random runs of the real protocol cores in virtual time; see `natter_simulation::simulation`.
//!
//! Without more said, it runs the seeds from 1 on and then fresh ones, which it names. `SIM_SEED=n` runs one seed and
//! prints what happens; with `SIM_ONLY="..."` only what that leaves of it; with `SIM_SHRINK=1`, where it fails, it
//! looks for a smaller run that fails in the same way. `SIM_SEEDS=n` runs that many from seed `SIM_FIRST` on; with
//! `SIM_KEEP_GOING=1` it tells all seeds that fail instead of stopping at the first. The program `simulate` does the
//! same in several threads.
#![allow(clippy::panic, clippy::unwrap_used, reason = "test code")]

#[path = "simulation/restless.rs"]
mod restless;

use std::time::{Duration, Instant, SystemTime};

use natter_simulation::simulation::many::{HISTORIES_MIN, Total};
use natter_simulation::simulation::only::Only;
use natter_simulation::simulation::run::{run, run_only};
use natter_simulation::simulation::shrink::shrink;

/// Number of seeds that are the same in every run of the test; later ones are fresh.
const SAME: u64 = 500;
/// Minimum time for which seeds are run, unless `SIM_SEEDS` sets their number.
const TIME: Duration = Duration::from_secs(40);
/// Maximum runs to make a failing one smaller.
const SHRINKING_RUNS: u64 = 6000;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn a_seed_decides_everything() {
    for seed in [1, 2, 3, 4] {
        let once = run(seed, true).map_err(|failure| failure.trace);
        let again = run(seed, true).map_err(|failure| failure.trace);
        let (Ok((_, once)) | Err(once)) = once;
        let (Ok((_, again)) | Err(again)) = again;
        assert!(once.len() > 100 && once == again, "seed {seed} has two histories");
    }
}

#[test]
fn what_is_left_of_a_seed_is_a_text_that_says_so() {
    let text =
        "salt=7 replicas=2 frontends=1 sessions=2 operations=9 until=500000 strikes=4 skip=1,3 faults=crash,jump";
    let only: Only = text.parse().unwrap();
    assert_eq!(only.to_string(), text);
    assert!("replicas=many".parse::<Only>().is_err() && "faults=earthquake".parse::<Only>().is_err());
    let (report, _) = run_only(3, &"faults= strikes=0 sessions=1".parse().unwrap(), false).unwrap();
    let faults: Vec<_> = report.counts.keys().filter(|kind| kind.contains("crashed") || kind.contains("cut")).collect();
    assert!(report.answered > 0 && report.counts["messages lost"] == 0, "{faults:?}");
}

/// One seed, or what is left of it, with all that happens.
fn one(seed: u64) {
    let only: Only = std::env::var("SIM_ONLY").unwrap_or_default().parse().unwrap();
    let shrinks = variable("SIM_SHRINK").is_some();
    match run_only(seed, &only, !shrinks) {
        Ok((report, trace)) => println!("{}\n{report:?}", trace.join("\n")),
        Err(failure) => {
            let before = (failure.events, failure.plan.clone());
            let failure = if shrinks { shrink(failure, SHRINKING_RUNS) } else { failure };
            if shrinks {
                println!("shrunk from {} events under {:?}", before.0, before.1);
            }
            panic!("{}\n{failure}", failure.trace.join("\n"));
        }
    }
}

#[test]
fn sessions_causal_order_convergence_and_durability_hold_under_faults() {
    if let Some(seed) = variable("SIM_SEED") {
        return one(seed);
    }
    let (seeds, keeps_going) = (variable("SIM_SEEDS"), variable("SIM_KEEP_GOING").is_some());
    let first = variable("SIM_FIRST").unwrap_or(1);
    let began = Instant::now();
    let mut total = Total::default();
    let fresh = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64) << 16;
    while seeds.map_or(total.histories < HISTORIES_MIN || began.elapsed() < TIME, |seeds| total.histories < seeds) {
        // The same ones every time first: what they show is known.
        let base = if seeds.is_some() || total.histories < SAME { first } else { fresh };
        let seed = base + total.histories;
        let outcome = run(seed, false).map(|(report, _)| report);
        total.add(seed, &outcome);
        match outcome {
            Err(failure) if keeps_going => {
                println!("seed {seed}: {}", failure.violation.to_string().chars().take(220).collect::<String>());
            }
            // Once more, written down.
            Err(_) => panic!("{}", run(seed, true).map(|_| ()).unwrap_err()),
            Ok(_) => {}
        }
    }
    let same = if seeds.is_some() { total.histories } else { total.histories.min(SAME) };
    let others = match total.histories - same {
        0 => "no others".to_owned(),
        others => format!("and {others} from {}", fresh + SAME),
    };
    println!("seeds {first}..{} ({others}), {:.1} s: {total}", first + same, began.elapsed().as_secs_f64());
    assert!(total.failures.is_empty(), "{:?}", total.failures);
    let never = total.never_happened();
    assert!(never.is_empty(), "no fault of these kinds had any effect: {never:?}");
}
