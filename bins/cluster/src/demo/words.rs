//! Values in words.

use std::time::{Duration, UNIX_EPOCH};

use natter_broker::logs::date_and_time;
use natter_client::session::{Rating, RatingReply, ReplicaId};
use natter_client::watch::names::Names;
use natter_client::watch::status::{ReplicaRow, Snapshot};
use natter_common::clock::Stamp;
use natter_common::record::Record;
use natter_common::timestamp::Timestamp;

/// `{r1:2 r3:1}`.
pub(super) fn timestamp(timestamp: &Timestamp, names: &Names) -> String {
    names.shorten(timestamp.iter().map(|(id, count)| (id.clone(), count)))
}

/// `r1 and r3`, `r1, r2 and r3`, `no replica`.
pub(super) fn listed(ids: &[ReplicaId], names: &Names) -> String {
    let mut ids: Vec<&str> = ids.iter().map(|id| names.of(id)).collect();
    ids.sort_unstable();
    match ids.split_last() {
        None => "no replica".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// The time of the day, and the counter within its millisecond: `20:23:11.399+0`.
pub(super) fn stamp(stamp: Stamp) -> String {
    let time = date_and_time(UNIX_EPOCH + Duration::from_millis(stamp.milliseconds())).to_string();
    format!("{}+{}", time.get(11..23).unwrap_or(&time), stamp.counter())
}

/// `4.5 stars`, `no rating`.
pub(super) fn rating(rating: &Rating) -> String {
    rating.rating.map_or_else(|| "no rating".to_owned(), |stars| format!("{stars} stars"))
}

/// The answer to a client: `4.5 stars, label {r1:1}, by r1 and r2`.
pub(super) fn answer(reply: &RatingReply, names: &Names) -> String {
    let by = listed(&reply.replicas, names);
    format!("{}, label {}, by {by}", rating(&reply.value), timestamp(&reply.label.replicas, names))
}

/// `record r1:2 with prev {r2:1} and stamp 20:23:11.399+0`.
pub(super) fn record(record: &Record, names: &Names) -> String {
    let (name, prev) = (names.of(&record.i), timestamp(&record.prev, names));
    format!("record {name}:{} with prev {prev} and stamp {}", record.seq, stamp(record.stamp))
}

/// `12 ms`.
pub(super) fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

/// One line for each replica.
pub(super) fn table(snapshot: &Snapshot, names: &Names) -> Vec<String> {
    let line = |row: &ReplicaRow| {
        let (name, status) = (names.of(&row.id), row.status.to_string());
        let digest = row.digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string());
        let applied = timestamp(&row.value_timestamp, names);
        format!("{name:<8} {status:<10} log {:<4} digest {digest:<16}  has applied {applied}", row.log_length)
    };
    snapshot.replicas.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_well() {
        let ids: Vec<ReplicaId> = ["r2-a", "r1-b", "r3-c"].map(|id| ReplicaId::new(id).unwrap()).into();
        let mut names = Names::default();
        ids.iter().for_each(|id| names.learn(id));
        let said: Vec<String> = (0..=3).map(|count| listed(&ids[..count], &names)).collect();
        assert_eq!(said, ["no replica", "r2", "r1 and r2", "r1, r2 and r3"]);
    }

    #[test]
    fn stamp_is_a_time_of_the_day_with_its_counter() {
        assert_eq!(stamp(Stamp::new(3_723_004, 2)), "01:02:03.004+2");
    }
}
