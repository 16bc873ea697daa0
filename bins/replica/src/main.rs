//! `replica`: one replica manager.

fn main() -> std::process::ExitCode {
    natter_replica::main_with(std::env::args_os())
}
