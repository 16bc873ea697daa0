//! Knowledge of the load generator about its subjects, and connections to them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use async_nats::{Client, ConnectOptions};
use natter_common::subjects::Subjects;

use super::keys::Keys;
use super::kv::{self, Versions};
use super::natter::find_keys;
use super::valkey::{self, Known};

/// State of the subjects, kept from one measurement to the next.
#[derive(Default)]
pub(super) struct Memory {
    ratings: BTreeMap<String, Keys>,
    versions: BTreeMap<String, Versions>,
    /// State of Valkey's keys, by the primary's address.
    valkey: BTreeMap<String, Known>,
}

impl Memory {
    /// The ratings of a cluster, which are asked for at first.
    pub(super) async fn ratings(
        &mut self,
        client: &Client,
        subjects: &Subjects,
        users: u32,
        count: usize,
    ) -> Result<Keys> {
        match self.ratings.remove(&place(client, subjects.prefix())) {
            Some(keys) => Ok(keys),
            None => find_keys(client, subjects, users, count).await,
        }
    }

    /// Remembers them.
    pub(super) fn keep_ratings(&mut self, client: &Client, subjects: &Subjects, keys: Keys) {
        self.ratings.insert(place(client, subjects.prefix()), keys);
    }

    /// Returns the keys of a bucket, with the versions that are known. All keys are put at first.
    pub(super) async fn versions(
        &mut self,
        client: &Client,
        bucket: &str,
        keys: u32,
        bytes: usize,
    ) -> Result<Versions> {
        match self.versions.remove(&place(client, bucket)) {
            Some(versions) => Ok(versions),
            None => kv::fill(client, bucket, keys, bytes).await,
        }
    }

    /// Contents of the keys at this primary. All are written at first.
    pub(super) async fn valkey(&mut self, server: &str, keys: u32, bytes: usize) -> Result<&mut Known> {
        if !self.valkey.contains_key(server) {
            self.valkey.insert(server.to_owned(), valkey::fill(server, keys, bytes).await?);
        }
        self.valkey.get_mut(server).context("keys that were just written")
    }

    /// Remembers it.
    pub(super) fn keep_versions(&mut self, client: &Client, bucket: &str, versions: Versions) {
        self.versions.insert(place(client, bucket), versions);
    }
}

/// A name that differs from broker to broker.
fn place(client: &Client, name: &str) -> String {
    format!("{}/{name}", client.server_info().server_id)
}

/// Opens a connection to the broker.
pub(super) async fn connect(server: &str) -> Result<Client> {
    let options = ConnectOptions::new().name("bench-load").connection_timeout(Duration::from_secs(5));
    options.connect(server).await.with_context(|| format!("no broker at {server}"))
}

/// A cluster's subjects.
pub(crate) fn subjects_of(prefix: &str) -> Result<Subjects> {
    Subjects::new(prefix).ok_or_else(|| anyhow!("{prefix:?} is no prefix"))
}
