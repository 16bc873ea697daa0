//! The way of verbs from the observer's page to the launcher, with `--control`.
//!
//! It is a socket in a folder that only this user can open. The socket goes as soon as the observer has connected, so no
//! other program can use it. The launcher sends the state of its processes back, after each change.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use natter_observer::launcher::{LauncherMessage, LauncherState, VerbOrder};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::control::{Controls, Verb};

/// Maximum time for the observer to connect, once it runs.
const PATIENCE: Duration = Duration::from_secs(10);
/// Outcomes that may wait to be sent.
const OUTCOMES_MAX: usize = 16;

/// The socket, before the observer has connected.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
    folder: TempDir,
}

impl Door {
    /// Opens a socket in a private folder below `parent`, or below the usual one for temporary files.
    pub(crate) fn open(parent: Option<&Path>) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("natter-control-").permissions(std::fs::Permissions::from_mode(0o700));
        let folder = match parent {
            Some(parent) => builder.tempdir_in(parent)?,
            None => builder.tempdir()?,
        };
        let listener = UnixListener::bind(folder.path().join("launcher"))?;
        Ok(Self { listener, folder })
    }

    /// The socket's path.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("launcher")
    }

    /// The folder, to be removed at the end.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Lets the observer in, and nobody after it.
    pub(crate) async fn let_in(
        self,
        controls: Controls,
        state: watch::Receiver<LauncherState>,
    ) -> io::Result<PageLink> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it does not connect to the launcher");
        let (stream, _) = timeout(PATIENCE, self.listener.accept()).await.map_err(late)??;
        Ok(PageLink(tokio::spawn(serve(stream, controls, state))))
    }
}

/// The connection with the observer. Dropping this ends it.
#[derive(Debug)]
pub(crate) struct PageLink(JoinHandle<()>);

impl Drop for PageLink {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(stream: UnixStream, controls: Controls, mut state: watch::Receiver<LauncherState>) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let (done, mut outcomes) = mpsc::channel(OUTCOMES_MAX);
    state.mark_changed();
    loop {
        let message = tokio::select! {
            line = lines.next_line() => {
                let Some(Ok(order)) = line.ok().flatten().map(|line| serde_json::from_str(&line)) else { return };
                // The state is sent on while a verb takes its time.
                tokio::spawn(perform(order, controls.clone(), done.clone()));
                continue;
            }
            Some(outcome) = outcomes.recv() => outcome,
            Ok(()) = state.changed() => LauncherMessage::State(state.borrow_and_update().clone()),
        };
        let Ok(mut line) = serde_json::to_vec(&message) else { return };
        line.push(b'\n');
        if writer.write_all(&line).await.is_err() {
            return;
        }
    }
}

async fn perform(order: VerbOrder, controls: Controls, done: mpsc::Sender<LauncherMessage>) {
    let outcome = match Verb::parse(&order.verb) {
        Ok(Verb::Quit) => Err("the page cannot end the cluster: end it in its terminal".to_owned()),
        Ok(verb) => controls.perform(verb).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let is_done = outcome.is_ok();
    let text = outcome.unwrap_or_else(|reason| reason);
    // An observer that is gone needs no outcome.
    let _ = done.send(LauncherMessage::Outcome { number: order.number, is_done, text }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn socket_is_private_and_gone_after_the_first_connection() {
        let door = Door::open(None).unwrap();
        let (path, folder) = (door.path(), door.folder().to_owned());
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let (controls, mut orders) = Controls::new();
        let (_state, watching) = watch::channel(LauncherState::default());
        let (stream, link) = tokio::join!(UnixStream::connect(&path), door.let_in(controls, watching));
        let (_link, mut stream) = (link.unwrap(), BufReader::new(stream.unwrap()));
        assert!(!folder.exists() && UnixStream::connect(&path).await.is_err());
        stream
            .get_mut()
            .write_all(b"{\"number\":7,\"verb\":\"quit\"}\n{\"number\":8,\"verb\":\"cut\"}\n")
            .await
            .unwrap();
        let order = orders.recv().await.unwrap();
        assert_eq!(order.verb, Verb::Cut);
        order.outcome.send(Ok("it is cut".to_owned())).unwrap();
        let mut told = String::new();
        while !(told.contains("it is cut") && told.contains("cannot end the cluster")) {
            assert!(stream.read_line(&mut told).await.unwrap() > 0, "{told}");
        }
    }
}
