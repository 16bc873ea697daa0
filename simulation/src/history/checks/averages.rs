//! A mean is that of the ratings: at the end always; during the run where every rating that it could rest on is known,
//! that is where each key of the movie has one latest write, and no other was under way. Any mean must be of half
//! stars.

use std::collections::HashMap;

use natter_common::ids::MovieId;
use natter_common::rating::Stars;

use crate::history::causality::Causality;
use crate::history::index::Index;
use crate::history::{Cell, Final, Mean, Outcome, Promise, Seen, Verdict, Violation};

/// Sum and number of the ratings of one movie.
#[derive(Clone, Copy, Default)]
struct Sum {
    half_stars: u64,
    count: u64,
}

impl Sum {
    fn add(&mut self, stars: Option<Stars>) {
        self.half_stars += stars.map_or(0, |stars| u64::from(stars.half_stars()));
        self.count += u64::from(stars.is_some());
    }

    fn is(&self, mean: &Mean) -> bool {
        let average = (self.count > 0).then(|| self.half_stars as f64 / 2.0 / self.count as f64);
        let is_close = match (average, mean.average) {
            (Some(mine), Some(theirs)) => (mine - theirs).abs() < 1e-9,
            (mine, theirs) => mine == theirs,
        };
        is_close && self.count == mean.count
    }
}

/// The keys of each movie: those that were written to, and the sum of the others.
fn films(index: &Index<'_>) -> HashMap<MovieId, (Sum, Vec<usize>)> {
    let mut films: HashMap<MovieId, (Sum, Vec<usize>)> = HashMap::new();
    for (n, key) in index.keys.iter().enumerate() {
        let (sum, written) = films.entry(key.key.movie_id).or_default();
        if key.writes.is_empty() && key.unseen.is_empty() {
            sum.add(key.initial);
        } else {
            written.push(n);
        }
    }
    films
}

pub(in crate::history) fn check(index: &Index<'_>, causality: &Causality, verdict: &mut Verdict) {
    let films = films(index);
    for n in 0..index.nodes.len() {
        let Some(Outcome::Ok(Seen::Mean(mean))) = index.operation(n).map(|operation| &operation.outcome) else {
            continue;
        };
        let (sum, written) = films.get(&mean.movie_id).map_or((Sum::default(), &[][..]), |(sum, keys)| (*sum, keys));
        let expected = written.iter().try_fold(sum, |mut sum, &key| {
            sum.add(known(index, causality, n, key)?);
            Some(sum)
        });
        if expected.is_some() {
            verdict.counts.means_checked += 1;
        } else {
            verdict.counts.means_skipped += 1;
        }
        if !is_possible(mean) || expected.is_some_and(|sum| !sum.is(mean)) {
            tell(verdict, mean, expected, index.tell(n));
        }
    }
    for state in &index.history.finals {
        at_end(index, state, &films, verdict);
    }
}

/// Rating of a key that `reader` must see; `None` where several values are possible.
fn known(index: &Index<'_>, causality: &Causality, reader: usize, key: usize) -> Option<Option<Stars>> {
    let end_us = index.end_us(reader);
    let of_key = &index.keys[key];
    if of_key.unseen.iter().any(|(_, start_us)| *start_us <= end_us) {
        return None;
    }
    for (&chain, writes) in &of_key.writes {
        let from = causality.prefix(reader, chain, writes, |&write| write);
        let mut possible = writes[from..].iter().take_while(|&&write| index.start_us(write) <= end_us);
        if possible.any(|&write| !causality.is_before(reader, write)) {
            return None;
        }
    }
    let latest: Vec<usize> = causality.latest(index, reader, key).collect();
    if latest.is_empty() {
        return Some(of_key.initial);
    }
    let stands = |&&a: &&usize| latest.iter().all(|&b| a == b || causality.is_before(b, a));
    latest.iter().find(stands).map(|&write| index.nodes[write].write.and_then(|write| write.stars))
}

/// Whether ratings exist that have this mean.
fn is_possible(mean: &Mean) -> bool {
    let Some(average) = mean.average else { return mean.count == 0 };
    let half_stars = average * mean.count as f64 * 2.0;
    mean.count > 0 && (0.5..=5.0).contains(&average) && (half_stars - half_stars.round()).abs() < 1e-6 * half_stars
}

fn at_end(index: &Index<'_>, state: &Final, films: &HashMap<MovieId, (Sum, Vec<usize>)>, verdict: &mut Verdict) {
    let listed: HashMap<_, Cell> = state.rows.iter().map(|row| (row.key(), row.cell)).collect();
    for mean in &state.means {
        let (_, written) = films.get(&mean.movie_id).cloned().unwrap_or_default();
        if written.iter().any(|&key| !state.users.contains(&index.keys[key].key.user_id)) {
            verdict.counts.means_skipped += 1;
            continue;
        }
        verdict.counts.means_checked += 1;
        let mut sum = Sum::default();
        for key in index.keys.iter().filter(|key| key.key.movie_id == mean.movie_id) {
            let is_listed = state.users.contains(&key.key.user_id);
            sum.add(if is_listed { listed.get(&key.key).and_then(|cell| cell.rating) } else { key.initial });
        }
        if !sum.is(mean) {
            tell(verdict, mean, Some(sum), format!("the end at {}", state.replica));
        }
    }
}

fn tell(verdict: &mut Verdict, mean: &Mean, expected: Option<Sum>, by: String) {
    let found = format!("{:?} of {} ratings for movie {}", mean.average, mean.count, mean.movie_id);
    let text = match expected {
        Some(Sum { half_stars, count }) => {
            format!("{found}, where the sum is {} of {count}", half_stars as f64 / 2.0)
        }
        None => format!("{found}, which no ratings have"),
    };
    verdict.add(Violation { promise: Promise::Averages, text, story: vec![by] });
}
