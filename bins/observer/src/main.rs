//! `observer`: a live page of a running cluster.

fn main() -> std::process::ExitCode {
    natter_observer::main_with(std::env::args_os())
}
