//! The HTTP server, on a thread of its own: a scraper that reads slowly, or not at all, delays no turn of a core.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{Health, Shown};

/// Time for one connection, which brings one request. A scraper that takes longer is cut off.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum connections at a time; more are closed at once. A Prometheus server and probes need two or three.
const CONNECTIONS_MAX: usize = 64;
/// Pause after a connection could not be taken, as where the process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// The content type of the text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The HTTP server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another program listens there.
    #[error("--metrics {0}: the address is in use: choose another port, or end the program that listens there")]
    InUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("--metrics {address}: cannot listen there ({problem}): use an address of this machine and a free port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        problem: io::Error,
    },
    /// The system gives no thread or no runtime for the server.
    #[error("--metrics: the server cannot be started: {0}")]
    Start(io::Error),
}

/// The server. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Server {
    /// Its end ends the thread.
    _end: oneshot::Sender<()>,
}

impl Server {
    /// Listens at `address`, and answers from another thread.
    pub(super) fn start(address: SocketAddr, shown: Arc<Shown>) -> Result<Self, ServeError> {
        let listening = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        let listener = listening.map_err(|problem| match problem.kind() {
            io::ErrorKind::AddrInUse => ServeError::InUse(address),
            _ => ServeError::Listen { address, problem },
        })?;
        let bound = listener.local_addr().unwrap_or(address);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Start)?;
        let (end, ended) = oneshot::channel();
        let serve = move || {
            let serving = async {
                tokio::select! {
                    _ = ended => {}
                    () = accept(listener, router(shown)) => {}
                }
            };
            runtime.block_on(serving);
        };
        thread::Builder::new().name("metrics".to_owned()).spawn(serve).map_err(ServeError::Start)?;
        info!(address = %bound, "serves metrics and health");
        Ok(Self { _end: end })
    }
}

async fn accept(listener: TcpListener, router: Router) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "metrics and health are not served"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let router = router.clone();
                tokio::spawn(async move {
                    // A scraper that goes away or is too slow asks again.
                    let _ = timeout(CONNECTION_TIMEOUT, answer(stream, router)).await;
                    drop(place);
                });
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Answers the one request of a connection.
async fn answer(stream: TcpStream, router: Router) -> Result<(), hyper::Error> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).keep_alive(false);
    http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await
}

fn router(shown: Arc<Shown>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async |State(shown): State<Arc<Shown>>| verdict(&shown, "alive", Health::is_alive)))
        .route("/healthz", get(async |State(shown): State<Arc<Shown>>| verdict(&shown, "healthy", Health::is_healthy)))
        .route("/readyz", get(async |State(shown): State<Arc<Shown>>| verdict(&shown, "ready", Health::is_ready)))
        .with_state(shown)
}

async fn metrics(State(shown): State<Arc<Shown>>) -> Response {
    match shown.metrics() {
        Ok(text) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("the metrics cannot be written: {error}\n")).into_response()
        }
    }
}

/// One line: `good`, or the first problem.
fn verdict(shown: &Shown, good: &str, check: impl Fn(&Health) -> Result<(), String>) -> (StatusCode, String) {
    match shown.check(check) {
        Ok(()) => (StatusCode::OK, format!("{good}\n")),
        Err(problem) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", problem.replace(['\r', '\n'], " "))),
    }
}
