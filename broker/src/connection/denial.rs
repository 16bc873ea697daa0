//! Denials: operations that a broker does not permit a connection, read from the text of its error.

use std::fmt;

/// Operation that a connection tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Publish to a subject.
    Publish,
    /// Subscribe to a subject.
    Subscribe,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        })
    }
}

/// A publish or a subscription that the broker refused, because the user's permissions do not include it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Denial {
    /// Operation that was refused.
    pub access: Access,
    /// The subject, as the connection gave it.
    pub subject: String,
}

impl Denial {
    /// Reads the text of a `-ERR`. `None` where it is about something else.
    pub fn parse(text: &str) -> Option<Self> {
        const START: &str = "permissions violation for ";
        let text = text.trim_start_matches("nats: ");
        let rest = text.get(START.len()..).filter(|_| text[..START.len()].eq_ignore_ascii_case(START))?;
        let (what, rest) = rest.split_once('"')?;
        // After the subject comes a queue group, or the number of a subscription.
        let subject = rest.split('"').next()?.to_owned();
        let access = match what.split(' ').next()?.to_ascii_lowercase().as_str() {
            "publish" => Access::Publish,
            "subscription" => Access::Subscribe,
            _ => return None,
        };
        Some(Self { access, subject })
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.access, self.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_about_permissions_are_told_from_others() {
        let denial = |access, subject: &str| Some(Denial { access, subject: subject.to_owned() });
        for (text, expected) in [
            ("Permissions Violation for Publish to \"a.b\"", denial(Access::Publish, "a.b")),
            ("nats: permissions violation for publish to \"a.b\"", denial(Access::Publish, "a.b")),
            ("Permissions Violation for Subscription to \"a.*\"", denial(Access::Subscribe, "a.*")),
            ("Permissions Violation for Subscription to \"a.>\" using queue \"q\"", denial(Access::Subscribe, "a.>")),
            ("Permissions Violation for Subscription to \"a\" (sid \"7\")", denial(Access::Subscribe, "a")),
            ("Permissions Violation", None),
            ("Authorization Violation", None),
            ("é", None),
            ("", None),
        ] {
            assert_eq!(Denial::parse(text), expected, "{text}");
        }
    }
}
