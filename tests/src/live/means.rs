//! Faults that take more than one call.

use std::time::{Duration, Instant};

use super::stage::Stage;

/// Size of a message to a slow consumer, in bytes, and maximum number of such messages.
const JUNK_BYTES: usize = 256 * 1024;
const JUNK_MESSAGES: usize = 400;
/// A broker that is frozen, or gone, takes nothing.
const PATIENCE: Duration = Duration::from_millis(500);
/// Maximum wait for an effect that comes soon.
const SOON: Duration = Duration::from_millis(2500);

impl Stage<'_> {
    /// Sends junk until the brokers have closed more connections as slow consumers than `before`. Says whether they did.
    pub async fn flood(&self, subject: &str, before: usize) -> bool {
        let began = Instant::now();
        for wire in self.wires.iter().cycle().take(JUNK_MESSAGES) {
            let sent = async {
                wire.publish(subject, vec![0; JUNK_BYTES]).await;
                wire.flush().await;
            };
            let _ = tokio::time::timeout(PATIENCE, sent).await;
            if self.brokers.slow_consumers() > before {
                return true;
            }
            if began.elapsed() > SOON {
                return false;
            }
        }
        false
    }

    /// Sets a process's clock ahead, or behind, and waits until it says so. Says whether it did.
    pub async fn set_clock_ahead(&mut self, name: &str, offset_ms: i64) -> bool {
        let (began, line) = (Instant::now(), format!("the wall clock is ahead by {offset_ms} ms"));
        let said = |stage: &mut Self| stage.cluster.member(name).log().matches(&line).count();
        let before = said(self);
        self.cluster.set_clock_ahead(name, offset_ms);
        while said(self) == before {
            if began.elapsed() > SOON {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }
}
