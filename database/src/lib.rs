//! The value of a replica: data sets, and the store that updates are applied to and queries read.
//!
//! Parts, in the order to read them:
//!
//! - [`dataset`]: where ratings come from: the sample, a MovieLens folder, a SQLite file; and how such files are made
//! - [`store`]: the store itself, `natter_common::value::Value` over SQLite
//! - [`durability`]: the store of a durable replica, in a directory of its own
//! - [`export`]: writes a replica's ratings as a data set, and reads them out of a directory
//!
//! ```
//! use natter_common::clock::Stamp;
//! use natter_common::ids::{MovieId, UpdateId, UserId};
//! use natter_common::rating::{RatingKey, Stars};
//! use natter_common::value::{Row, Value};
//! use natter_database::{DataSource, Store};
//!
//! // The sample data set, in memory.
//! let mut store = Store::open(&DataSource::at(None)?)?;
//! let key = RatingKey { user_id: UserId::new(42)?, movie_id: MovieId::new(1)? };
//! let update = |half_stars, stamp| -> Result<Row, Box<dyn std::error::Error>> {
//!     let (stars, stamp) = (Some(Stars::from_half_stars(half_stars)?), Stamp(stamp));
//!     Ok(Row { stars, timestamp: 0, stamp, update_id: Some(UpdateId::from_stamp(stamp, 0)) })
//! };
//! assert!(store.apply(key, update(9, 2)?)?);
//! // Of two updates of one rating the one with the greater stamp stands, in whatever order they come.
//! assert!(!store.apply(key, update(3, 1)?)?);
//! assert_eq!(store.row(key)?, Some(update(9, 2)?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! All of them use [`schema`], the layout of the databases; `sqlite`, connections and columns; [`fingerprint`], the hashes of
//! data sets and ratings; [`partial`], files that are not finished; and [`error`].

pub mod dataset;
pub mod durability;
pub mod error;
pub mod export;
pub mod fingerprint;
pub mod partial;
pub mod schema;
mod sqlite;
pub mod store;

pub use dataset::{Counts, DataSource, Description};
pub use durability::{DataDirectory, Holder, Identity, LogSync, Recovered, Sync};
pub use error::{DataError, DirectoryError, DirectoryProblem, OpenError};
pub use fingerprint::Fingerprint;
pub use store::Store;
