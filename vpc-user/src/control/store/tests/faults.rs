//! A disk that fails: at every operation in turn a full disk, an error, or a write that
//! stops half way.

use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use proptest::prelude::*;
use redb::{Builder, Database, DatabaseError, StorageBackend, backends::FileBackend};

use super::{fast_folder, model::next_commit};
use crate::control::{
    Change, Entropy, State,
    store::{RedbStore, Revision, Store, StoreError, file::Medium, layout::MIGRATIONS},
};

/// What happens to an operation.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// `ENOSPC`, before anything is written.
    Full,
    /// `EIO`, before anything is written.
    Error,
    /// Half is written, then `ENOSPC`.
    Short,
    /// All is done, and `EIO` is answered.
    Late,
    /// `ENOSPC`, if the file would grow.
    Growth,
}

const FAULTS: [Fault; 4] = [Fault::Full, Fault::Error, Fault::Short, Fault::Late];

impl Fault {
    fn answer(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Full | Self::Short | Self::Growth => libc::ENOSPC,
            Self::Error | Self::Late => libc::EIO,
        })
    }
}

/// Which operations fail, and how.
#[derive(Debug)]
struct Plan {
    fault: Fault,
    /// The first to fail, counted from 0.
    at: u64,
    /// Whether all do from then on.
    lasting: bool,
    armed: AtomicBool,
    operations: AtomicU64,
}

impl Plan {
    fn new(fault: Fault, at: u64, lasting: bool) -> Arc<Self> {
        Arc::new(Self {
            fault,
            at,
            lasting,
            armed: AtomicBool::new(true),
            operations: AtomicU64::new(0),
        })
    }

    /// What happens to the next operation.
    fn next(&self) -> ControlFlow<Fault> {
        let number = self.operations.fetch_add(1, Relaxed);
        let fails = number == self.at || self.lasting && number > self.at;
        if fails && self.armed.load(Relaxed) {
            ControlFlow::Break(self.fault)
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Whether any operation has failed.
    fn has_fired(&self) -> bool {
        self.operations.load(Relaxed) > self.at
    }

    /// From now on nothing fails.
    fn disarm(&self) {
        self.armed.store(false, Relaxed);
    }
}

/// A file on a disk that fails by a plan.
#[derive(Debug)]
struct FaultyFile(FileBackend, Arc<Plan>);

impl FaultyFile {
    /// Does something to the file, or half of it, unless the plan says otherwise. The
    /// file is then of `length` at least.
    fn attempt(
        &self,
        length: u64,
        whole: impl Fn() -> io::Result<()>,
        half: impl Fn(),
    ) -> io::Result<()> {
        let ControlFlow::Break(fault) = self.1.next() else {
            return whole();
        };
        match fault {
            Fault::Full | Fault::Error => {}
            Fault::Short => half(),
            Fault::Late => whole()?,
            Fault::Growth if length > self.0.len()? => {}
            Fault::Growth => return whole(),
        }
        Err(fault.answer())
    }
}

impl StorageBackend for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.attempt(len, || self.0.set_len(len), || {})
    }
    fn sync_data(&self) -> io::Result<()> {
        self.attempt(0, || self.0.sync_data(), || {})
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let half = &data[..data.len() / 2];
        self.attempt(
            offset + data.len() as u64,
            || self.0.write(offset, data),
            || self.0.write(offset, half).unwrap(),
        )
    }
    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}

struct FaultyMedium(PathBuf, Arc<Plan>);

impl Medium for FaultyMedium {
    fn object(&self) -> String {
        self.0.display().to_string()
    }
    fn open(&self, builder: &mut Builder) -> Result<Database, DatabaseError> {
        let mut options = std::fs::File::options();
        let file = options.read(true).write(true).open(&self.0).unwrap();
        builder.create_with_backend(FaultyFile(FileBackend::new(file)?, self.1.clone()))
    }
    fn size(&self) -> io::Result<u64> {
        Ok(0)
    }
}

fn open(path: &Path, plan: &Arc<Plan>) -> Result<RedbStore, StoreError> {
    let medium = FaultyMedium(path.to_owned(), plan.clone());
    RedbStore::with(Box::new(medium), MIGRATIONS)
}

/// What the caller of a store knows: what was acknowledged last, and what it asks next.
#[derive(Clone)]
struct Caller {
    state: State,
    revision: Revision,
    entropy: Entropy,
}

impl Caller {
    fn new(seed: u64) -> Self {
        Self {
            state: State::default(),
            revision: Revision(0),
            entropy: Entropy::new(seed.into()),
        }
    }

    /// Asks for a commit; refused, the state is as it was. Returns what it would have
    /// been, and the answer.
    fn commit(&mut self, store: &RedbStore) -> (State, Result<(), StoreError>) {
        let mut next = self.state.clone();
        let changes: Vec<Change> = next_commit(&mut next, &mut self.entropy);
        let answer = store.commit(self.revision, &changes).map(|revision| {
            assert_eq!(revision, self.revision.next());
            self.state = next.clone();
            self.revision = revision;
        });
        (next, answer)
    }
}

const COMMITS: usize = 3;

/// A file with a commit in it, and who made it.
#[derive(Clone)]
struct Prepared {
    bytes: Vec<u8>,
    caller: Caller,
}

impl Prepared {
    fn new(path: &Path, seed: u64) -> Self {
        let mut caller = Caller::new(seed);
        let store = RedbStore::open(path).unwrap();
        caller.commit(&store).1.unwrap();
        drop(store);
        let bytes = std::fs::read(path).unwrap();
        Self { bytes, caller }
    }

    /// As it was.
    fn again(&self, path: &Path) -> Caller {
        std::fs::write(path, &self.bytes).unwrap();
        self.caller.clone()
    }
}

/// One operation fails, and the store goes on: what was acknowledged, and only that, is
/// there in the end. Whether the operation came at all.
fn one_fault_is_survived(path: &Path, before: &Prepared, fault: Fault, at: u64) -> bool {
    let plan = Plan::new(fault, at, false);
    let mut caller = before.again(path);
    let store = match open(path, &plan) {
        Ok(store) => store,
        Err(error) => {
            assert_clear(&error, path);
            open(path, &plan).unwrap()
        }
    };
    let mut failures = 0;
    for _ in 0..COMMITS {
        if let (_, Err(error)) = caller.commit(&store) {
            assert_clear(&error, path);
            failures += 1;
            assert_eq!(
                store.load().unwrap(),
                (caller.state.clone(), caller.revision)
            );
        }
    }
    assert!(failures <= 1, "a fault failed {failures} commits");
    assert_eq!(
        store.load().unwrap(),
        (caller.state.clone(), caller.revision)
    );
    drop(store);
    let fired = plan.has_fired();
    let again = RedbStore::open(path).unwrap();
    assert_eq!(again.load().unwrap(), (caller.state, caller.revision));
    fired
}

/// From one operation on all fail, until the process ends: what was acknowledged is there
/// in the end, and of the rest at most the first commit that failed, whole. Whether the
/// operation came at all.
fn a_dead_disk_loses_nothing(path: &Path, before: &Prepared, fault: Fault, at: u64) -> bool {
    let plan = Plan::new(fault, at, true);
    let mut caller = before.again(path);
    let mut last = None;
    if let Ok(store) = open(path, &plan) {
        for _ in 0..COMMITS {
            if let (next, Err(error)) = caller.commit(&store) {
                assert_clear(&error, path);
                last.get_or_insert(next);
            }
        }
    }
    let again = RedbStore::open(path).unwrap();
    let (state, revision) = again.load().unwrap();
    let is_acknowledged = (&state, revision) == (&caller.state, caller.revision);
    let is_next = revision == caller.revision.next() && last.as_ref() == Some(&state);
    assert!(
        is_acknowledged || is_next,
        "{revision} after {}",
        caller.revision
    );
    plan.has_fired()
}

/// From one operation on all fail, until there is room again: the store goes on by
/// itself. Whether the operation came at all.
fn room_again_is_noticed(path: &Path, before: &Prepared, fault: Fault, at: u64) -> bool {
    let plan = Plan::new(fault, at, true);
    let mut caller = before.again(path);
    if let Ok(store) = open(path, &plan) {
        for _ in 0..COMMITS {
            let _ = caller.commit(&store);
        }
        plan.disarm();
        assert_eq!(
            store.load().unwrap(),
            (caller.state.clone(), caller.revision)
        );
        for _ in 0..2 {
            caller.commit(&store).1.unwrap();
        }
        assert_eq!(
            store.load().unwrap(),
            (caller.state.clone(), caller.revision)
        );
    }
    plan.has_fired()
}

fn assert_clear(error: &StoreError, path: &Path) {
    let StoreError::Failed { object, remedy, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(object, &path.display().to_string());
    assert!(!remedy.is_empty());
}

/// Runs a check with a fault at each operation in turn, until there is none left.
fn at_each_operation(seed: u64, check: fn(&Path, &Prepared, Fault, u64) -> bool) {
    let folder = fast_folder();
    let path = folder.path().join("state.redb");
    let before = Prepared::new(&path, seed);
    for fault in FAULTS {
        let last = (0..).find(|at| !check(&path, &before, fault, *at));
        assert!(last > Some(10), "{fault:?} came too seldom");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1))]

    #[test]
    fn whatever_fails_acknowledged_commits_are_there_and_no_others(seed: u64) {
        at_each_operation(seed, one_fault_is_survived);
    }

    #[test]
    fn a_disk_that_stays_dead_takes_no_acknowledged_commit(seed: u64) {
        at_each_operation(seed, a_dead_disk_loses_nothing);
    }

    #[test]
    fn once_there_is_room_again_commits_go_on(seed: u64) {
        at_each_operation(seed, room_again_is_noticed);
    }
}

#[test]
fn a_full_disk_is_called_that() {
    let folder = fast_folder();
    let path = folder.path().join("state.redb");
    let mut caller = Prepared::new(&path, 1).caller;
    let counting = Plan::new(Fault::Full, u64::MAX, true);
    let store = open(&path, &counting).unwrap();
    let opening = counting.operations.load(Relaxed);
    drop(store);
    let store = open(&path, &Plan::new(Fault::Full, opening, false)).unwrap();
    let error = caller.commit(&store).1.unwrap_err().to_string();
    let expected = format!(
        "{}: No space left on device (os error 28); make room on its file system; the next change \
         tries again",
        path.display()
    );
    assert_eq!(error, expected);
    caller.commit(&store).1.unwrap();
}

/// A file system without room: the store opens and is read, and takes commits again once
/// there is room.
#[test]
fn a_full_disk_keeps_no_store_from_opening() {
    let folder = fast_folder();
    let path = folder.path().join("state.redb");
    let mut caller = Prepared::new(&path, 2).caller;
    let plan = Plan::new(Fault::Growth, 0, true);
    let mut store = open(&path, &plan).unwrap();
    let refused = (0..2_000).find_map(|_| caller.commit(&store).1.err());
    assert_clear(&refused.expect("the file grows"), &path);
    let kept = (caller.state.clone(), caller.revision);
    assert_eq!(store.load().unwrap(), kept);
    drop(store);
    store = open(&path, &plan).unwrap();
    assert_eq!(store.load().unwrap(), kept);
    plan.disarm();
    caller.commit(&store).1.unwrap();
}
