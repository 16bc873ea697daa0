//! `cluster`: a whole Natter on this machine. Its first argument may make it one of the roles, or a guard, instead.

use std::process::ExitCode;

use natter_processes::guard;

fn main() -> ExitCode {
    match guard::arguments() {
        Some(arguments) => natter_cluster::guard_with(arguments),
        None => natter_cluster::main_with(std::env::args_os()),
    }
}
