//! Versions of `nats-server`.

use std::fmt;

/// A version: major, minor and patch, compared in this order. The part after a hyphen (`-beta.1`) is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Raised with incompatible changes.
    pub major: u32,
    /// Raised with new features.
    pub minor: u32,
    /// Raised with corrections.
    pub patch: u32,
}

impl Version {
    /// Reads what `nats-server --version` prints: `nats-server: v2.15.1`. `None` where it is anything else.
    pub fn from_output(output: &str) -> Option<Self> {
        let text = output.trim().strip_prefix("nats-server:")?.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let numbers = text.split(['-', '+', ' ']).next()?;
        let mut numbers = numbers.split('.').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self { major: next()?, minor: next()?, patch: next()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_server_prints() {
        let version = |major, minor, patch| Some(Version { major, minor, patch });
        assert_eq!(Version::from_output("nats-server: v2.15.1\n"), version(2, 15, 1));
        assert_eq!(Version::from_output("nats-server: v2.9.10"), version(2, 9, 10));
        assert_eq!(Version::from_output("nats-server: 2.11.0-beta.2"), version(2, 11, 0));
        for other in ["", "v2.15.1", "nats: v0.1.0", "nats-server: v2.15", "nats-server: vx.y.z"] {
            assert_eq!(Version::from_output(other), None, "{other}");
        }
    }

    #[test]
    fn order_is_by_number_not_by_text() {
        let of = |text: &str| Version::from_output(&format!("nats-server: v{text}")).unwrap();
        assert!(of("2.9.25") < of("2.10.0") && of("2.9.0") < of("2.9.10") && of("2.15.1") < of("3.0.0"));
        assert_eq!(of("2.15.1").to_string(), "2.15.1");
    }
}
