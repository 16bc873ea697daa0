//! The reply that most clients get, one rating in MessagePack, written in one go.
//!
//! It has a dozen names that are always the same: as bytes that are copied, they cost a tenth of what a serializer takes for
//! them one by one. A test holds it against the serializer's bytes.

use rmp::encode::{self, RmpWrite, ValueWriteError};

use super::ClientReply;
use crate::cluster::ClusterId;
use crate::label::Label;
use crate::rating::Rating;
use crate::request::Answer;

/// Maximum bytes of all names and numbers of the value; below, of an id or a count, beside the id itself.
const NAMES_BYTES: usize = 192;
const ENTRY_BYTES: usize = 11;

/// The bytes of a reply whose value is a rating; `None` for another.
pub(super) fn encode_plain_reply(reply: &ClientReply, cluster: Option<&ClusterId>) -> Option<Vec<u8>> {
    let Answer::Rating(rating) = &reply.value else { return None };
    let ids = reply.label.replicas.iter().map(|(id, _)| id).chain(&reply.replicas);
    let entries: usize = ids.map(|id| id.as_str().len() + ENTRY_BYTES).sum();
    let cluster_bytes = cluster.map_or(0, |cluster| cluster.as_str().len() + ENTRY_BYTES);
    let mut body = Vec::with_capacity(NAMES_BYTES + rating.title.len() + entries + cluster_bytes);
    write(&mut body, rating, reply, cluster).ok()?;
    Some(body)
}

fn write<W: RmpWrite>(
    out: &mut W,
    rating: &Rating,
    reply: &ClientReply,
    cluster: Option<&ClusterId>,
) -> Result<(), ValueWriteError<W::Error>> {
    names(out, if cluster.is_some() { b"\x84\xa5value\x86\xa7user_id" } else { b"\x83\xa5value\x86\xa7user_id" })?;
    encode::write_uint(out, rating.user_id.get().into())?;
    names(out, b"\xa8movie_id")?;
    encode::write_uint(out, rating.movie_id.get().into())?;
    names(out, b"\xa5title")?;
    encode::write_str(out, &rating.title)?;
    names(out, b"\xa6rating")?;
    match rating.rating {
        Some(stars) => encode::write_f64(out, stars.as_f64())?,
        None => nil(out)?,
    }
    names(out, b"\xa9timestamp")?;
    match rating.timestamp {
        Some(seconds) => {
            encode::write_sint(out, seconds)?;
        }
        None => nil(out)?,
    }
    names(out, b"\xa9update_id")?;
    match rating.update_id {
        Some(id) => {
            let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
            encode::write_str(out, id.as_uuid().hyphenated().encode_lower(&mut text))?;
        }
        None => nil(out)?,
    }
    names(out, b"\xa5label")?;
    label(out, &reply.label)?;
    names(out, b"\xa8replicas")?;
    encode::write_array_len(out, length(reply.replicas.len()))?;
    for replica in &reply.replicas {
        encode::write_str(out, replica.as_str())?;
    }
    if let Some(cluster) = cluster {
        names(out, b"\xa7cluster")?;
        encode::write_str(out, cluster.as_str())?;
    }
    Ok(())
}

fn label<W: RmpWrite>(out: &mut W, label: &Label) -> Result<(), ValueWriteError<W::Error>> {
    names(out, b"\x82\xa8replicas")?;
    encode::write_map_len(out, length(label.replicas.len()))?;
    for (replica, count) in label.replicas.iter() {
        encode::write_str(out, replica.as_str())?;
        encode::write_uint(out, count)?;
    }
    names(out, b"\xa5clock")?;
    encode::write_uint(out, label.clock.0)?;
    Ok(())
}

/// Writes names, with what tells their lengths.
fn names<W: RmpWrite>(out: &mut W, names: &[u8]) -> Result<(), ValueWriteError<W::Error>> {
    out.write_bytes(names).map_err(ValueWriteError::InvalidDataWrite)
}

fn nil<W: RmpWrite>(out: &mut W) -> Result<(), ValueWriteError<W::Error>> {
    encode::write_nil(out).map_err(ValueWriteError::InvalidMarkerWrite)
}

/// More than that is in no reply.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::edge::SentReply;
    use crate::ids::{MovieId, ReplicaId, UpdateId, UserId};
    use crate::rating::Stars;
    use crate::wire;
    use proptest::prelude::*;

    fn ids() -> impl Strategy<Value = Vec<(ReplicaId, u64)>> {
        let id = "[A-Za-z0-9_-]{1,64}".prop_map(|text| ReplicaId::new(&text).unwrap());
        prop::collection::vec((id, any::<u64>()), 0..40)
    }

    proptest! {
        #[test]
        fn it_has_the_bytes_that_a_serializer_writes(
            (user, movie) in (1u32.., 1u32..),
            title in ".{0,300}",
            stars in prop::option::of(1u8..=10),
            timestamp: Option<i64>,
            update_id: Option<u128>,
            (counts, clock) in (ids(), any::<u64>()),
            served in ids(),
            cluster in prop::option::of("[A-Za-z0-9_-]{1,64}"),
        ) {
            let rating = Rating {
                user_id: UserId::new(user).unwrap(),
                movie_id: MovieId::new(movie).unwrap(),
                title,
                rating: stars.map(|half_stars| Stars::from_half_stars(half_stars).unwrap()),
                timestamp,
                update_id: update_id.map(|bits| UpdateId::from_uuid(uuid::Uuid::from_u128(bits))),
            };
            let label = Label { replicas: counts.into_iter().collect(), clock: Stamp(clock) };
            let replicas = served.into_iter().map(|(id, _)| id).collect();
            let reply = ClientReply { value: Answer::Rating(rating), label, replicas };
            let cluster = cluster.map(|text| ClusterId::new(&text).unwrap());
            let sent = SentReply { reply: &reply, cluster: cluster.as_ref() };
            prop_assert_eq!(encode_plain_reply(&reply, cluster.as_ref()).unwrap(), wire::encode(&sent).unwrap());
        }
    }
}
