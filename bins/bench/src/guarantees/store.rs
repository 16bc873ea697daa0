//! One attempt of one operation at one node.

use std::time::Duration;

use anyhow::Result;
use natter_common::ids::UpdateId;
use natter_common::rating::{RatingKey, Stars};
use natter_common::session::Session;
use natter_simulation::history::{Cell, Row};

use super::endpoint::Endpoint;
use super::kv::Kv;
use super::natter::Natter;
use super::nodes::Nodes;
use super::plan::System;
use super::{KEYS_EACH, SESSIONS};

/// Request of a session.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    /// Write of these stars under this id, which no other write has.
    Write(RatingKey, UpdateId, Stars),
    /// Read of a key.
    Read(RatingKey),
}

/// A system, as a client sees it.
pub(super) enum Store {
    /// Natter.
    Natter(Natter),
    /// A bucket.
    Kv(Kv),
}

impl Store {
    /// Finds the keys, or writes them.
    pub(super) async fn open(system: System, nodes: &Nodes, endpoints: &[Endpoint]) -> Result<Self> {
        Ok(match system {
            System::NatterTogether | System::Natter => {
                Self::Natter(Natter::open(nodes.prefix()?, endpoints, SESSIONS + 1, KEYS_EACH).await?)
            }
            System::KvDirect | System::KvLeader => {
                Self::Kv(Kv::open(system == System::KvDirect, endpoints, SESSIONS + 1, KEYS_EACH).await?)
            }
        })
    }

    /// All keys with their values before the first operation: [`KEYS_EACH`] of each session, then those of all sessions.
    pub(super) fn initial(&self) -> &[Row] {
        match self {
            Self::Natter(natter) => natter.initial(),
            Self::Kv(kv) => kv.initial(),
        }
    }

    /// Asks once at one node, with what the session has seen and not longer than `within`. Returns what stands at the key
    /// then, or why there is no answer.
    pub(super) async fn attempt(
        &self,
        asked: Asked,
        session: &mut Session,
        endpoint: &Endpoint,
        within: Duration,
    ) -> Result<Cell, String> {
        match self {
            Self::Natter(natter) => natter.attempt(asked, session, endpoint, within).await,
            Self::Kv(kv) => kv.attempt(asked, endpoint, within).await,
        }
    }

    /// Waits until `living` nodes have everything. In Natter, the label of a read asks for that.
    pub(super) async fn settle(&self, endpoint: &Endpoint, living: usize, within: Duration) -> bool {
        match self {
            Self::Natter(_) => true,
            Self::Kv(kv) => kv.settle(endpoint, living, within).await,
        }
    }
}
