//! The web server: the page, the stream of its data, and with `--control` two requests that change something.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use futures_util::{StreamExt, stream};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot};
use tracing::debug;

use crate::ObserverError;
use crate::access::{Names, Refused};
use crate::control::{Control, Perform, SetStatus};
use crate::observer::Shared;
use crate::page::Page;
use crate::stream::{Newcomer, Place};

/// Maximum browsers at the same time; further ones get the status 503.
const BROWSERS_MAX: usize = 32;
/// Maximum bytes in the body of a request.
const BODY_BYTES_MAX: usize = 1024;
/// Time after which a browser that takes nothing is dropped, in milliseconds.
const STUCK_MS: u32 = 10_000;
/// Header of the token that requests to change something need.
const TOKEN_HEADER: &str = "x-natter-token";

/// The web server, which has its port already.
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

#[derive(Clone)]
struct Site {
    names: Names,
    page: Arc<Page>,
    join: mpsc::Sender<Newcomer>,
    control: Option<Control>,
    browsers: Arc<Semaphore>,
}

/// Takes the port.
pub(crate) async fn listen(
    address: SocketAddr,
    join: mpsc::Sender<Newcomer>,
    control: Option<Control>,
) -> Result<Server, ObserverError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => ObserverError::PortInUse(address),
        _ => ObserverError::Listen { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let page = Arc::new(Page::new(control.as_ref().map_or("", Control::token)));
    let browsers = Arc::new(Semaphore::new(BROWSERS_MAX));
    let site = Site { names: Names::new(address), page, join, control, browsers };
    let router = Router::new()
        .route("/", get(page_of))
        .route("/events", get(events))
        .route("/status", post(set_status))
        .route("/verb", post(perform))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(site.clone(), guard))
        .with_state(site);
    Ok(Server { listener, address, router })
}

impl Server {
    /// The address of the page. One that listens to all addresses is reached on loopback.
    pub(crate) fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { [0, 0, 0, 0, 0, 0, 0, 1].into() });
        }
        format!("http://{address}/")
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(self) -> io::Result<()> {
        let listener = self.listener.tap_io(|connection| {
            // A browser that takes nothing more is dropped by the system.
            if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(&*connection, STUCK_MS) {
                debug!(%error, "cannot limit the time of a browser that takes nothing");
            }
        });
        axum::serve(listener, self.router).await
    }
}

/// Checks every request, and adds the headers that every answer has.
async fn guard(State(site): State<Site>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let checked =
        site.names.check_host(text(header::HOST)).and_then(|()| site.names.check_origin(text(header::ORIGIN)));
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(refused) => refusal(refused),
    };
    let policy = HeaderValue::from_str(&site.page.policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(refused: Refused) -> Response {
    (StatusCode::FORBIDDEN, format!("{refused}\n")).into_response()
}

async fn page_of(State(site): State<Site>) -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], site.page.html.clone()).into_response()
}

async fn events(State(site): State<Site>) -> Response {
    let Ok(permit) = Arc::clone(&site.browsers).try_acquire_owned() else {
        let text = format!("{BROWSERS_MAX} browsers have this page open already: close one\n");
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let (newcomer, place) = oneshot::channel();
    let joined = match site.join.send(newcomer).await {
        Ok(()) => place.await.ok(),
        Err(_) => None,
    };
    let Some(Place { first, rest }) = joined else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the observer is stopping\n").into_response();
    };
    let rest = stream::unfold((rest, permit), next_text);
    let texts =
        stream::iter([first]).chain(rest).map(|text| Ok::<_, Infallible>(Bytes::copy_from_slice(text.as_bytes())));
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(texts)).into_response()
}

/// The next text for a browser. One that is too far behind gets none: its stream ends, and it connects again.
async fn next_text(
    (mut rest, permit): (broadcast::Receiver<Shared>, OwnedSemaphorePermit),
) -> Option<(Shared, (broadcast::Receiver<Shared>, OwnedSemaphorePermit))> {
    match rest.recv().await {
        Ok(text) => Some((text, (rest, permit))),
        Err(broadcast::error::RecvError::Lagged(texts)) => {
            debug!(texts, "dropped a browser that is too slow");
            None
        }
        Err(broadcast::error::RecvError::Closed) => None,
    }
}

async fn set_status(State(site): State<Site>, headers: HeaderMap, body: Bytes) -> Response {
    match may_change::<SetStatus>(&site, &headers, &body) {
        Ok((control, request)) => outcome(control.set(request).await),
        Err(refusal) => refusal,
    }
}

async fn perform(State(site): State<Site>, headers: HeaderMap, body: Bytes) -> Response {
    match may_change::<Perform>(&site, &headers, &body) {
        Ok((control, request)) => outcome(control.perform(request).await),
        Err(refusal) => refusal,
    }
}

/// Checks a request that changes something, and reads its body.
#[allow(clippy::result_large_err, reason = "an answer is made once for each request")]
fn may_change<'a, R: DeserializeOwned>(
    site: &'a Site,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<(&'a Control, R), Response> {
    let Some(control) = &site.control else {
        let text = "this observer only listens: start it with --control\n";
        return Err((StatusCode::FORBIDDEN, text).into_response());
    };
    // A page of another origin cannot add this header, and a browser sends the origin with every POST.
    if headers.get(header::ORIGIN).is_none() {
        return Err(refusal(Refused::Origin));
    }
    control.check(headers.get(TOKEN_HEADER).and_then(|token| token.to_str().ok())).map_err(refusal)?;
    let wrong = |error: serde_json::Error| (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response();
    Ok((control, serde_json::from_slice(body).map_err(wrong)?))
}

fn outcome(outcome: Result<String, String>) -> Response {
    match outcome {
        Ok(text) => (StatusCode::OK, text).into_response(),
        Err(reason) => (StatusCode::BAD_GATEWAY, reason).into_response(),
    }
}
