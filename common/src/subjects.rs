//! Subjects: built and parsed here and nowhere else.

use crate::ids::{MovieId, ReplicaId, UserId, is_token};
use crate::messages::Role;

/// The operations that frontends serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Rates a movie that the user has not rated.
    Create,
    /// Changes a rating.
    Update,
    /// Takes a rating away.
    Delete,
    /// Reads one rating.
    Read,
    /// Reads all ratings of a user.
    All,
    /// Reads the mean of a movie's ratings.
    Average,
    /// Finds movies by title.
    Search,
    /// Several creates, updates, deletes, reads and averages in one message.
    Batch,
}

impl Operation {
    /// All operations, in the order of the documentation.
    pub const ALL: [Self; 8] =
        [Self::Create, Self::Update, Self::Delete, Self::Read, Self::All, Self::Average, Self::Search, Self::Batch];

    /// The operation's token in subjects, and the name of its endpoint.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Read => "read",
            Self::All => "all",
            Self::Average => "average",
            Self::Search => "search",
            Self::Batch => "batch",
        }
    }

    /// Whether the request names a user, or may, so that it is served at `<op>.<user_id>` too.
    pub fn has_user(self) -> bool {
        !matches!(self, Self::Average | Self::Search)
    }
}

/// The queue group in which frontends share requests.
pub const FRONTEND_QUEUE: &str = "frontends";

/// The subjects of one cluster, all under one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subjects {
    prefix: String,
}

impl Subjects {
    /// The prefix of a cluster that was given none.
    pub const PREFIX_DEFAULT: &str = "ratings";

    /// Under `prefix`: tokens joined by dots. `None` where it isn't.
    pub fn new(prefix: &str) -> Option<Self> {
        prefix.split('.').all(is_token).then(|| Self { prefix: prefix.to_owned() })
    }

    /// The prefix.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether this is a subject of the cluster, and not one of a caller, where replies go.
    pub fn include(&self, subject: &str) -> bool {
        subject.strip_prefix(&self.prefix).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Subject on which frontends serve `operation`.
    pub fn frontend(&self, operation: Operation) -> String {
        format!("{}.frontend.{}", self.prefix, operation.name())
    }

    /// Subject on which frontends serve `operation` for the user in its last token.
    pub fn frontend_of_any_user(&self, operation: Operation) -> String {
        format!("{}.*", self.frontend(operation))
    }

    /// Subject on which frontends serve `operation` for this user.
    pub fn frontend_of_user(&self, operation: Operation, user_id: UserId) -> String {
        format!("{}.{}", self.frontend(operation), user_id.get())
    }

    /// Subject on which the replica `id` serves `endpoint`: update, query, confirm, log, status or acknowledge.
    pub fn replica(&self, id: &ReplicaId, endpoint: &str) -> String {
        format!("{}.replica.{id}.{endpoint}", self.prefix)
    }

    /// Subject on which the replica `id` publishes gossip.
    pub fn gossip(&self, id: &ReplicaId) -> String {
        format!("{}.gossip.{id}", self.prefix)
    }

    /// Subjects of the gossip of all replicas.
    pub fn all_gossip(&self) -> String {
        format!("{}.gossip.*", self.prefix)
    }

    /// Subject on which `id` shows its presence.
    pub fn presence(&self, role: Role, id: &ReplicaId) -> String {
        format!("{}.presence.{role}.{id}", self.prefix)
    }

    /// The presence of all that play `role`.
    pub fn all_presence(&self, role: Role) -> String {
        format!("{}.presence.{role}.*", self.prefix)
    }

    /// Subject on which the process `id` hears itself, to prove that the broker hears it.
    pub fn proof(&self, id: &ReplicaId) -> String {
        format!("{}.proof.{id}", self.prefix)
    }

    /// Subject on which a change of this rating is told.
    pub fn changed(&self, movie_id: MovieId, user_id: UserId) -> String {
        self.changes(Some(movie_id), Some(user_id))
    }

    /// Subjects of the changes of this movie's ratings and this user's ratings; `None` stands for all of them.
    pub fn changes(&self, movie_id: Option<MovieId>, user_id: Option<UserId>) -> String {
        let token = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let (movie, user) = (token(movie_id.map(MovieId::get)), token(user_id.map(UserId::get)));
        format!("{}.changed.{movie}.{user}", self.prefix)
    }

    /// A subject like those of changes, for a check of permissions. No rating has it, as no movie and no user is number 0.
    pub fn change_of_nothing(&self) -> String {
        format!("{}.changed.0.0", self.prefix)
    }

    /// Whether this is a subject of changes.
    pub fn include_change(&self, subject: &str) -> bool {
        subject.strip_prefix(&self.prefix).is_some_and(|rest| rest.starts_with(".changed."))
    }

    /// The last token of a subject: an id in gossip and presence, a user in requests.
    pub fn last_token(subject: &str) -> &str {
        subject.rsplit('.').next().unwrap_or(subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_tokens_joined_by_dots() {
        for good in ["ratings", "a.b", "team-1.ratings_2"] {
            assert!(Subjects::new(good).is_some(), "{good}");
        }
        for bad in ["", ".", "a..b", "a.*", "a b", ">", "a."] {
            assert!(Subjects::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn subjects_read_as_the_contract_has_them() {
        let subjects = Subjects::new("ratings").unwrap();
        let id = ReplicaId::new("r1").unwrap();
        assert_eq!(subjects.frontend(Operation::Read), "ratings.frontend.read");
        assert_eq!(subjects.frontend_of_any_user(Operation::All), "ratings.frontend.all.*");
        assert_eq!(subjects.replica(&id, "status"), "ratings.replica.r1.status");
        assert_eq!(subjects.gossip(&id), "ratings.gossip.r1");
        assert_eq!(subjects.presence(Role::Frontend, &id), "ratings.presence.frontend.r1");
        assert_eq!(subjects.proof(&id), "ratings.proof.r1");
        let (movie, user) = (MovieId::new(2).unwrap(), UserId::new(42).unwrap());
        assert_eq!(subjects.changed(movie, user), "ratings.changed.2.42");
        assert_eq!(subjects.changes(None, Some(user)), "ratings.changed.*.42");
        assert_eq!(subjects.changes(Some(movie), None), "ratings.changed.2.*");
        assert!(
            subjects.include_change(&subjects.change_of_nothing()) && !subjects.include_change("ratings.gossip.r1")
        );
        assert_eq!(Subjects::last_token("ratings.gossip.r1"), "r1");
        assert!(
            subjects.include("ratings.gossip.r1") && !subjects.include("ratings2.a") && !subjects.include("_INBOX.a")
        );
    }
}
