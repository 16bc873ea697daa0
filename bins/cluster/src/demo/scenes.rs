//! The scenes, a file each.

pub(super) mod behind;
pub(super) mod concurrent;
pub(super) mod delete;
pub(super) mod loss;
pub(super) mod offline;
pub(super) mod partition;
pub(super) mod snapshot;
mod steps;
pub(super) mod update;
