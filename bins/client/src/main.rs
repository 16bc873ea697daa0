//! The client: see `client --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    natter_client::main_with(std::env::args_os())
}
