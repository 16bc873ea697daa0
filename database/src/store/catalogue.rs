//! The movies in memory, with the count and sum of their ratings, and the search by title.

use std::collections::HashMap;
use std::ops::Range;

use memchr::memmem;
use natter_common::ids::MovieId;
use natter_common::rating::{Average, Movie, Stars};
use rusqlite::Connection;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::error::FileProblem;
use crate::fingerprint::movie_hash;

/// All movies of the data set, in ascending id. The fields of a movie that a read or an update needs lie close
/// together, as every request is about another movie. The fields that only a search needs lie elsewhere.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) struct Catalogue {
    entries: Vec<Entry>,
    /// The titles, one after the other.
    titles: String,
    /// Texts of each entry, in the same order.
    texts: Vec<Texts>,
    /// Position of the entry of each movie, plus 1; 0 where there is none. Movies beyond are searched for.
    positions: Vec<u32>,
}

/// Movies with ids below this are found in one step.
const POSITIONS_MAX: usize = 1 << 21;

/// A movie and the sum of its ratings.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    movie_id: MovieId,
    /// The place of its title among all titles.
    title: Range<u32>,
    count: u64,
    sum_half_stars: u64,
}

/// The texts of a movie that a search needs, beside its title.
#[derive(Clone, Debug, PartialEq)]
struct Texts {
    title_folded: Box<str>,
    /// Parted by '|'.
    genres: Box<str>,
}

impl Entry {
    /// The mean, unrounded: of exact sums, so that equal ratings give equal means in any order.
    fn average(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_half_stars as f64 / 2.0 / self.count as f64)
    }
}

impl Catalogue {
    /// Reads the movies of the attached base; beside them the sum of their hashes, for the fingerprint.
    pub(crate) fn load(connection: &Connection) -> Result<(Self, u64), FileProblem> {
        Self::read(connection).map_err(|error| FileProblem::Damaged(error.to_string()))
    }

    fn read(connection: &Connection) -> rusqlite::Result<(Self, u64)> {
        let mut catalogue = Self::default();
        let mut movie_sum = 0u64;
        let mut select = connection
            .prepare("SELECT movie_id, title, genres, count, sum_half_stars FROM base.movie ORDER BY movie_id")?;
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let movie_id = u64::try_from(id)
                .ok()
                .and_then(|id| MovieId::try_from(id).ok())
                .ok_or(rusqlite::Error::IntegralValueOutOfRange(0, id))?;
            let (title, genres): (Box<str>, Box<str>) = (row.get(1)?, row.get(2)?);
            let (count, sum_half_stars): (i64, i64) = (row.get(3)?, row.get(4)?);
            movie_sum = movie_sum.wrapping_add(movie_hash(movie_id.get(), &title, &genres));
            let start = catalogue.titles.len();
            catalogue.titles.push_str(&title);
            let place =
                |end: usize| u32::try_from(end).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(1, end as i64));
            catalogue.entries.push(Entry {
                movie_id,
                title: place(start)?..place(catalogue.titles.len())?,
                count: count as u64,
                sum_half_stars: sum_half_stars as u64,
            });
            catalogue.texts.push(Texts { title_folded: fold(&title).into(), genres });
        }
        let last = catalogue.entries.last().map_or(0, |entry| entry.movie_id.get() as usize);
        catalogue.positions = vec![0; (last + 1).min(POSITIONS_MAX)];
        for (position, entry) in (1..).zip(&catalogue.entries) {
            if let Some(place) = catalogue.positions.get_mut(entry.movie_id.get() as usize) {
                *place = position;
            }
        }
        Ok((catalogue, movie_sum))
    }

    /// Returns the number of movies.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the number of ratings of all movies together.
    pub(crate) fn ratings(&self) -> u64 {
        self.entries.iter().map(|entry| entry.count).fold(0, u64::wrapping_add)
    }

    /// The movie that has other totals than these, if there is one.
    pub(crate) fn differs(&self, totals: &HashMap<u32, (u64, u64)>) -> Option<MovieId> {
        let is_same = |entry: &&Entry| {
            let total = totals.get(&entry.movie_id.get()).copied().unwrap_or_default();
            total == (entry.count, entry.sum_half_stars)
        };
        self.entries.iter().find(|entry| !is_same(entry)).map(|entry| entry.movie_id)
    }

    fn position(&self, movie_id: MovieId) -> Option<usize> {
        match self.positions.get(movie_id.get() as usize) {
            Some(place) => (*place as usize).checked_sub(1),
            None => self.entries.binary_search_by_key(&movie_id, |entry| entry.movie_id).ok(),
        }
    }

    fn entry(&self, movie_id: MovieId) -> Option<&Entry> {
        self.position(movie_id).and_then(|position| self.entries.get(position))
    }

    fn title_of(&self, entry: &Entry) -> &str {
        self.titles.get(entry.title.start as usize..entry.title.end as usize).unwrap_or_default()
    }

    /// The movie's title.
    pub(crate) fn title(&self, movie_id: MovieId) -> Option<&str> {
        self.entry(movie_id).map(|entry| self.title_of(entry))
    }

    /// The mean of the movie's ratings.
    pub(crate) fn average(&self, movie_id: MovieId) -> Option<Average> {
        self.entry(movie_id).map(|entry| Average {
            movie_id,
            title: self.title_of(entry).to_owned(),
            average: entry.average(),
            count: entry.count,
        })
    }

    fn movie(&self, entry: &Entry, texts: &Texts) -> Movie {
        Movie {
            movie_id: entry.movie_id,
            title: self.title_of(entry).to_owned(),
            genres: texts.genres.split('|').filter(|genre| !genre.is_empty()).map(str::to_owned).collect(),
            average: entry.average(),
            count: entry.count,
        }
    }

    /// Takes one user's rating of the movie away and puts another in its place. A movie that isn't there stays so.
    pub(crate) fn replace(&mut self, movie_id: MovieId, old: Option<Stars>, new: Option<Stars>) {
        let Some(entry) = self.position(movie_id).and_then(|position| self.entries.get_mut(position)) else { return };
        // Wrapping, so that a damaged file's wrong count gives a wrong mean and not a stopped process.
        if let Some(stars) = old {
            entry.count = entry.count.wrapping_sub(1);
            entry.sum_half_stars = entry.sum_half_stars.wrapping_sub(u64::from(stars.half_stars()));
        }
        if let Some(stars) = new {
            entry.count = entry.count.wrapping_add(1);
            entry.sum_half_stars = entry.sum_half_stars.wrapping_add(u64::from(stars.half_stars()));
        }
    }

    /// Returns the movies whose title contains `part`, ignoring case; best known first: by falling count, then
    /// ascending id.
    pub(crate) fn search(&self, part: &str, limit: usize) -> Vec<Movie> {
        let part = fold(part);
        let finder = memmem::Finder::new(&part);
        let all = self.entries.iter().zip(&self.texts);
        let mut found: Vec<(&Entry, &Texts)> =
            all.filter(|(_, texts)| finder.find(texts.title_folded.as_bytes()).is_some()).collect();
        let rank = |(entry, _): &(&Entry, &Texts)| (std::cmp::Reverse(entry.count), entry.movie_id);
        if found.len() > limit {
            found.select_nth_unstable_by_key(limit, rank);
            found.truncate(limit);
        }
        found.sort_unstable_by_key(rank);
        found.into_iter().map(|(entry, texts)| self.movie(entry, texts)).collect()
    }
}

/// Makes texts equal that differ only in case or in how their accents are encoded, letter by letter: `ß` is `ss`, every
/// sigma is `σ`, and `é` is one letter whether it came as one code point or as two.
///
/// Lower, upper and lower again, because neither alone does: `ẞ` has no upper case but itself, `ς` and `σ` share one.
pub(crate) fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let folded: String = text
        .nfc()
        .flat_map(char::to_lowercase)
        .flat_map(char::to_uppercase)
        // Letter by letter: `str::to_lowercase` would look at a sigma's neighbours.
        .flat_map(char::to_lowercase)
        .collect();
    match is_nfc_quick(folded.chars()) {
        IsNormalized::Yes => folded,
        _ => folded.nfc().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::fold;
    use proptest::prelude::*;

    #[test]
    fn case_beyond_ascii_does_not_count() {
        for (one, other) in [
            ("AMÉLIE", "amélie"),
            ("Große Stille", "GROSSE STILLE"),
            ("GROẞE", "große"),
            ("Ο Θίασος", "Ο ΘΊΑΣΟΣ"),
            ("Сталкер", "СТАЛКЕР"),
            ("Člověk", "ČLOVĚK"),
            ("Kış", "KIŞ"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
    }

    #[test]
    fn the_encoding_of_an_accent_does_not_count() {
        assert_eq!(fold("Ame\u{301}lie"), fold("Am\u{e9}lie"));
        assert_ne!(fold("Amelie"), fold("Am\u{e9}lie"));
    }

    #[test]
    fn a_word_is_found_at_the_end_and_in_the_middle() {
        assert!(fold("Θίασος Β").contains(&fold("ΣΟΣ")));
        assert!(fold("Θίασος").contains(&fold("σοσ")));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn upper_and_lower_case_fold_to_the_same(text in "[\\PC]{0,20}") {
            prop_assert_eq!(fold(&text.to_lowercase()), fold(&text));
        }
    }
}
