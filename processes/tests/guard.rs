//! Guarded children end with their owner, however it ends. This program is owner, guard and test in turn, by its first
//! argument: a guard is its owner's executable once more.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use natter_processes::guard;
use natter_processes::nats_server::{NatsServer, ServerSettings};
use natter_processes::owned_process::OwnedProcess;
use support::{DEADLINE, binary, is_running, until};

/// An owner of one guarded child, which waits to be killed.
const OWNER: &str = "owner";
/// An owner of a guarded `nats-server`, likewise.
const SERVER_OWNER: &str = "server-owner";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if let Some(arguments) = guard::arguments() {
        return guard::run(arguments).await;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [OWNER, script, file] => own_child(script, Path::new(file)).await,
        [SERVER_OWNER, file] => own_server(Path::new(file)).await,
        _ => run_tests(&arguments).await,
    }
    ExitCode::SUCCESS
}

async fn own_child(script: &str, file: &Path) {
    let _child = guarded(script, file);
    std::future::pending().await
}

async fn own_server(file: &Path) {
    let server = NatsServer::start_guarded(ServerSettings::new(binary().await)).await.unwrap();
    write(file, &format!("{}\n{}", server.url(), server.log_path().parent().unwrap().display()));
    std::future::pending().await
}

/// In one step, so that nobody reads half of it.
fn write(file: &Path, text: &str) {
    let part = file.with_extension("part");
    std::fs::write(&part, text).unwrap();
    std::fs::rename(&part, file).unwrap();
}

/// A shell below a guard, which writes its process id to a file and goes on with `script`.
fn guarded(script: &str, file: &Path) -> OwnedProcess {
    let mut command = guard::command("sh", None).unwrap();
    let part = file.with_extension("part");
    command.arg("-c").arg(format!(
        "echo $$ > '{}'; mv '{}' '{}'; {script}",
        part.display(),
        part.display(),
        file.display()
    ));
    guard::spawn(command).unwrap()
}

async fn child_of(file: &Path) -> u32 {
    until("the child writes its process id", || file.exists()).await;
    std::fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

/// Runs this program again, in another role.
fn in_role(arguments: &[&str]) -> OwnedProcess {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments).stdin(Stdio::null());
    OwnedProcess::spawn(command).unwrap()
}

/// Runs the tests whose names contain the filter, one after the other; the first that fails ends the program.
async fn run_tests(arguments: &[String]) {
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-')).cloned().unwrap_or_default();
    macro_rules! run {
        ($($test:ident),* $(,)?) => {$(
            if stringify!($test).contains(&filter) {
                let directory = tempfile::tempdir().unwrap();
                tokio::time::timeout(DEADLINE * 2, $test(directory.path().join("file"))).await.unwrap();
                println!("test {} ... ok", stringify!($test));
            }
        )*};
    }
    run!(
        child_ends_when_its_owner_is_killed,
        stubborn_child_is_killed,
        stopping_asks_the_child_and_waits_for_it,
        status_is_the_childs,
        what_cannot_be_run_is_status_127,
        child_ends_when_its_guard_is_killed,
        child_is_in_a_group_of_its_own,
        server_and_its_directory_go_when_the_owner_is_killed,
    );
}

async fn child_ends_when_its_owner_is_killed(file: PathBuf) {
    let mut owner = in_role(&[OWNER, "exec sleep 600", file.to_str().unwrap()]);
    let child = child_of(&file).await;
    assert!(is_running(child));
    owner.kill();
    owner.wait().await.unwrap();
    until("the child of a killed owner ends", || !is_running(child)).await;
}

async fn stubborn_child_is_killed(file: PathBuf) {
    let mut owner = in_role(&[OWNER, "trap '' TERM; while :; do sleep 0.05; done", file.to_str().unwrap()]);
    let child = child_of(&file).await;
    owner.kill();
    owner.wait().await.unwrap();
    let started = Instant::now();
    until("a child that ignores SIGTERM ends", || !is_running(child)).await;
    assert!(started.elapsed() < Duration::from_secs(5), "after {:?}", started.elapsed());
}

async fn stopping_asks_the_child_and_waits_for_it(file: PathBuf) {
    let asked = file.with_extension("asked");
    let script = format!("trap 'touch {}; exit 3' TERM; while :; do sleep 0.02; done", asked.display());
    let mut process = guarded(&script, &file);
    let child = child_of(&file).await;
    let status = process.stop().await.unwrap();
    assert_eq!(status.code(), Some(3));
    assert!(asked.exists() && !is_running(child));
}

async fn status_is_the_childs(file: PathBuf) {
    assert_eq!(guarded("exit 7", &file).wait().await.unwrap().code(), Some(7));
    assert_eq!(guarded("kill -9 $$", &file).wait().await.unwrap().code(), Some(137));
}

async fn what_cannot_be_run_is_status_127(_file: PathBuf) {
    let mut command = guard::command("/nowhere/program", None).unwrap();
    command.stderr(Stdio::null());
    assert_eq!(guard::spawn(command).unwrap().wait().await.unwrap().code(), Some(127));
}

async fn child_ends_when_its_guard_is_killed(file: PathBuf) {
    if !cfg!(target_os = "linux") {
        return; // elsewhere the kernel can't be asked for this
    }
    let mut process = guarded("exec sleep 600", &file);
    let child = child_of(&file).await;
    let guard = i32::try_from(process.id().unwrap()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(guard, rustix::process::Signal::KILL).unwrap();
    process.wait().await.unwrap();
    until("the child of a killed guard ends", || !is_running(child)).await;
}

async fn child_is_in_a_group_of_its_own(file: PathBuf) {
    let process = guarded("exec sleep 600", &file);
    let child = child_of(&file).await;
    let group =
        |pid: u32| rustix::process::getpgid(rustix::process::Pid::from_raw(i32::try_from(pid).unwrap())).unwrap();
    let guard = process.id().unwrap();
    assert_eq!(group(child), group(guard));
    assert_ne!(group(guard), group(std::process::id()));
    drop(process);
    assert!(!is_running(child) && !is_running(guard), "dropping leaves a process");
}

async fn server_and_its_directory_go_when_the_owner_is_killed(file: PathBuf) {
    let mut owner = in_role(&[SERVER_OWNER, file.to_str().unwrap()]);
    until("the server is ready", || file.exists()).await;
    let text = std::fs::read_to_string(&file).unwrap();
    let (url, directory) = text.split_once('\n').unwrap();
    let address = url.strip_prefix("nats://").unwrap();
    assert!(std::net::TcpStream::connect(address).is_ok() && Path::new(directory).exists());
    owner.kill();
    owner.wait().await.unwrap();
    until("nobody listens any more", || std::net::TcpStream::connect(address).is_err()).await;
    until("the directory is gone", || !Path::new(directory).exists()).await;
}
