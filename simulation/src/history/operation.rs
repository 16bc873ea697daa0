//! Operations of clients with their answers: the only thing that the checks know.

use std::fmt;

use natter_common::edge::FrontendError;
use natter_common::ids::{MovieId, UpdateId, UserId};
use natter_common::messages::Refusal;
use natter_common::rating::{Rating, RatingKey, Stars};
use natter_common::request::{Answer, Query, Update};
use serde::{Deserialize, Serialize};

/// Value of one key, as an answer shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// The rating; `None` where there is none.
    pub rating: Option<Stars>,
    /// Update that wrote the rating, or deleted it. `None` with a rating: the data set. `None` without one: the data
    /// set, or a delete that is not known any more.
    pub update_id: Option<UpdateId>,
}

impl Cell {
    /// No rating, and nothing known of a delete.
    pub const ABSENT: Self = Self { rating: None, update_id: None };
}

impl From<&Rating> for Cell {
    fn from(rating: &Rating) -> Self {
        Self { rating: rating.rating, update_id: rating.update_id }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.rating, self.update_id) {
            (Some(stars), Some(id)) => write!(f, "{stars} by {id}"),
            (Some(stars), None) => write!(f, "{stars} of the data set"),
            (None, Some(id)) => write!(f, "nothing since {id}"),
            (None, None) => f.write_str("nothing"),
        }
    }
}

/// One key and what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// User of the rating.
    pub user_id: UserId,
    /// Movie of the rating.
    pub movie_id: MovieId,
    /// Value of the key.
    #[serde(flatten)]
    pub cell: Cell,
}

impl Row {
    /// The key.
    pub fn key(&self) -> RatingKey {
        RatingKey { user_id: self.user_id, movie_id: self.movie_id }
    }
}

/// A mean, as an answer shows it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The movie.
    pub movie_id: MovieId,
    /// The mean in stars; `None` where there are no ratings.
    pub average: Option<f64>,
    /// Number of ratings.
    pub count: u64,
}

/// Content of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// To modify.
    Write {
        /// Create, update or delete.
        request: Update,
        /// The update's id; `None` while only the frontend knows it.
        id: Option<UpdateId>,
    },
    /// One rating.
    Read {
        /// User of the rating.
        user_id: UserId,
        /// Movie of the rating.
        movie_id: MovieId,
    },
    /// A page of a user's ratings.
    All {
        /// User of the ratings.
        user_id: UserId,
        /// Only movies with a greater id; 0 for all.
        after: u32,
    },
    /// The mean of a movie's ratings.
    Average {
        /// The movie.
        movie_id: MovieId,
    },
}

impl Kind {
    /// Kind of a query; `None` for a search, which the checks know nothing of.
    pub fn of(query: &Query) -> Option<Self> {
        match *query {
            Query::Read { user_id, movie_id } => Some(Self::Read { user_id, movie_id }),
            Query::All { user_id, after, .. } => Some(Self::All { user_id, after }),
            Query::Average { movie_id } => Some(Self::Average { movie_id }),
            Query::Search { .. } => None,
        }
    }
}

/// Content of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// Nothing but that it was done.
    Done,
    /// One key: what was read, what a create or update wrote, or what a delete took away: no rating, by the delete
    /// itself, where it took nothing away.
    Cell(Cell),
    /// A page: all ratings from `after` up to `until`, that included; without `until`, all from `after` on.
    Page {
        /// The ratings.
        rows: Vec<Row>,
        /// The last movie that the page speaks of; `None` on the last page.
        until: Option<MovieId>,
    },
    /// A mean.
    Mean(Mean),
}

impl Seen {
    /// Content of `answer`; a search counts as [`Seen::Done`].
    pub fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Rating(rating) => Self::Cell(rating.into()),
            Answer::Ratings(page) => {
                let row =
                    |rating: &Rating| Row { user_id: rating.user_id, movie_id: rating.movie_id, cell: rating.into() };
                Self::Page { rows: page.ratings.iter().map(row).collect(), until: page.next }
            }
            Answer::Average(average) => {
                Self::Mean(Mean { movie_id: average.movie_id, average: average.average, count: average.count })
            }
            Answer::Movies(_) => Self::Done,
        }
    }
}

/// Why a request changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A rating was there.
    RatingExists,
    /// No rating was there.
    RatingNotFound,
    /// Something that tells nothing of the ratings.
    Other,
}

/// Outcome of an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Ok(Seen),
    /// It was not done, and never will be. After an earlier attempt under the same id without an answer, this needs a
    /// cluster that answers a retry like the first attempt; else it is [`Outcome::Unknown`].
    Refused(Reason),
    /// It may have been done, or may be later.
    Unknown,
}

impl Outcome {
    /// Outcome that an answer stands for.
    pub fn of(answer: Result<&Answer, &FrontendError>) -> Self {
        match answer {
            Ok(answer) => Self::Ok(Seen::of(answer)),
            Err(FrontendError::Refused { refusal: Refusal::RatingExists, .. }) => Self::Refused(Reason::RatingExists),
            Err(FrontendError::Refused { refusal: Refusal::RatingNotFound, .. }) => {
                Self::Refused(Reason::RatingNotFound)
            }
            Err(
                FrontendError::UpdateTimeout { .. }
                | FrontendError::RefusalUncertain { .. }
                | FrontendError::NotEnoughReplicas { .. },
            ) => Self::Unknown,
            Err(_) => Self::Refused(Reason::Other),
        }
    }
}

/// One operation of a session. A session does one thing after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Name of the session.
    pub session: String,
    /// Content of the request.
    pub kind: Kind,
    /// When the request was sent, in microseconds on a clock that all sessions share.
    pub start_us: u64,
    /// When the answer came, or when the session stopped waiting for it, in microseconds.
    pub end_us: u64,
    /// Outcome, as the session knows it.
    pub outcome: Outcome,
}

impl Operation {
    /// The update's id, also where only the answer told it.
    pub fn id(&self) -> Option<UpdateId> {
        let Kind::Write { request, id } = &self.kind else { return None };
        let told = match &self.outcome {
            Outcome::Ok(Seen::Cell(cell)) if cell.rating.is_none() || request.stars().is_some() => cell.update_id,
            _ => None,
        };
        id.or(told)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.session)?;
        match &self.kind {
            Kind::Write { request, .. } => {
                write!(f, "{} {}", request.method(), request.key())?;
                if let Some(stars) = request.stars() {
                    write!(f, " {stars}")?;
                }
                if let Some(id) = self.id() {
                    write!(f, " as {id}")?;
                }
            }
            Kind::Read { user_id, movie_id } => write!(f, "READ user={user_id} movie={movie_id}")?,
            Kind::All { user_id, after } => write!(f, "ALL user={user_id} after={after}")?,
            Kind::Average { movie_id } => write!(f, "AVERAGE movie={movie_id}")?,
        }
        match &self.outcome {
            Outcome::Ok(Seen::Done) => f.write_str(": done")?,
            Outcome::Ok(Seen::Cell(cell)) => write!(f, ": {cell}")?,
            Outcome::Ok(Seen::Page { rows, .. }) => write!(f, ": {} ratings", rows.len())?,
            Outcome::Ok(Seen::Mean(mean)) => write!(f, ": {:?} of {}", mean.average, mean.count)?,
            Outcome::Refused(reason) => write!(f, ": refused, {reason:?}")?,
            Outcome::Unknown => f.write_str(": no answer")?,
        }
        write!(f, " ({}..{} us)", self.start_us, self.end_us)
    }
}

/// State of one replica when all is quiet: every update that anyone saw has reached it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Final {
    /// Name of the replica.
    pub replica: String,
    /// Users whose ratings `rows` lists in full.
    pub users: Vec<UserId>,
    /// All their ratings; a key that is left out has none.
    pub rows: Vec<Row>,
    /// Means read there.
    pub means: Vec<Mean>,
}

/// All that clients did and saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Ratings of the data set: every rating of the users and movies that the rest speaks of.
    pub initial: Vec<Row>,
    /// The operations; those of one session in their order.
    pub operations: Vec<Operation>,
    /// States of the replicas at the end; empty where they were not read, or where more was lost than is promised to
    /// survive.
    pub finals: Vec<Final>,
}
