//! The value of a replica: data sets, and the store that updates are applied to and queries read.
//!
//! Parts, in the order to read them:
//!
//! - [`dataset`]: where ratings come from: the sample, a MovieLens folder, a SQLite file; and how such files are made
//! - [`store`]: the store itself, `natter_common::value::Value` over SQLite
//! - [`durability`]: the store of a durable replica, in a directory of its own
//! - [`export`]: writes a replica's ratings as a data set, and reads them out of a directory
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
