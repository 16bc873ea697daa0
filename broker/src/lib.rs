//! Everything about the broker that is not the protocol: connecting, and what processes around a connection share.
//! Starting brokers and other processes is for `natter-processes`.
//!
//! - [`options`]: the command-line options that every binary shares; [`duration`]: durations among them
//! - [`context`]: the `nats` CLI's contexts; [`target`]: options and context together: servers and identity
//! - [`connection`]: connecting, staying connected, and telling of it
//! - [`access`]: proof that the broker hears a process and permits what it needs; [`ask`]: a request that waits for the right
//!   answer
//! - [`logs`]: logs on standard error, as text or as JSON; [`log_queue`]: no core waits for a log; [`moderation`]: lines
//!   that others cause, told of in moderation
//! - [`role`]: parts that frontends and replica managers share as programs; [`live`]: presence for their STATS
//! - [`trail`]: lines of the debug log by which messages are joined with their receivers; [`traceparent`]: trace contexts
//! - [`streams`]: streams that are read together; [`publisher`]: publishing without standing still
//! - [`metrics`]: metrics and health over HTTP
//! - [`clocks`] and [`pulse`]: time for the shells; [`signals`] and [`shutdown`]: signals for all programs
//! - [`service`]: answers to the questions of `nats micro`; [`service_error`]: errors as headers
//! - [`environment`]: the environment variables, as a value that a test can make up
//!
//! Options of the command line are read by functions whose errors are sentences for people:
//!
//! ```
//! use natter_broker::duration::{format_duration, parse_duration};
//! use natter_broker::service_error::header_text;
//! use natter_broker::size::parse_size;
//!
//! assert_eq!(parse_duration("1m 30s").map(format_duration).as_deref(), Ok("1m 30s"));
//! assert_eq!(parse_duration("0s").unwrap_err(), "\"0s\" is zero: write a duration above zero, like 500ms or 2s");
//! assert_eq!(parse_size("64MiB").map(|size| size.as_u64()), Ok(64 << 20));
//! // A header of NATS is one line of printable ASCII.
//! assert_eq!(header_text("Amélie\nis missing"), r"Am\u{e9}lie is missing");
//! ```

pub mod access;
pub mod ask;
pub mod clocks;
pub mod connection;
pub mod context;
pub mod duration;
pub mod environment;
mod identity;
pub mod live;
pub mod log_queue;
pub mod logs;
pub mod metrics;
pub mod moderation;
pub mod options;
pub mod publisher;
pub mod pulse;
pub mod role;
mod secrets;
pub mod service;
pub mod service_error;
pub mod shutdown;
pub mod signals;
pub mod size;
pub mod streams;
pub mod target;
pub mod traceparent;
pub mod trail;
