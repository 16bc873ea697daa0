//! `frontend`: one frontend.

fn main() -> std::process::ExitCode {
    natter_frontend::main_with(std::env::args_os())
}
