//! The command line of `cluster demo`.

use std::ffi::OsString;
use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

use super::narrator::Pace;
use super::scene::Scene;

const EXAMPLES: &str = "\
Examples:
  cluster demo                          the list of scenes
  cluster demo update                   the first scene, at reading speed
  cluster demo --step delete            Enter goes on
  cluster demo --observe partition      a live page of the scene in a browser, too
  cluster demo --all --speed 0          all scenes, without pauses";

/// Plays scenes: small real clusters that show how replication works
///
/// Each scene starts a nats-server, frontends and replicas of its own on loopback, does real operations, and shows what is
/// observed. It states an expectation first, and fails with status 1 where the observation does not fit.
#[derive(Clone, Debug, Parser)]
#[command(name = "cluster demo", version, after_help = EXAMPLES)]
pub(super) struct DemoArgs {
    /// Name or number of the scene [default: list the scenes]
    #[arg(value_name = "SCENE", value_enum, hide_possible_values = true)]
    pub(super) scene: Option<Scene>,

    /// Play all scenes, one after the other
    #[arg(long, conflicts_with = "scene")]
    pub(super) all: bool,

    /// Speed of the text: 2 is twice the reading speed, 0 is without pauses
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_speed, conflicts_with = "step")]
    pub(super) speed: f64,

    /// Wait for Enter before each step
    #[arg(long)]
    pub(super) step: bool,

    /// Start the observer, a live page of the scene, and print its address [default address: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:8080")]
    pub(super) observe: Option<SocketAddr>,
}

impl DemoArgs {
    /// Parses the arguments after `cluster demo`.
    pub(super) fn read(arguments: &[OsString]) -> Result<Self, clap::Error> {
        let name = OsString::from("cluster demo");
        Self::try_parse_from(std::iter::once(&name).chain(arguments))
    }

    /// Scenes to play.
    pub(super) fn scenes(&self) -> Vec<Scene> {
        if self.all { Scene::value_variants().to_vec() } else { self.scene.into_iter().collect() }
    }

    /// Pauses between the steps.
    pub(super) fn pace(&self) -> Pace {
        match self.speed {
            _ if self.step => Pace::Enter,
            0.0 => Pace::Fast,
            speed => Pace::Reading { speed },
        }
    }
}

fn parse_speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if speed == 0.0 || (0.1..=100.0).contains(&speed) => Ok(speed),
        _ => Err("write 0, or a number from 0.1 to 100".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn read(line: &[&str]) -> Result<DemoArgs, clap::Error> {
        DemoArgs::read(&line.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn definition_is_sound() {
        DemoArgs::command().debug_assert();
    }

    #[test]
    fn scene_goes_by_name_or_number() {
        let scenes = Scene::value_variants();
        for (index, scene) in scenes.iter().enumerate() {
            assert_eq!(read(&[scene.name()]).unwrap().scenes(), [*scene]);
            assert_eq!(read(&[&(index + 1).to_string()]).unwrap().scenes(), [*scene]);
        }
        assert_eq!(read(&["--all"]).unwrap().scenes(), scenes);
        assert_eq!(read(&[]).unwrap().scenes(), []);
    }

    #[test]
    fn wrong_lines_are_answered_in_words() {
        for (line, why) in [
            (&["9"][..], "possible values: update"),
            (&["sunset"], "partition, offline, snapshot"),
            (&["--all", "delete"], "--all"),
            (&["--speed", "-1"], "-1"),
            (&["--speed", "inf", "delete"], "from 0.1 to 100"),
            (&["--speed", "0.01", "delete"], "from 0.1 to 100"),
            (&["--speed", "2", "--step", "delete"], "--step"),
            (&["--observe=x", "delete"], "invalid socket address"),
            (&["--server", "nats://a:1", "delete"], "--server"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.to_string().contains(why), "{line:?}: {error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn speed_decides_the_pauses() {
        assert_eq!(read(&["--speed", "0", "1"]).unwrap().pace(), Pace::Fast);
        assert_eq!(read(&["--speed", "2", "1"]).unwrap().pace(), Pace::Reading { speed: 2.0 });
        assert_eq!(read(&["--step", "1"]).unwrap().pace(), Pace::Enter);
    }
}
