//! Data sets in MovieLens' layout (`ml-latest-small`, `ml-32m`): `movies.csv` and `ratings.csv`, one pass each.

use std::path::Path;

use natter_common::ids::{MovieId, UserId};
use natter_common::rating::{RatingKey, Stars};

use super::build::{BuildError, Builder, create};
use super::csv::{CsvFile, CsvLine, CsvLines};
use super::{Description, Progress, RATINGS_PER_REPORT};
use crate::error::{DataError, LineProblem};
use crate::schema::{GENRES_BYTES_MAX, NO_GENRES, TITLE_BYTES_MAX};

const MOVIE_COLUMNS: &[&str] = &["movieId", "title", "genres"];
const RATING_COLUMNS: &[&str] = &["userId", "movieId", "rating", "timestamp"];

/// Imports the MovieLens folder into a new file; `replace` says whether an existing file may go.
pub fn import(
    folder: &Path,
    file: &Path,
    replace: bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Description, DataError> {
    if !folder.exists() {
        return Err(DataError::NotFound { path: folder.display().to_string() });
    }
    let folder = Folder::at(folder)?;
    create(file, replace, progress, |builder, progress| read(&folder, builder, progress))
}

/// The two files of a data set; others beside them (`links.csv`, `tags.csv`) are left alone.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    movies: CsvFile,
    ratings: CsvFile,
}

impl Folder {
    /// Looks for the files.
    pub(crate) fn at(path: &Path) -> Result<Self, DataError> {
        let file = |name: &'static str| {
            let file = path.join(name);
            if file.exists() {
                Ok(CsvFile::Path(file))
            } else {
                Err(DataError::MissingFile { folder: path.display().to_string(), file: name })
            }
        };
        Ok(Self { movies: file("movies.csv")?, ratings: file("ratings.csv")? })
    }

    /// The files that are part of the program.
    pub(crate) fn sample() -> Self {
        Self {
            movies: CsvFile::Embedded { name: "movies.csv", text: include_bytes!("../../sample/movies.csv") },
            ratings: CsvFile::Embedded { name: "ratings.csv", text: include_bytes!("../../sample/ratings.csv") },
        }
    }
}

/// Reads both files into `builder`. Stops at the first line that can't be used.
pub(crate) fn read(
    folder: &Folder,
    builder: &mut Builder<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DataError> {
    read_movies(&folder.movies, builder)?;
    read_ratings(&folder.ratings, builder, progress)
}

/// The ids of the sample's movies.
pub(crate) fn sample_movie_ids() -> Result<Vec<MovieId>, DataError> {
    let folder = Folder::sample();
    let mut movie_ids = Vec::new();
    CsvLines::open(&folder.movies, MOVIE_COLUMNS)?.for_each(|line, _| {
        movie_ids.push(parse_id(&line, 0).map_err(|problem| line.refuse(problem))?);
        Ok(())
    })?;
    Ok(movie_ids)
}

fn read_movies(file: &CsvFile, builder: &mut Builder<'_>) -> Result<(), DataError> {
    CsvLines::open(file, MOVIE_COLUMNS)?.for_each(|line, _| {
        let movie = parse_movie(&line).map_err(|problem| line.refuse(problem))?;
        builder.movie(movie.movie_id, movie.title, &movie.genres).map_err(|error| refuse(&line, error))
    })
}

fn read_ratings(
    file: &CsvFile,
    builder: &mut Builder<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DataError> {
    CsvLines::open(file, RATING_COLUMNS)?.for_each(|line, fraction| {
        let (key, stars, timestamp) = parse_rating(&line).map_err(|problem| line.refuse(problem))?;
        builder.rating(key, stars, timestamp).map_err(|error| refuse(&line, error))?;
        if builder.ratings().is_multiple_of(RATINGS_PER_REPORT) {
            progress(Progress { doing: "reading ratings", ratings: builder.ratings(), fraction });
        }
        Ok(())
    })
}

fn refuse(line: &CsvLine<'_>, error: BuildError) -> DataError {
    match error {
        BuildError::Refused(problem) => line.refuse(problem),
        BuildError::Failed(error) => error.into(),
    }
}

struct ParsedMovie<'line> {
    movie_id: MovieId,
    title: &'line str,
    genres: String,
}

fn parse_movie<'line>(line: &CsvLine<'line>) -> Result<ParsedMovie<'line>, LineProblem> {
    let movie_id = parse_id(line, 0)?;
    let title = bounded(line, 1, TITLE_BYTES_MAX)?;
    if title.trim().is_empty() {
        return Err(LineProblem::Empty { column: "title" });
    }
    let genres = match bounded(line, 2, GENRES_BYTES_MAX)? {
        NO_GENRES => String::new(),
        list => list.split('|').filter(|genre| !genre.is_empty()).collect::<Vec<_>>().join("|"),
    };
    Ok(ParsedMovie { movie_id, title, genres })
}

fn parse_rating(line: &CsvLine<'_>) -> Result<(RatingKey, Stars, i64), LineProblem> {
    let user_id: UserId = parse_id(line, 0)?;
    let movie_id: MovieId = parse_id(line, 1)?;
    let text = line.number(2)?;
    let stars = text
        .parse::<f64>()
        .ok()
        .and_then(|number| Stars::try_from(number).ok())
        .ok_or_else(|| LineProblem::OffScale { found: shorten(text) })?;
    let text = line.number(3)?;
    let timestamp = text.parse().map_err(|_| LineProblem::Number {
        column: "timestamp",
        found: shorten(text),
        range: "-2^63 to 2^63-1 (Unix seconds)",
    })?;
    Ok((RatingKey { user_id, movie_id }, stars, timestamp))
}

fn parse_id<Id: TryFrom<u64>>(line: &CsvLine<'_>, column: usize) -> Result<Id, LineProblem> {
    let text = line.number(column)?;
    text.parse::<u64>().ok().and_then(|number| Id::try_from(number).ok()).ok_or_else(|| LineProblem::Number {
        column: line.column(column),
        found: shorten(text),
        range: "1 to 4294967295",
    })
}

fn bounded<'line>(line: &CsvLine<'line>, column: usize, bytes_max: usize) -> Result<&'line str, LineProblem> {
    let text = line.text(column)?;
    if text.len() > bytes_max {
        return Err(LineProblem::TooLong { column: line.column(column), found: text.len(), bytes_max });
    }
    Ok(text)
}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}
