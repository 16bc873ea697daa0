//! The files of one session.

use std::path::PathBuf;

use natter_broker::environment::Environment;
use natter_common::cluster::ClusterId;
use natter_common::ids::UserId;
use natter_common::label::Label;
use natter_common::session::Session;
use natter_common::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

use super::{State, StateError, files_in, lock_beside, make_directory_of, read, remove, write};

/// A user's session with a cluster.
#[derive(Serialize, Deserialize)]
struct Kept {
    cluster: ClusterId,
    user_id: Option<UserId>,
    label: Label,
}

/// The cluster of the last session at an address; the rest is for a person who looks inside.
#[derive(PartialEq, Serialize, Deserialize)]
struct Pointer {
    cluster: ClusterId,
}

/// The session of earlier runs, as it was found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The cluster that the session belongs to. `None` where nothing was seen.
    pub cluster: Option<ClusterId>,
    /// The label of all that was seen in it.
    pub label: Label,
    /// Files that could not be read.
    pub complaints: Vec<StateError>,
}

/// The files of one session: a user's, or that of no particular user.
#[derive(Clone, Debug)]
pub struct SessionStore {
    state: State,
    user_id: Option<UserId>,
}

impl SessionStore {
    /// Of this user (or no particular one) with the cluster under `prefix` at `servers`. `None` where no state directory is
    /// known.
    pub fn locate(
        environment: &Environment,
        servers: &[String],
        prefix: &str,
        user_id: Option<UserId>,
    ) -> Option<Self> {
        Some(Self { state: State::locate(environment, servers, prefix)?, user_id })
    }

    /// Whether the session is a particular user's.
    pub fn has_user(&self) -> bool {
        self.user_id.is_some()
    }

    /// Reads the session of earlier runs at this address.
    pub fn load(&self) -> Loaded {
        match read::<Pointer>(&self.pointer()) {
            Ok(Some(Pointer { cluster })) => self.load_of(&cluster),
            Ok(None) => Loaded::default(),
            Err(error) => Loaded { complaints: vec![error], ..Loaded::default() },
        }
    }

    /// Reads the session with a cluster, at any address: that of the user, or without a particular user those of all,
    /// as the person at the keyboard is the same.
    pub fn load_of(&self, cluster: &ClusterId) -> Loaded {
        let mut loaded = Loaded::default();
        for path in self.sources(cluster) {
            match read::<Kept>(&path) {
                Ok(kept) => loaded.label.merge(&kept.map(|kept| kept.label).unwrap_or_default()),
                Err(error) => loaded.complaints.push(error),
            }
        }
        // Nothing seen belongs to no cluster.
        loaded.cluster = (loaded.label != Label::new()).then(|| cluster.clone());
        loaded
    }

    /// Whether anything was seen in any cluster, so that it matters which one answers.
    pub fn has_sessions(&self) -> bool {
        let name = self.name();
        let has = |directory: PathBuf| match self.user_id {
            Some(_) => directory.join(&name).exists(),
            None => files_in(&directory).iter().any(|path| path.extension().is_some_and(|ending| ending == "json")),
        };
        self.state.cluster_directories().into_iter().any(has)
    }

    /// Adds `label` to what the session has seen in `cluster`, or puts it in its place (`is_new`), leaves out replicas that are
    /// retired by it, and notes that this is the cluster at this address.
    ///
    /// # Errors
    ///
    /// Where a file can't be written; it is as it was then.
    pub fn keep(
        &self,
        cluster: &ClusterId,
        label: &Label,
        retired: &Timestamp,
        is_new: bool,
    ) -> Result<(), StateError> {
        let path = self.state.in_cluster(cluster, &self.name());
        make_directory_of(&path)?;
        {
            let _lock = lock_beside(&path);
            // A broken file was complained of when it was loaded.
            let before = if is_new { None } else { read::<Kept>(&path).ok().flatten() };
            let mut merged = before.map(|kept| kept.label).unwrap_or_default();
            merged.merge(label);
            merged.replicas.leave_out(retired);
            write(&path, &Kept { cluster: cluster.clone(), user_id: self.user_id, label: merged })?;
        }
        let (path, pointer) = (self.pointer(), Pointer { cluster: cluster.clone() });
        if read::<Pointer>(&path).ok().flatten().as_ref() != Some(&pointer) {
            make_directory_of(&path)?;
            write(&path, &pointer)?;
        }
        Ok(())
    }

    /// Leaves updates that are lost out of what the session has seen in `cluster`: by replica, the number of the last one.
    ///
    /// # Errors
    ///
    /// Where the file can't be written; it is as it was then.
    pub fn forget_updates(&self, cluster: &ClusterId, lost: &Timestamp) -> Result<(), StateError> {
        let path = self.state.in_cluster(cluster, &self.name());
        if !path.exists() {
            return Ok(());
        }
        let _lock = lock_beside(&path);
        // A broken file was complained of when it was loaded.
        let Ok(Some(kept)) = read::<Kept>(&path) else { return Ok(()) };
        let mut session = Session::from(kept.label.clone());
        session.forget(lost);
        if *session.label() == kept.label {
            return Ok(());
        }
        write(&path, &Kept { label: session.into(), ..kept })
    }

    /// Goes on under another name of the cluster: what was seen under `alias` is seen under `cluster`.
    ///
    /// # Errors
    ///
    /// Where a file can't be written.
    pub fn rename(&self, alias: &ClusterId, cluster: &ClusterId) -> Result<(), StateError> {
        let old = self.state.in_cluster(alias, &self.name());
        if let Some(kept) = read::<Kept>(&old).ok().flatten() {
            self.keep(cluster, &kept.label, &Timestamp::new(), false)?;
            remove(&old)?;
        }
        Ok(())
    }

    /// Removes the session with `cluster`, and what is noted of it at this address. Those of other users stay.
    ///
    /// # Errors
    ///
    /// Where a file can't be removed.
    pub fn forget(&self, cluster: &ClusterId) -> Result<(), StateError> {
        let (path, pointer) = (self.state.in_cluster(cluster, &self.name()), self.pointer());
        remove(&path)?;
        if read::<Pointer>(&pointer).ok().flatten().is_some_and(|pointer| pointer.cluster == *cluster) {
            remove(&pointer)?;
        }
        for directory in [path.parent(), pointer.parent()].into_iter().flatten() {
            if files_in(directory).iter().all(|file| file.file_name().is_some_and(|name| name == super::LOCK)) {
                // An empty one does no harm.
                let _ = std::fs::remove_dir_all(directory);
                let _ = directory.parent().map(std::fs::remove_dir); // stays where others are in it
            }
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.user_id.map_or_else(|| "anybody.json".to_owned(), |user| format!("{user}.json"))
    }

    fn pointer(&self) -> PathBuf {
        self.state.at_address(&self.name())
    }

    fn sources(&self, cluster: &ClusterId) -> Vec<PathBuf> {
        let own = self.state.in_cluster(cluster, &self.name());
        if self.user_id.is_some() {
            return vec![own];
        }
        let Some(directory) = own.parent() else { return Vec::new() };
        let mut paths = files_in(directory);
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
        paths.sort();
        paths
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::state::STATE_VARIABLE;
    use natter_common::clock::Stamp;
    use natter_common::ids::ReplicaId;

    const NONE: Timestamp = Timestamp::new();

    fn label(entries: &[(&str, u64)]) -> Label {
        let named = |(id, count): &(&str, u64)| (ReplicaId::new(id).unwrap(), *count);
        Label { replicas: entries.iter().map(named).collect(), clock: Stamp(entries.len() as u64) }
    }

    fn cluster(text: &str) -> ClusterId {
        ClusterId::new(text).unwrap()
    }

    fn at(root: &Path, server: &str, user: u32) -> SessionStore {
        let environment = [(STATE_VARIABLE, root.as_os_str())].into_iter().collect();
        SessionStore::locate(&environment, &[server.to_owned()], "ratings", UserId::new(user).ok()).unwrap()
    }

    fn store(root: &Path, user: u32) -> SessionStore {
        at(root, "nats://127.0.0.1:4222", user)
    }

    #[test]
    fn labels_are_merged_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path(), 42);
        assert!(store.load().cluster.is_none() && !store.has_sessions());
        store.keep(&cluster("c"), &label(&[("a", 3)]), &NONE, false).unwrap();
        store.keep(&cluster("c"), &label(&[("a", 1), ("b", 2)]), &NONE, false).unwrap();
        let loaded = store.load();
        assert_eq!((loaded.cluster, loaded.label), (Some(cluster("c")), label(&[("a", 3), ("b", 2)])));
        assert!(loaded.complaints.is_empty() && store.has_sessions());
        // Retired replicas are left out, but for one of which more was seen.
        store.keep(&cluster("c"), &label(&[("d", 1)]), &label(&[("a", 2), ("b", 2)]).replicas, false).unwrap();
        assert_eq!(store.load().label.replicas, label(&[("a", 3), ("d", 1)]).replicas);
        // A new session takes its place.
        store.keep(&cluster("c"), &label(&[("b", 1)]), &NONE, true).unwrap();
        assert_eq!(store.load().label, label(&[("b", 1)]));
    }

    #[test]
    fn concurrent_runs_lose_nothing() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path(), 42);
        std::thread::scope(|scope| {
            for run in 0..8 {
                let store = &store;
                scope.spawn(move || {
                    for count in 1..=20 {
                        store.keep(&cluster("c"), &label(&[(&format!("r{run}"), count)]), &NONE, false).unwrap();
                    }
                });
            }
        });
        let kept = store.load().label;
        for run in 0..8 {
            assert_eq!(kept.replicas.get(&ReplicaId::new(&format!("r{run}")).unwrap()), 20);
        }
        let directory = store.state.in_cluster(&cluster("c"), "x");
        assert_eq!(files_in(directory.parent().unwrap()).len(), 2, "drafts were left behind");
    }

    #[test]
    fn a_broken_file_is_named_and_the_session_starts_anew() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path(), 42);
        for path in [store.state.in_cluster(&cluster("c"), "42.json"), store.pointer()] {
            for broken in ["", "{", "[]", r#"{"label":7}"#, "\u{0}\u{0}"] {
                store.keep(&cluster("c"), &label(&[("a", 1)]), &NONE, true).unwrap();
                fs::write(&path, broken).unwrap();
                let loaded = store.load();
                assert!(loaded.cluster.is_none() && loaded.label == Label::new());
                let complaint = loaded.complaints[0].to_string();
                assert!(complaint.contains("42.json") && complaint.contains("a new session starts"), "{complaint}");
            }
        }
        store.keep(&cluster("c"), &label(&[("a", 1)]), &NONE, false).unwrap();
        assert_eq!(store.load().label, label(&[("a", 1)]));
    }

    #[test]
    fn sessions_belong_to_a_cluster_and_a_user_and_not_to_an_address() {
        let root = tempfile::tempdir().unwrap();
        store(root.path(), 42).keep(&cluster("c"), &label(&[("a", 3)]), &NONE, false).unwrap();
        // The same address by another name.
        assert_eq!(at(root.path(), "nats://localhost", 42).load().label, label(&[("a", 3)]));
        // Another one: found once it is known which cluster answers there.
        let elsewhere = at(root.path(), "nats://far:4222", 42);
        assert!(elsewhere.load().cluster.is_none() && elsewhere.has_sessions());
        assert_eq!(elsewhere.load_of(&cluster("c")).label, label(&[("a", 3)]));
        assert!(elsewhere.load_of(&cluster("d")).cluster.is_none());
        // Another user.
        assert!(store(root.path(), 7).load().cluster.is_none() && !store(root.path(), 7).has_sessions());
        // Another cluster at the same address, for one user: the first one's session stays.
        store(root.path(), 7).keep(&cluster("c"), &label(&[("a", 1)]), &NONE, false).unwrap();
        store(root.path(), 42).keep(&cluster("d"), &label(&[("x", 1)]), &NONE, true).unwrap();
        assert_eq!(store(root.path(), 42).load().cluster, Some(cluster("d")));
        assert_eq!(store(root.path(), 42).load_of(&cluster("c")).label, label(&[("a", 3)]));
        assert_eq!(store(root.path(), 7).load().cluster, Some(cluster("c")));
    }

    #[test]
    fn lost_updates_are_left_out_of_what_is_kept_and_others_stay() {
        let root = tempfile::tempdir().unwrap();
        let (store, c) = (store(root.path(), 42), cluster("c"));
        store.keep(&c, &label(&[("a", 3), ("b", 2), ("x", 1)]), &NONE, false).unwrap();
        store.forget_updates(&c, &label(&[("a", 3), ("b", 1)]).replicas).unwrap();
        assert_eq!(store.load().label.replicas, label(&[("b", 2), ("x", 1)]).replicas);
        // Nothing kept, nothing to leave out.
        store.forget_updates(&cluster("d"), &label(&[("a", 3)]).replicas).unwrap();
        assert!(store.load_of(&cluster("d")).cluster.is_none());
    }

    #[test]
    fn a_session_goes_on_under_another_name_of_its_cluster() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path(), 42);
        store.keep(&cluster("d"), &label(&[("a", 3)]), &NONE, false).unwrap();
        store.rename(&cluster("d"), &cluster("c")).unwrap();
        let loaded = store.load();
        assert_eq!((loaded.cluster, loaded.label), (Some(cluster("c")), label(&[("a", 3)])));
        assert!(store.load_of(&cluster("d")).cluster.is_none());
    }

    #[test]
    fn no_particular_user_has_seen_what_anybody_has_in_the_same_cluster() {
        let root = tempfile::tempdir().unwrap();
        store(root.path(), 1).keep(&cluster("c"), &label(&[("a", 3)]), &NONE, false).unwrap();
        store(root.path(), 2).keep(&cluster("d"), &label(&[("b", 2)]), &NONE, false).unwrap();
        let anybody = store(root.path(), 0);
        assert!(!anybody.has_user() && anybody.has_sessions());
        anybody.keep(&cluster("c"), &label(&[("x", 1)]), &NONE, false).unwrap();
        assert_eq!(anybody.load().label.replicas, label(&[("a", 3), ("x", 1)]).replicas);
    }

    #[test]
    fn one_session_is_forgotten_and_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        store(root.path(), 1).keep(&cluster("c"), &label(&[("a", 3)]), &NONE, false).unwrap();
        store(root.path(), 2).keep(&cluster("c"), &label(&[("b", 2)]), &NONE, false).unwrap();
        store(root.path(), 1).forget(&cluster("c")).unwrap();
        assert!(store(root.path(), 1).load().cluster.is_none());
        assert_eq!(store(root.path(), 2).load().label, label(&[("b", 2)]));
        store(root.path(), 2).forget(&cluster("c")).unwrap();
        assert!(files_in(root.path()).is_empty());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named_with_the_way_out() {
        let root = tempfile::tempdir().unwrap();
        let blocked = root.path().join("file");
        fs::write(&blocked, "").unwrap();
        let error = store(&blocked, 1).keep(&cluster("c"), &label(&[("a", 1)]), &NONE, false).unwrap_err().to_string();
        assert!(error.contains("--no-state") && error.contains("file"), "{error}");
    }

    #[test]
    fn without_a_home_nothing_is_kept() {
        let servers = ["nats://a:1".to_owned()];
        assert!(SessionStore::locate(&Environment::default(), &servers, "ratings", None).is_none());
    }
}
