//! `dataset` as a shell sees it: output, errors and exit status.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail like tests")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

fn dataset(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dataset")).current_dir(folder).args(arguments).output().unwrap()
}

/// Standard output, after an exit with status 0.
fn shown(folder: &Path, arguments: &[&str]) -> String {
    let output = dataset(folder, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error, after an exit with this status and nothing on standard output.
fn refused(folder: &Path, arguments: &[&str], status: i32) -> String {
    let output = dataset(folder, arguments);
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("csv")).unwrap();
    std::fs::write(folder.path().join("csv/movies.csv"), "movieId,title,genres\n1,One (2001),Drama\n").unwrap();
    std::fs::write(folder.path().join("csv/ratings.csv"), "userId,movieId,rating,timestamp\n7,1,4.5,100\n").unwrap();
    folder
}

#[test]
fn import_and_fingerprint_say_the_same_of_a_folder_and_its_file() {
    let folder = folder();
    let imported = shown(folder.path(), &["import", "csv", "data.sqlite"]);
    assert!(imported.starts_with("fingerprint "), "{imported}");
    assert!(imported.ends_with("\nmovies      1\nusers       1\nratings     1\n"), "{imported}");
    for arguments in
        [&["fingerprint", "csv"][..], &["fingerprint", "data.sqlite"], &["fingerprint", "--verify", "data.sqlite"]]
    {
        assert_eq!(shown(folder.path(), arguments), imported);
    }
}

#[test]
fn fingerprint_of_nothing_is_the_sample() {
    assert!(shown(folder().path(), &["fingerprint"]).contains("users       610\n"));
}

#[test]
fn generate_makes_the_same_bytes_for_the_same_seed() {
    let folder = folder();
    let generate = |seed, file| {
        let numbers = ["--users", "20", "--movies", "30", "--ratings", "400", "--seed", seed, file];
        shown(folder.path(), &[&["generate"], &numbers[..]].concat())
    };
    let one = generate("1", "one.sqlite");
    assert!(one.ends_with("\nmovies      30\nusers       20\nratings     400\n"), "{one}");
    assert_eq!(one, generate("1", "two.sqlite"));
    let bytes = |file| std::fs::read(folder.path().join(file)).unwrap();
    assert!(bytes("one.sqlite") == bytes("two.sqlite"), "the same byte for byte");
    assert_ne!(one, generate("2", "three.sqlite"));
    assert_eq!(one, shown(folder.path(), &["fingerprint", "one.sqlite", "--verify"]));
}

#[test]
fn a_file_that_exists_is_replaced_only_by_force() {
    let folder = folder();
    shown(folder.path(), &["import", "csv", "data.sqlite"]);
    let error = refused(folder.path(), &["import", "csv", "data.sqlite"], 1);
    assert_eq!(error, "dataset: data.sqlite exists: choose another name, or say --force to replace it\n");
    shown(folder.path(), &["import", "csv", "data.sqlite", "--force"]);
}

#[test]
fn an_error_is_one_line_and_status_one() {
    let folder = folder();
    std::fs::write(folder.path().join("csv/ratings.csv"), "userId,movieId,rating,timestamp\n7,1,4.4,100\n").unwrap();
    let error = refused(folder.path(), &["import", "csv", "data.sqlite"], 1);
    assert_eq!(error, "dataset: csv/ratings.csv, line 2: rating is \"4.4\" and should be 0.5, 1.0, 1.5, ... 5.0\n");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let error = refused(folder.path(), &["fingerprint", "nowhere"], 1);
    assert!(error.starts_with("dataset: there is no nowhere: give a folder"), "{error}");
    let error = refused(folder.path(), &["generate", "--users", "2", "--movies", "2", "--ratings", "5", "x.sqlite"], 1);
    assert!(error.starts_with("dataset: cannot generate 5 ratings by 2 users of 2 movies: "), "{error}");
}

#[test]
fn wrong_usage_is_status_two() {
    for arguments in [&[][..], &["import", "csv"], &["fingerprint", "--fast"], &["generate", "--users", "-1", "x"]] {
        refused(folder().path(), arguments, 2);
    }
}

/// A generator that runs, with an unfinished file in the folder.
fn start_generating(folder: &Path, prelude: &str, ratings: &str) -> Child {
    let mut command = Command::new("sh");
    let generate = ["generate", "--users", "9000", "--movies", "9000", "--ratings", ratings, "data.sqlite"];
    command.args(["-c", &format!("{prelude} exec \"$@\""), "sh", env!("CARGO_BIN_EXE_dataset")]).args(generate);
    let mut child = command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while partial(folder).is_empty() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// The names of unfinished files in the folder.
fn partial(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".dataset-") && name.ends_with(".partial")).collect()
}

fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn an_interrupted_generator_leaves_nothing() {
    for (signal, status) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let folder = folder();
        // Long enough to be interrupted.
        let mut child = start_generating(folder.path(), "", "60000000");
        send(signal, &child);
        assert_eq!(child.wait().unwrap().code(), Some(status), "{signal}");
        assert_eq!(partial(folder.path()), [""; 0], "{signal}");
        assert!(!folder.path().join("data.sqlite").exists(), "{signal}");
    }
}

#[test]
fn what_a_killed_generator_left_is_removed_by_the_next_one_and_what_another_uses_is_not() {
    let folder = folder();
    let mut killed = start_generating(folder.path(), "", "60000000");
    let left = partial(folder.path());
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(partial(folder.path()), left);
    let mut other = start_generating(folder.path(), "", "60000000");
    let of_other = || partial(folder.path()).into_iter().filter(|name| !left.contains(name)).collect::<Vec<_>>();
    while of_other().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    shown(folder.path(), &["import", "csv", "imported.sqlite"]);
    assert_eq!((partial(folder.path()), of_other().len()), (of_other(), 1));
    send("-TERM", &other);
    other.wait().unwrap();
    assert_eq!(partial(folder.path()), [""; 0]);
}

#[test]
fn a_generator_goes_on_after_a_signal_that_was_ignored_at_its_start() {
    if !Path::new("/proc/self/status").exists() {
        return println!("skipped: this system does not say which signals are ignored");
    }
    let folder = folder();
    let mut child = start_generating(folder.path(), "trap '' HUP INT;", "30000");
    send("-HUP", &child);
    send("-INT", &child);
    assert!(child.wait().unwrap().success());
    assert!(folder.path().join("data.sqlite").exists());
}
