//! Running systems that are measured: brokers, replicas, frontends, the raw responder.
//!
//! - [`child`]: a process below a guard, with a log; [`usage`]: what processes use
//! - [`broker`]: the nats-server that Natter and raw requests use; [`jetstream`]: those with key-value buckets;
//!   [`servers`]: several in a cluster
//! - [`valkey`]: a primary and its replicas
//! - [`cluster`]: frontends and replica managers; [`data`]: the data sets they start from
//! - [`watching`]: metrics, the observer and the change feed of a cluster, each with a program that reads it
//! - [`pinning`]: processors for processes

pub(crate) mod broker;
pub(crate) mod child;
pub(crate) mod cluster;
pub(crate) mod data;
pub(crate) mod jetstream;
pub(crate) mod pinning;
pub(crate) mod servers;
pub(crate) mod usage;
pub(crate) mod valkey;
pub(crate) mod watching;
