//! Behaviour of the database, seen from outside.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail like tests")]

mod commits;
mod common;
mod content;
mod copies;
mod csv_files;
mod damage;
mod durable;
mod export;
mod generate;
mod movielens;
mod older_formats;
mod other_programs;
mod queries;
mod read_out;
mod replica_files;
mod sqlite_files;
mod store;
mod unwritten;
