//! Waits for a data directory that another program has open.

use std::future::Future;
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use crate::storage::Storage;
use crate::{ReplicaArgs, ReplicaError};

/// The pause between two attempts to open a directory that another program has open.
const PAUSE: Duration = Duration::from_millis(250);

/// Opens the store as `open` does. While another program has the directory open, says so once, and tries again. Gives
/// nothing where `shutdown` comes first.
pub(crate) async fn until_free(
    arguments: &ReplicaArgs,
    open: impl Fn(&ReplicaArgs) -> Result<Storage, ReplicaError>,
    mut shutdown: std::pin::Pin<&mut impl Future<Output = ()>>,
) -> Result<Option<Storage>, ReplicaError> {
    let mut told = String::new();
    loop {
        match open(arguments) {
            Err(ReplicaError::Directory(error)) if error.passes() => {
                let text = error.to_string();
                if text != told {
                    warn!("{text}: the replica waits until it can use the directory");
                    told = text;
                }
            }
            opened => return opened.map(Some),
        }
        tokio::select! {
            biased;
            () = &mut shutdown => return Ok(None),
            () = sleep(PAUSE) => {}
        }
    }
}
