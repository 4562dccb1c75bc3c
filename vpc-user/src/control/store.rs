//! Where the state is kept.
//!
//! A [`Store`] holds one state and its [`Revision`]. A commit names the revision that it
//! was decided on and is refused if that is not the one that is kept, so that no decision
//! rests on a state that was not the last. A commit that was answered is on disk, whole;
//! one that was refused or failed has changed nothing.
//!
//! Calls block on the disk: asynchronous code makes them where it may block.

mod export;
mod file;
mod layout;
mod memory;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

pub use export::{ImportError, export, import, write_export};
pub use file::RedbStore;
pub use layout::LAYOUT;
pub use memory::MemoryStore;

use super::{Change, State};

/// Commits that a watcher may be behind by until it has missed some.
const WATCH_DEPTH: usize = 256;

/// Counts the commits of a store; 0: nothing was ever committed.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Changes that were kept.
#[derive(Clone, PartialEq, Debug)]
pub struct Commit {
    /// Of the state that they led to.
    pub revision: Revision,
    /// What changed.
    pub changes: Vec<Change>,
}

/// Commits in their order. One that falls behind by more than 256 is told how many it
/// missed (`RecvError::Lagged`) and has to load the state; no commit ever waits for it.
pub type Watcher = broadcast::Receiver<Arc<Commit>>;

/// How large a store is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// Of the state.
    pub revision: Revision,
    /// Resources.
    pub records: u64,
    /// Of the file; 0 without a file.
    pub bytes: u64,
}

/// Why a store did not do what it was asked. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else committed since the state was loaded.
    #[error("the state is at revision {actual}, not at {expected}: load it and decide again")]
    Conflict {
        /// The revision that was decided on.
        expected: Revision,
        /// The revision that is kept.
        actual: Revision,
    },
    /// The store is to be empty, and is not.
    #[error(
        "the store holds {records} resources at revision {revision}: import into an empty store, \
         or force it to replace them all"
    )]
    NotEmpty {
        /// What it holds.
        records: usize,
        /// Of its state.
        revision: Revision,
    },
    /// The file, the disk or a record is not as it should be.
    #[error("{object}: {cause}; {remedy}")]
    Failed {
        /// What: a file, or a record in it.
        object: String,
        /// What is wrong with it.
        cause: String,
        /// What helps.
        remedy: String,
    },
}

/// Keeps a state.
pub trait Store: Send + Sync {
    /// The state, and its revision.
    fn load(&self) -> Result<(State, Revision), StoreError>;

    /// Makes changes to the state of revision `expected`: all of them, on disk before
    /// this returns, or none. No changes make no new revision.
    fn commit(&self, expected: Revision, changes: &[Change]) -> Result<Revision, StoreError>;

    /// The commits that are made through this store from now on.
    fn watch(&self) -> Watcher;

    /// How large it is.
    fn status(&self) -> Result<Status, StoreError>;
}

/// Replaces everything in a store by a state, in one commit. A store that is not empty
/// has to be forced.
pub fn restore(store: &dyn Store, state: &State, force: bool) -> Result<Revision, StoreError> {
    let (before, revision) = store.load()?;
    if !before.is_empty() && !force {
        return Err(StoreError::NotEmpty {
            records: before.len(),
            revision,
        });
    }
    store.commit(revision, &difference(&before, state))
}

/// The changes that lead from one state to another.
fn difference(before: &State, after: &State) -> Vec<Change> {
    let changed = after.records().filter_map(|record| {
        let key = record.key();
        let was = before.record(&key).cloned();
        (was.as_ref() != Some(record)).then(|| Change {
            key,
            before: was,
            after: Some(record.clone()),
        })
    });
    let gone = before.records().filter_map(|record| {
        let key = record.key();
        after.record(&key).is_none().then(|| Change {
            key,
            before: Some(record.clone()),
            after: None,
        })
    });
    changed.chain(gone).collect()
}

/// Where watchers hang on.
#[derive(Debug)]
struct Watchers(broadcast::Sender<Arc<Commit>>);

impl Watchers {
    fn new() -> Self {
        Self(broadcast::Sender::new(WATCH_DEPTH))
    }

    fn watch(&self) -> Watcher {
        self.0.subscribe()
    }

    /// Tells of a commit; that nobody listens is no error.
    fn tell(&self, revision: Revision, changes: &[Change]) {
        if self.0.receiver_count() > 0 {
            let changes = changes.to_vec();
            let _ = self.0.send(Arc::new(Commit { revision, changes }));
        }
    }
}
