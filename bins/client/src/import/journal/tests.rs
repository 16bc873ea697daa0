use super::*;

const NOW_MS: u64 = 1_800_000_000_000;

fn identity(bytes: u64) -> Identity {
    Identity { file: PathBuf::from("/data/ratings.csv"), bytes, modified_ms: 7 }
}

fn done(position: u64) -> Done {
    let counts = Counts { created: position, ..Counts::default() };
    Done { position, place: Place { bytes: 30 * position, lines: position + 1 }, counts }
}

#[test]
fn ids_rise_with_the_place_in_the_file_and_none_is_made_twice() {
    let mut journal = Journal::unkept(5);
    let mut ids = Vec::new();
    // The clock stands still, and is set back.
    for (n, wall_ms) in [NOW_MS, NOW_MS, NOW_MS - 5_000, NOW_MS + 1].into_iter().enumerate() {
        let position = n as u64 * 40_000;
        let chunk = journal.chunk(position, 40_000, wall_ms).unwrap();
        for at in [0, 1, 39_999] {
            ids.extend([0, 1].map(|which| journal.id(&chunk, position + at, which)));
        }
    }
    assert!(ids.is_sorted_by(|a, b| a.stamp().unwrap() < b.stamp().unwrap()), "{ids:?}");
    assert_eq!(ids[0].stamp(), Some(Stamp::new(NOW_MS, 0)));
    assert!(ids.iter().all(|id| id.stamp().unwrap().milliseconds() < NOW_MS + 10));
    let other = Journal::unkept(6).chunk(0, 1, NOW_MS).unwrap();
    assert_ne!(Journal::unkept(6).id(&other, 0, 0), ids[0], "another import has other ids");
}

#[test]
fn another_run_makes_the_same_ids_for_what_is_not_done_and_new_ones_after_that() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b.import");
    let mut first = Journal::open(&path, &identity(100), false, 5).unwrap();
    assert!(!first.is_finished() && first.unfinished().is_empty());
    let chunks: Vec<Chunk> =
        [(0, 1000), (1000, 1000), (2000, 300)].map(|(at, count)| first.chunk(at, count, NOW_MS + at).unwrap()).into();
    first.keep(done(1000), false).unwrap();
    let ids = |journal: &Journal, chunk: &Chunk| journal.id(chunk, chunk.position + 7, 1);
    let expected: Vec<UpdateId> = chunks.iter().map(|chunk| ids(&first, chunk)).collect();
    drop(first);
    // The end of a line that was being written.
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"done\":{\"posi").unwrap();
    drop(file);

    let mut second = Journal::open(&path, &identity(100), false, 99).unwrap();
    assert_eq!((second.done(), second.unfinished()), (done(1000), vec![1000, 300]));
    let later_ms = NOW_MS + 3_600_000;
    for (chunk, id) in chunks.iter().zip(&expected).skip(1) {
        assert_eq!(second.chunk(chunk.position, chunk.count, later_ms).unwrap(), *chunk);
        assert_eq!(ids(&second, chunk), *id);
    }
    let new = second.chunk(2300, 1000, later_ms).unwrap();
    assert_eq!(new.stamp, Stamp::new(later_ms, 0));
    second.keep(done(3300), true).unwrap();
    drop(second);
    let third = Journal::open(&path, &identity(100), false, 99).unwrap();
    assert!(third.is_finished() && third.unfinished().is_empty());
    assert_eq!(third.done(), done(3300));
}

#[test]
fn a_file_that_was_changed_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.import");
    let mut journal = Journal::open(&path, &identity(100), false, 5).unwrap();
    assert!(matches!(Journal::open(&path, &identity(100), false, 5), Err(JournalError::Busy)));
    let chunk = journal.chunk(0, 10, NOW_MS).unwrap();
    let id = journal.id(&chunk, 3, 0);
    journal.keep(done(5), false).unwrap();
    drop(journal);
    assert!(matches!(Journal::open(&path, &identity(101), false, 5), Err(JournalError::Changed)));
    // Again from its beginning, as another import.
    let mut again = Journal::open(&path, &identity(101), true, 6).unwrap();
    assert_eq!(again.done(), Done::default());
    let chunk = again.chunk(0, 10, NOW_MS).unwrap();
    assert_ne!(again.id(&chunk, 3, 0), id);
    again.keep(done(10), true).unwrap();
    drop(again);
    // One that was finished is another file now, and is imported as such.
    let other = Journal::open(&path, &identity(102), false, 7).unwrap();
    assert!(!other.is_finished() && other.done() == Done::default());
}

#[test]
fn what_is_no_journal_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.import");
    for text in ["", "x\n", "{}\n", "{\"finished\":null}\n", "\"finished\"\n"] {
        std::fs::write(&path, text).unwrap();
        let journal = Journal::open(&path, &identity(100), false, 5).unwrap();
        assert!(!journal.is_finished() && journal.done() == Done::default(), "{text}");
    }
}
