//! Vector clocks. The own entry of a process counts its events: 1, 2, 3. A receive merges the clock of its send.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::logs::{Event, What};

/// An event: its process and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// Number of the process.
    pub host: usize,
    /// Place among its events, from 0.
    pub place: usize,
}

/// Events with their clocks.
#[derive(Debug)]
pub struct Clocked {
    /// All events, causes before effects, and by time where that leaves a choice.
    pub order: Vec<At>,
    /// The clock of each event, by process and place: an entry for each process.
    pub clocks: Vec<Vec<Vec<u64>>>,
    /// Number of receives whose send is not among the events.
    pub unmatched: usize,
}

/// Gives each event of each process its clock.
///
/// # Errors
///
/// The number of a process that waits for a send that can never come: the logs contradict each other.
pub fn clocked(events: &[Vec<Event>]) -> Result<Clocked, usize> {
    let (causes, unmatched) = causes(events);
    let mut clocks: Vec<Vec<Vec<u64>>> = events.iter().map(|events| Vec::with_capacity(events.len())).collect();
    let mut order = Vec::new();
    // Processes whose next event may come, by its time.
    let mut ready: BinaryHeap<Reverse<(&str, usize)>> = BinaryHeap::new();
    // Processes that wait for an event of another one.
    let mut waiting: HashMap<At, Vec<usize>> = HashMap::new();
    let next = |host: usize, place: usize, clocks: &[Vec<Vec<u64>>], waiting: &mut HashMap<At, Vec<usize>>| {
        let event = events[host].get(place)?;
        match causes.get(&At { host, place }) {
            Some(cause) if clocks[cause.host].len() <= cause.place => {
                waiting.entry(*cause).or_default().push(host);
                None
            }
            _ => Some(Reverse((event.time.as_str(), host))),
        }
    };
    for host in 0..events.len() {
        ready.extend(next(host, 0, &clocks, &mut waiting));
    }
    while let Some(Reverse((_, host))) = ready.pop() {
        let at = At { host, place: clocks[host].len() };
        let mut clock = clocks[host].last().cloned().unwrap_or_else(|| vec![0; events.len()]);
        if let Some(cause) = causes.get(&at) {
            for (entry, other) in clock.iter_mut().zip(&clocks[cause.host][cause.place]) {
                *entry = (*entry).max(*other);
            }
        }
        clock[host] += 1;
        clocks[host].push(clock);
        order.push(at);
        for host in waiting.remove(&at).into_iter().flatten().chain([host]) {
            ready.extend(next(host, clocks[host].len(), &clocks, &mut waiting));
        }
    }
    match waiting.into_values().flatten().next() {
        Some(host) => Err(host),
        None => Ok(Clocked { order, clocks, unmatched }),
    }
}

/// The send of each receive, and the number of receives that have none.
///
/// Messages that read the same have the same number. The first one that a process receives counts as the first that was
/// sent, and so on: where one was lost, a receive is matched to an earlier send that reads the same, which happened before
/// it too.
fn causes(events: &[Vec<Event>]) -> (HashMap<At, At>, usize) {
    let mut sends: HashMap<u64, Vec<(&str, At)>> = HashMap::new();
    for (host, events) in events.iter().enumerate() {
        for (place, event) in events.iter().enumerate() {
            if let What::Sends(number) = event.what {
                sends.entry(number).or_default().push((&event.time, At { host, place }));
            }
        }
    }
    sends.values_mut().for_each(|sends| sends.sort_unstable());
    let (mut causes, mut unmatched) = (HashMap::new(), 0);
    for (host, events) in events.iter().enumerate() {
        let mut received: HashMap<u64, usize> = HashMap::new();
        for (place, event) in events.iter().enumerate() {
            let What::Receives(number) = event.what else { continue };
            let earlier = received.entry(number).or_default();
            match sends.get(&number) {
                Some(sends) => {
                    let (_, send) = sends[(*earlier).min(sends.len() - 1)];
                    *earlier += 1;
                    causes.insert(At { host, place }, send);
                }
                None => unmatched += 1,
            }
        }
    }
    (causes, unmatched)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time: &str, what: What) -> Event {
        Event { time: time.to_owned(), what, text: String::new() }
    }

    #[test]
    fn receive_merges_the_clock_of_its_send_although_its_log_is_earlier() {
        // The second process's clock is slow.
        let events = [
            vec![event("5", What::Local), event("6", What::Sends(7)), event("9", What::Receives(8))],
            vec![event("1", What::Local), event("2", What::Receives(7)), event("3", What::Sends(8))],
        ];
        let clocked = clocked(&events).unwrap();
        assert_eq!(clocked.clocks[0], [vec![1, 0], vec![2, 0], vec![3, 3]]);
        assert_eq!(clocked.clocks[1], [vec![0, 1], vec![2, 2], vec![2, 3]]);
        let places: Vec<(usize, usize)> = clocked.order.iter().map(|at| (at.host, at.place)).collect();
        assert_eq!(places, [(1, 0), (0, 0), (0, 1), (1, 1), (1, 2), (0, 2)]);
    }

    #[test]
    fn equal_messages_are_matched_in_their_order_and_unknown_ones_are_counted() {
        let events = [
            vec![event("1", What::Sends(7)), event("2", What::Sends(7))],
            vec![event("3", What::Receives(7)), event("4", What::Receives(7)), event("5", What::Receives(9))],
        ];
        let clocked = clocked(&events).unwrap();
        assert_eq!(clocked.clocks[1], [vec![1, 1], vec![2, 2], vec![2, 3]]);
        assert_eq!(clocked.unmatched, 1);
    }

    #[test]
    fn logs_that_contradict_each_other_are_refused() {
        let events = [
            vec![event("1", What::Receives(1)), event("2", What::Sends(2))],
            vec![event("1", What::Receives(2)), event("2", What::Sends(1))],
        ];
        assert!(clocked(&events).is_err());
    }
}
