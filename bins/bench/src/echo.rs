//! The raw responder: answers each request with its own payload, in a process of its own, as a frontend would be. At a second
//! subject it answers with as many bytes as a read of Natter has, so that the price of these alone is seen.
//!
//! It is what any service on this broker costs at least: one client of the same library, on a runtime of one thread.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use async_nats::ConnectOptions;
use bytes::Bytes;
use futures_util::StreamExt;

use crate::block_on;
use crate::load::raw::NUMBER_BYTES;

/// The length of a reply to a read.
pub(crate) const READ_REPLY_BYTES: usize = 190;

/// Answers at the subject that the second argument names, on the broker that the first names, until the process is ended.
pub(crate) fn main_with(arguments: &[OsString]) -> ExitCode {
    let [server, subject] = arguments else {
        eprintln!("echo is for this program's own use: echo SERVER SUBJECT");
        return ExitCode::FAILURE;
    };
    match (server.to_str(), subject.to_str()) {
        (Some(server), Some(subject)) => block_on("echo", answer(server, subject)),
        _ => ExitCode::FAILURE,
    }
}

async fn answer(server: &str, subject: &str) -> Result<()> {
    let client = ConnectOptions::new().name("bench-echo").connect(server).await.context("no broker")?;
    let mut requests = client.queue_subscribe(subject.to_owned(), "echo".to_owned()).await?;
    let mut reads = client.queue_subscribe(of_reads(subject), "echo".to_owned()).await?;
    let mut answer = [b'.'; READ_REPLY_BYTES];
    loop {
        let (request, is_read) = tokio::select! {
            request = requests.next() => (request, false),
            request = reads.next() => (request, true),
        };
        let Some(request) = request else { bail!("the subscription ended") };
        let Some(reply) = request.reply else { continue };
        let payload = match request.payload.first_chunk::<NUMBER_BYTES>() {
            Some(number) if is_read => {
                answer[..NUMBER_BYTES].copy_from_slice(number);
                Bytes::copy_from_slice(&answer)
            }
            _ => request.payload,
        };
        client.publish(reply, payload).await?;
    }
}

/// The subject at which answers have the length of a read's.
pub(crate) fn of_reads(subject: &str) -> String {
    format!("{subject}.read")
}

#[cfg(test)]
mod tests {
    use natter_common::cluster::ClusterId;
    use natter_common::edge::{ClientReply, encode_reply};
    use natter_common::ids::{MovieId, ReplicaId, UserId};
    use natter_common::label::Label;
    use natter_common::rating::{Rating, Stars};
    use natter_common::request::Answer;
    use natter_common::wire::Format;

    use super::READ_REPLY_BYTES;

    #[test]
    fn a_read_has_about_as_many_bytes() {
        let rating = Rating {
            user_id: UserId::new(70_000).unwrap(),
            movie_id: MovieId::new(70_000).unwrap(),
            title: "Das Cabinet des Dr. Caligari (1920)".into(),
            rating: Stars::from_half_stars(9).ok(),
            timestamp: Some(1_795_449_242),
            update_id: None,
        };
        let value = Answer::Rating(rating);
        let reply =
            ClientReply { value, label: Label::default(), replicas: vec![ReplicaId::new("r1-pkbxhrtc").unwrap()] };
        let cluster = ClusterId::from_bits(7);
        let bytes = encode_reply(&Ok(reply), Some(&cluster), Format::MessagePack).unwrap().body.len();
        assert!(bytes.abs_diff(READ_REPLY_BYTES) <= 16, "{bytes}");
    }
}
