//! Keeping changes while the owner of the data plane does something else. A thread that is
//! there all the time: making one for each change would cost more than the tables do.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
};

use crate::control::{
    Change,
    store::{Revision, Store, StoreError},
};

/// Changes that lead on from a revision.
type Job = (Revision, Vec<Change>);
/// Where they led to.
type Done = Result<Job, StoreError>;

/// The thread. It ends with its owner.
#[derive(Debug)]
pub struct Committer {
    jobs: mpsc::Sender<Job>,
    done: mpsc::Receiver<Done>,
}

impl Committer {
    /// Starts the thread.
    pub fn start(store: Arc<dyn Store>) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (outbox, done) = mpsc::channel();
        let run = move || {
            for (expected, changes) in inbox {
                let kept = store.commit(expected, &changes);
                if outbox
                    .send(kept.map(|revision| (revision, changes)))
                    .is_err()
                {
                    return;
                }
            }
        };
        let builder = thread::Builder::new().name("vpc-store".to_owned());
        builder.spawn(run).map(|_| Self { jobs, done })
    }

    /// Keeps changes to the state of revision `expected` while it does something else. They
    /// come back with the revision that they led to.
    pub fn commit_beside<T>(
        &self,
        expected: Revision,
        changes: Vec<Change>,
        here: impl FnOnce() -> T,
    ) -> (Result<Job, StoreError>, T) {
        // Nobody who takes it is nobody who answers.
        let _ = self.jobs.send((expected, changes));
        let other = here();
        let kept = self.done.recv().unwrap_or_else(|_| Err(ended()));
        (kept, other)
    }
}

fn ended() -> StoreError {
    StoreError::Failed {
        object: "the store".to_owned(),
        cause: "the thread that keeps changes has ended".to_owned(),
        remedy: "see the agent's log and restart it".to_owned(),
    }
}
