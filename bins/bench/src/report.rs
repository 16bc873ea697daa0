//! Reports: tables for people, JSON for programs, plots.

mod guarantees;
pub(crate) mod json;
pub(crate) mod plots;
mod svg;
pub(crate) mod tables;
mod watched;
