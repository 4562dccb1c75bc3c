//! What every store promises.

use tokio::sync::broadcast::error::TryRecvError;

use super::model::{next_commit, random_state};
use crate::control::{
    Entropy, State,
    store::{
        MemoryStore, RedbStore, Revision, Store, StoreError, WATCH_DEPTH, difference, restore,
    },
};

/// Runs a test over each implementation.
fn each(test: impl Fn(&dyn Store)) {
    test(&MemoryStore::default());
    let folder = tempfile::tempdir().unwrap();
    test(&RedbStore::open(folder.path().join("state.redb")).unwrap());
}

#[test]
fn a_new_store_is_empty() {
    each(|store| {
        assert_eq!(store.load().unwrap(), (State::default(), Revision(0)));
        assert_eq!(store.status().unwrap().records, 0);
    });
}

#[test]
fn what_is_committed_is_loaded() {
    each(|store| {
        let mut state = State::default();
        let mut revision = Revision(0);
        let mut entropy = Entropy::new(7);
        for round in 1..50 {
            let changes = next_commit(&mut state, &mut entropy);
            revision = store.commit(revision, &changes).unwrap();
            assert_eq!(revision, Revision(round));
            assert_eq!(store.load().unwrap(), (state.clone(), revision));
            let status = store.status().unwrap();
            assert_eq!(status.records, state.len() as u64);
            assert_eq!(status.revision, revision);
        }
    });
}

#[test]
fn a_commit_to_another_revision_is_refused_and_changes_nothing() {
    each(|store| {
        let mut state = State::default();
        let mut entropy = Entropy::new(8);
        let changes = next_commit(&mut state, &mut entropy);
        store.commit(Revision(0), &changes).unwrap();
        let mut later = state.clone();
        let changes = next_commit(&mut later, &mut entropy);
        for expected in [Revision(0), Revision(2), Revision(u64::MAX)] {
            let conflict = StoreError::Conflict {
                expected,
                actual: Revision(1),
            };
            assert_eq!(store.commit(expected, &changes), Err(conflict.clone()));
            assert_eq!(store.commit(expected, &[]), Err(conflict));
        }
        assert_eq!(store.load().unwrap(), (state, Revision(1)));
    });
}

#[test]
fn no_changes_make_no_revision() {
    each(|store| {
        let mut watcher = store.watch();
        assert_eq!(store.commit(Revision(0), &[]), Ok(Revision(0)));
        assert_eq!(store.status().unwrap().revision, Revision(0));
        assert_eq!(watcher.try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn watchers_see_each_commit_in_order_from_when_they_came() {
    each(|store| {
        let mut state = State::default();
        let mut entropy = Entropy::new(9);
        let first = next_commit(&mut state, &mut entropy);
        store.commit(Revision(0), &first).unwrap();
        let mut watcher = store.watch();
        for round in 1..10 {
            let changes = next_commit(&mut state, &mut entropy);
            store.commit(Revision(round), &changes).unwrap();
            assert!(store.commit(Revision(round), &changes).is_err());
            let seen = watcher.try_recv().unwrap();
            assert_eq!(seen.revision, Revision(round + 1));
            assert_eq!(seen.changes, changes);
        }
        assert_eq!(watcher.try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn a_slow_watcher_is_told_how_much_it_missed() {
    each(|store| {
        let mut watcher = store.watch();
        let mut state = State::default();
        let mut entropy = Entropy::new(10);
        let commits = WATCH_DEPTH as u64 + 3;
        for round in 0..commits {
            let changes = next_commit(&mut state, &mut entropy);
            store.commit(Revision(round), &changes).unwrap();
        }
        assert_eq!(watcher.try_recv(), Err(TryRecvError::Lagged(3)));
        assert_eq!(watcher.try_recv().unwrap().revision, Revision(4));
    });
}

#[test]
fn a_restore_replaces_all_in_one_commit_if_it_may() {
    each(|store| {
        let (first, second) = (random_state(1, 20), random_state(2, 20));
        assert_eq!(restore(store, &first, false), Ok(Revision(1)));
        let refused = restore(store, &second, false);
        assert!(matches!(refused, Err(StoreError::NotEmpty { .. })));
        assert_eq!(store.load().unwrap(), (first.clone(), Revision(1)));
        let mut watcher = store.watch();
        assert_eq!(restore(store, &second, true), Ok(Revision(2)));
        assert_eq!(store.load().unwrap(), (second.clone(), Revision(2)));
        let seen = watcher.try_recv().unwrap();
        assert_eq!(seen.changes, difference(&first, &second));
    });
}
