//! The list of scenes.

use std::net::SocketAddr;

use clap::ValueEnum;
use natter_client::watch::listen::Scope;

use super::failure::DemoError;
use super::narrator::Narrator;
use super::scenes;
use super::stage::{Plan, Stage};

/// A scene. Its number is its place in this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Scene {
    #[value(alias = "1")]
    Update,
    #[value(alias = "2")]
    Behind,
    #[value(alias = "3")]
    Concurrent,
    #[value(alias = "4")]
    Delete,
    #[value(alias = "5")]
    Loss,
    #[value(alias = "6")]
    Partition,
    #[value(alias = "7")]
    Offline,
    #[value(alias = "8")]
    Snapshot,
}

impl Scene {
    /// Its name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Behind => "behind",
            Self::Concurrent => "concurrent",
            Self::Delete => "delete",
            Self::Loss => "loss",
            Self::Partition => "partition",
            Self::Offline => "offline",
            Self::Snapshot => "snapshot",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Update => "the way of an update",
            Self::Behind => "a read at a replica that is behind",
            Self::Concurrent => "two concurrent updates, and which one wins",
            Self::Delete => "a delete, and an older update that comes late",
            Self::Loss => "the loss of a replica",
            Self::Partition => "a partition, and its healing",
            Self::Offline => "every replica OFFLINE",
            Self::Snapshot => "a replica that joins by snapshot",
        }
    }

    fn plan(self) -> Plan {
        let (replicas, scope) = match self {
            Self::Update => (3, Scope::Everything),
            Self::Behind | Self::Snapshot => (2, Scope::Everything),
            Self::Concurrent | Self::Delete => (2, Scope::State),
            Self::Loss | Self::Partition | Self::Offline => (3, Scope::State),
        };
        Plan { replicas, has_sites: self == Self::Partition, scope }
    }

    fn number(self) -> usize {
        Self::value_variants().iter().position(|scene| *scene == self).unwrap_or_default() + 1
    }

    /// Starts a cluster, plays the scene, and stops the cluster.
    pub(super) async fn play(self, narrator: &mut Narrator, observe: Option<SocketAddr>) -> Result<(), DemoError> {
        narrator.title(self.number(), self.title())?;
        let mut stage = Stage::open(self.plan(), narrator, observe).await?;
        let stage_ref = &mut stage;
        let played = match self {
            Self::Update => scenes::update::play(stage_ref).await,
            Self::Behind => scenes::behind::play(stage_ref).await,
            Self::Concurrent => scenes::concurrent::play(stage_ref).await,
            Self::Delete => scenes::delete::play(stage_ref).await,
            Self::Loss => scenes::loss::play(stage_ref).await,
            Self::Partition => scenes::partition::play(stage_ref).await,
            Self::Offline => scenes::offline::play(stage_ref).await,
            Self::Snapshot => scenes::snapshot::play(stage_ref).await,
        };
        stage.close().await;
        played
    }
}

/// The list of scenes for people.
pub(super) fn list() -> String {
    let mut text = "Scenes, each with a small real cluster of its own:\n".to_owned();
    for scene in Scene::value_variants() {
        text += &format!("  {}  {:<11} {}\n", scene.number(), scene.name(), scene.title());
    }
    text += "`cluster demo update` plays one of them, `cluster demo --all` all; docs/LESSONS.md explains them.\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_has_every_scene_with_its_number() {
        let list = list();
        for scene in Scene::value_variants() {
            assert_eq!(scene.to_possible_value().unwrap().get_name(), scene.name());
            assert!(list.contains(&format!("  {}  {}", scene.number(), scene.name())), "{list}");
        }
    }
}
