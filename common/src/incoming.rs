//! Messages that any program on the broker can send to a subject, as inputs of the cores.
//!
//! A message is taken in where its form is right and the id in it is the one in its subject. Any other is ignored, as the
//! right one can still come.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::frontend;
use crate::ids::ReplicaId;
use crate::messages::{Acknowledgement, Gossip, LogPage, Presence, Replies, SnapshotReply};
use crate::replica_manager;
use crate::wire::{WireError, decode};

/// The kinds of messages that are no requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// Presence of a replica.
    Presence,
    /// Gossip of a replica.
    Gossip,
    /// Timestamp up to which another replica holds records that were gossiped from here.
    Acknowledgement,
    /// The answer to a pull.
    LogPage,
    /// A chunk of a snapshot.
    Snapshot,
    /// A replica's replies to a frontend.
    Replies,
}

/// Reason why a message is ignored.
#[derive(Debug)]
pub enum Ignored {
    /// Its bytes are not the message that belongs there.
    Form(WireError),
    /// The id in it is another one than that in its subject.
    OtherId,
    /// It is this process's own, which a broker that echoes brings back.
    Own,
    /// This role hears no such messages.
    OtherRole,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(error) => error.fmt(f),
            Self::OtherId => f.write_str("the id in it is not the one in its subject"),
            Self::Own => f.write_str("it is this process's own"),
            Self::OtherRole => f.write_str("this role hears no such messages"),
        }
    }
}

fn of_sender<T: DeserializeOwned>(payload: &[u8], sender: &str, id: impl Fn(&T) -> &ReplicaId) -> Result<T, Ignored> {
    let message: T = decode(payload).map_err(Ignored::Form)?;
    if id(&message).as_str() == sender { Ok(message) } else { Err(Ignored::OtherId) }
}

/// The input of a replica that is a message on `channel`. `sender` is the last token of its subject.
///
/// # Errors
///
/// The message is to be ignored.
pub fn replica_input(
    channel: Channel,
    own: &ReplicaId,
    sender: &str,
    payload: &[u8],
) -> Result<replica_manager::Input, Ignored> {
    use replica_manager::Input;
    let input = match channel {
        Channel::Gossip => Input::Gossip(of_sender::<Gossip>(payload, sender, |gossip| &gossip.id)?),
        Channel::Presence => {
            Input::Presence(Box::new(of_sender::<Presence>(payload, sender, |presence| &presence.id)?))
        }
        Channel::LogPage => Input::LogPage(of_sender::<LogPage>(payload, sender, |page| &page.id)?),
        Channel::Snapshot => Input::SnapshotReply(of_sender::<SnapshotReply>(payload, sender, |reply| &reply.id)?),
        // Its subject names the receiver.
        Channel::Acknowledgement => Input::Acknowledgement(decode::<Acknowledgement>(payload).map_err(Ignored::Form)?),
        Channel::Replies => return Err(Ignored::OtherRole),
    };
    if channel != Channel::Acknowledgement && sender == own.as_str() { Err(Ignored::Own) } else { Ok(input) }
}

/// The input of a frontend that is a message on `channel`. `sender` is the last token of the subject of presence, and the
/// replica that was asked in the subject of replies.
///
/// # Errors
///
/// The message is to be ignored.
pub fn frontend_input(channel: Channel, sender: &str, payload: &[u8]) -> Result<frontend::Input, Ignored> {
    use frontend::Input;
    match channel {
        Channel::Presence => {
            of_sender::<Presence>(payload, sender, |presence| &presence.id).map(|it| Input::Presence(Box::new(it)))
        }
        Channel::Replies => of_sender::<Replies>(payload, sender, |replies| &replies.id).map(Input::Replies),
        _ => Err(Ignored::OtherRole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::encode;

    fn presence(id: &str) -> Vec<u8> {
        encode(&Presence::of_the_past(ReplicaId::new(id).unwrap(), true)).unwrap()
    }

    #[test]
    fn message_of_the_wrong_form_or_id_is_ignored() {
        let own = ReplicaId::new("a").unwrap();
        let acknowledged = br#"{"stream":"AUDIT","seq":12}"#;
        for channel in
            [Channel::Presence, Channel::Gossip, Channel::Acknowledgement, Channel::LogPage, Channel::Snapshot]
        {
            for garbage in [&b""[..], b"\xc1", acknowledged, b"-ERR"] {
                let heard = replica_input(channel, &own, "b", garbage);
                assert!(matches!(heard, Err(Ignored::Form(_))), "{channel:?} {heard:?}");
            }
        }
        for garbage in [&b""[..], b"\x80", acknowledged] {
            assert!(matches!(frontend_input(Channel::Replies, "b", garbage), Err(Ignored::Form(_))));
        }
        assert!(matches!(replica_input(Channel::Presence, &own, "c", &presence("b")), Err(Ignored::OtherId)));
        assert!(matches!(replica_input(Channel::Presence, &own, "a", &presence("a")), Err(Ignored::Own)));
        assert!(matches!(frontend_input(Channel::Gossip, "b", &presence("b")), Err(Ignored::OtherRole)));
        assert!(replica_input(Channel::Presence, &own, "b", &presence("b")).is_ok());
        assert!(frontend_input(Channel::Presence, "b", &presence("b")).is_ok());
    }
}
