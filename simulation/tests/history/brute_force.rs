//! The definition itself, on histories of a few operations: is there an order of all writes that extends the causal
//! order, such that each read sees the last write of its key among those that it knows? Biswas & Enea 2019, causal
//! consistency.

use natter_simulation::history::check;
use proptest::prelude::*;

use crate::tale::{Tale, by};

/// A step of one of three sessions: a write to, or a read of, one of two movies; a read sees one of the writes by
/// number.
#[derive(Clone, Copy, Debug)]
struct Step {
    session: usize,
    film: usize,
    is_write: bool,
    sees: usize,
}

/// An operation: session, movie, and the number of the write that it is, or sees; 0 is the data set.
#[derive(Clone, Copy)]
struct Done {
    session: usize,
    film: usize,
    is_write: bool,
    n: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..3usize, 0..2usize, 0..5u8, 0..8usize).prop_map(|(session, film, kind, sees)| Step {
        session,
        film,
        is_write: kind < 2,
        sees,
    });
    prop::collection::vec(step, 1..12)
}

/// Writes are numbered from 1 on, six at most; a read sees one of those before it, of its movie.
fn done(steps: &[Step]) -> Vec<Done> {
    let mut all: Vec<Done> = Vec::new();
    for step in steps {
        let writes: Vec<_> = all.iter().filter(|done| done.is_write).copied().collect();
        let mut of_film = vec![0];
        of_film.extend(writes.iter().filter(|done| done.film == step.film).map(|done| done.n));
        let n = if step.is_write { writes.len() + 1 } else { of_film[step.sees % of_film.len()] };
        if n <= 6 || !step.is_write {
            all.push(Done { session: step.session, film: step.film, is_write: step.is_write, n });
        }
    }
    all
}

/// By trying all orders.
fn is_convergent(all: &[Done]) -> bool {
    let count = all.len();
    let mut before = vec![vec![false; count]; count];
    for (a, b) in (0..count).flat_map(|a| (0..count).map(move |b| (a, b))) {
        let reads_from = all[a].is_write && !all[b].is_write && all[a].n == all[b].n;
        before[a][b] = a < b && all[a].session == all[b].session || reads_from;
    }
    for (k, a, b) in (0..count).flat_map(|k| (0..count).flat_map(move |a| (0..count).map(move |b| (k, a, b)))) {
        before[a][b] |= before[a][k] && before[k][b];
    }
    let writes: Vec<usize> = (0..count).filter(|&n| all[n].is_write).collect();
    let right = |order: &[usize]| {
        let extends = order.iter().enumerate().all(|(n, &a)| order[n + 1..].iter().all(|&b| !before[b][a]));
        let reads = (0..count).filter(|&n| !all[n].is_write);
        extends
            && reads.into_iter().all(|read| {
                let known = |&&write: &&usize| before[write][read] && all[write].film == all[read].film;
                order.iter().rev().find(known).map_or(0, |&write| all[write].n) == all[read].n
            })
    };
    permutations(writes, &right)
}

fn permutations(items: Vec<usize>, right: &dyn Fn(&[usize]) -> bool) -> bool {
    fn go(order: &mut Vec<usize>, rest: &mut Vec<usize>, right: &dyn Fn(&[usize]) -> bool) -> bool {
        if rest.is_empty() {
            return right(order);
        }
        (0..rest.len()).any(|n| {
            let item = rest.remove(n);
            order.push(item);
            let found = go(order, rest, right);
            order.pop();
            rest.insert(n, item);
            found
        })
    }
    go(&mut Vec::new(), &mut items.clone(), right)
}

fn tale(all: &[Done]) -> Tale {
    let initial = natter_simulation::history::Cell { rating: Some(crate::tale::stars(9)), update_id: None };
    all.iter().fold(Tale::new().initial(1, 9).initial(2, 9), |tale, done| {
        let (session, film) = (format!("s{}", done.session), done.film as u32 + 1);
        match done {
            Done { is_write: true, n, .. } => tale.updates(&session, film, *n as u32),
            Done { n: 0, .. } => tale.reads(&session, film, initial),
            Done { n, .. } => tale.reads(&session, film, by(*n as u32)),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_checker_decides_what_the_definition_says(steps in steps()) {
        let all = done(&steps);
        let verdict = check(&tale(&all).history);
        prop_assert_eq!(verdict.is_ok(), is_convergent(&all), "{}", verdict);
    }
}

#[test]
fn both_verdicts_are_common_among_small_histories() {
    let mut generator = fastrand::Rng::with_seed(1);
    let mut step = || Step {
        session: generator.usize(..3),
        film: generator.usize(..2),
        is_write: generator.u8(..5) < 2,
        sees: generator.usize(..8),
    };
    let right = (0..1000).filter(|_| is_convergent(&done(&(0..9).map(|_| step()).collect::<Vec<_>>()))).count();
    assert!((100..900).contains(&right), "{right} of 1000 are right");
}
