//! The client's menu in this terminal: a thread of the launcher, so that standard input, ctrl-c and the terminal are its
//! own as they are any program's, and so that it ends with the launcher, however that ends.
//!
//! A runtime of its own keeps it from holding up the launcher while it waits for somebody to read its output.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use natter_broker::options::BrokerOptions;
use natter_client::commands::ClientArgs;
use natter_client::menu::MenuEnd;
use natter_common::ids::UserId;
use tokio::sync::oneshot;

use crate::notices::tell;

/// The running menu. Dropping this ends it, at its next step.
#[derive(Debug)]
pub(crate) struct ForegroundClient {
    ended: oneshot::Receiver<(ExitCode, Option<MenuEnd>)>,
    _stop: oneshot::Sender<()>,
}

impl ForegroundClient {
    /// Starts the menu of this user, or of a random one, with a new session or with that of earlier runs. `forget_session`
    /// leaves none behind.
    pub(crate) fn start(
        user_id: Option<UserId>,
        broker: &BrokerOptions,
        new_session: bool,
        forget_session: bool,
    ) -> io::Result<Self> {
        let mut arguments = arguments(user_id, broker, new_session)?;
        arguments.forget_session = forget_session;
        let (ended_sender, ended) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name("client".to_owned()).spawn(move || {
            // Nobody listens where the launcher is ending.
            let _ = ended_sender.send(run(arguments, stopped));
        })?;
        Ok(Self { ended, _stop: stop })
    }

    /// Waits for its end, and gives its exit status and how the menu ended.
    pub(crate) async fn ended(&mut self) -> (ExitCode, Option<MenuEnd>) {
        // It ends without a status only where it panicked, and has said so.
        (&mut self.ended).await.unwrap_or((ExitCode::FAILURE, None))
    }
}

fn run(arguments: ClientArgs, stopped: oneshot::Receiver<()>) -> (ExitCode, Option<MenuEnd>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!("error: can't start the client: {error}"));
            return (ExitCode::FAILURE, None);
        }
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = natter_client::run_menu(arguments) => ended,
            _ = stopped => (ExitCode::FAILURE, None),
        }
    });
    // A read from the terminal can't be taken back: don't wait for it.
    runtime.shutdown_background();
    ended
}

fn arguments(user_id: Option<UserId>, broker: &BrokerOptions, new_session: bool) -> io::Result<ClientArgs> {
    let mut arguments = ClientArgs::try_parse_from(["client"]).map_err(io::Error::other)?;
    arguments.user_id = user_id;
    arguments.new_session = new_session;
    arguments.broker = broker.clone();
    Ok(arguments)
}
