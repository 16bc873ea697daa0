//! Several nats-servers on free ports, joined in a cluster.

use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result};
use natter_processes::nats_server::{NatsServer, ServerSettings};

/// Maximum number of attempts to start all servers. Another process may take a port that was found free.
const ATTEMPTS: u32 = 5;

/// Starts `count` servers with their files in `folder`. They are named `s0`, `s1`…, and each is given the text that `more`
/// returns for its number as a part of its configuration. A server alone has no cluster.
pub(crate) async fn start(
    binary: &Path,
    count: u8,
    folder: &Path,
    more: impl Fn(usize) -> String,
) -> Result<Vec<NatsServer>> {
    let mut attempt = 1;
    loop {
        let ports = free_ports(count)?;
        let starting = (0..ports.len()).map(|n| start_one(binary, &ports, n, folder, more(n)));
        match futures_util::future::try_join_all(starting).await {
            Ok(servers) => return Ok(servers),
            Err(error) if attempt == ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
    }
}

async fn start_one(binary: &Path, ports: &[u16], n: usize, folder: &Path, more: String) -> Result<NatsServer> {
    let config = folder.join(format!("server-{n}.conf"));
    let mut text = format!("server_name: s{n}\n{more}\n");
    if ports.len() > 1 {
        let routes: Vec<String> = ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let (port, routes) = (ports[n], routes.join(", "));
        text += &format!("cluster {{ name: bench, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}\n");
    }
    std::fs::write(&config, text)?;
    Ok(NatsServer::start_guarded(ServerSettings { config: Some(config), ..ServerSettings::new(binary) }).await?)
}

/// Returns free ports for routes: each server must know all of them before any runs.
fn free_ports(count: u8) -> Result<Vec<u16>> {
    let listeners: std::io::Result<Vec<TcpListener>> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    let listeners = listeners.context("no free port")?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
