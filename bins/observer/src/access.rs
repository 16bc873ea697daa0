//! Which requests are answered. Other web pages and names that were made to point here are refused, so that no page but
//! this one can read the stream or use `--control`.

use std::net::{IpAddr, SocketAddr};

/// The port that a browser leaves out.
const HTTP_PORT: u16 = 80;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The `Host` header is missing or names another host or port.
    #[error("this name is not the observer's: use the address that it printed")]
    Host,
    /// The request comes from another page.
    #[error("requests from other pages are refused: open the observer's own page")]
    Origin,
    /// The token is missing or wrong.
    #[error("the page's token is missing or old: reload the page")]
    Token,
}

/// The names under which the observer is reached.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    listened: SocketAddr,
}

impl Names {
    /// Of an observer that listens here.
    pub fn new(listened: SocketAddr) -> Self {
        Self { listened }
    }

    /// Checks the `Host` header. Loopback names and the listened address are right. An observer that listens to all
    /// addresses of its machine takes each numeric address, as only names can be made to point elsewhere.
    ///
    /// # Errors
    ///
    /// The header is missing, or names another host or port.
    pub fn check_host(&self, host: Option<&str>) -> Result<(), Refused> {
        if host.is_some_and(|host| self.includes(host)) { Ok(()) } else { Err(Refused::Host) }
    }

    /// Checks the `Origin` header, which browsers leave out where a page is opened or asks its own host.
    ///
    /// # Errors
    ///
    /// The header names another host or port.
    pub fn check_origin(&self, origin: Option<&str>) -> Result<(), Refused> {
        match origin {
            None => Ok(()),
            Some(origin) if origin.strip_prefix("http://").is_some_and(|host| self.includes(host)) => Ok(()),
            Some(_) => Err(Refused::Origin),
        }
    }

    fn includes(&self, host: &str) -> bool {
        let Some((name, port)) = split(host) else { return false };
        if port != self.listened.port() {
            return false;
        }
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        match address.parse::<IpAddr>() {
            Ok(address) => {
                address.is_loopback() || address == self.listened.ip() || self.listened.ip().is_unspecified()
            }
            Err(_) => false,
        }
    }
}

/// Host and port of `localhost:8080`, `[::1]:8080` or `localhost`.
fn split(host: &str) -> Option<(&str, u16)> {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => Some((name, port.parse().ok()?)),
        _ => Some((host, HTTP_PORT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(listened: &str) -> Names {
        Names::new(listened.parse().unwrap())
    }

    #[test]
    fn loopback_names_with_the_right_port_are_hosts() {
        let names = names("127.0.0.1:8080");
        for host in ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080", "[::1]:8080", "127.0.0.2:8080"] {
            assert_eq!(names.check_host(Some(host)), Ok(()), "{host}");
        }
    }

    #[test]
    fn other_hosts_are_refused() {
        let names = names("127.0.0.1:8080");
        for host in [
            "evil.example:8080",
            "127.0.0.1",
            "127.0.0.1:8081",
            "localhost:80",
            "localhost.evil.example:8080",
            "10.0.0.1:8080",
            "127.0.0.1.evil.example:8080",
            "",
            ":8080",
            "[::1",
            "::1:8080x",
            "localhost:8080:8080",
        ] {
            assert_eq!(names.check_host(Some(host)), Err(Refused::Host), "{host}");
        }
        assert_eq!(names.check_host(None), Err(Refused::Host));
    }

    #[test]
    fn listened_address_is_a_host_and_so_is_any_number_where_all_are_listened_to() {
        assert_eq!(names("10.0.0.1:8080").check_host(Some("10.0.0.1:8080")), Ok(()));
        assert_eq!(names("10.0.0.1:8080").check_host(Some("10.0.0.2:8080")), Err(Refused::Host));
        assert_eq!(names("0.0.0.0:8080").check_host(Some("10.0.0.2:8080")), Ok(()));
        assert_eq!(names("[::]:8080").check_host(Some("[fe80::1]:8080")), Ok(()));
        assert_eq!(names("0.0.0.0:8080").check_host(Some("rebound.example:8080")), Err(Refused::Host));
        assert_eq!(names("127.0.0.1:80").check_host(Some("localhost")), Ok(()));
    }

    #[test]
    fn origins_of_other_pages_are_refused() {
        let names = names("127.0.0.1:8080");
        for origin in ["http://127.0.0.1:8080", "http://localhost:8080"] {
            assert_eq!(names.check_origin(Some(origin)), Ok(()), "{origin}");
        }
        assert_eq!(names.check_origin(None), Ok(()));
        for origin in ["null", "http://evil.example", "https://127.0.0.1:8080", "http://127.0.0.1:3000", "file://", ""]
        {
            assert_eq!(names.check_origin(Some(origin)), Err(Refused::Origin), "{origin}");
        }
    }
}
