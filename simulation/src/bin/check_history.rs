//! Checks a recorded history: `check_history FILE [--plume FILE] [--awdit FILE] [--dbcop FILE]`.
//!
//! Reads JSON lines (`-` for standard input), prints the verdict, and ends with 0 where every promise was kept, 1 where
//! one was broken, 2 where it could not be decided. The options write the history for these public checkers.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::process::ExitCode;

use natter_simulation::history::{self, History, formats};

const USAGE: &str = "check_history FILE [--plume FILE] [--awdit FILE] [--dbcop FILE]";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> io::Result<bool> {
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, USAGE);
    let (mut input, mut outputs) = (None, Vec::new());
    while let Some(argument) = arguments.next() {
        let format: fn(&History) -> String = match argument.as_str() {
            "--plume" => formats::plume,
            "--awdit" => formats::awdit,
            "--dbcop" => formats::dbcop,
            path if input.is_none() && (path == "-" || !path.starts_with('-')) => {
                input = Some(argument);
                continue;
            }
            _ => return Err(usage()),
        };
        outputs.push((format, arguments.next().ok_or_else(usage)?));
    }
    let path = input.ok_or_else(usage)?;
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"));
    let mut reader: Box<dyn BufRead> = match path.as_str() {
        "-" => Box::new(io::stdin().lock()),
        _ => Box::new(BufReader::new(File::open(&path).map_err(named)?)),
    };
    let history = history::file::read(&mut *reader).map_err(named)?;
    for (format, path) in outputs {
        std::fs::write(&path, format(&history))
            .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
    }
    let verdict = history::check(&history);
    println!("{verdict}");
    Ok(verdict.is_ok())
}
