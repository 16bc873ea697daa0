//! Folders of CSV files: accepted content, and the errors for all else.

use crate::common::{all, average, folder, open, open_path, search};
use natter_database::{DataSource, Store};

const MOVIES: &str = "movieId,title,genres\n1,One (2001),Drama\n2,\"Two, Too (2002)\",Comedy|War\n";
const RATINGS: &str = "userId,movieId,rating,timestamp\n1,1,4.0,100\n1,2,0.5,101\n2,1,5.0,102\n";

/// The error that opening these files gives, without the folder's own path.
fn refused(movies: impl AsRef<[u8]>, ratings: impl AsRef<[u8]>) -> String {
    let folder = folder(movies, ratings);
    let error = open_path(folder.path()).unwrap_err().to_string();
    error.replace(&format!("{}/", folder.path().display()), "")
}

fn refused_movies(lines: impl AsRef<[u8]>) -> String {
    refused([b"movieId,title,genres\n", lines.as_ref()].concat(), RATINGS)
}

fn refused_ratings(lines: impl AsRef<[u8]>) -> String {
    refused(MOVIES, [b"userId,movieId,rating,timestamp\n", lines.as_ref()].concat())
}

#[test]
fn line_ends_byte_order_mark_and_quotes_make_no_difference() {
    let expected = open(MOVIES, RATINGS).fingerprint();
    let with_bom = |text: &str| format!("\u{feff}{text}");
    let with_crlf = |text: &str| text.replace('\n', "\r\n");
    let without_last = |text: &str| text.trim_end().to_owned();
    let with_empty_lines = |text: &str| text.replace('\n', "\n\n\r\n");
    let quoted = |text: &str| text.replace("1,One (2001),Drama", "\"1\",\"One (2001)\",\"Drama\"");
    for change in [&with_bom as &dyn Fn(&str) -> String, &with_crlf, &without_last, &with_empty_lines, &quoted] {
        assert_eq!(open(change(MOVIES), change(RATINGS)).fingerprint(), expected);
    }
    let all_at_once = |text: &str| with_bom(&with_crlf(&without_last(&quoted(text))));
    assert_eq!(open(all_at_once(MOVIES), all_at_once(RATINGS)).fingerprint(), expected);
}

#[test]
fn the_order_of_lines_makes_no_difference() {
    let movies = "movieId,title,genres\n2,\"Two, Too (2002)\",Comedy|War\n1,One (2001),Drama\n";
    let ratings = "userId,movieId,rating,timestamp\n2,1,5.0,102\n1,2,0.5,101\n1,1,4.0,100\n";
    let [one, other] = [open(MOVIES, RATINGS), open(movies, ratings)];
    assert_eq!(one.fingerprint(), other.fingerprint());
    assert_eq!(all(&one, 1, 10, 0), all(&other, 1, 10, 0));
}

#[test]
fn the_fingerprint_tells_every_part_of_the_data() {
    let mut seen = vec![open(MOVIES, RATINGS).fingerprint()];
    for (old, new) in [
        ("One", "Uno"),
        ("Drama", "Crime"),
        ("2,\"Two", "3,\"Two"),
        ("1,4.0", "1,4.5"),
        ("4.0,100", "4.0,99"),
        ("\n2,1,5.0", "\n3,1,5.0"),
        ("2,1,5.0,102\n", ""),
        ("One (2001),Drama\n", "One (2001),Drama\n7,Seven,\n"),
        ("One (2001),Drama", "One (2001)D,rama"),
    ] {
        let ratings = RATINGS.replace(old, new);
        let ratings = if new.starts_with("3,\"") { ratings.replace("1,2,0.5", "1,3,0.5") } else { ratings };
        let fingerprint = open(MOVIES.replace(old, new), ratings).fingerprint();
        assert!(!seen.contains(&fingerprint), "{old} {new}");
        seen.push(fingerprint);
    }
}

#[test]
fn titles_and_genres_come_as_they_are() {
    let movies = "movieId,title,genres\n\
        4294967295,\"\"\"Crocodile\"\" Dundee (1986)\",Comedy\n\
        7,\"Two\nlines (2000)\",(no genres listed)\n\
        9,Emma (1996),\n\
        8,Emma (1996),Comedy|Drama\n";
    let store = open(movies, "userId,movieId,rating,timestamp\n4294967295,4294967295,0.5,-1\n");
    let found: Vec<_> =
        search(&store, "", 10).into_iter().map(|movie| (movie.movie_id.get(), movie.title, movie.genres)).collect();
    assert_eq!(found[0], (u32::MAX, "\"Crocodile\" Dundee (1986)".to_owned(), vec!["Comedy".to_owned()]));
    assert_eq!(found[1], (7, "Two\nlines (2000)".to_owned(), vec![]));
    assert_eq!((found[2].0, &*found[2].1), (8, "Emma (1996)"));
    assert_eq!((found[3].0, &*found[3].1), (9, "Emma (1996)"));
    assert_eq!(all(&store, u32::MAX, 10, 0).ratings[0].timestamp, Some(-1));
    assert_eq!(store.movie_count(), 4);
}

#[test]
fn files_beside_the_two_are_left_alone() {
    let folder = folder(MOVIES, RATINGS);
    std::fs::write(folder.path().join("tags.csv"), b"\xff\xff,broken").unwrap();
    assert_eq!(open_path(folder.path()).unwrap().counts().ratings, 3);
}

#[test]
fn a_data_set_may_be_empty() {
    let store = open("movieId,title,genres\n", "userId,movieId,rating,timestamp\n");
    assert_eq!((store.counts().movies, store.counts().users, store.counts().ratings), (0, 0, 0));
}

#[test]
fn a_broken_line_of_movies_is_refused_with_its_number_and_reason() {
    for (lines, error) in [
        ("1,One\n", "line 2: it has 2 columns and should have 3 (is a quote missing, or a comma outside quotes?)"),
        (
            "1,One,Drama\n2,Two, Too,War\n",
            "line 3: it has 4 columns and should have 3 (is a quote missing, or a comma outside quotes?)",
        ),
        (
            "1,One,Drama\n2,\"Two,War\n3,Three,War\n",
            "line 3: it has 2 columns and should have 3 (is a quote missing, or a comma outside quotes?)",
        ),
        ("0,One,Drama\n", "line 2: movieId is \"0\" and should be an integer from 1 to 4294967295"),
        ("one,One,Drama\n", "line 2: movieId is \"one\" and should be an integer from 1 to 4294967295"),
        ("4294967296,One,Drama\n", "line 2: movieId is \"4294967296\" and should be an integer from 1 to 4294967295"),
        ("1, ,Drama\n", "line 2: title is empty"),
        ("1,One,Drama\n2,Two,War\n1,Again,War\n", "line 4: movie 1 is there already: each movieId may stand once"),
    ] {
        assert_eq!(refused_movies(lines), format!("movies.csv, {error}"));
    }
    assert_eq!(
        refused_movies(b"1,One,Drama\n2,Am\xe9lie,War\n"),
        "movies.csv, line 3: title is not UTF-8: save the file as UTF-8"
    );
    let long = format!("1,{},Drama\n", "x".repeat(1001));
    assert_eq!(
        refused_movies(long),
        "movies.csv, line 2: title is 1001 bytes long and should be at most 1000 (is a quote left open?)"
    );
}

#[test]
fn a_broken_line_of_ratings_is_refused_with_its_number_and_reason() {
    for (lines, error) in [
        ("1,1,4.0\n", "line 2: it has 3 columns and should have 4 (is a quote missing, or a comma outside quotes?)"),
        ("1,1,4.0,5\n0,1,4.0,5\n", "line 3: userId is \"0\" and should be an integer from 1 to 4294967295"),
        ("1,-1,4.0,5\n", "line 2: movieId is \"-1\" and should be an integer from 1 to 4294967295"),
        ("1,1,4.3,5\n", "line 2: rating is \"4.3\" and should be 0.5, 1.0, 1.5, ... 5.0"),
        ("1,1,0.0,5\n", "line 2: rating is \"0.0\" and should be 0.5, 1.0, 1.5, ... 5.0"),
        ("1,1,5.5,5\n", "line 2: rating is \"5.5\" and should be 0.5, 1.0, 1.5, ... 5.0"),
        ("1,1,NaN,5\n", "line 2: rating is \"NaN\" and should be 0.5, 1.0, 1.5, ... 5.0"),
        ("1,1,good,5\n", "line 2: rating is \"good\" and should be 0.5, 1.0, 1.5, ... 5.0"),
        ("1,1,4.0,now\n", "line 2: timestamp is \"now\" and should be an integer from -2^63 to 2^63-1 (Unix seconds)"),
        ("1,1,4.0,5\n1,3,4.0,5\n", "line 3: movie 3 is not in movies.csv"),
        ("1,1,4.0,5\n1,2,4.0,5\n1,1,3.0,6\n", "line 4: user 1 has rated movie 1 already: each pair may stand once"),
    ] {
        assert_eq!(refused_ratings(lines), format!("ratings.csv, {error}"));
    }
}

#[test]
fn line_numbers_are_those_an_editor_shows() {
    let broken = "1,1,4.0,5\n1,2,4.0,5\n1,3,4.0,5\n";
    let header = "userId,movieId,rating,timestamp\n";
    let text = format!("{header}{broken}");
    for (text, line) in [
        (text.clone(), 4),
        (text.replace('\n', "\r\n"), 4),
        (text.replace('\n', "\r"), 4),
        (text.replace('\n', "\n\n"), 7),
        (text.replace('\n', "\r\n\r\n"), 7),
        (format!("\u{feff}{text}"), 4),
        (text.trim_end().to_owned(), 4),
    ] {
        let error = refused(MOVIES, text.clone());
        assert!(error.starts_with(&format!("ratings.csv, line {line}: ")), "{error}: {text:?}");
    }
    let error = refused_movies("1,\"One\nTwo\",Drama\n0,Three,Drama\n");
    assert!(error.starts_with("movies.csv, line 4: "), "{error}");
}

#[test]
fn a_file_of_other_columns_is_refused() {
    let expected = "line 1: the header is \"movieId,name,genres\" and should be \"movieId,title,genres\": is this a \
                    file of MovieLens?";
    assert_eq!(refused("movieId,name,genres\n", RATINGS), format!("movies.csv, {expected}"));
    assert!(refused("", RATINGS).starts_with("movies.csv, line 1: the header is \"\" and should be"));
    assert!(refused(MOVIES, "1,1,4.0,5\n").starts_with("ratings.csv, line 1: the header is \"1,1,4.0,5\""));
    assert!(refused(b"m\0o\0v\0i\0e\0", RATINGS).starts_with("movies.csv, line 1: the header is"));
}

#[test]
fn a_folder_without_its_files_is_refused() {
    let folder = folder(MOVIES, RATINGS);
    let path = folder.path().display().to_string();
    std::fs::remove_file(folder.path().join("ratings.csv")).unwrap();
    let error = open_path(folder.path()).unwrap_err().to_string();
    let hint = "a data set's folder holds movies.csv and ratings.csv in MovieLens' layout";
    assert_eq!(error, format!("{path} has no ratings.csv: {hint}"));
    let error = open_path(&folder.path().join("nowhere")).unwrap_err().to_string();
    assert!(error.starts_with(&format!("there is no {path}/nowhere: give a folder")), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    let folder = folder(MOVIES, RATINGS);
    std::fs::remove_file(folder.path().join("ratings.csv")).unwrap();
    std::fs::create_dir(folder.path().join("ratings.csv")).unwrap();
    let error = open_path(folder.path()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot read {}/ratings.csv: ", folder.path().display())), "{error}");
}

#[test]
fn the_sample_is_what_its_description_says() {
    let store = Store::open(&DataSource::at(None).unwrap()).unwrap();
    let counts = store.counts();
    assert!(counts.movies >= 300 && counts.users >= 610 && counts.ratings >= 20_000, "{counts:?}");
    assert!((1..=610).all(|user_number| all(&store, user_number, 1, 0).total > 0));
    for title in ["amélie", "ΘΊΑΣΟΣ", "\"crocodile\"", "good, the bad", "space odyssey", "千尋", "GROSSE"] {
        assert_eq!(search(&store, title, 10).len(), 1, "{title}");
    }
    let twins = search(&store, "emma (1996)", 10);
    assert_eq!(twins.len(), 2);
    assert_eq!(twins[0].title, twins[1].title);
    assert_eq!(search(&store, "solaris", 10).len(), 2);
    assert_eq!(search(&store, "koyaanisqatsi", 10)[0].genres, [""; 0]);
    assert_eq!(average(&store, 1).title, "Le Voyage dans la Lune (1902)");
}

#[test]
fn the_sample_ratings_are_what_the_generator_makes() {
    let mut text = "userId,movieId,rating,timestamp\n".to_owned();
    let done: Result<(), std::convert::Infallible> =
        natter_database::dataset::sample_plan().unwrap().for_each(|key, stars, timestamp| {
            text += &format!("{},{},{stars},{timestamp}\n", key.user_id, key.movie_id);
            Ok(())
        });
    done.unwrap();
    let committed = include_str!("../../sample/ratings.csv");
    assert!(text == committed, "make it anew: see sample/README.md");
}
