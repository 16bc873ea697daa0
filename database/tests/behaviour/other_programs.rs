//! Directories that another program opens: the real `sqlite3` and Python's module, after a kill and while a store runs.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use natter_database::{DirectoryProblem, OpenError, Sync};

use crate::damage::{AGAIN, saved};
use crate::replica_files::{Place, held, save_one, seen};

/// Whether a program is there. If not, prints which test is skipped.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: there is no {program}");
    }
    found
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Runs the `sqlite3` program on a database.
fn sqlite3(path: &Path, arguments: &[&str]) {
    run(Command::new("sqlite3").arg("-bail").arg(path).args(arguments));
}

/// Runs Python with `connection` to a database.
fn python(path: &Path, lines: &str) {
    let script = format!("import os, sqlite3, sys\nconnection = sqlite3.connect(sys.argv[1])\n{lines}\n");
    run(Command::new("python3").args(["-c", &script]).arg(path));
}

/// Everything that was committed is there. The store is dropped like by a kill, after one commit more.
fn is_whole(place: &Place, expected: u64, what: &str) {
    let (mut store, recovered) = match place.open_at(&place.path(), Sync::Full) {
        Ok(opened) => opened,
        Err(error) => panic!("{what}: {error}"),
    };
    assert_eq!(held(&recovered.saved), expected, "{what}");
    save_one(&mut store, expected + 1);
}

/// A directory with 40 batches after a kill; `use_it` is another program's use of its database, three times, each before a
/// start and one more batch.
fn stays_whole(what: &str, use_it: impl Fn(&Path)) {
    let place = saved(false);
    let before = place.open();
    let expected = seen(&before.0);
    drop(before);
    for round in 0..3 {
        use_it(&place.file("replica.sqlite"));
        if round == 0 {
            let (store, _) = place.open_at(&place.path(), Sync::Full).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(seen(&store), expected, "{what}");
            drop(store);
            use_it(&place.file("replica.sqlite"));
        }
        is_whole(&place, 40 + round, what);
    }
    use_it(&place.file("replica.sqlite"));
    let (store, _) = place.open();
    store.close_cleanly().unwrap();
    use_it(&place.file("replica.sqlite"));
    is_whole(&place, 43, what);
}

#[test]
fn a_directory_that_sqlite3_opened_after_a_kill_is_whole() {
    if !has("sqlite3") {
        return;
    }
    for arguments in [
        &["select 1"][..],
        &["select count(*) from rating"],
        &["-readonly", "select count(*) from rating"],
        &[".dump"],
        &[".schema"],
        &["pragma integrity_check"],
        &["pragma wal_checkpoint(PASSIVE)"],
        &["pragma wal_checkpoint(TRUNCATE)"],
        &["pragma journal_mode = DELETE"],
        &["pragma journal_mode = DELETE; pragma journal_mode = WAL; select count(*) from rating"],
        &["pragma journal_mode = TRUNCATE; vacuum"],
        &["vacuum"],
        &["create table if not exists notes (text)"],
        &["begin immediate; select count(*) from rating; rollback"],
    ] {
        stays_whole(&format!("{arguments:?}"), |path| {
            // Options come first.
            let options = arguments.iter().filter(|argument| argument.starts_with('-'));
            let others = arguments.iter().filter(|argument| !argument.starts_with('-'));
            run(Command::new("sqlite3").arg("-bail").args(options).arg(path).args(others));
        });
    }
}

#[test]
fn a_directory_that_python_opened_after_a_kill_is_whole_also_where_python_was_killed() {
    if !has("python3") {
        return;
    }
    for lines in [
        "connection.execute('select count(*) from rating').fetchall()",
        "connection.execute('select count(*) from rating').fetchall(); connection.close()",
        "connection.execute('select count(*) from rating').fetchall(); os._exit(0)",
        "connection.execute('pragma wal_checkpoint(PASSIVE)').fetchall(); os._exit(0)",
        "connection.execute('pragma wal_checkpoint(RESTART)').fetchall(); os._exit(0)",
        "connection.execute('pragma wal_checkpoint(TRUNCATE)').fetchall(); os._exit(0)",
        "connection.execute('create table if not exists notes (text)'); os._exit(0)",
        "connection.execute('pragma wal_checkpoint(RESTART)').fetchall()
connection.execute('create table if not exists notes (text)')
connection.execute('insert into notes values (1)')
connection.commit()
os._exit(0)",
        "connection.execute('pragma journal_mode = DELETE').fetchall(); os._exit(0)",
        "connection.execute('pragma journal_mode = DELETE').fetchall()
connection.execute('create table if not exists notes (text)')
connection.execute('insert into notes values (1)')
os._exit(0)",
    ] {
        stays_whole(lines, |path| python(path, lines));
    }
}

#[test]
fn a_copy_that_sqlite3_made_is_a_directory_of_its_own() {
    if !has("sqlite3") {
        return;
    }
    let place = saved(false);
    for (name, command) in [("backup", ".backup COPY"), ("vacuum", "vacuum into 'COPY'")] {
        let directory = place.file(name);
        fs::create_dir(&directory).unwrap();
        let copy = directory.join("replica.sqlite");
        sqlite3(&place.file("replica.sqlite"), &[&command.replace("COPY", copy.to_str().unwrap())]);
        let (_, recovered) = place.open_at(&directory, Sync::Full).unwrap();
        assert_eq!(held(&recovered.saved), 40, "{name}");
    }
    is_whole(&place, 40, "the original");
}

#[test]
fn a_log_that_was_lost_stays_lost_whatever_opens_the_rest() {
    if !has("sqlite3") {
        return;
    }
    let missing = format!(
        "--data-dir DIR: replica.sqlite-wal is missing, or is no write-ahead log: the directory is damaged or was copied \
         while it was in use; {AGAIN}"
    );
    for sql in ["select count(*) from rating", "vacuum", "pragma journal_mode = DELETE", "create table notes (text)"] {
        let place = saved(false);
        fs::remove_file(place.file("replica.sqlite-wal")).unwrap();
        sqlite3(&place.file("replica.sqlite"), &[sql]);
        assert_eq!(place.refusal(), missing, "{sql}");
    }
    if has("python3") {
        let place = saved(false);
        fs::remove_file(place.file("replica.sqlite-wal")).unwrap();
        python(&place.file("replica.sqlite"), "connection.execute('create table notes (text)'); os._exit(0)");
        let other = missing.replace("is missing, or is no write-ahead log", "does not go with replica.sqlite");
        assert_eq!(place.refusal(), other);
    }
}

#[test]
fn files_of_different_times_are_refused_whatever_opened_them_meanwhile() {
    if !has("sqlite3") {
        return;
    }
    // A main file and a log of each of four times: after a kill, and after each use of another program.
    let place = saved(false);
    let copies = tempfile::TempDir::new().unwrap();
    for time in 0..4 {
        let copy = copies.path().join(time.to_string());
        fs::create_dir(&copy).unwrap();
        for name in ["replica.sqlite", "replica.sqlite-wal"] {
            fs::copy(place.file(name), copy.join(name)).unwrap();
        }
        sqlite3(&place.file("replica.sqlite"), &["select 1"]);
        is_whole(&place, 40 + time, "the original");
    }
    for (main, log) in (0..4).flat_map(|main| (0..4).map(move |log| (main, log))) {
        let mixed = copies.path().join(format!("{main} {log}"));
        fs::create_dir(&mixed).unwrap();
        for (time, name) in [(main, "replica.sqlite"), (log, "replica.sqlite-wal")] {
            fs::copy(copies.path().join(time.to_string()).join(name), mixed.join(name)).unwrap();
        }
        let opened = place.open_at(&mixed, Sync::Full);
        assert_eq!(opened.is_ok(), main == log, "main {main}, log {log}: {:?}", opened.err());
    }
}

/// A `sqlite3` that goes on.
struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<std::process::ChildStdout>,
}

impl Session {
    fn start(path: &Path) -> Self {
        let mut command = Command::new("sqlite3");
        command.arg("-batch").arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// Waits until it has done this.
    fn does(&mut self, sql: &str) {
        writeln!(self.input, "{sql};\nselect 'done';").unwrap();
        let mut line = String::new();
        while line.trim_end() != "done" {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "{sql}: it ended");
        }
    }

    fn end(mut self) {
        drop(self.input);
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn a_program_that_has_the_database_open_is_named_and_may_end() {
    if !has("sqlite3") {
        return;
    }
    for sql in ["select 1 from rating", "begin; select count(*) from rating", "begin immediate", "begin exclusive"] {
        let place = saved(false);
        let mut session = Session::start(&place.file("replica.sqlite"));
        session.does(sql);
        let process = session.child.id();
        let Err(OpenError::Directory(error)) = place.open_at(&place.path(), Sync::Full).map(drop) else {
            panic!("{sql}: it can be opened")
        };
        assert!(error.passes(), "{error}");
        assert!(matches!(error.problem, DirectoryProblem::HeldOpen { .. }), "{error}");
        let told = error.to_string();
        if told.contains("process") {
            let expected =
                format!("another program (sqlite3, process {process}) has replica.sqlite open: close it there");
            assert!(told.ends_with(&expected), "{told}");
        } else {
            println!("the system does not say which process has a lock");
        }
        session.end();
        is_whole(&place, 40, sql);
    }
}

#[test]
fn a_store_that_runs_is_not_open_to_other_programs() {
    if !has("sqlite3") {
        return;
    }
    let place = saved(false);
    let (mut store, _) = place.open();
    for sql in
        ["select count(*) from rating", "pragma wal_checkpoint(TRUNCATE)", "pragma journal_mode = DELETE", "vacuum"]
    {
        let output = Command::new("sqlite3").arg("-bail").arg(place.file("replica.sqlite")).arg(sql).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("locked"), "{sql}: {output:?}");
    }
    save_one(&mut store, 41);
    drop(store);
    is_whole(&place, 41, "after the others tried");
}

#[test]
fn files_beside_the_database_that_other_programs_leave_do_no_harm() {
    if !has("python3") {
        return;
    }
    let place = saved(false);
    python(&place.file("replica.sqlite"), "connection.execute('select count(*) from rating').fetchall(); os._exit(0)");
    assert!(place.file("replica.sqlite-shm").exists());
    is_whole(&place, 40, "with the index of another program");
    assert!(place.file("replica.sqlite-shm").exists());
    is_whole(&place, 41, "which is of an earlier time");
    fs::remove_file(place.file("replica.sqlite-shm")).unwrap();
    is_whole(&place, 42, "and is removed");
}

#[test]
fn a_log_with_a_damaged_transaction_is_refused_and_a_half_written_one_is_not() {
    let place = saved(false);
    let log = place.file("replica.sqlite-wal");
    let whole = fs::read(&log).unwrap();
    let frame = 4096 + 24;
    let frames = (whole.len() - 32) / frame;
    let mut refused = 0;
    for number in 0..frames {
        let mut bytes = whole.clone();
        bytes[32 + number * frame + 24 + 100] ^= 1;
        fs::write(&log, &bytes).unwrap();
        // A directory of its own, as opening a database writes to it.
        let copy = place.file(&format!("copy {number}"));
        fs::create_dir(&copy).unwrap();
        for name in ["replica.sqlite", "replica.sqlite-wal"] {
            fs::copy(place.file(name), copy.join(name)).unwrap();
        }
        match place.open_at(&copy, Sync::Full) {
            Ok((_, recovered)) => {
                assert!(held(&recovered.saved) >= 39, "frame {number}: a batch is gone without a word")
            }
            Err(error) => {
                assert!(error.to_string().contains("replica.sqlite-wal is damaged: the directory"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > frames / 2, "{refused} of {frames}");
}

#[test]
fn a_store_whose_directory_another_process_took_over_commits_nothing() {
    let place = Place::new();
    let mut store = place.start(Sync::Full);
    save_one(&mut store, 1);
    let log = fs::read(place.file("replica.sqlite-wal")).unwrap();
    fs::write(place.file("lock"), "12345\nanother/pid:[1] 0123456789abcdef\n").unwrap();
    let state =
        natter_common::replica_manager::Changes { state: Some(crate::replica_files::state(2)), ..Default::default() };
    store.save(&state).unwrap();
    let told = store.commit().unwrap_err().to_string();
    let expected = "another replica (process 12345 of another machine) took this directory over while it was in use";
    assert!(told.contains(expected), "{told}");
    assert!(store.taken_over().is_some());
    assert!(store.checkpoint_if_idle().is_err() && store.check_files().is_err());
    assert!(store.close_cleanly().unwrap_err().to_string().contains(expected));
    assert_eq!(fs::read(place.file("replica.sqlite-wal")).unwrap(), log, "the other one's log is not written to");
    // A new store of this process is the next owner; it leaves the other process time to notice.
    is_whole(&place, 1, "what was acknowledged");
}
