//! The value of a replica: data sets, and the store that updates are applied to and queries read.
//!
//! - [`source`]: where ratings come from: the sample, a MovieLens folder, a SQLite file
//! - [`store`]: the store itself, `natter_common::value::Value` over SQLite, whose layout is in [`schema`], `overlay`, what
//!   updates wrote, and `read_rows`, what was read of the data set lately
//! - [`directory`], `recovery`, [`durable`], `on_disk`, `wal`, `save`, `saved`, `kept`, `generation`, `log_file`, `log_sync`, `files`,
//!   `holder`, `owner`, `rescue`, `sealed`: the store of a durable replica, in a directory of its own: how it is opened again, what it saves
//!   and when, and how damage, copies and other programs are noticed
//! - [`export`]: writes a replica's ratings as a data set; [`read_out`]: takes them from a directory; [`partial`]: files
//!   that are not finished
//! - `answers`, `catalogue`, `fold`: how queries are answered, the movies in memory, case and accents in a search
//! - [`fingerprint`]: the data set's fingerprint and the digest of the ratings
//! - [`import`], [`generate`]: make SQLite files, through `create`; `movielens` and `records` read CSV files; `base` and
//!   `builder` are what a data set is once it is a database; `columns`: what SQLite gives, as values
//! - [`verify`]: reads a SQLite file from end to end, which opening it doesn't
//! - [`error`], [`progress`]: what is told to people

mod answers;
mod base;
mod builder;
mod catalogue;
mod columns;
mod create;
pub mod directory;
pub mod durable;
pub mod error;
pub mod export;
mod files;
pub mod fingerprint;
mod fold;
pub mod generate;
mod generation;
mod holder;
pub mod import;
mod kept;
mod log_file;
mod log_sync;
mod movielens;
mod on_disk;
mod overlay;
mod owner;
pub mod partial;
pub mod progress;
mod random;
pub mod read_out;
mod read_rows;
mod records;
mod recovery;
mod rescue;
mod save;
mod saved;
pub mod schema;
mod sealed;
pub mod source;
pub mod store;
pub mod verify;
mod wal;

pub use base::{Counts, Description};
pub use directory::DataDirectory;
pub use durable::{Identity, Recovered, Sync};
pub use error::{DataError, DirectoryError, DirectoryProblem, OpenError};
pub use fingerprint::Fingerprint;
pub use holder::Holder;
pub use log_sync::LogSync;
pub use source::DataSource;
pub use store::Store;
