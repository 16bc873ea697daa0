//! The option `--metrics`.

use std::net::{Ipv4Addr, SocketAddr};

/// Metrics and health over HTTP: flattened into the arguments of the roles that have them.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct MetricsOptions {
    /// Address for /metrics (Prometheus), /livez, /healthz and /readyz, like 127.0.0.1:9464 [default: off]
    #[arg(long, value_name = "ADDR", value_parser = parse_address, help_heading = "Metrics")]
    pub metrics: Option<SocketAddr>,
}

/// An address with its port, or a port of the loopback address.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let loopback = |port: &str| port.parse().ok().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let address = text.parse().ok().or_else(|| loopback(text.strip_prefix("localhost:").unwrap_or(text)));
    address.ok_or_else(|| {
        "use an IP address and a port like 127.0.0.1:9464 or [::1]:9464, or a port alone for 127.0.0.1".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_ip_and_port_or_a_port_of_the_loopback_address() {
        for (text, address) in [
            ("127.0.0.1:9464", "127.0.0.1:9464"),
            ("9464", "127.0.0.1:9464"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::1]:9464", "[::1]:9464"),
            ("0.0.0.0:80", "0.0.0.0:80"),
        ] {
            assert_eq!(parse_address(text), Ok(address.parse().unwrap()), "{text}");
        }
        for text in ["", "example.org:80", "127.0.0.1", "127.0.0.1:65536", "::1:9464x", "-1"] {
            assert!(parse_address(text).is_err_and(|error| error.contains("127.0.0.1:9464")), "{text}");
        }
    }
}
