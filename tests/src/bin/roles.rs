//! The roles as one program, for the tests: `cargo test` builds the binaries of this package and of no other.
//!
//! `roles replica|frontend|client ARGUMENTS`. A replica or frontend started with the variable `NATTER_TEST_LIFELINE` ends
//! with its standard input, so that nothing stays behind where the test itself is killed. With `NATTER_TEST_CLOCK`, its wall
//! clock is ahead by as many milliseconds as the file of that name says, and follows that when it changes.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Interval of looks at the file that sets the clock wrong.
const LOOK_EVERY: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let role = arguments.next().unwrap_or_default();
    // Name of the program in usage and help, then its own arguments.
    let arguments: Vec<OsString> = std::iter::once(role.clone()).chain(arguments).collect();
    match role.to_str() {
        Some("client") => natter_client::main_with(arguments),
        Some("frontend") => {
            end_with_standard_input();
            follow_clock();
            natter_frontend::main_with(arguments)
        }
        Some("replica") => {
            end_with_standard_input();
            follow_clock();
            natter_replica::main_with(arguments)
        }
        _ => {
            eprintln!("roles replica|frontend|client ARGUMENTS");
            ExitCode::from(2)
        }
    }
}

/// The test holds the other end of the pipe.
fn end_with_standard_input() {
    if std::env::var_os("NATTER_TEST_LIFELINE").is_none() {
        return;
    }
    std::thread::spawn(|| {
        let mut input = std::io::stdin().lock();
        let mut bytes = [0; 64];
        loop {
            match input.read(&mut bytes) {
                Ok(0) => std::process::exit(3),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    });
}

/// The wall clock is wrong from the start, and may jump later.
fn follow_clock() {
    let Some(path) = std::env::var_os("NATTER_TEST_CLOCK").map(PathBuf::from) else { return };
    let mut set = set_clock(&path, 0);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(LOOK_EVERY);
            set = set_clock(&path, set);
        }
    });
}

/// Does as the file says, where that is something else than before.
fn set_clock(path: &Path, before: i64) -> i64 {
    let said = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(before);
    if said != before {
        natter_broker::clocks::set_wall_clock_ahead(said);
        let _ = writeln!(std::io::stderr(), "the wall clock is ahead by {said} ms");
    }
    said
}
