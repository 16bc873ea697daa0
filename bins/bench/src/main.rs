//! `bench`: measures Natter beside raw request-reply and JetStream. Its first argument may make it one of the processes that it
//! starts, or a guard, instead.

use std::process::ExitCode;

use natter_processes::guard;

fn main() -> ExitCode {
    match guard::arguments() {
        Some(arguments) => natter_bench::guard_with(arguments),
        None => natter_bench::main_with(std::env::args_os().collect()),
    }
}
