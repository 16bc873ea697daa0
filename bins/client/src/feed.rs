//! `client watch`: the change feed, one line for each change.

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use natter_broker::connection::ConnectionEvent;
use natter_broker::logs::date_and_time;
use natter_common::change::Change;
use natter_common::ids::UserId;
use natter_common::request::Method;
use natter_common::subjects::Subjects;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::commands::{ClientArgs, MovieName};
use crate::failure::{Failure, Status};
use crate::json;
use crate::perform::found;
use crate::show::clean;
use crate::watch::message::{Heard, What};
use crate::watching::{connect, until_interrupted, unwritable};
use crate::{complain, start, told};

/// Prints the changes of this movie's and this user's ratings, until ctrl-c or for `count` changes.
pub(crate) async fn watch(
    args: &ClientArgs,
    movie: Option<&MovieName>,
    user_id: Option<UserId>,
    count: Option<u64>,
) -> Result<String, Failure> {
    let watching = async {
        let movie_id = match movie {
            None => None,
            Some(MovieName::Id(movie_id)) => Some(*movie_id),
            Some(name) => {
                let mut client = start(args, None).await?;
                Some(found(&mut client, name).await.map_err(|error| told(&error, None))?)
            }
        };
        let (client, events, subjects) = connect(args, "client-watch").await?;
        let subject = subjects.changes(movie_id, user_id);
        let closed = |error: &dyn fmt::Display| {
            Failure::new(Status::Unavailable, 503, "NO_BROKER", format!("can't listen: {error}"))
        };
        let changes = client.subscribe(subject.clone()).await.map_err(|error| closed(&error))?;
        // The answer of the broker to this comes after its answer to the subscription.
        let inbox = client.new_inbox();
        let echo = client.subscribe(inbox.clone()).await.map_err(|error| closed(&error))?;
        client.publish(inbox.clone(), "".into()).await.map_err(|error| closed(&error))?;
        let watch = Watch { subjects, subject, changes, inbox, echo, events, json: args.json, malformed: 0 };
        watch.run(count, io::stdout()).await
    };
    until_interrupted(watching).await
}

/// A subscription to changes.
struct Watch {
    subjects: Subjects,
    subject: String,
    changes: Subscriber,
    /// Subject of a message to itself, which proves that the subscription is in place.
    inbox: String,
    echo: Subscriber,
    events: UnboundedReceiver<ConnectionEvent>,
    json: bool,
    malformed: u64,
}

impl Watch {
    async fn run(mut self, count: Option<u64>, mut output: impl Write) -> Result<(), Failure> {
        let mut left = count;
        let mut is_in_place = false;
        let mut is_lost = false;
        while left != Some(0) {
            tokio::select! {
                biased;
                event = self.events.recv() => match event {
                    None => return Err(closed()),
                    Some(ConnectionEvent::Denied(denial)) if denial.subject == self.subject => {
                        let text = format!("the broker does not permit this user to {denial}: use a user that may");
                        return Err(Failure::new(Status::Refused, 403, "DENIED", text));
                    }
                    // The refusal of the message to itself proves as much.
                    Some(ConnectionEvent::Denied(denial)) if denial.subject == self.inbox => self.begin(&mut is_in_place),
                    Some(ConnectionEvent::Denied(_)) => {}
                    Some(ConnectionEvent::Disconnected) => {
                        is_lost = true;
                        complain("no connection to the broker: changes are missed");
                    }
                    Some(ConnectionEvent::Connected) if std::mem::take(&mut is_lost) => {
                        complain("connected to the broker again: changes that came meanwhile are not shown");
                    }
                    Some(ConnectionEvent::Connected) => {}
                    Some(ConnectionEvent::SlowConsumer { dropped }) => {
                        complain(&format!("{dropped} changes came faster than they were read, and are not shown"));
                    }
                },
                Some(_) = self.echo.next(), if !is_in_place => self.begin(&mut is_in_place),
                message = self.changes.next() => {
                    let Some(change) = self.read(message.ok_or_else(closed)?) else { continue };
                    let line = if self.json { json::line(&change)? } else { Line(&change).to_string() };
                    match writeln!(output, "{line}").and_then(|()| output.flush()) {
                        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                        written => written.map_err(unwritable)?,
                    }
                    left = left.map(|left| left - 1);
                }
            }
        }
        Ok(())
    }

    /// Says that changes are shown from now on.
    fn begin(&self, is_in_place: &mut bool) {
        if !std::mem::replace(is_in_place, true) {
            complain(&format!(
                "watches {}, where replicas publish that were started with --changes; ctrl-c ends this",
                self.subject
            ));
        }
    }

    /// The change in a message. One that cannot be read is counted, and costs a line.
    fn read(&mut self, message: Message) -> Option<Change> {
        let heard = Heard::of(&self.subjects, message, Instant::now(), UNIX_EPOCH);
        match heard.what {
            What::Changed(change) => Some(*change),
            What::Malformed(reason) => {
                self.malformed += 1;
                let (number, subject) = (self.malformed, clean(&heard.subject));
                complain(&format!("malformed change number {number}, at {subject}: {reason}"));
                None
            }
            _ => None,
        }
    }
}

fn closed() -> Failure {
    Failure::new(Status::Unavailable, 503, "NO_BROKER", "the connection to the broker is closed")
}

/// A change as a line for people. Its time is the update's, in UTC.
struct Line<'a>(&'a Change);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = self.0;
        let time = date_and_time(UNIX_EPOCH + Duration::from_millis(change.stamp.milliseconds())).to_string();
        let (user, title) = (change.user_id, clean(&change.title));
        write!(f, "{}  user {user} ", time.get(11..19).unwrap_or(&time))?;
        match (change.method, change.rating) {
            (Method::Create, Some(stars)) => write!(f, "rated {title}: {stars}")?,
            (_, Some(stars)) => write!(f, "now rates {title}: {stars}")?,
            (_, None) => write!(f, "no longer rates {title}")?,
        }
        write!(f, "  (movie {}, record {})", change.movie_id, change.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_is_one_line_for_people_and_cannot_play_with_the_terminal() {
        let change = |method: &str, rating: Option<f64>| {
            let change = serde_json::json!({
                "user_id": 42, "movie_id": 2, "title": "Das \u{1b}[2JCabinet (1920)", "rating": rating, "timestamp": 1_795_449_242,
                "update_id": "01a2091d-4547-7000-8046-63d56441e2f0", "method": method, "stamp": 117_666_561_586_036_736_u64,
                "record": {"i": "r1-pkbxhrtc", "seq": 1}, "label": {"replicas": {"r1-pkbxhrtc": 1}, "clock": 117_666_561_586_036_736_u64},
            });
            Line(&serde_json::from_value(change).unwrap()).to_string()
        };
        for (method, rating, expected) in [
            ("CREATE", Some(4.5), "rated Das \u{fffd}[2JCabinet (1920): 4.5"),
            ("UPDATE", Some(3.0), "now rates Das \u{fffd}[2JCabinet (1920): 3.0"),
            ("DELETE", None, "no longer rates Das \u{fffd}[2JCabinet (1920)"),
        ] {
            let line = change(method, rating);
            assert_eq!(line, format!("15:54:02  user 42 {expected}  (movie 2, record r1-pkbxhrtc:1)"));
        }
    }
}
