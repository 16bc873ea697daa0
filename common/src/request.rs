//! Requests to the value: updates and queries.

use serde::{Deserialize, Serialize};

use crate::ids::{MovieId, UserId};
use crate::rating::{Average, Movies, Rating, RatingKey, Ratings, Stars};

/// Ratings in a page of `ALL` if the request doesn't say.
pub const ALL_LIMIT_DEFAULT: u32 = 1000;
/// Maximum ratings in a page of `ALL`.
pub const ALL_LIMIT_MAX: u32 = 5000;
/// Movies that `SEARCH` gives if the request doesn't say.
pub const SEARCH_LIMIT_DEFAULT: u32 = 20;
/// Maximum movies that `SEARCH` gives.
pub const SEARCH_LIMIT_MAX: u32 = 100;

/// An operation that modifies. On the wire `{method, params: {user_id, movie_id, rating}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "params", rename_all = "UPPERCASE", try_from = "UpdateFields")]
pub enum Update {
    /// Rates a movie that this user has not rated.
    Create {
        /// Id of the user.
        user_id: UserId,
        /// Id of the movie.
        movie_id: MovieId,
        /// The rating.
        rating: Stars,
    },
    /// Changes a rating that is there.
    Update {
        /// Id of the user.
        user_id: UserId,
        /// Id of the movie.
        movie_id: MovieId,
        /// The new rating.
        rating: Stars,
    },
    /// Takes a rating that is there away.
    Delete {
        /// Id of the user.
        user_id: UserId,
        /// Id of the movie.
        movie_id: MovieId,
    },
}

impl Update {
    /// Key of the rating that the update writes to.
    pub fn key(&self) -> RatingKey {
        match *self {
            Self::Create { user_id, movie_id, .. }
            | Self::Update { user_id, movie_id, .. }
            | Self::Delete { user_id, movie_id } => RatingKey { user_id, movie_id },
        }
    }

    /// Rating that the update leaves there: `None` for a delete.
    pub fn stars(&self) -> Option<Stars> {
        match *self {
            Self::Create { rating, .. } | Self::Update { rating, .. } => Some(rating),
            Self::Delete { .. } => None,
        }
    }

    /// Kind of the update.
    pub fn kind(&self) -> Method {
        match self {
            Self::Create { .. } => Method::Create,
            Self::Update { .. } => Method::Update,
            Self::Delete { .. } => Method::Delete,
        }
    }

    /// The method's name on the wire.
    pub fn method(&self) -> &'static str {
        self.kind().name()
    }
}

/// An update as it is read: the method may stand after what it is about.
#[derive(Deserialize)]
struct UpdateFields {
    method: Method,
    params: UpdateParams,
}

#[derive(Deserialize)]
struct UpdateParams {
    user_id: UserId,
    movie_id: MovieId,
    rating: Option<Stars>,
}

impl TryFrom<UpdateFields> for Update {
    type Error = &'static str;
    fn try_from(fields: UpdateFields) -> Result<Self, &'static str> {
        const NO_RATING: &str = "a create and an update have a rating";
        let UpdateFields { method, params: UpdateParams { user_id, movie_id, rating } } = fields;
        Ok(match method {
            Method::Create => Self::Create { user_id, movie_id, rating: rating.ok_or(NO_RATING)? },
            Method::Update => Self::Update { user_id, movie_id, rating: rating.ok_or(NO_RATING)? },
            Method::Delete => Self::Delete { user_id, movie_id },
        })
    }
}

/// The method of an [`Update`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Of [`Update::Create`].
    Create,
    /// Of [`Update::Update`].
    Update,
    /// Of [`Update::Delete`].
    Delete,
}

impl Method {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// An operation that only reads. On the wire `{method, params}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "params", rename_all = "UPPERCASE", try_from = "QueryFields")]
pub enum Query {
    /// One rating.
    Read {
        /// Id of the user.
        user_id: UserId,
        /// Id of the movie.
        movie_id: MovieId,
    },
    /// A user's ratings in ascending movie id.
    All {
        /// Id of the user.
        user_id: UserId,
        /// Maximum ratings, 1 to [`ALL_LIMIT_MAX`].
        limit: u32,
        /// Only those with a greater movie id; 0 for all.
        after: u32,
    },
    /// The mean of a movie's ratings.
    Average {
        /// Id of the movie.
        movie_id: MovieId,
    },
    /// The movies whose title contains `title`, whatever its case.
    Search {
        /// The part of the title; `%` and `_` mean themselves.
        title: String,
        /// Maximum movies, 1 to [`SEARCH_LIMIT_MAX`].
        limit: u32,
    },
}

/// The parameters of a [`Query`], as logs show them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters<'a> {
    /// The user.
    pub user: Option<UserId>,
    /// The movie.
    pub movie: Option<MovieId>,
    /// The part of the title.
    pub title: Option<&'a str>,
    /// Maximum number of rows.
    pub limit: Option<u32>,
    /// The movie after which a page begins, where it is not the first page.
    pub after: Option<u32>,
}

/// A query as it is read: the method may stand after what it is about.
#[derive(Deserialize)]
struct QueryFields {
    method: QueryMethod,
    params: QueryParams,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum QueryMethod {
    Read,
    All,
    Average,
    Search,
}

#[derive(Deserialize)]
struct QueryParams {
    user_id: Option<UserId>,
    movie_id: Option<MovieId>,
    limit: Option<u32>,
    after: Option<u32>,
    title: Option<String>,
}

impl TryFrom<QueryFields> for Query {
    type Error = &'static str;
    fn try_from(fields: QueryFields) -> Result<Self, &'static str> {
        let QueryFields { method, params: QueryParams { user_id, movie_id, limit, after, title } } = fields;
        let user_id = user_id.ok_or("a query of one user's ratings has a user_id");
        let movie_id = movie_id.ok_or("a query of one movie has a movie_id");
        let limit = limit.ok_or("a query of a list has a limit");
        Ok(match method {
            QueryMethod::Read => Self::Read { user_id: user_id?, movie_id: movie_id? },
            QueryMethod::All => {
                let after = after.ok_or("a query of all ratings has an after")?;
                Self::All { user_id: user_id?, limit: limit?, after }
            }
            QueryMethod::Average => Self::Average { movie_id: movie_id? },
            QueryMethod::Search => Self::Search { title: title.ok_or("a search has a title")?, limit: limit? },
        })
    }
}

impl Query {
    /// The parameters, apart.
    pub fn parameters(&self) -> Parameters<'_> {
        let none = Parameters::default();
        match *self {
            Self::Read { user_id, movie_id } => Parameters { user: Some(user_id), movie: Some(movie_id), ..none },
            Self::All { user_id, limit, after } => {
                Parameters { user: Some(user_id), limit: Some(limit), after: (after > 0).then_some(after), ..none }
            }
            Self::Average { movie_id } => Parameters { movie: Some(movie_id), ..none },
            Self::Search { ref title, limit } => Parameters { title: Some(title), limit: Some(limit), ..none },
        }
    }

    /// The method's name on the wire.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Read { .. } => "READ",
            Self::All { .. } => "ALL",
            Self::Average { .. } => "AVERAGE",
            Self::Search { .. } => "SEARCH",
        }
    }
}

/// The value in a reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To READ and to updates.
    Rating(Rating),
    /// To ALL.
    Ratings(Ratings),
    /// To AVERAGE.
    Average(Average),
    /// To SEARCH.
    Movies(Movies),
}
