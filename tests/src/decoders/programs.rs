//! Decoders of programs: MessagePack that `client decode` shows, and CSV files of a data set.

use std::fs;
use std::path::Path;

use natter_client::decode::decode;
use natter_database::dataset::import;
use natter_database::{DataError, DataSource, Store};

use super::Decoder;
use super::wire::{GOSSIP, REPLIES};
use natter_simulation::hostile::draw::Draw;

/// Maximum length of MessagePack shown as JSON, as a multiple of its own length.
const TIMES_MAX: usize = 40;

/// `client decode`.
pub const CLIENT_DECODE: Decoder = Decoder {
    name: "client_decode",
    check: check_client_decode,
    example: |bytes| [(GOSSIP.example)(bytes), (REPLIES.example)(bytes)].concat(),
    rewrite: None,
    cost: 1,
};

fn check_client_decode(bytes: &[u8]) -> bool {
    let mut output = Vec::new();
    let decoded = decode(bytes, &mut output);
    assert!(output.len() <= TIMES_MAX * bytes.len() + 1, "{} bytes became {}", bytes.len(), output.len());
    if bytes.first() == Some(&b'{') {
        assert!(output.starts_with(bytes), "JSON is another one");
        return true;
    }
    for line in output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        // Deeper than this, readers of JSON stop, and rightly so.
        let value = serde_json::from_slice::<serde_json::Value>(line);
        assert!(value.is_ok(), "no JSON: {}", String::from_utf8_lossy(line));
    }
    // Nothing that would play with a terminal.
    let shown = String::from_utf8(output).expect("what is shown is text");
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    if decoded.is_ok() {
        // Its output, packed again, gives the same output, but for the order of keys and numbers that JSON lacks.
        let values = shown.lines().map(serde_json::from_str::<serde_json::Value>);
        assert_eq!(values.filter(Result::is_ok).count(), shown.lines().count());
    }
    decoded.is_ok()
}

/// A folder of CSV files: the movies, a zero byte, the ratings.
pub const DATA_SET: Decoder =
    Decoder { name: "data_set", check: check_data_set, example: data_set, rewrite: None, cost: 60 };

fn check_data_set(bytes: &[u8]) -> bool {
    let (movies, ratings) = match bytes.iter().position(|byte| *byte == 0) {
        Some(zero) => (&bytes[..zero], &bytes[zero + 1..]),
        None => (bytes, &b"userId,movieId,rating,timestamp\n"[..]),
    };
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("movies.csv"), movies).expect("a file");
    fs::write(folder.path().join("ratings.csv"), ratings).expect("a file");
    let opened = Store::open(&DataSource::Folder(folder.path().to_owned()));
    let file = folder.path().join("films.sqlite");
    let imported = import(folder.path(), &file, false, &mut |_| {});
    match (opened, imported) {
        (Ok(store), Ok(_)) => {
            check_imported(&store, &file);
            true
        }
        (Err(opening), Err(importing)) => {
            // Both name the file; an error is a text for people, and not as long as the file.
            let (opening, importing) = (shown(&opening, folder.path()), shown(&importing, folder.path()));
            assert_eq!(opening, importing);
            assert!(opening.len() < 2000, "{opening}");
            assert!(!file.exists(), "half of a data set was left: {importing}");
            false
        }
        (opened, imported) => panic!("opened: {:?}, imported: {imported:?}", opened.map(|store| store.description())),
    }
}

fn shown(error: &DataError, folder: &Path) -> String {
    error.to_string().replace(&folder.display().to_string(), "")
}

/// Checks that all that was read from the CSV files is in the file that was made of them.
fn check_imported(store: &Store, file: &Path) {
    let again = Store::open(&DataSource::SqliteFile(file.to_owned())).expect("what was imported opens");
    assert_eq!(again.description(), store.description());
    assert_eq!(again.movie_count(), store.movie_count());
}

fn data_set(bytes: &[u8]) -> Vec<u8> {
    let mut draw = Draw::new(bytes);
    let line_end = if draw.once_in(4) { "\r\n" } else { "\n" };
    let titles = ["Ikiru (1952)", "\"Jetée, La (1962)\"", "\"\"\"M\"\" (1931)\"", "Ran", "\"two\nlines\""];
    let genres = ["Drama", "Sci-Fi|Drama", "(no genres listed)", "", "|"];
    let mut csv = format!("movieId,title,genres{line_end}");
    let movies = 1 + draw.below(5) as u32;
    for movie in 1..=movies {
        csv += &format!("{movie},{},{}{line_end}", draw.one_of(&titles), draw.one_of(&genres));
    }
    csv += &format!("\0userId,movieId,rating,timestamp{line_end}");
    for user in 1..=draw.below(6) as u32 {
        let movie = 1 + draw.below(5) as u32 % movies;
        csv += &format!("{user},{movie},{},{}{line_end}", draw.stars(), draw.count() as i64);
    }
    csv.into_bytes()
}
