//! Ratings and what is said of them: the values in replies.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{MovieId, UpdateId, UserId};

/// A rating in half stars, from 1 (0.5) to 10 (5.0): MovieLens' scale. On the wire: a float, 0.5, 1.0, ... 5.0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stars(u8);

/// A number that is not on the scale.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is not on the scale: use 0.5, 1.0, 1.5, ... 5.0")]
pub struct NotOnScale(pub f64);

impl Stars {
    /// From half stars, 1 to 10.
    ///
    /// # Errors
    ///
    /// [`NotOnScale`] for 0, and above 10.
    pub fn from_half_stars(half_stars: u8) -> Result<Self, NotOnScale> {
        if (1..=10).contains(&half_stars) { Ok(Self(half_stars)) } else { Err(NotOnScale(f64::from(half_stars) / 2.0)) }
    }

    /// Number of half stars, 1 to 10.
    pub fn half_stars(self) -> u8 {
        self.0
    }

    /// Number of stars, 0.5 to 5.0.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 2.0
    }
}

impl TryFrom<f64> for Stars {
    type Error = NotOnScale;
    fn try_from(stars: f64) -> Result<Self, NotOnScale> {
        let half_stars = stars * 2.0;
        if (1.0..=10.0).contains(&half_stars) && half_stars.fract() == 0.0 {
            Ok(Self(half_stars as u8))
        } else {
            Err(NotOnScale(stars))
        }
    }
}

impl fmt::Display for Stars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", self.as_f64())
    }
}

impl fmt::Debug for Stars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Stars {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

impl<'de> Deserialize<'de> for Stars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Key of a rating: user and movie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RatingKey {
    /// Id of the user.
    pub user_id: UserId,
    /// Id of the movie.
    pub movie_id: MovieId,
}

impl fmt::Display for RatingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user={} movie={}", self.user_id, self.movie_id)
    }
}

/// One person's rating of one movie, as replies show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rating {
    /// Id of the user.
    pub user_id: UserId,
    /// Id of the movie.
    pub movie_id: MovieId,
    /// The movie's title, with its year as the data set has it.
    pub title: String,
    /// `None` where there is no rating.
    pub rating: Option<Stars>,
    /// Unix seconds of the update, or of the data set's row; `None` where nothing is known.
    pub timestamp: Option<i64>,
    /// The update that wrote it; `None` for a rating of the data set. If there is no rating, the delete.
    pub update_id: Option<UpdateId>,
}

/// A person's ratings in ascending movie id, a page of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratings {
    /// The page.
    pub ratings: Vec<Rating>,
    /// Number of ratings that the user has in all.
    pub total: u64,
    /// Send it as `after` for the next page; `None` on the last.
    pub next: Option<MovieId>,
}

/// A movie's average rating.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Average {
    /// Id of the movie.
    pub movie_id: MovieId,
    /// The movie's title.
    pub title: String,
    /// The mean, unrounded; `None` where nobody rated.
    pub average: Option<f64>,
    /// Number of users that rated it.
    pub count: u64,
}

/// A movie that a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Movie {
    /// Id of the movie.
    pub movie_id: MovieId,
    /// Its title.
    pub title: String,
    /// Its genres; empty for MovieLens' `(no genres listed)`.
    pub genres: Vec<String>,
    /// The mean of its ratings, unrounded; `None` where nobody rated.
    pub average: Option<f64>,
    /// Number of users that rated it.
    pub count: u64,
}

/// The movies whose title contains what was searched for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Movies {
    /// Best known first: by falling count, then ascending id.
    pub movies: Vec<Movie>,
    /// Whether more were found than fit into one message of the broker.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shortened: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_has_ten_half_stars_and_nothing_else() {
        for half_stars in 1..=10u8 {
            let stars = Stars::try_from(f64::from(half_stars) / 2.0).unwrap();
            assert_eq!(stars.half_stars(), half_stars);
        }
        for off in [0.0, 0.25, 5.5, -1.0, 4.3, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            assert!(Stars::try_from(off).is_err(), "{off}");
        }
    }
}
