//! Many simulated histories: `simulate --seeds N [--first F] [--jobs J] [--chunk C]`, best built with `--release`.
//!
//! Tells after each chunk what happened so far, and the seeds that failed; ends with 1 where one did, or where some
//! kind of fault never happened.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use natter_simulation::simulation::many::{Total, run_many};

const USAGE: &str = "simulate --seeds N [--first F] [--jobs J] [--chunk C]";

struct Arguments {
    seeds: u64,
    first: u64,
    jobs: u64,
    chunk: u64,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut parsed = Arguments { seeds: 0, first: 1, jobs: 1, chunk: 10_000 };
    while let Some(name) = arguments.next() {
        let number = arguments.next()?.parse().ok()?;
        *match name.as_str() {
            "--seeds" => &mut parsed.seeds,
            "--first" => &mut parsed.first,
            "--jobs" => &mut parsed.jobs,
            "--chunk" => &mut parsed.chunk,
            _ => return None,
        } = number;
    }
    (parsed.seeds > 0 && parsed.chunk > 0).then_some(parsed)
}

fn main() -> ExitCode {
    let Some(Arguments { seeds, first, jobs, chunk }) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // A panic is told with its seed, when its run is over.
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let mut total = Total::default();
    while total.histories < seeds {
        let from = first + total.histories;
        let part = run_many(from, chunk.min(seeds - total.histories), jobs as usize, true);
        for (seed, violation) in &part.failures {
            println!("seed {seed}: {}", violation.chars().take(300).collect::<String>());
        }
        total.merge(part);
        println!("seeds {first}..{}, {:.0} s: {total}", first + total.histories, began.elapsed().as_secs_f64());
        if io::stdout().flush().is_err() {
            return ExitCode::FAILURE;
        }
    }
    let never = total.never_happened();
    if !never.is_empty() {
        println!("never happened: {never:?}");
    }
    if never.is_empty() && total.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
