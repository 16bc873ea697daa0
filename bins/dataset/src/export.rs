//! `dataset export`: the ratings of a replica as a data set, as they stood at one value timestamp: of one that runs, or of a
//! directory.

use std::collections::HashMap;
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
use natter_database::export::{ReadOut, read_out};
use natter_database::export::{beside, write_csv, write_sqlite};
use natter_database::{Counts, DataSource, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep_until};

/// Time within which every replica shows itself.
const PRESENCE: Duration = Duration::from_millis(1600);
/// Maximum time for a chunk.
const CHUNK: Duration = Duration::from_secs(3);
/// Attempts for each chunk.
const TRIES: u32 = 5;

/// Arguments of `export`: source and destination.
#[derive(clap::Args, Debug)]
pub(crate) struct Export {
    /// A new folder in MovieLens' layout; or, where the name ends with .sqlite, one SQLite file.
    to: PathBuf,
    /// Replica to export [default: one that serves]
    #[arg(long, value_name = "ID", conflicts_with = "data_dir")]
    replica: Option<ReplicaId>,
    /// Read a replica's directory out, also a damaged one, and leave it as it is; no replica may run on it
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Also say whether a replica that runs has all that is in the directory
    #[arg(long, requires = "data_dir")]
    compare: bool,
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
    /// Takes the ratings and writes the data set. Gives what to print.
    pub(crate) async fn run(self) -> anyhow::Result<String> {
        if self.to.exists() {
            bail!("{} exists: choose another name, or move it away", self.to.display());
        }
        let source = DataSource::at(self.database.as_deref())?;
        match &self.data_dir {
            Some(directory) => self.run_on(directory, &source).await,
            None => self.run_on_a_replica(&source).await,
        }
    }

    async fn run_on_a_replica(&self, source: &DataSource) -> anyhow::Result<String> {
        let (replica, snapshot) = self.snapshot(source).await?;
        let changed = snapshot.rows.len();
        let counts = write(&self.to, source, snapshot.rows)?;
        Ok(shown(&replica.to_string(), &snapshot.value_timestamp, counts, changed))
    }

    async fn run_on(&self, directory: &Path, source: &DataSource) -> anyhow::Result<String> {
        let folder = beside(&self.to);
        if let (Ok(folder), Ok(directory)) = (folder.canonicalize(), directory.canonicalize())
            && folder.starts_with(&directory)
        {
            bail!(
                "{} is in the directory that is read out, which is not changed: give another path",
                self.to.display()
            );
        }
        let found = read_out(directory, folder, source)?;
        let changed = found.rows.len();
        let counts = write(&self.to, source, found.rows.iter().map(|(key, row)| (*key, *row)))?;
        let replica = found.replica.as_ref().map_or("unknown".to_owned(), ReplicaId::to_string);
        let mut text = shown(&replica, &found.value_timestamp, counts, changed);
        for doubt in &found.doubts {
            text += &format!("not certain     {doubt}\n");
        }
        if found.doubts.is_empty() {
            text += "checked         all that was saved is there\n";
        }
        if self.compare {
            let compared = self.compare(source, &found).await;
            let compared = compared.with_context(|| {
                format!("{} is written, but no replica that runs can be asked what it has", self.to.display())
            });
            // The lines about the written files are shown in any case.
            match compared {
                Ok(line) => text += &line,
                Err(error) => {
                    crate::write_out(&text)?;
                    return Err(error);
                }
            }
        }
        Ok(text)
    }

    /// Looks for each changed rating of a directory at a replica that runs.
    async fn compare(&self, source: &DataSource, found: &ReadOut) -> anyhow::Result<String> {
        let (replica, snapshot) = self.snapshot(source).await?;
        let theirs: HashMap<RatingKey, Row> = snapshot.rows.into_iter().collect();
        let has = |key: &RatingKey, row: &Row| theirs.get(key).is_some_and(|their| their.order() >= row.order());
        let lacks = found.rows.iter().filter(|(key, row)| !has(key, row)).count();
        Ok(match lacks {
            0 => format!("compared        replica {replica} has all of it, or a later update of the same rating\n"),
            _ => {
                format!("compared        replica {replica} lacks {lacks} of the {} changed ratings\n", found.rows.len())
            }
        })
    }

    async fn snapshot(&self, source: &DataSource) -> anyhow::Result<(ReplicaId, Snapshot)> {
        let fingerprint = Store::open(source)?.fingerprint().to_string();
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
        Ok((replica, snapshot))
    }
}

fn shown(replica: &str, value_timestamp: &Timestamp, counts: Counts, changed: usize) -> String {
    format!(
        "replica         {replica}\nvalue timestamp {value_timestamp}\nmovies          {}\nusers           {}\nratings         \
         {}\nwritten over    {changed} since the data set\n",
        counts.movies, counts.users, counts.ratings
    )
}

fn write(to: &Path, source: &DataSource, rows: impl IntoIterator<Item = (RatingKey, Row)>) -> anyhow::Result<Counts> {
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
            // Chunks after the rows are for replicas.
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
