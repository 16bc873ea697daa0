//! The roles as one program, for the tests: `cargo test` builds the binaries of this package and of no other.
//!
//! `roles replica|frontend|client ARGUMENTS`. A replica or frontend started with the variable `NATTER_TEST_LIFELINE` ends
//! with its standard input, so that nothing stays behind where the test itself is killed.

use std::ffi::OsString;
use std::io::Read;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let role = arguments.next().unwrap_or_default();
    // What usage and help call the program, then its own arguments.
    let arguments: Vec<OsString> = std::iter::once(role.clone()).chain(arguments).collect();
    match role.to_str() {
        Some("client") => natter_client::main_with(arguments),
        Some("frontend") => {
            end_with_standard_input();
            natter_frontend::main_with(arguments)
        }
        Some("replica") => {
            end_with_standard_input();
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
