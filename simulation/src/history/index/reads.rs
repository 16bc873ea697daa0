//! Reads whose write is known, and glimpses, of each operation.

use std::collections::{BTreeMap, HashMap};

use natter_common::ids::{MovieId, UpdateId};
use natter_common::rating::RatingKey;

use super::{Glimpse, Index, NO_CHAIN, Read, Source, What, Write};
use crate::history::operation::{Cell, Final, Kind, Operation, Outcome, Reason, Seen};

impl Index<'_> {
    pub(super) fn find_reads(&mut self, n: usize) {
        match self.nodes[n].what {
            What::Operation(operation) => self.find_reads_of(n, &self.history.operations[operation]),
            What::Final(state) => self.find_reads_of_final(n, &self.history.finals[state]),
            What::Nameless(_) => {}
        }
    }

    fn find_reads_of(&mut self, n: usize, operation: &Operation) {
        match (&operation.kind, &operation.outcome) {
            (&Kind::Read { user_id, movie_id }, Outcome::Ok(Seen::Cell(cell))) => {
                self.saw(n, self.by_key[&RatingKey { user_id, movie_id }], *cell);
            }
            (Kind::All { user_id, after }, Outcome::Ok(Seen::Page { rows, until })) => {
                let listed: BTreeMap<u32, Cell> = rows.iter().map(|row| (row.movie_id.get(), row.cell)).collect();
                let until = until.map_or(u32::MAX, MovieId::get);
                let keys = self.users.get(user_id).into_iter().flatten();
                let keys: Vec<_> = keys.map(|(movie, key)| (movie.get(), *key)).collect();
                for (movie, key) in keys {
                    if let Some(cell) = listed.get(&movie) {
                        self.saw(n, key, *cell);
                    } else if *after < movie && movie <= until {
                        self.saw(n, key, Cell::ABSENT);
                    }
                }
            }
            (Kind::Write { request, .. }, outcome) => {
                let key = self.by_key[&request.key()];
                let is_new = self.nodes[n].write.is_some();
                let makes = matches!(request, natter_common::request::Update::Create { .. });
                let glimpse = match outcome {
                    // A delete has read what it took away.
                    Outcome::Ok(Seen::Cell(cell)) if is_new && request.stars().is_none() && cell.rating.is_some() => {
                        return self.saw(n, key, *cell);
                    }
                    Outcome::Ok(_) if is_new => Some(!makes),
                    Outcome::Refused(Reason::RatingExists) => Some(true),
                    Outcome::Refused(Reason::RatingNotFound) => Some(false),
                    _ => None,
                };
                if let Some(is_there) = glimpse {
                    self.nodes[n].glimpses.push(Glimpse { key, is_there });
                }
            }
            _ => {}
        }
    }

    fn find_reads_of_final(&mut self, n: usize, state: &Final) {
        let listed: HashMap<RatingKey, Cell> = state.rows.iter().map(|row| (row.key(), row.cell)).collect();
        for user_id in &state.users {
            let keys: Vec<usize> = self.users.get(user_id).into_iter().flatten().map(|(_, key)| *key).collect();
            for key in keys {
                let cell = listed.get(&self.keys[key].key).copied().unwrap_or(Cell::ABSENT);
                self.saw(n, key, cell);
            }
        }
    }

    /// A node saw what stands at a key.
    fn saw(&mut self, n: usize, key: usize, cell: Cell) {
        let Some(id) = cell.update_id else {
            if cell.rating.is_some() && cell.rating == self.keys[key].initial {
                self.nodes[n].reads.push(Read { key, source: Source::Initial });
            } else if cell.rating.is_some() {
                self.thin_air.push((n, key, cell));
            } else {
                self.nodes[n].glimpses.push(Glimpse { key, is_there: false });
            }
            return;
        };
        if cell.rating.is_none() && !self.by_id.contains_key(&id) && !self.refused.contains_key(&id) {
            let deletes = self.nameless_deletes.entry(key).or_default();
            let unanswered = self.nameless.get(&(key, None)).map_or(0, Vec::len);
            if let (&[delete], 0) = (&deletes[..], unanswered) {
                deletes.clear();
                self.by_id.insert(id, delete);
            } else if !deletes.is_empty() {
                // It may be any of them.
                return self.nodes[n].glimpses.push(Glimpse { key, is_there: false });
            }
        }
        let writer = self.by_id.get(&id).copied().or_else(|| self.adopt(key, id, cell));
        let fits = |writer: &usize| {
            self.nodes[*writer].write.is_some_and(|write| write.key == key && write.stars == cell.rating)
        };
        match writer.filter(fits) {
            Some(writer) => self.nodes[n].reads.push(Read { key, source: Source::Write(writer) }),
            None => self.thin_air.push((n, key, cell)),
        }
    }

    /// Finds an update for an id that belongs to no known update: one whose session had no answer and so never learned
    /// the id. Any that fits will do: nothing is said of what it follows.
    fn adopt(&mut self, key: usize, id: UpdateId, cell: Cell) -> Option<usize> {
        if self.refused.contains_key(&id) {
            return None;
        }
        self.nameless.get_mut(&(key, cell.rating))?.pop()?;
        self.chains.push(Vec::new());
        let node = self.push(What::Nameless(id), self.chains.len() - 1, None);
        self.nodes[node].write = Some(Write { key, stars: cell.rating, is_acknowledged: false });
        self.by_id.insert(id, node);
        Some(node)
    }

    /// "Nothing there", at a key that no session ever tried to delete, is the data set's value: a read like any other.
    pub(super) fn settle_glimpses(&mut self, n: usize) {
        let chain = self.nodes[n].chain;
        for glimpse in std::mem::take(&mut self.nodes[n].glimpses) {
            let key = &mut self.keys[glimpse.key];
            if !glimpse.is_there && !key.may_be_deleted && key.initial.is_none() {
                self.nodes[n].reads.push(Read { key: glimpse.key, source: Source::Initial });
                continue;
            }
            if chain != NO_CHAIN {
                key.glimpses.entry(chain).or_default()[usize::from(glimpse.is_there)].push(n);
            }
            self.nodes[n].glimpses.push(glimpse);
        }
    }
}
