//! Other programs in a data directory: the real `sqlite3` after a kill, and while a replica starts; a second replica where the
//! file system passes no locks.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use natter_tests::harness::{Compare, Ledger, Seen, World};

use crate::ROLES;
use crate::support::{data_dir, durable_cluster, kill_at_once, start_durable};

const REPLICAS: [&str; 3] = ["r1", "r2", "r3"];

/// Whether a program is there. If not, prints which test is skipped.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: there is no {program}");
    }
    found
}

#[tokio::test]
async fn replicas_whose_databases_sqlite3_opened_after_a_kill_have_all_that_was_acknowledged() {
    if !has("sqlite3") {
        return;
    }
    let world = World::new(ROLES).await;
    let (mut cluster, _) = durable_cluster(&world, 1, &REPLICAS, &[]).await;
    let ledger = Ledger::default();
    let copy = format!("vacuum into '{}'", world.path("copy.sqlite").display());
    for uses in
        [["select 1", ".dump", &copy], ["pragma journal_mode = DELETE", "vacuum", "pragma wal_checkpoint(TRUNCATE)"]]
    {
        ledger.write(&cluster.wire, 8, 150, 100).await;
        kill_at_once(&mut cluster, &REPLICAS).await;
        for (name, sql) in REPLICAS.iter().zip(uses) {
            let path = data_dir(&world, name).join("replica.sqlite");
            let output = Command::new("sqlite3").arg("-bail").arg(path).arg(sql).output().unwrap();
            assert!(output.status.success(), "{sql}: {output:?}");
        }
        let since = Instant::now();
        for name in REPLICAS {
            start_durable(&mut cluster, &world, name, &[]);
        }
        let ids = cluster.until_serve_since(&REPLICAS, since).await;
        cluster.until_ids_agree(&ids, Instant::now()).await;
        cluster.until_shows("f1", "ACTIVE").await;
        ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    }
    cluster.finish().await;
}

#[tokio::test]
async fn a_replica_names_the_program_that_has_its_database_open_and_waits_for_it() {
    if !has("sqlite3") {
        return;
    }
    let world = World::new(ROLES).await;
    let (mut cluster, _) = durable_cluster(&world, 1, &REPLICAS[..2], &[]).await;
    let ledger = Ledger::default();
    ledger.write(&cluster.wire, 8, 150, 100).await;
    cluster.member("r1").kill().await;
    let mut command = Command::new("sqlite3");
    command.arg("-batch").arg(data_dir(&world, "r1").join("replica.sqlite"));
    let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = program.stdin.take().unwrap();
    writeln!(input, "begin immediate;\nselect count(*) from rating;").unwrap();
    let mut answer = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(program.stdout.take().unwrap()), &mut answer).unwrap();
    // SIGTERM is obeyed while it waits.
    let waits = "has replica.sqlite open: close it there: the replica waits until it can use the directory";
    start_durable(&mut cluster, &world, "r1", &[]);
    cluster.member("r1").until_logged(waits).await;
    let log = cluster.member("r1").log();
    let named = format!("another program (sqlite3, process {})", program.id());
    assert!(log.contains(&named) || !Path::new("/proc/locks").exists(), "{log}");
    cluster.member("r1").terminate();
    assert!(cluster.member("r1").ended().await.success());
    // It goes on when the program ends.
    let since = Instant::now();
    start_durable(&mut cluster, &world, "r1", &[]);
    ledger.write(&cluster.wire, 8, 50, 50).await;
    drop(input);
    assert!(program.wait().unwrap().success());
    let mut ids = cluster.until_serve_since(&REPLICAS[..1], since).await;
    ids.push(cluster.observer.seen().named("r2").unwrap().0.clone());
    cluster.until_ids_agree(&ids, Instant::now()).await;
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    cluster.finish().await;
}

/// A library that makes all locks of files succeed, as on a share that passes none. `None` where it cannot be made.
fn library_without_locks(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("nolocks.c"), folder.join("nolocks.so"));
    let program = "#include <fcntl.h>\n#include <stdarg.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n\
        int flock(int file, int operation) { (void)file; (void)operation; return 0; }\n\
        static int without(int file, int command, void *argument) {\n\
            if (command == F_SETLK || command == F_SETLKW) return 0;\n\
            if (command == F_GETLK) { ((struct flock *)argument)->l_type = F_UNLCK; return 0; }\n\
            return syscall(SYS_fcntl, file, command, argument);\n\
        }\n\
        int fcntl(int file, int command, ...) {\n\
            va_list arguments; va_start(arguments, command);\n\
            void *argument = va_arg(arguments, void *); va_end(arguments);\n\
            return without(file, command, argument);\n\
        }\n\
        int fcntl64(int file, int command, ...) {\n\
            va_list arguments; va_start(arguments, command);\n\
            void *argument = va_arg(arguments, void *); va_end(arguments);\n\
            return without(file, command, argument);\n\
        }\n";
    fs::write(&source, program).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).stderr(Stdio::null());
    let made = compiler.status().is_ok_and(|status| status.success());
    (made && cfg!(target_os = "linux")).then_some(library)
}

#[tokio::test]
async fn of_two_replicas_on_one_directory_without_locks_the_first_ends_and_nothing_acknowledged_is_lost() {
    let world = World::new(ROLES).await;
    let Some(library) = library_without_locks(world.directory()) else {
        return println!("skipped: no library can be made that takes the locks away");
    };
    let without_locks = format!("export LD_PRELOAD={}", library.display());
    let (mut cluster, _) = durable_cluster(&world, 1, &["r2"], &[]).await;
    let directory = data_dir(&world, "r1");
    let arguments = ["--data-dir", directory.to_str().unwrap()];
    let since = Instant::now();
    cluster.start_replica_after(&without_locks, "r1", &arguments);
    cluster.until_serve_since(&["r1"], since).await;
    let ledger = Ledger::default();
    let clients = ledger.start(&cluster.wire, 8, 10, Duration::from_millis(1));
    ledger.until_acknowledged(300).await;
    cluster.start_replica_after(&without_locks, "twin", &arguments);
    let status = cluster.member("r1").ended().await;
    let last = cluster.member("r1").log_tail(1);
    assert_eq!(status.code(), Some(1), "{last}");
    assert!(last.contains("took this directory over while it was in use"), "{last}");
    let process = cluster.member("twin").process_id().unwrap();
    assert!(last.contains(&format!("(process {process})")), "{last}");
    let since = Instant::now();
    let serves = |seen: &Seen| ["twin", "r1"].iter().find_map(|name| seen.serving_since(name, since)).cloned();
    let mut ids = vec![cluster.observer.until("the second one serves", serves).await];
    println!("the first one ended, the second one serves after {:?}", since.elapsed());
    ledger.until_acknowledged(300).await;
    clients.stop().await;
    ids.push(cluster.observer.seen().named("r2").unwrap().0.clone());
    cluster.until_ids_agree(&ids, Instant::now()).await;
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    // The content on disk is whole.
    kill_at_once(&mut cluster, &["twin", "r2"]).await;
    let since = Instant::now();
    start_durable(&mut cluster, &world, "r1", &[]);
    start_durable(&mut cluster, &world, "r2", &[]);
    cluster.until_serve_since(&["r1", "r2"], since).await;
    ledger.check(&cluster.wire, &ledger.mark(), Compare::Updates).await;
    cluster.finish().await;
}
