//! `cluster demo`: named scenes, each a small real cluster that does real operations and shows what it is observed to do.
//!
//! - the command line: `arguments`; the list of scenes: `scene`; each of them: `scenes`
//! - the cluster of a scene: `stage`, with direct questions to replicas in `replica`; how it is observed: `view`
//! - the text in the terminal, and the pauses: `narrator`; values in words: `words`
//! - the reasons why a scene fails: `failure`
//!
//! A scene prints no result that it did not observe. Each step states an expectation, and the scene fails where the
//! observation does not fit.

mod arguments;
mod failure;
mod narrator;
mod replica;
mod scene;
mod scenes;
mod stage;
mod view;
mod words;

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use natter_broker::logs;
use natter_broker::options::LogFormat;
use tracing::level_filters::LevelFilter;

use self::arguments::DemoArgs;
use self::failure::DemoError;
use self::narrator::Narrator;
use self::scene::Scene;
use crate::error::ClusterError;
use crate::notices::tell;
use crate::signals::Signals;

/// The first argument that makes this executable play scenes.
const WORD: &str = "demo";

/// Plays scenes, where the second of these arguments asks for that.
pub(crate) fn play(arguments: &[OsString]) -> Option<ExitCode> {
    let rest = arguments.get(2..)?;
    if arguments[1] != WORD {
        return None;
    }
    let arguments = match DemoArgs::read(rest) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print(); // nobody to tell
            return Some(ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)));
        }
    };
    let scenes = arguments.scenes();
    if scenes.is_empty() {
        // A pipe that is closed early has had enough.
        let _ = std::io::stdout().write_all(scene::list().as_bytes());
        return Some(ExitCode::SUCCESS);
    }
    let _logs = logs::init_queued(LogFormat::Text, 0, LevelFilter::WARN);
    Some(crate::block_on(run(arguments, scenes)))
}

async fn run(arguments: DemoArgs, scenes: Vec<Scene>) -> ExitCode {
    let mut signals = match Signals::receive() {
        Ok(signals) => signals,
        Err(error) => return complain(&ClusterError::Signals(error).into()),
    };
    let mut narrator = Narrator::new(arguments.pace());
    for scene in scenes {
        let played = tokio::select! {
            played = scene.play(&mut narrator, arguments.observe) => played,
            // The processes of the scene end as it is dropped.
            request = signals.next() => return request.status(),
        };
        match played {
            Ok(()) => {}
            // A reader that closes the pipe has had enough.
            Err(DemoError::Terminal(error)) if error.kind() == ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Err(error) => return complain(&error.in_scene(scene.name())),
        }
    }
    ExitCode::SUCCESS
}

fn complain(error: &DemoError) -> ExitCode {
    tell(&format!("error: {error}"));
    ExitCode::FAILURE
}
