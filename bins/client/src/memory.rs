//! The session of a client: its label, the cluster that it belongs to, and the files that keep both between runs.

use natter_common::cluster::ClusterId;
use natter_common::label::Label;
use natter_common::session::Session;
use natter_common::timestamp::Timestamp;

use crate::state::{Loaded, SessionStore, StateError};

/// A session's label and cluster, and the files of both.
#[derive(Debug, Default)]
pub struct Memory {
    session: Session,
    /// The cluster that answers, once it is known. The label of the session counts records of this cluster.
    cluster: Option<ClusterId>,
    store: Option<SessionStore>,
    /// Whether files of an earlier session are still to be replaced.
    is_new: bool,
    /// Whether this address is still to be noted as one of the cluster.
    is_found: bool,
    /// Whether the cluster must be known before the first request, because only then its session can be found.
    needs_cluster: bool,
}

impl Memory {
    /// A new session, which ends with the program.
    pub fn unkept() -> Self {
        Self::default()
    }

    /// Goes on with a session whose label and cluster the caller kept. It ends with the program.
    pub fn of(label: Label, cluster: Option<ClusterId>) -> Self {
        Self { session: Session::from(label), cluster, ..Self::default() }
    }

    /// Goes on with the session of earlier runs, or begins a new one in its place. Returns what was wrong with the files.
    pub fn open(store: SessionStore, is_new: bool) -> (Self, Vec<StateError>) {
        let mut memory = Self { is_new, ..Self::default() };
        let mut complaints = Vec::new();
        if !is_new {
            complaints = memory.take_in(store.load());
            memory.needs_cluster = memory.cluster.is_none() && store.has_sessions();
        }
        memory.store = Some(store);
        (memory, complaints)
    }

    fn take_in(&mut self, loaded: Loaded) -> Vec<StateError> {
        self.session.merge(&loaded.label);
        self.cluster = self.cluster.take().or(loaded.cluster);
        loaded.complaints
    }

    /// The label of all that the session has seen so far.
    pub fn label(&self) -> &Label {
        self.session.label()
    }

    /// The session, for the ids of its updates.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The cluster in which all of that was seen.
    pub fn cluster(&self) -> Option<&ClusterId> {
        self.cluster.as_ref()
    }

    /// The cluster to name in a request: none where nothing was seen yet.
    pub fn claim(&self) -> Option<&ClusterId> {
        self.cluster.as_ref().filter(|_| *self.label() != Label::new())
    }

    /// Whether to find out first which cluster answers.
    pub fn needs_cluster(&self) -> bool {
        self.needs_cluster
    }

    /// Whether what was seen is that of all sessions, and so a help and no promise: the command is no particular user's.
    pub fn is_borrowed(&self) -> bool {
        self.store.as_ref().is_some_and(|store| !store.has_user())
    }

    /// Goes on without what was seen. Files stay as they are until something new is learnt.
    pub fn begin_anew(&mut self) {
        self.session = Session::new();
        self.cluster = None;
        self.needs_cluster = false;
        self.is_new = true;
    }

    /// The cluster of the first answer, if it names one. Goes on with what earlier runs have seen of it.
    pub fn meet(&mut self, cluster: Option<&ClusterId>) -> Vec<StateError> {
        let is_first = std::mem::take(&mut self.needs_cluster);
        let (Some(cluster), None) = (cluster, &self.cluster) else { return Vec::new() };
        self.cluster = Some(cluster.clone());
        match &self.store {
            Some(store) if is_first => {
                self.is_found = true;
                let loaded = store.load_of(cluster);
                self.take_in(loaded)
            }
            _ => Vec::new(),
        }
    }

    /// Takes in the label of an answer that reflects what was seen, leaves out replicas that are retired by it, and keeps it
    /// for the next run. The cluster may bear
    /// another name since it met another one.
    ///
    /// # Errors
    ///
    /// Where it can't be kept. Then nothing more is kept.
    pub fn learn(&mut self, label: &Label, retired: &Timestamp, cluster: Option<&ClusterId>) -> Result<(), StateError> {
        let mut is_news = self.session.merge(label) || !retired.is_empty();
        self.session.leave_out(retired);
        let before = self.cluster.clone();
        if let Some(cluster) = cluster
            && before.as_ref() != Some(cluster)
        {
            self.cluster = Some(cluster.clone());
            is_news = true;
        }
        let (Some(store), Some(cluster)) = (&self.store, &self.cluster) else { return Ok(()) };
        if !is_news && !self.is_new && !self.is_found {
            return Ok(());
        }
        // Without a user, the label is merged from all users' sessions: only the new answer's label is kept.
        let own = if store.has_user() { self.session.label() } else { label };
        let renamed = before.filter(|before| before != cluster && !self.is_new);
        let kept = renamed
            .map_or(Ok(()), |before| store.rename(&before, cluster))
            .and_then(|()| store.keep(cluster, own, retired, self.is_new));
        (self.is_new, self.is_found) = (false, false);
        if kept.is_err() {
            self.store = None; // said once
        }
        kept
    }

    /// Leaves out updates that are lost, also of what is kept. Sessions of others keep theirs, as they are still to be told.
    ///
    /// # Errors
    ///
    /// Where it can't be kept. Then nothing more is kept.
    pub fn forget_updates(&mut self, lost: &Timestamp) -> Result<(), StateError> {
        self.session.forget(lost);
        let (Some(store), Some(cluster)) = (&self.store, &self.cluster) else { return Ok(()) };
        if self.is_new {
            return Ok(());
        }
        let kept = store.forget_updates(cluster, lost);
        if kept.is_err() {
            self.store = None; // said once
        }
        kept
    }

    /// Removes what is kept of this session.
    ///
    /// # Errors
    ///
    /// Where a file can't be removed.
    pub fn forget(&self) -> Result<(), StateError> {
        match (&self.store, &self.cluster) {
            (Some(store), Some(cluster)) => store.forget(cluster),
            _ => Ok(()),
        }
    }
}
