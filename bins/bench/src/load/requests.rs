//! Raw request-reply as a program makes it that uses the client library's own `request`: a reply subject and a timer each.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::Result;
use async_nats::Client;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;

use super::exchange::{LONGEST_NS, Span};
use super::job::{Latency, Outcome};
use super::raw::Raw;
use super::workload::Workload;

/// Keeps `in_flight` requests open, over these connections, for the time of `span`.
pub(super) async fn run(clients: &[Client], raw: &mut Raw, in_flight: usize, span: Span) -> Result<Outcome> {
    let counts_from = Instant::now() + span.warm_up;
    let end = counts_from + span.measure;
    let outcome = RefCell::new(Outcome { seconds: span.measure.as_secs_f64(), ..Outcome::default() });
    let latency = RefCell::new(Histogram::new_with_bounds(1, LONGEST_NS, 3)?);
    let raw = RefCell::new(raw);
    let asking = (0..in_flight).zip(clients.iter().cycle()).map(|(slot, client)| {
        let (outcome, latency, raw) = (&outcome, &latency, &raw);
        async move {
            let mut now = Instant::now();
            while now < end {
                let since = now;
                let (subject, payload) = raw.borrow_mut().request(slot);
                let answered = client.request(subject, payload).await;
                now = Instant::now();
                let checked = match answered {
                    Ok(message) => raw.borrow_mut().reply(slot, &message),
                    Err(error) => Err(error.to_string()),
                };
                let mut outcome = outcome.borrow_mut();
                outcome.requests += 1;
                outcome.answers_in_all += 1;
                if let Err(error) = checked {
                    outcome.count_error(error);
                } else if counts_from <= now && now < end {
                    outcome.answers += 1;
                    latency.borrow_mut().saturating_record(nanoseconds(now - since));
                }
            }
        }
    });
    asking.collect::<FuturesUnordered<_>>().for_each(|()| std::future::ready(())).await;
    let mut outcome = outcome.into_inner();
    outcome.latency = Latency::of(&latency.into_inner());
    Ok(outcome)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(LONGEST_NS)
}
