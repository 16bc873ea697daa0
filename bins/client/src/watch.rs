//! Commands that look at a running cluster: they listen as an ordinary client of the broker, and change nothing.
//!
//! - [`listen`]: subscriptions, and what comes in by them; [`message`]: messages, decoded; [`order`]: causes before effects
//! - [`exchange`]: replies matched to their requests; [`names`]: short names of processes; [`mod@line`]: a message in words
//! - [`trace`]: the way of one request; [`diagram`]: that as a picture of text
//! - [`shiviz`]: logs of a run for ShiViz
//! - [`tap`]: one line for each message; [`status`]: the state of all processes, and [`screen`]: that on one screen

pub mod diagram;
pub mod exchange;
pub mod line;
pub mod listen;
pub mod message;
pub mod names;
pub mod order;
pub mod screen;
pub mod shiviz;
pub mod status;
pub mod tap;
pub mod trace;
