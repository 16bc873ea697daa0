//! The way to the launcher that started this observer: verbs there, outcomes and the state of its processes back.
//!
//! It is a socket in a private folder, which the launcher removes when the observer has connected. So no other program can
//! send verbs, and none of them travels by the broker. Each message is a line of JSON.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// Verbs that may wait for the launcher.
const WAITING_MAX: usize = 16;
/// Maximum time for the launcher to perform a verb. A process that starts is the slowest.
const PATIENCE: Duration = Duration::from_secs(60);

/// A verb on its way to the launcher.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerbOrder {
    /// Number by which its outcome is told from others.
    pub number: u64,
    /// The verb as text: `kill r2`.
    pub verb: String,
}

/// A message of the launcher.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LauncherMessage {
    /// The outcome of a verb.
    Outcome {
        /// Number of the order.
        number: u64,
        /// Whether it was performed.
        is_done: bool,
        /// A sentence on what happened, or why nothing did.
        text: String,
    },
    /// The state, after each change.
    State(LauncherState),
}

/// The launcher's processes as they are now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LauncherState {
    /// All processes.
    pub members: Vec<MemberState>,
    /// The link between two sites, where there are two: `works` or `cut`.
    pub link: Option<String>,
}

/// A process of the launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberState {
    /// Its name: `r2`.
    pub name: String,
    /// Its role.
    pub role: String,
    /// Its site, where there are two.
    pub site: Option<String>,
    /// Its condition: `running`, `paused`, `killed` or `ended`.
    pub condition: String,
}

type Outcome = Result<String, String>;

/// The launcher, for the page.
#[derive(Clone, Debug)]
pub(crate) struct Launcher {
    orders: mpsc::Sender<(String, oneshot::Sender<Outcome>)>,
    pub(crate) state: watch::Receiver<LauncherState>,
}

impl Launcher {
    /// Connects to the launcher's socket.
    pub(crate) async fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path).await?;
        let (orders, waiting) = mpsc::channel(WAITING_MAX);
        let (sender, state) = watch::channel(LauncherState::default());
        tokio::spawn(carry(stream, waiting, sender));
        Ok(Self { orders, state })
    }

    /// Has the launcher perform a verb, and says in words what became of it.
    pub(crate) async fn perform(&self, verb: String) -> Outcome {
        let gone = || "the launcher does not answer any more".to_owned();
        let (outcome, answer) = oneshot::channel();
        self.orders.send((verb, outcome)).await.map_err(|_| gone())?;
        let late = |_| "the launcher has not finished this yet: its state below shows what becomes of it".to_owned();
        timeout(PATIENCE, answer).await.map_err(late)?.map_err(|_| gone())?
    }
}

/// Carries messages until either side ends.
async fn carry(
    stream: UnixStream,
    mut waiting: mpsc::Receiver<(String, oneshot::Sender<Outcome>)>,
    state: watch::Sender<LauncherState>,
) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let (mut asked, mut number) = (std::collections::HashMap::new(), 0);
    loop {
        tokio::select! {
            Some((verb, outcome)) = waiting.recv() => {
                number += 1;
                asked.insert(number, outcome);
                let Ok(mut line) = serde_json::to_vec(&VerbOrder { number, verb }) else { return };
                line.push(b'\n');
                if writer.write_all(&line).await.is_err() {
                    return;
                }
            }
            line = lines.next_line() => match line.ok().flatten().map(|line| serde_json::from_str(&line)) {
                Some(Ok(LauncherMessage::State(now))) => {
                    state.send_replace(now);
                }
                Some(Ok(LauncherMessage::Outcome { number, is_done, text })) => {
                    if let Some(outcome) = asked.remove(&number) {
                        // A browser that is gone needs no outcome.
                        let _ = outcome.send(if is_done { Ok(text) } else { Err(text) });
                    }
                }
                // The launcher is of the same program, so a wrong line can only be a cut one.
                Some(Err(_)) | None => return,
            },
        }
    }
}
