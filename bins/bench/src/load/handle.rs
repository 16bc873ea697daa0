//! The bench's end of the load generator's pipes.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::job::{Answer, ConvergenceJob, Job, Lag, Order, Outcome};
use crate::roles;

/// Maximum time for connecting and the last answers.
const PATIENCE: Duration = Duration::from_secs(60);
/// Maximum time for finding or writing the keys: a hundred thousand synced writes on a slow disk.
const PREPARED_WITHIN: Duration = Duration::from_secs(300);

/// The load generator's process. It ends when this is dropped: at the latest with its standard input.
pub(crate) struct Generator {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Generator {
    /// Starts it.
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(roles::LOAD).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("the load generator can't be started")?;
        let orders = child.stdin.take().ok_or_else(|| anyhow!("the load generator has no input"))?;
        let answers = child.stdout.take().ok_or_else(|| anyhow!("the load generator has no output"))?;
        Ok(Self { child, orders, answers: BufReader::new(answers).lines() })
    }

    /// Its process id; `None` where it has ended.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Has it find the keys of a job, where it does not know them yet.
    pub(crate) async fn prepare(&mut self, job: Job) -> Result<()> {
        self.order(&Order::Prepare(job), PREPARED_WITHIN).await
    }

    /// Has it do a measurement.
    pub(crate) async fn measure(&mut self, job: Job) -> Result<Outcome> {
        let time = Duration::from_millis(job.warm_up_ms + job.measure_ms);
        self.order(&Order::Measure(job), time).await
    }

    /// Has it measure how long updates take to be readable everywhere.
    pub(crate) async fn converge(&mut self, job: ConvergenceJob) -> Result<Lag> {
        let time = Duration::from_millis(job.warm_up_ms + job.measure_ms);
        self.order(&Order::Converge(job), time).await
    }

    async fn order<T: DeserializeOwned>(&mut self, order: &Order, time: Duration) -> Result<T> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.orders.write_all(&line).await.context("the load generator has ended")?;
        let answer = tokio::time::timeout(time + PATIENCE, self.answers.next_line()).await;
        let line = answer.context("the load generator is stuck")??.context("the load generator has ended")?;
        match serde_json::from_str(&line)? {
            Answer::Done(told) => Ok(told),
            Answer::Failed(reason) => bail!("the load generator: {reason}"),
        }
    }
}
