//! Permissions that the broker takes away from a frontend that runs: what is missing, and when to try again.

use std::collections::BTreeSet;

use natter_broker::access::{Needs, RETRY};
use natter_broker::connection::{Access, Denial};
use natter_common::subjects::Subjects;
use tokio::time::{Instant, sleep_until};

/// Maximum refused subjects that are remembered; others are tried once they are refused again.
const REFUSED_MAX: usize = 16;

/// Kinds of requests that need what is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hindered {
    pub(crate) updates: bool,
    pub(crate) queries: bool,
}

impl Hindered {
    /// Those that need one of these subjects. Replies are heard by a subscription that both kinds need.
    pub(crate) fn by(denials: &[Denial], subjects: &Subjects) -> Self {
        let mut hindered = Self::default();
        for denial in denials {
            let is_reply = denial.access == Access::Subscribe && !subjects.include(&denial.subject);
            let endpoint = Subjects::last_token(&denial.subject);
            let is_asked = denial.access == Access::Publish && subjects.include(&denial.subject);
            hindered.updates |= is_reply || is_asked && ["update", "confirm"].contains(&endpoint);
            hindered.queries |= is_reply || is_asked && endpoint == "query";
        }
        hindered
    }
}

/// The permissions of this frontend, as far as they are known.
#[derive(Debug, Default)]
pub(crate) struct Permits {
    /// Permissions that were missing at the last check, in words.
    missing: Option<String>,
    /// Whether a subscription was refused since everything was permitted.
    lost_subscriptions: bool,
    /// Subjects that were refused since then, and that a check tries too.
    refused: BTreeSet<String>,
    /// When everything is checked.
    due: Option<Instant>,
    /// The last check.
    checked: Option<Instant>,
}

impl Permits {
    /// Whether nothing was missing at the last check.
    pub(crate) fn suffice(&self) -> bool {
        self.missing.is_none()
    }

    /// The text of what was missing at the last check.
    pub(crate) fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// Whether everything has to be subscribed anew: what the broker took away does not come back by itself.
    pub(crate) fn lost_subscriptions(&self) -> bool {
        self.lost_subscriptions
    }

    /// Something was refused: everything is checked, at once where nothing was missing, or else at most once in [`RETRY`].
    ///
    /// A refused reply alone proves nothing: it may only have come too late to be permitted.
    pub(crate) fn doubt(&mut self, denial: Denial, is_reply: bool) {
        // The last check has tried what was refused before it: this is news, and a request may wait for it.
        let is_news = self.suffice() && !is_reply && denial.access == Access::Publish;
        match denial.access {
            Access::Subscribe => self.lost_subscriptions = true,
            Access::Publish if is_reply || self.refused.len() >= REFUSED_MAX => {}
            Access::Publish => drop(self.refused.insert(denial.subject)),
        }
        let now = Instant::now();
        let due = self.checked.filter(|_| !is_news).map_or(now, |checked| checked + RETRY);
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// Adds what was refused to the needs.
    pub(crate) fn add_refused(&self, needs: &mut Needs) {
        self.refused.iter().for_each(|subject| needs.also_publish(subject));
    }

    /// Completes when everything is to be checked. Cancel safe.
    pub(crate) async fn until_due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// The check was left without a result: it follows again.
    pub(crate) fn remain_unknown(&mut self) {
        self.checked = Some(Instant::now());
        self.due = Some(Instant::now() + RETRY);
    }

    /// Everything is permitted. Returns whether something was missing before.
    pub(crate) fn are_complete(&mut self) -> bool {
        self.lost_subscriptions = false;
        self.refused.clear();
        self.due = None;
        self.checked = Some(Instant::now());
        self.missing.take().is_some()
    }

    /// This is missing. Returns whether it is news.
    pub(crate) fn lack(&mut self, missing: String) -> bool {
        self.remain_unknown();
        let is_news = self.missing.as_ref() != Some(&missing);
        self.missing = Some(missing);
        is_news
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use tokio::time::timeout;

    #[test]
    fn refused_subjects_hinder_the_requests_that_need_them() {
        let subjects = Subjects::new("ratings").unwrap();
        for (access, subject, updates, queries) in [
            (Access::Publish, "ratings.replica.r1-x.update", true, false),
            (Access::Publish, "ratings.replica.r1-x.confirm", true, false),
            (Access::Publish, "ratings.replica.r1-x.query", false, true),
            (Access::Publish, "ratings.presence.frontend.f1", false, false),
            (Access::Publish, "_INBOX.>", false, false),
            (Access::Subscribe, "_INBOX.>", true, true),
            (Access::Subscribe, "ratings.frontend.read", false, false),
        ] {
            let denial = Denial { access, subject: subject.to_owned() };
            assert_eq!(Hindered::by(&[denial], &subjects), Hindered { updates, queries }, "{access} {subject}");
        }
        assert_eq!(Hindered::by(&[], &subjects), Hindered::default());
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_checked_at_once_and_then_every_two_seconds() {
        let denial = |access| Denial { access, subject: "a".to_owned() };
        let is_due = async |permits: &Permits, within_ms| {
            timeout(Duration::from_millis(within_ms), permits.until_due()).await.is_ok()
        };
        let mut permits = Permits::default();
        assert!(!is_due(&permits, 10_000).await && permits.suffice());
        permits.doubt(denial(Access::Publish), true);
        permits.doubt(denial(Access::Publish), false);
        assert!(is_due(&permits, 1).await && !permits.lost_subscriptions());
        assert_eq!(permits.refused.len(), 1);
        assert!(permits.lack("publish a".to_owned()) && !permits.suffice());
        permits.doubt(denial(Access::Publish), false);
        assert!(!is_due(&permits, 1_900).await && is_due(&permits, 200).await);
        assert!(!permits.lack("publish a".to_owned()), "it is told once");
        assert!(permits.lack("publish b".to_owned()));
        assert!(permits.are_complete() && !permits.are_complete() && !is_due(&permits, 10_000).await);
        permits.doubt(denial(Access::Subscribe), false);
        assert!(permits.lost_subscriptions() && is_due(&permits, 1).await);
    }
}
