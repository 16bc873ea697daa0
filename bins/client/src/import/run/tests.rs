use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use natter_common::edge::{ClientRequest, SingleOperation};
use natter_common::ids::{MovieId, UserId};
use natter_common::rating::RatingKey;
use natter_common::subjects::Operation;

use super::super::Counts;
use super::*;
use crate::fake::{FakeFrontend, Mishap};

const MOVIES: [u32; 4] = [1, 2, 7, 3114];

fn options(path: &Path) -> ImportOptions {
    ImportOptions {
        source: Source::File(path.to_owned()),
        cluster: None,
        journal: Some(path.with_extension("import")),
        rejects: None,
        dry_run: false,
        again: false,
        shows_progress: false,
        in_flight: 4000,
        timeout: Duration::from_secs(3),
        patience: Duration::from_secs(10),
        notify: |_| {},
    }
}

/// Writes a file with ratings of four movies by each of `users` users, in half stars.
fn write(folder: &Path, users: u32, half_stars: impl Fn(u32) -> u32) -> PathBuf {
    let path = folder.join("ratings.csv");
    let rows = (1..=users).flat_map(|user| MOVIES.map(|movie| (user, movie)));
    let lines = rows.map(|(user, movie)| format!("{user},{movie},{},9\n", f64::from(half_stars(user)) / 2.0));
    std::fs::write(&path, format!("userId,movieId,rating,timestamp\n{}", lines.collect::<String>())).unwrap();
    path
}

fn counts(created: u64, updated: u64, unchanged: u64, refused: u64) -> Counts {
    Counts { created, updated, unchanged, refused }
}

fn stars(frontend: &FakeFrontend, user: u32, movie: u32) -> Option<f64> {
    let key = RatingKey { user_id: UserId::new(user).unwrap(), movie_id: MovieId::new(movie).unwrap() };
    frontend.stars(key).map(|stars| stars.as_f64())
}

#[tokio::test]
async fn ratings_are_created_or_updated_and_those_that_are_right_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let frontend = FakeFrontend::default();
    // User 1 has four stars for movies 1 and 2 already.
    frontend.rate_many(1, 2);
    let path = write(folder.path(), 500, |user| if user == 1 { 8 } else { user % 10 + 1 });
    let imported = import(&&frontend, &options(&path)).await.unwrap();
    assert_eq!((imported.counts, imported.before), (counts(1998, 0, 2, 0), Counts::default()));
    assert_eq!(stars(&frontend, 19, 7), Some(5.0));
    // Again: nothing is asked.
    let asked = frontend.asked().len();
    let again = import(&&frontend, &options(&path)).await.unwrap();
    assert_eq!((again.counts, again.before), (Counts::default(), imported.counts));
    assert_eq!(frontend.asked().len(), asked);
    // From its beginning, all are there; another file changes some.
    let again = import(&&frontend, &ImportOptions { again: true, ..options(&path) }).await.unwrap();
    assert_eq!(again.counts, counts(0, 0, 2000, 0));
    let path = write(folder.path(), 500, |user| if user < 100 { 3 } else { user % 10 + 1 });
    let changed = import(&&frontend, &ImportOptions { again: true, ..options(&path) }).await.unwrap();
    let same = (2..100).filter(|user| user % 10 + 1 == 3).count() as u64;
    assert_eq!(changed.counts, counts(0, 4 * (99 - same), 4 * (401 + same), 0));
    assert_eq!(stars(&frontend, 1, 1), Some(1.5));
}

#[tokio::test]
async fn the_last_line_on_a_rating_stands_and_lines_that_are_none_are_told() {
    thread_local!(static TOLD: Cell<Vec<String>> = const { Cell::new(Vec::new()) });
    let folder = tempfile::tempdir().unwrap();
    let frontend = FakeFrontend::default();
    let path = folder.path().join("ratings.csv");
    let mut text = "userId,movieId,rating\n".to_owned();
    for n in 0..1500 {
        text += &format!("7,1,{}\n", f64::from(n % 10 + 1) / 2.0);
    }
    text += "7,1,3.5\n7,99,3.0\n7,2,4.7\n\n7,1,2.5\n";
    std::fs::write(&path, text).unwrap();
    let notify = |line: &str| {
        let mut told = TOLD.take();
        told.push(line.to_owned());
        TOLD.set(told);
    };
    let imported = import(&&frontend, &ImportOptions { notify, ..options(&path) }).await.unwrap();
    assert_eq!(imported.counts, counts(1, 1501, 0, 2));
    assert_eq!((stars(&frontend, 7, 1), stars(&frontend, 7, 2)), (Some(2.5), None));
    let told = TOLD.take();
    let told = |number: usize| told.iter().find(|line| line.contains(&format!("ratings.csv:{number}: "))).cloned();
    assert!(told(1503).unwrap().ends_with("(MOVIE_NOT_FOUND)"));
    assert!(told(1504).unwrap().contains("\"4.7\" is none of"));
}

#[tokio::test(start_paused = true)]
async fn what_got_no_answer_or_found_no_room_is_sent_again_under_the_same_ids_and_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), 600, |user| user % 10 + 1);
    let frontend = FakeFrontend::with([
        Mishap::Lost { executed: true },
        Mishap::Error(503, "OVERLOADED: too many"),
        Mishap::Lost { executed: false },
        Mishap::NoFrontend,
        Mishap::Error(504, "TIMEOUT: no answer"),
        Mishap::Error(503, "UNAVAILABLE: nobody"),
        Mishap::Error(413, "REPLY_TOO_LARGE: smaller"),
        Mishap::TooLarge,
    ]);
    let imported = import(&&frontend, &options(&path)).await.unwrap();
    assert_eq!(imported.counts, counts(2400, 0, 0, 0), "an answer that was lost is the first answer");
    assert_eq!(frontend.executed(), 2400);
}

#[tokio::test(start_paused = true)]
async fn batches_shrink_until_a_small_broker_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    for max_payload in [32_768, 8_192, 4_096, 256] {
        let path = write(folder.path(), 1_200, |user| user % 10 + 1);
        let mut frontend = FakeFrontend::default();
        frontend.takes_at_most(max_payload);
        let imported = import(&&frontend, &ImportOptions { journal: None, ..options(&path) }).await.unwrap();
        assert_eq!(imported.counts, counts(4_800, 0, 0, 0), "{max_payload}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_import_that_stopped_goes_on_where_it_was_and_does_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), 900, |user| user % 10 + 1);
    let mishaps = (0..1).map(|_| Mishap::Lost { executed: true });
    let mut frontend = FakeFrontend::with(mishaps);
    frontend.answers_at_most(2);
    let error = import(&&frontend, &options(&path)).await.unwrap_err().to_string();
    assert!(error.starts_with("stopped after ") && error.contains("no frontend"), "{error}");
    let executed = frontend.executed();
    assert!((1000..3600).contains(&executed), "{executed}");
    frontend.answers_at_most(usize::MAX);
    let first = frontend.asked().len();
    let imported = import(&&frontend, &options(&path)).await.unwrap();
    let (now, before) = (imported.counts, imported.before);
    assert_eq!((now, before), (counts(3600 - before.created, 0, 0, 0), counts(before.created, 0, 0, 0)));
    assert!(before.created < 3600);
    assert_eq!(frontend.executed(), 3600, "no update has two ids");
    // It went on, and did not begin anew.
    let asked = frontend.asked();
    let again = asked[first..].iter().map(|(_, request)| match request {
        ClientRequest::Batch(batch) => {
            batch.operations.iter().filter(|o| matches!(o, Ok(SingleOperation::Update { .. }))).count()
        }
        _ => 0,
    });
    assert_eq!(again.sum::<usize>() as u64, 3600 - before.created);
}

#[tokio::test]
async fn another_file_or_answer_is_told_and_nothing_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("movies.csv");
    let frontend = FakeFrontend::default();
    let error = import(&&frontend, &options(&path)).await.unwrap_err().to_string();
    assert!(error.contains("movies.csv can't be read"), "{error}");
    std::fs::write(&path, "movieId,title,genres\n1,T,G\n").unwrap();
    let error = import(&&frontend, &options(&path)).await.unwrap_err().to_string();
    assert!(error.contains("movies.csv can't be imported: its first line is \"movieId,title,genres\""), "{error}");
    assert!(frontend.asked().is_empty());
    // The file is mended; what was said of it before is in nobody's way.
    std::fs::write(&path, "userId,movieId,rating\n1,1,4\n").unwrap();
    let frontend = FakeFrontend::with([Mishap::Error(400, "BAD_REQUEST: no such operation")]);
    let error = import(&&frontend, &options(&path)).await.unwrap_err().to_string();
    assert_eq!(error, "stopped after 0 ratings: no such operation (BAD_REQUEST)");
    struct Mute;
    impl Transport for Mute {
        async fn request(&self, _: Operation, _: Bytes, _: Duration) -> Result<Response, TransportError> {
            Ok(Response { body: Bytes::from_static(b"\x80"), ..Response::default() })
        }

        fn place(&self) -> String {
            String::new()
        }
    }
    let error = import(&Mute, &options(&path)).await.unwrap_err().to_string();
    assert!(error.contains("BAD_REPLY"), "{error}");
}

#[tokio::test]
async fn an_import_into_a_cluster_that_is_replaced_stops_and_names_both() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), 10, |_| 8);
    let frontend = FakeFrontend::default();
    frontend.serve("new", &[]);
    let options = ImportOptions { cluster: Some(ClusterId::new("old").unwrap()), ..options(&path) };
    let error = import(&&frontend, &options).await.unwrap_err().to_string();
    assert!(error.contains("cluster new answers now, and not cluster old") && error.contains("(STALE)"), "{error}");
    assert_eq!(frontend.executed(), 0);
    // Under an alias it goes on.
    frontend.serve("new", &["old"]);
    assert_eq!(import(&&frontend, &options).await.unwrap().counts, counts(40, 0, 0, 0));
}

#[tokio::test]
async fn a_pipe_is_read_once_and_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let source = Source::of(path.to_str().unwrap());
    assert_eq!(source, Source::Stream(path.clone()));
    let text = std::fs::read(write(folder.path(), 600, |_| 8)).unwrap();
    let writer = std::thread::spawn(move || std::fs::write(path, text).unwrap());
    let frontend = FakeFrontend::default();
    let options = ImportOptions { source, journal: None, ..options(folder.path()) };
    assert_eq!(import(&&frontend, &options).await.unwrap().counts, counts(2400, 0, 0, 0));
    writer.join().unwrap();
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_done_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let frontend = FakeFrontend::default();
    frontend.rate_many(1, 2);
    let path = write(folder.path(), 3, |user| if user == 1 { 8 } else { 3 });
    let dry = ImportOptions { dry_run: true, journal: None, ..options(&path) };
    let compared = import(&&frontend, &dry).await.unwrap();
    assert_eq!(compared.counts, counts(10, 0, 2, 0));
    assert!([2, 3].iter().all(|user| MOVIES.iter().all(|movie| stars(&frontend, *user, *movie).is_none())));
    let text = compared.to_string();
    assert!(text.starts_with("12 ratings compared in ") && text.contains("10 would be created"), "{text}");
}

#[tokio::test]
async fn refused_lines_go_into_a_file_that_can_be_imported_when_they_are_mended() {
    let folder = tempfile::tempdir().unwrap();
    let frontend = FakeFrontend::default();
    let path = folder.path().join("ratings.csv");
    std::fs::write(&path, "userId,movieId,rating,timestamp\n1,1,4,9\n1,2,4.3,9\n1,77,4.0,12\r\n2,1,4\n").unwrap();
    let rejects = folder.path().join("rejects.csv");
    let with_rejects = ImportOptions { rejects: Some(rejects.clone()), ..options(&path) };
    let imported = import(&&frontend, &with_rejects).await.unwrap();
    assert_eq!(imported.counts, counts(1, 0, 0, 3));
    let text = std::fs::read_to_string(&rejects).unwrap();
    assert_eq!(text, "userId,movieId,rating,timestamp\n1,2,4.3,9\n1,77,4.0,12\n2,1,4\n");
    std::fs::write(&rejects, text.replace("4.3", "4.5").replace("77", "7").replace("2,1,4\n", "2,1,4,\n")).unwrap();
    let mended = import(&&frontend, &options(&rejects)).await.unwrap();
    assert_eq!(mended.counts, counts(3, 0, 0, 0));
}
