//! The value of a replica: data sets, and the store that updates are applied to and queries read.
//!
//! - [`source`]: where ratings come from: the sample, a MovieLens folder, a SQLite file
//! - [`store`]: the store itself, `natter_common::value::Value` over SQLite; [`schema`] is its layout
//! - `answers`, `catalogue`, `fold`: how queries are answered, the films in memory, case and accents in a search
//! - [`fingerprint`]: the data set's fingerprint and the digest of the ratings
//! - [`import`], [`generate`]: make SQLite files, through `create`; `movielens` and `records` read CSV files; `base` and
//!   `builder` are what a data set is once it is a database
//! - [`verify`]: reads a SQLite file from end to end, which opening it doesn't
//! - [`error`], [`progress`]: what is told to people

mod answers;
mod base;
mod builder;
mod catalogue;
mod create;
pub mod error;
pub mod fingerprint;
mod fold;
pub mod generate;
pub mod import;
mod movielens;
pub mod progress;
mod random;
mod records;
pub mod schema;
pub mod source;
pub mod store;
pub mod verify;

pub use base::{Counts, Description};
pub use error::DataError;
pub use fingerprint::Fingerprint;
pub use source::DataSource;
pub use store::Store;
