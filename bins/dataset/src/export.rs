//! `dataset export`: the ratings of a running replica as a data set, as they stood at one value timestamp.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use async_nats::{Client, Message};
use futures_util::StreamExt;
use natter_broker::ask::{AskError, WrongAnswer, ask, denials};
use natter_broker::connection::{ConnectionSettings, Denial, Patience, connect};
use natter_broker::options::BrokerOptions;
use natter_broker::role;
use natter_common::ids::ReplicaId;
use natter_common::messages::{
    Presence, Role, SnapshotChunk, SnapshotPart, SnapshotPlace, SnapshotReply, SnapshotRequest,
};
use natter_common::rating::RatingKey;
use natter_common::subjects::Subjects;
use natter_common::timestamp::Timestamp;
use natter_common::value::Row;
use natter_common::wire::Format;
use natter_database::export::{write_csv, write_sqlite};
use natter_database::{Counts, DataSource, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep_until};

/// Every replica shows itself within this time.
const PRESENCE: Duration = Duration::from_millis(1600);
/// How long a chunk may take.
const CHUNK: Duration = Duration::from_secs(3);
/// A chunk is asked for so often.
const TRIES: u32 = 5;

/// What to export, and where to.
#[derive(clap::Args, Debug)]
pub(crate) struct Export {
    /// A new folder in MovieLens' layout; or, where the name ends with .sqlite, one SQLite file.
    to: PathBuf,
    /// Of this replica [default: one that serves]
    #[arg(long, value_name = "ID")]
    replica: Option<ReplicaId>,
    /// The data set that the replicas started from [default: the sample]
    #[arg(long, value_name = "PATH")]
    database: Option<PathBuf>,
    #[command(flatten)]
    broker: BrokerOptions,
}

/// A connection, and what the broker refuses it.
struct Broker {
    client: Client,
    denials: broadcast::Sender<Denial>,
}

/// A snapshot that has come.
struct Snapshot {
    value_timestamp: Timestamp,
    rows: Vec<(RatingKey, Row)>,
}

impl Export {
    /// Takes the snapshot and writes the data set. Gives what to print.
    pub(crate) async fn run(self) -> anyhow::Result<String> {
        if self.to.exists() {
            bail!("{} exists: choose another name, or move it away", self.to.display());
        }
        let source = DataSource::at(self.database.as_deref())?;
        let fingerprint = Store::open(&source)?.fingerprint().to_string();
        let prefix = &self.broker.prefix;
        let subjects = Subjects::new(prefix).ok_or_else(|| anyhow!("--prefix: {prefix:?} is no subject"))?;
        let own = role::new_id("export")?;
        let settings =
            ConnectionSettings { name: own.to_string(), no_echo: true, patience: Patience::GiveUpAfter(CHUNK) };
        let (sender, events) = unbounded_channel();
        let client = connect(&self.broker, &settings, Some(sender)).await?;
        let broker = Broker { client, denials: denials(events) };
        let replica = find(&broker, &subjects, self.replica.as_ref(), &fingerprint).await?;
        let snapshot = take(&broker, &subjects, &own, &replica).await?;
        let changed = snapshot.rows.len();
        let counts = write(&self.to, &source, snapshot.rows)?;
        Ok(format!(
            "replica         {replica}\nvalue timestamp {}\nmovies          {}\nusers           {}\nratings         \
             {}\nwritten over    {changed} since the data set\n",
            snapshot.value_timestamp, counts.movies, counts.users, counts.ratings
        ))
    }
}

fn write(to: &Path, source: &DataSource, rows: Vec<(RatingKey, Row)>) -> anyhow::Result<Counts> {
    let is_sqlite = to.extension().is_some_and(|extension| extension == "sqlite");
    Ok(if is_sqlite { write_sqlite(to, source, rows)? } else { write_csv(to, source, rows)? })
}

/// The replica of that name, or one that serves. It must have started from the same data set.
async fn find(
    broker: &Broker,
    subjects: &Subjects,
    wanted: Option<&ReplicaId>,
    fingerprint: &str,
) -> anyhow::Result<ReplicaId> {
    let mut denials = broker.denials.subscribe();
    let mut presences = broker.client.subscribe(subjects.all_presence(Role::Replica)).await?;
    let until = Instant::now() + PRESENCE;
    let mut other_dataset = None;
    loop {
        let message = tokio::select! {
            message = presences.next() => message,
            Ok(denial) = denials.recv() => bail!("the broker does not permit to {denial}: connect as a user that may"),
            () = sleep_until(until) => None,
        };
        let Some(message) = message else { break };
        let Ok(presence) = decode::<Presence>(&message) else { continue };
        if wanted.is_some_and(|wanted| *wanted != presence.id) || (wanted.is_none() && !presence.is_serving()) {
            continue;
        }
        match presence.dataset {
            Some(dataset) if dataset != fingerprint => other_dataset = Some((presence.id, dataset)),
            _ => return Ok(presence.id),
        }
    }
    match (other_dataset, wanted) {
        (Some((id, dataset)), _) => Err(anyhow!(
            "replica {id} started from the data set {dataset} and not from this one, which is {fingerprint}: name its data \
             set with --database"
        )),
        (None, Some(wanted)) => {
            Err(anyhow!("there is no replica {wanted}: `nats micro info replica` shows those there are"))
        }
        (None, None) => Err(anyhow!("no replica serves: start one, or name one that is there with --replica")),
    }
}

async fn take(broker: &Broker, subjects: &Subjects, own: &ReplicaId, replica: &ReplicaId) -> anyhow::Result<Snapshot> {
    let mut rows = Vec::new();
    let mut request = SnapshotRequest { id: own.clone(), snapshot: 0, from: SnapshotPlace::Start };
    loop {
        let chunk = chunk(broker, subjects, replica, &request).await?;
        rows.extend(chunk.rows.iter().map(|row| (row.key(), row.row())));
        match chunk.next {
            // What comes after the rows is for replicas.
            Some(SnapshotPlace::AfterRow(user_id, movie_id)) => {
                request.snapshot = chunk.snapshot;
                request.from = SnapshotPlace::AfterRow(user_id, movie_id);
            }
            _ => return Ok(Snapshot { value_timestamp: chunk.value_timestamp.replicas, rows }),
        }
    }
}

async fn chunk(
    broker: &Broker,
    subjects: &Subjects,
    replica: &ReplicaId,
    request: &SnapshotRequest,
) -> anyhow::Result<SnapshotChunk> {
    let subject = subjects.replica(replica, "snapshot");
    let payload = encode(request)?;
    let mut tries = 0;
    loop {
        tries += 1;
        let denials = Some(broker.denials.subscribe());
        let answer =
            ask(&broker.client, subject.clone(), payload.clone().into(), CHUNK, denials, |message| {
                match decode::<SnapshotReply>(message) {
                    Ok(reply) if reply.id == *replica => Ok(reply),
                    Ok(_) => Err(WrongAnswer::of(message, &"it names another replica")),
                    Err(error) => Err(WrongAnswer::of(message, &error)),
                }
            });
        match answer.await.map(|reply| reply.part) {
            Ok(SnapshotPart::Chunk(chunk)) => return Ok(*chunk),
            Ok(SnapshotPart::Unavailable { reason }) => {
                bail!("replica {replica} gives no snapshot: {reason}: try again")
            }
            Err(AskError::NoAnswer { .. }) if tries < TRIES => {}
            Err(error) => {
                return Err(anyhow!(error).context(format!("replica {replica} cannot be asked for a snapshot")));
            }
        }
    }
}

fn encode(message: &impl Serialize) -> anyhow::Result<Vec<u8>> {
    Ok(Format::MessagePack.encode(message)?)
}

fn decode<T: DeserializeOwned>(message: &Message) -> anyhow::Result<T> {
    Format::MessagePack.decode(&message.payload).context("an answer cannot be read")
}
