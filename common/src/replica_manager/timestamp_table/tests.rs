use super::TimestampTable;
use crate::ids::ReplicaId;
use crate::timestamp::Timestamp;

fn id(text: &str) -> ReplicaId {
    ReplicaId::new(text).unwrap()
}

fn timestamp(entries: &[(&str, u64)]) -> Timestamp {
    entries.iter().map(|(origin, count)| (id(origin), *count)).collect()
}

#[test]
fn entries_are_what_was_said_and_never_fall() {
    let mut table = TimestampTable::default();
    table.heard(&id("a"), &timestamp(&[("x", 3)]), Some(&timestamp(&[("x", 2)])));
    table.heard(&id("a"), &timestamp(&[("x", 1), ("y", 4)]), None);
    table.heard(&id("b"), &timestamp(&[("x", 5)]), None);
    let entry = table.get(&id("a")).unwrap();
    assert_eq!(entry.replica_timestamp, timestamp(&[("x", 3), ("y", 4)]));
    assert_eq!(entry.value_timestamp, timestamp(&[("x", 2)]));
    assert_eq!((table.applied_by_someone(&id("x")), table.applied_by_someone(&id("y"))), (2, 0));
    assert!(table.is_applied_by_someone(&id("x"), 2) && !table.is_applied_by_someone(&id("x"), 3));
    assert_eq!(table.iter().count(), 2);
}

#[test]
fn who_is_not_known_is_not_believed_to_be_there() {
    let mut table = TimestampTable::default();
    table.heard_if_known(&id("a"), &timestamp(&[("x", 3)]));
    assert!(table.get(&id("a")).is_none());
    table.heard(&id("a"), &Timestamp::new(), None);
    table.heard_if_known(&id("a"), &timestamp(&[("x", 3)]));
    assert_eq!(table.get(&id("a")).unwrap().replica_timestamp, timestamp(&[("x", 3)]));
    table.retain(|id| id.as_str() != "a");
    assert!(table.get(&id("a")).is_none());
}

#[test]
fn an_origin_is_forgotten_but_where_more_of_it_is_known() {
    let mut table = TimestampTable::default();
    table.heard(&id("a"), &timestamp(&[("x", 3), ("y", 1)]), Some(&timestamp(&[("x", 2)])));
    table.heard(&id("b"), &timestamp(&[("x", 4)]), Some(&timestamp(&[("x", 4)])));
    table.forget_origin(&id("x"), 3);
    let entry = |name| table.get(&id(name)).unwrap();
    assert_eq!(entry("a").replica_timestamp, timestamp(&[("y", 1)]));
    assert!(entry("a").value_timestamp.is_empty());
    assert_eq!(
        (&entry("b").replica_timestamp, &entry("b").value_timestamp),
        (&timestamp(&[("x", 4)]), &timestamp(&[("x", 4)]))
    );
}
