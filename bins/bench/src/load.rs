//! The load generator: a process of its own, which does what it is told on standard input and tells what it saw on standard
//! output, a line of JSON each.
//!
//! - [`job`]: what it is told, and what it tells
//! - [`process`]: this end of the two pipes; [`handle`]: the other one; [`memory`]: what is known from one measurement to the
//!   next
//! - [`exchange`]: requests and their replies over a few connections, many open on each; [`pace`]: when they are made
//! - [`workload`]: what is asked, and whether the answer is right: [`raw`], [`natter`] with [`keys`], [`batch`],
//!   [`kv`]; [`valkey`], which has its own connections
//! - [`requests`]: the same raw requests by the client library's own means, to compare with
//! - [`convergence`]: how long after its acknowledgement an update is readable everywhere; [`question`]: whether it is
//!
//! It is lean, so that it measures the system and not itself: one thread, one reply subscription a connection, prepared
//! payloads in which only ids change, no timer a request. Everything is asked and answered through the same code.

mod batch;
mod convergence;
mod exchange;
pub(crate) mod handle;
pub(crate) mod job;
mod keys;
pub(crate) mod kv;
pub(crate) mod memory;
pub(crate) mod natter;
mod pace;
mod process;
mod question;
pub(crate) mod raw;
mod requests;
pub(crate) mod valkey;
pub(crate) mod workload;

pub(crate) use process::main;
