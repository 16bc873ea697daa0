//! Short names of processes: `r1` instead of `r1-pkbxhrtc`, where no other process has it.

use std::collections::{BTreeMap, BTreeSet};

use natter_common::ids::ReplicaId;

/// Maximum ids that are remembered. Beyond it, ids are written in full.
const IDS_MAX: usize = 4096;

/// Ids by their short names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    ids: BTreeMap<String, BTreeSet<ReplicaId>>,
    count: usize,
}

impl Names {
    /// Takes note of an id.
    pub fn learn(&mut self, id: &ReplicaId) {
        if self.count < IDS_MAX && self.ids.entry(short(id.as_str()).to_owned()).or_default().insert(id.clone()) {
            self.count += 1;
        }
    }

    /// The name of a process: short where that is clear.
    pub fn of<'a>(&self, id: &'a ReplicaId) -> &'a str {
        let short = short(id.as_str());
        match self.ids.get(short) {
            Some(ids) if ids.len() == 1 && ids.contains(id) => short,
            _ => id.as_str(),
        }
    }

    /// Ids that a person can mean by this name: the one that reads so in full, or all of this short name.
    pub fn meant(&self, name: &str) -> Vec<ReplicaId> {
        let full = self.ids.values().flatten().find(|id| id.as_str() == name);
        match full {
            Some(id) => vec![id.clone()],
            None => self.ids.get(name).into_iter().flatten().cloned().collect(),
        }
    }

    /// A text with each known id that has a clear short name written by that.
    pub fn shorten(&self, entries: impl Iterator<Item = (ReplicaId, u64)>) -> String {
        let entries: Vec<String> = entries.map(|(id, count)| format!("{}:{count}", self.of(&id))).collect();
        if entries.is_empty() { "{}".to_owned() } else { format!("{{{}}}", entries.join(" ")) }
    }
}

/// An id without the part that tells its lives apart.
fn short(id: &str) -> &str {
    match id.rsplit_once('-') {
        Some((name, _)) if !name.is_empty() => name,
        _ => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_name_is_used_only_where_it_is_clear() {
        let id = |text: &str| ReplicaId::new(text).unwrap();
        let mut names = Names::default();
        for text in ["r1-abc", "r2-abc", "r2-def", "f-r1-abc", "plain"] {
            names.learn(&id(text));
        }
        assert_eq!(names.of(&id("r1-abc")), "r1");
        assert_eq!(names.of(&id("r2-def")), "r2-def");
        assert_eq!(names.of(&id("f-r1-abc")), "f-r1");
        assert_eq!(names.of(&id("plain")), "plain");
        assert_eq!(names.of(&id("r9-unknown")), "r9-unknown");
        assert_eq!((names.meant("r1").len(), names.meant("r2").len(), names.meant("r2-def").len()), (1, 2, 1));
        assert!(names.meant("r9").is_empty());
    }
}
