//! Counts the instructions that parts of Natter take, which a busy machine does not change as it changes times.
//!
//! Each part is run in a process of its own under `valgrind --tool=callgrind`, which counts while [`measured`] runs and
//! not while things are set up. `parts --check bins/parts/instructions.tsv` compares the counts with
//! the baseline, and `--renew` writes them there.

mod baseline;
mod control;
mod frontend;
mod part;
mod replica;
mod table;
mod timestamps;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use part::Part;

/// Counts the instructions of Natter's parts, with valgrind
#[derive(Parser, Debug)]
#[command(name = "parts", version)]
struct Arguments {
    /// Compare with the baseline in this file, and fail where a part takes over a tenth more than it says
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,

    /// Write what is counted into this file as the new baseline; parts that are not counted stay as they are
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    renew: Option<PathBuf>,

    /// Only the parts whose names contain this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,

    /// Parts that take minutes to set up, too
    #[arg(long)]
    slow: bool,

    /// Run one part once, without counting; before what is counted, say so and wait for a line, where it is a slow one
    #[arg(long, value_name = "PART", hide = true)]
    run: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.run {
        Some(name) => part::run(name),
        None => {
            let parts =
                Part::all().filter(|part| part.name.contains(&arguments.only) && (arguments.slow || !part.slow));
            table::count(parts, arguments.check.as_deref(), arguments.renew.as_deref())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parts: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Here instructions are counted: callgrind knows this function by its name.
#[inline(never)]
pub(crate) fn measured(work: &mut dyn FnMut()) {
    work();
    // Not the last thing, so that no other function's end takes this one's place.
    std::hint::black_box(());
}
