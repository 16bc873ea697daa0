//! The raw responder: answers each request with its own payload, in a process of its own, as a frontend would be.
//!
//! It is what any service on this broker costs at least: one client of the same library, on a runtime of one thread.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use async_nats::ConnectOptions;
use futures_util::StreamExt;

use crate::block_on;

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
    while let Some(request) = requests.next().await {
        if let Some(reply) = request.reply {
            client.publish(reply, request.payload).await?;
        }
    }
    bail!("the subscription ended")
}
