//! Starting processes that never stay behind: children, and `nats-server`.
//!
//! The launcher, the bench and the tests use it. Frontends, replicas and clients start nothing, and do without.
//!
//! - [`owned_process`]: child processes that end with their owner
//! - [`guard`]: children that end even where their owner is killed
//! - [`nats_server`]: finding, fetching and running `nats-server`
//!
//! A child ends, at the latest, when the value that stands for it is dropped:
//!
//! ```
//! use std::process::Command;
//!
//! use natter_processes::owned_process::OwnedProcess;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let mut command = Command::new("sleep");
//! command.arg("600");
//! let mut child = OwnedProcess::spawn(command)?;
//! assert_eq!(child.try_wait()?, None, "it runs");
//! // SIGTERM, and SIGKILL where that does not help.
//! assert!(!child.stop().await?.success());
//! # Ok(())
//! # }
//! ```

pub mod guard;
pub mod nats_server;
pub mod owned_process;
