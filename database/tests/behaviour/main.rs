//! How the database behaves, seen from outside.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail like tests")]

mod common;
mod csv_files;
mod generate;
mod movielens;
mod queries;
mod sqlite_files;
mod store;
