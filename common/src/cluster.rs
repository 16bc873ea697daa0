//! The identity of a cluster: to which replicas a session, or the journal of an import, belongs.
//!
//! A replica that finds no other one draws an identity. Replicas keep it with their state, show it in their presence,
//! and frontends put it into every reply. After two clusters meet, both keep the smaller identity, and the other one
//! stays an alias: sessions of either go on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{IdError, ReplicaId};

/// Maximum aliases of a cluster that are kept and shown: each comes from two clusters that met. Further aliases are
/// ignored, so that a kept one is never lost.
pub const ALIASES_MAX: usize = 32;

/// Letters of an identity that a replica draws.
const LETTERS: usize = 12;

/// Names a cluster: a token of `[A-Za-z0-9_-]{1,64}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(ReplicaId);

impl ClusterId {
    /// Checks that `text` is a token.
    ///
    /// # Errors
    ///
    /// [`IdError::NotAToken`].
    pub fn new(text: &str) -> Result<Self, IdError> {
        ReplicaId::new(text).map(Self)
    }

    /// As [`ClusterId::new`], but identities that come again and again share one token.
    ///
    /// # Errors
    ///
    /// [`IdError::NotAToken`].
    pub fn known(text: &str) -> Result<Self, IdError> {
        ReplicaId::known(text).map(Self)
    }

    /// The identity that random `bits` make.
    pub fn from_bits(mut bits: u64) -> Self {
        let mut text = String::with_capacity(LETTERS);
        for _ in 0..LETTERS {
            text.push(char::from(b'a' + (bits % 26) as u8));
            bits /= 26;
        }
        // Letters are a token.
        Self(ReplicaId::token(&text))
    }

    /// The token itself.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// All names by which a process knows its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterNames {
    /// The identity: the smallest of the names; `None` before one was drawn or heard.
    pub id: Option<ClusterId>,
    /// Identities of clusters that have met this one, at most [`ALIASES_MAX`].
    pub aliases: Vec<ClusterId>,
}

impl ClusterNames {
    /// Whether `id` names this cluster.
    pub fn contain(&self, id: &ClusterId) -> bool {
        self.id.as_ref() == Some(id) || self.aliases.contains(id)
    }

    /// Takes in the names that another process of this cluster shows. Returns whether that was news.
    pub fn meet(&mut self, id: Option<&ClusterId>, aliases: &[ClusterId]) -> bool {
        // Aliases of an identity that is not shown belong to no cluster.
        let Some(id) = id else { return false };
        let mut is_news = self.learn(id);
        for alias in aliases.iter().take(ALIASES_MAX) {
            is_news |= self.learn(alias);
        }
        is_news
    }

    fn learn(&mut self, name: &ClusterId) -> bool {
        if self.contain(name) {
            return false;
        }
        match &mut self.id {
            None => self.id = Some(name.clone()),
            Some(id) if name < id => {
                let alias = std::mem::replace(id, name.clone());
                // Sessions of this very cluster bear it: it matters more than any other.
                self.aliases.truncate(ALIASES_MAX - 1);
                self.aliases.push(alias);
            }
            Some(_) if self.aliases.len() < ALIASES_MAX => self.aliases.push(name.clone()),
            Some(_) => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(text: &str) -> ClusterId {
        ClusterId::new(text).unwrap()
    }

    fn names(id_text: &str, aliases: &[&str]) -> ClusterNames {
        ClusterNames { id: Some(id(id_text)), aliases: aliases.iter().map(|text| id(text)).collect() }
    }

    #[test]
    fn two_clusters_that_meet_keep_the_smaller_identity_and_the_other_as_an_alias() {
        let (mut left, mut right) = (names("b", &["x"]), names("a", &["y"]));
        let shown = left.clone();
        assert!(left.meet(right.id.as_ref(), &right.aliases));
        assert!(right.meet(shown.id.as_ref(), &shown.aliases));
        assert_eq!((left.id.clone(), right.id.clone()), (Some(id("a")), Some(id("a"))));
        for name in ["a", "b", "x", "y"] {
            assert!(left.contain(&id(name)) && right.contain(&id(name)), "{name}");
        }
        assert!(!left.meet(right.id.as_ref(), &right.aliases), "nothing new");
        assert!(!left.contain(&id("z")));
    }

    #[test]
    fn a_process_without_an_identity_takes_the_one_that_it_hears() {
        let mut own = ClusterNames::default();
        assert!(!own.meet(None, &[id("x")]), "aliases of no identity");
        assert!(own.meet(Some(&id("b")), &[id("c")]));
        assert_eq!(own, names("b", &["c"]));
    }

    #[test]
    fn an_alias_that_is_kept_stays_however_many_come_after_it() {
        let mut own = names("m", &["x"]);
        for n in 0..2 * ALIASES_MAX {
            own.meet(Some(&id(&format!("z{n}"))), &[]);
        }
        assert_eq!(own.aliases.len(), ALIASES_MAX);
        assert!(own.contain(&id("x")) && own.contain(&id("m")));
        // The identity itself becomes an alias, whatever has to make room for it.
        own.meet(Some(&id("a")), &[]);
        assert!(own.contain(&id("m")) && own.contain(&id("x")) && own.id == Some(id("a")));
        assert_eq!(own.aliases.len(), ALIASES_MAX);
    }

    proptest! {
        #[test]
        fn any_bits_make_an_identity(bits: u64) {
            let drawn = ClusterId::from_bits(bits);
            prop_assert_eq!(ClusterId::new(drawn.as_str()), Ok(drawn));
        }

        #[test]
        fn in_whatever_order_they_meet_all_come_to_the_same_identity(
            order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            let mut own = ClusterNames::default();
            for n in &order {
                own.meet(Some(&id(&format!("c{n}"))), &[]);
            }
            prop_assert_eq!(own.id.clone(), Some(id("c0")));
            let all_are_known = (0..8).all(|n| own.contain(&id(&format!("c{n}"))));
            prop_assert!(all_are_known);
        }
    }
}
