//! A store without a file, for tests and trials.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Revision, Status, Store, StoreError, Watcher, Watchers};
use crate::control::{Change, State};

/// Keeps the state in memory.
#[derive(Debug)]
pub struct MemoryStore {
    kept: Mutex<(State, Revision)>,
    watchers: Watchers,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            watchers: Watchers::new(),
        }
    }
}

impl MemoryStore {
    fn kept(&self) -> MutexGuard<'_, (State, Revision)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn load(&self) -> Result<(State, Revision), StoreError> {
        Ok(self.kept().clone())
    }

    fn commit(&self, expected: Revision, changes: &[Change]) -> Result<Revision, StoreError> {
        let mut kept = self.kept();
        let (state, revision) = &mut *kept;
        if *revision != expected {
            let actual = *revision;
            return Err(StoreError::Conflict { expected, actual });
        }
        if changes.is_empty() {
            return Ok(expected);
        }
        for change in changes {
            state.replace(&change.key, change.after.clone());
        }
        *revision = expected.next();
        self.watchers.tell(*revision, changes);
        Ok(*revision)
    }

    fn watch(&self) -> Watcher {
        self.watchers.watch()
    }

    fn status(&self) -> Result<Status, StoreError> {
        let kept = self.kept();
        Ok(Status {
            revision: kept.1,
            records: kept.0.len() as u64,
            bytes: 0,
        })
    }
}
