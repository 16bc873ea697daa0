//! Last presence of a process, which the STATS of its service show.

use std::sync::{Arc, Mutex, PoisonError};

use natter_common::messages::Presence;

/// The last presence, as JSON; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Live(Arc<Mutex<serde_json::Value>>);

impl Live {
    /// For STATS.
    pub fn read(&self) -> serde_json::Value {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This is shown from now on.
    pub fn show(&self, presence: &Presence) {
        if let Ok(value) = serde_json::to_value(presence) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
        }
    }
}
