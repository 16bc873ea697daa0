//! The loop: messages and time into the model, its events to the browsers.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use natter_broker::connection::{Access, ConnectionEvent, ConnectionSettings, Patience, connect};
use natter_broker::moderation::Malformed;
use natter_common::subjects::Subjects;
use tokio::sync::mpsc::{UnboundedReceiver, channel, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use crate::control::{Control, Order};
use crate::launcher::Launcher;
use crate::listener::{Delivery, Listener};
use crate::model::{Arrival, Micros, Model, Wanted};
use crate::sampling::PERIOD;
use crate::stream::{Setting, Stream};
use crate::{ObserverArgs, ObserverError, web};

/// Interval in which browsers get new messages.
const TICK: Duration = Duration::from_millis(100);
/// Ticks between two views of the whole.
const VIEW_TICKS: u32 = 4;
/// Messages that are handled before browsers and signals get their turn.
const TURN: usize = 256;
/// Header of an error, as all roles write it.
const ERROR_HEADER: &str = "Nats-Service-Error";
/// Browsers that ask at the same moment to join.
const JOINING_MAX: usize = 16;

/// Runs the observer until `stop` completes.
///
/// # Errors
///
/// Where the port is taken, or the broker refuses the connection.
pub async fn run(arguments: ObserverArgs, stop: impl Future<Output = ()>) -> Result<(), ObserverError> {
    let prefix = arguments.broker.prefix.clone();
    let subjects = Subjects::new(&prefix).ok_or_else(|| ObserverError::Prefix(prefix.clone()))?;
    let (join, joining) = channel(JOINING_MAX);
    let (order, orders) = channel(JOINING_MAX);
    let launcher = match &arguments.launcher {
        Some(path) => {
            let failed = |source| ObserverError::Launcher { path: path.clone(), source };
            Some(Launcher::connect(path).await.map_err(failed)?)
        }
        None => None,
    };
    let control = arguments.control.then(|| Control::new(order, launcher.clone()));
    let server = web::listen(arguments.listen, join, control).await?;
    info!(address = %server.url(), control = arguments.control, "the page is ready");
    // The only line on standard output, for programs that start the observer.
    println!("{}", server.url());
    let setting = Setting { prefix, control: arguments.control };
    let stream = Stream::new(setting, joining, launcher.map(|launcher| launcher.state));
    let observe = observe(&arguments, subjects, stream, orders);
    tokio::select! {
        ended = observe => ended,
        ended = server.serve() => ended.map_err(ObserverError::Web),
        () = stop => Ok(()),
    }
}

async fn observe(
    arguments: &ObserverArgs,
    subjects: Subjects,
    mut stream: Stream,
    mut orders: tokio::sync::mpsc::Receiver<Order>,
) -> Result<(), ObserverError> {
    // Its own requests, with `--control`, are messages of the cluster like others.
    let settings = ConnectionSettings { name: "observer".to_owned(), no_echo: false, patience: Patience::Forever };
    let (sender, mut events) = unbounded_channel();
    let mut model = Model::new(subjects.clone());
    // The page is there before the broker is.
    let connecting = connect(&arguments.broker, &settings, Some(sender));
    tokio::pin!(connecting);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let client = loop {
        tokio::select! {
            connected = &mut connecting => break connected?,
            _ = tick.tick() => stream.send_view(&model, now()),
            Some(newcomer) = stream.joining.recv() => stream.join(newcomer, &model, now()),
        }
    };
    let mut listener = Listener::new(client.clone());
    let replies = listener.all_replies();
    let (mut malformed, mut ticks, mut period) = (Malformed::default(), 0u32, Instant::now());
    stream.is_connected = true;
    listener.follow(wanted(&model, &replies)).await.map_err(|_| ObserverError::ConnectionEnded)?;
    loop {
        tokio::select! {
            Some(first) = listener.next() => {
                let mut together = vec![first];
                while together.len() < TURN && let Some(next) = listener.try_next() {
                    together.push(next);
                }
                // Each subscription keeps its order, but which of two was first in one instant is not known.
                together.sort_by_cached_key(|(_, message)| model.phase(&message.subject));
                for delivery in together {
                    hear(delivery, &mut model, &mut listener, &mut malformed);
                }
            }
            event = next_event(&mut events) => follow_connection(event, &mut model, &mut listener, &mut stream),
            Some(newcomer) = stream.joining.recv() => stream.join(newcomer, &model, now()),
            Some(order) = orders.recv() => order.obey(&client, &subjects, &model),
            _ = tick.tick() => {
                if stream.is_connected {
                    model.tick(now());
                    listener.follow(wanted(&model, &replies)).await.map_err(|_| ObserverError::ConnectionEnded)?;
                    if period.elapsed() >= PERIOD {
                        period = Instant::now();
                        listener.next_period().await.map_err(|_| ObserverError::ConnectionEnded)?;
                        let share = |wanted| listener.sampling.share(wanted);
                        model.set_shares([share(&Wanted::Clients), share(&Wanted::ClientsWithUser)]);
                    }
                }
                stream.sampled = listener.sampling.sampled();
                stream.hidden = listener.hidden().cloned().collect();
                stream.send_events(&mut model);
                ticks = ticks.wrapping_add(1);
                if ticks.is_multiple_of(VIEW_TICKS) {
                    stream.send_view(&model, now());
                }
            }
        }
    }
}

fn wanted(model: &Model, replies: &str) -> Vec<(Wanted, String)> {
    let mut wanted = model.wanted();
    wanted.push((Wanted::Replies, replies.to_owned()));
    wanted
}

fn hear(delivery: Delivery, model: &mut Model, listener: &mut Listener, malformed: &mut Malformed) {
    let (key, message) = delivery;
    listener.count(&key);
    let error = message.headers.as_ref().and_then(|headers| headers.get(ERROR_HEADER));
    let arrival = Arrival {
        subject: &message.subject,
        reply: message.reply.as_deref(),
        error: error.map(async_nats::HeaderValue::as_str),
        payload: &message.payload,
    };
    if let Err(unreadable) = model.hear(arrival, now()) {
        malformed.count(&message.subject, &unreadable.0);
    }
}

fn follow_connection(event: ConnectionEvent, model: &mut Model, listener: &mut Listener, stream: &mut Stream) {
    match event {
        ConnectionEvent::Connected => {
            model.reconnected(now());
            listener.forget_refusals();
            stream.is_connected = true;
        }
        ConnectionEvent::Disconnected => stream.is_connected = false,
        ConnectionEvent::SlowConsumer { dropped } => stream.dropped += dropped,
        ConnectionEvent::Denied(denial) if denial.access == Access::Subscribe => listener.refused(denial.subject),
        // The answer to the page tells of a refused publish.
        ConnectionEvent::Denied(_) => {}
    }
}

async fn next_event(events: &mut UnboundedReceiver<ConnectionEvent>) -> ConnectionEvent {
    match events.recv().await {
        Some(event) => event,
        None => std::future::pending().await,
    }
}

/// Unix time that never goes back: the wall clock at the start, and the time since.
fn now() -> Micros {
    static START: std::sync::OnceLock<(Instant, Micros)> = std::sync::OnceLock::new();
    let (start, wall) = START.get_or_init(|| {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (Instant::now(), Micros::try_from(wall.as_micros()).unwrap_or(0))
    });
    wall + Micros::try_from(start.elapsed().as_micros()).unwrap_or(0)
}

/// Text that several browsers share.
pub(crate) type Shared = Arc<str>;
