//! The broker of a test, which may be killed and started again on its port.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Mutex;

use natter_broker::environment::Environment;
use natter_broker::server::{NatsServer, ServerSettings, find_or_fetch, print_notice};

/// One search, and at most one download, at a time.
static SEARCH: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A `nats-server` on a port of its own.
pub struct Broker {
    settings: ServerSettings,
    port: u16,
    server: Mutex<Option<NatsServer>>,
}

impl Broker {
    /// Reserves a port; nothing runs there yet.
    pub async fn reserve(config: Option<PathBuf>) -> Self {
        let binary = {
            let _one_at_a_time = SEARCH.lock().await;
            find_or_fetch(&Environment::of_process(), &print_notice).await.expect("a nats-server").path
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = ServerSettings {
            config,
            port: Some(port),
            arguments: vec![OsString::from("--no_advertise")],
            ..ServerSettings::new(binary)
        };
        Self { settings, port, server: Mutex::new(None) }
    }

    /// Where clients connect, whether it runs or not.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts it, and waits until it answers.
    pub async fn start(&self) {
        let server = NatsServer::start(self.settings.clone()).await.expect("nats-server starts");
        *self.server.lock().unwrap() = Some(server);
    }

    /// Kills it (SIGKILL).
    pub async fn kill(&self) {
        let mut server = self.server.lock().unwrap().take().expect("it runs");
        server.process().kill();
        server.process().wait().await.unwrap();
    }
}
