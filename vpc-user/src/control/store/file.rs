//! A store in one file, by redb: a tree of pages that are written elsewhere and then
//! switched to, so that a commit is there whole or not at all, whenever the power fails.
//!
//! An I/O error leaves redb's handle unusable, and leaves open whether the commit under
//! way reached the disk. The next call opens the file anew and takes that commit back if
//! it did: to its caller it failed. Nobody has to start the agent again after the disk
//! was full.

mod medium;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::{
    Builder, CommitError, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _,
    ReadableTableMetadata as _, StorageError, TableDefinition, TableError, TableHandle as _,
    TransactionError, WriteTransaction,
};
use serde_json::Value;

use medium::FileMedium;
pub(super) use medium::Medium;

use super::{
    Revision, Status, Store, StoreError, Watcher, Watchers, export,
    layout::{self, LayoutError, MIGRATIONS, Migration, RawRecords},
};
use crate::control::{Change, State};

/// [`LAYOUT_KEY`] and [`REVISION_KEY`].
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// `<kind>/<id>` → the record's JSON.
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");

const LAYOUT_KEY: &str = "layout";
const REVISION_KEY: &str = "revision";

/// Bytes of pages that redb keeps in memory. The state is read once; then what is read is
/// the way to the records that change.
const CACHE: usize = 8 << 20;

/// What helps against a file that is damaged.
const RESTORE: &str =
    "move the file away and put back a backup, or import an export into a new file";

/// Keeps the state in one file.
pub struct RedbStore {
    medium: Box<dyn Medium>,
    migrations: &'static [Migration],
    handle: Mutex<Handle>,
    watchers: Watchers,
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RedbStore");
        debug.field("object", &self.medium.object()).finish()
    }
}

/// The file as it is open.
#[derive(Default)]
struct Handle {
    /// `None` after an I/O error, until the next call.
    database: Option<Database>,
    /// A commit that failed and may nevertheless be on disk.
    unsettled: Option<Writes>,
}

/// What a commit writes.
struct Writes {
    /// Of the state that it leads to.
    revision: Revision,
    records: Vec<Written>,
}

/// A record that a commit writes.
struct Written {
    path: String,
    /// As it was; known once it is written.
    before: Option<Vec<u8>>,
    /// As it is to be; `None`: it goes.
    after: Option<Vec<u8>>,
}

/// What goes wrong with a database.
enum Trouble {
    /// The disk or the file, as redb has it: the handle may be unusable.
    Database(redb::Error),
    /// What is in it.
    Refused(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

macro_rules! trouble_from {
    ($($error:ty),+) => {
        $(impl From<$error> for Trouble {
            fn from(error: $error) -> Self {
                Self::Database(error.into())
            }
        })+
    };
}

trouble_from!(
    DatabaseError,
    StorageError,
    TableError,
    TransactionError,
    CommitError
);

impl RedbStore {
    /// Opens the file, or makes it and its folder: readable by its owner alone. Only one
    /// process can have it open.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::with(of_file(path.as_ref())?, MIGRATIONS)
    }

    /// Opens what is on a medium.
    pub(super) fn with(
        medium: Box<dyn Medium>,
        migrations: &'static [Migration],
    ) -> Result<Self, StoreError> {
        let store = Self {
            medium,
            migrations,
            handle: Mutex::default(),
            watchers: Watchers::new(),
        };
        store.run(&mut store.handle(), |_| Ok(()))?;
        Ok(store)
    }

    /// Where the file is.
    pub fn path(&self) -> PathBuf {
        self.medium.object().into()
    }

    fn handle(&self) -> MutexGuard<'_, Handle> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the database, which is opened first if it has to be.
    fn run<T>(
        &self,
        handle: &mut Handle,
        work: impl FnOnce(&Database) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        let outcome = self.ready(handle).and_then(work);
        outcome.map_err(|trouble| {
            if matches!(trouble, Trouble::Database(_)) {
                handle.database = None;
            }
            failure(&self.medium.object(), trouble)
        })
    }

    /// The open database, without anything in it that was not acknowledged.
    fn ready<'h>(&self, handle: &'h mut Handle) -> Result<&'h Database, Trouble> {
        let database = match handle.database.take() {
            Some(database) => database,
            None => {
                let database = self.medium.open(&mut builder())?;
                prepare(&database, &self.medium.object(), self.migrations)?;
                if let Some(writes) = &handle.unsettled {
                    take_back(&database, writes)?;
                }
                handle.unsettled = None;
                database
            }
        };
        Ok(handle.database.insert(database))
    }
}

impl Store for RedbStore {
    fn load(&self) -> Result<(State, Revision), StoreError> {
        let object = self.medium.object();
        self.run(&mut self.handle(), |database| {
            let transaction = database.begin_read()?;
            let mut state = State::default();
            for row in transaction.open_table(RECORDS)?.iter()? {
                let (path, json) = row?;
                let record = layout::decode(path.value(), json.value())
                    .map_err(|cause| damaged(&object, path.value(), cause))?;
                state.replace(&record.key(), Some(record));
            }
            whole(&object, &state)?;
            let revision = transaction.open_table(META)?.get(REVISION_KEY)?;
            Ok((state, Revision(revision.map_or(0, |value| value.value()))))
        })
    }

    fn commit(&self, expected: Revision, changes: &[Change]) -> Result<Revision, StoreError> {
        let records = changes.iter().map(Written::new).collect::<Result<_, _>>()?;
        let revision = expected.next();
        let mut writes = Writes { revision, records };
        let mut handle = self.handle();
        let mut begun = false;
        let written = self.run(&mut handle, |database| {
            begun = true;
            write(database, expected, &mut writes)
        });
        match written {
            Ok(()) if changes.is_empty() => Ok(expected),
            Ok(()) => {
                self.watchers.tell(revision, changes);
                Ok(revision)
            }
            Err(error) => {
                if begun && handle.database.is_none() {
                    handle.unsettled = Some(writes);
                }
                Err(error)
            }
        }
    }

    fn watch(&self) -> Watcher {
        self.watchers.watch()
    }

    fn status(&self) -> Result<Status, StoreError> {
        self.run(&mut self.handle(), |database| {
            let transaction = database.begin_read()?;
            let revision = transaction.open_table(META)?.get(REVISION_KEY)?;
            Ok(Status {
                revision: Revision(revision.map_or(0, |value| value.value())),
                records: transaction.open_table(RECORDS)?.len()?,
                bytes: self.medium.size().map_err(StorageError::from)?,
            })
        })
    }
}

impl Written {
    fn new(change: &Change) -> Result<Self, StoreError> {
        let path = layout::path_of(&change.key);
        let encoded = change.after.as_ref().map(|record| record.encode());
        let after = encoded.transpose().map_err(|error| StoreError::Failed {
            object: path.clone(),
            cause: error.to_string(),
            remedy: "nothing was changed".to_owned(),
        })?;
        Ok(Self {
            path,
            before: None,
            after,
        })
    }
}

/// The database in a file, which is made if it is not there.
pub(super) fn of_file(path: &Path) -> Result<Box<dyn Medium>, StoreError> {
    match FileMedium::new(path, initialise) {
        Ok(medium) => Ok(Box::new(medium)),
        Err(trouble) => Err(failure(&path.display().to_string(), trouble)),
    }
}

/// A builder with our settings. An open checks the whole file: redb trusts one that was
/// closed in order, and panics if it was damaged since.
fn builder() -> Builder {
    let mut builder = Database::builder();
    builder
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(true);
    builder
}

/// Makes the tables of an empty database.
fn initialise(database: &Database) -> Result<(), Trouble> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(LAYOUT_KEY, layout::LAYOUT)?;
        meta.insert(REVISION_KEY, 0)?;
        transaction.open_table(RECORDS)?;
    }
    Ok(transaction.commit()?)
}

/// Checks that a database is ours, and brings its layout up to date.
fn prepare(database: &Database, object: &str, migrations: &[Migration]) -> Result<(), Trouble> {
    let transaction = database.begin_read()?;
    let is_ours = transaction
        .list_tables()?
        .any(|table| table.name() == META.name());
    let found = if is_ours {
        transaction.open_table(META)?.get(LAYOUT_KEY)?
    } else {
        None
    };
    let Some(found) = found.map(|found| found.value()) else {
        return Err(Trouble::Refused(StoreError::Failed {
            object: object.to_owned(),
            cause: "it is a database of another program".to_owned(),
            remedy: "name another file for the state".to_owned(),
        }));
    };
    drop(transaction);
    let outstanding = layout::outstanding(found, migrations)
        .map_err(|error| Trouble::Refused(of_layout(object, &error)))?;
    if outstanding.is_empty() {
        return Ok(());
    }
    migrate(database, object, found, migrations)
}

/// Brings the records of an older layout up to date, in one transaction.
fn migrate(
    database: &Database,
    object: &str,
    from: u64,
    migrations: &[Migration],
) -> Result<(), Trouble> {
    let transaction = database.begin_write()?;
    let mut records = RawRecords::new();
    for row in transaction.open_table(RECORDS)?.iter()? {
        let (path, json) = row?;
        let value: Value = serde_json::from_slice(json.value())
            .map_err(|error| damaged(object, path.value(), error.to_string()))?;
        records.insert(path.value().to_owned(), value);
    }
    layout::migrate(from, migrations, &mut records).map_err(|error| of_layout(object, &error))?;
    transaction.delete_table(RECORDS)?;
    {
        let mut table = transaction.open_table(RECORDS)?;
        for (path, value) in &records {
            table.insert(path.as_str(), value.to_string().as_bytes())?;
        }
        let mut meta = transaction.open_table(META)?;
        meta.insert(LAYOUT_KEY, layout::newest(migrations))?;
    }
    Ok(transaction.commit()?)
}

/// Writes a commit; what was there before is noted in it.
fn write(database: &Database, expected: Revision, writes: &mut Writes) -> Result<(), Trouble> {
    let transaction = database.begin_write()?;
    let actual = revision_in(&transaction)?;
    if actual != expected {
        return Err(Trouble::Refused(StoreError::Conflict { expected, actual }));
    }
    if writes.records.is_empty() {
        return Ok(());
    }
    {
        let mut table = transaction.open_table(RECORDS)?;
        for Written {
            path,
            before,
            after,
        } in &mut writes.records
        {
            let was = match after {
                Some(json) => table.insert(path.as_str(), json.as_slice())?,
                None => table.remove(path.as_str())?,
            };
            *before = was.map(|was| was.value().to_vec());
        }
        let mut meta = transaction.open_table(META)?;
        meta.insert(REVISION_KEY, writes.revision.0)?;
    }
    Ok(transaction.commit()?)
}

/// Takes a commit back, if it is there. By its records it is told from another's at the
/// same revision: another process may have had the file in between.
fn take_back(database: &Database, writes: &Writes) -> Result<(), Trouble> {
    let transaction = database.begin_write()?;
    if revision_in(&transaction)? != writes.revision {
        return Ok(());
    }
    {
        let mut table = transaction.open_table(RECORDS)?;
        for record in &writes.records {
            let kept = table.get(record.path.as_str())?;
            if kept.as_ref().map(|kept| kept.value()) != record.after.as_deref() {
                return Ok(());
            }
        }
        for Written { path, before, .. } in writes.records.iter().rev() {
            match before {
                Some(json) => table.insert(path.as_str(), json.as_slice())?,
                None => table.remove(path.as_str())?,
            };
        }
        let mut meta = transaction.open_table(META)?;
        meta.insert(REVISION_KEY, writes.revision.0.saturating_sub(1))?;
    }
    Ok(transaction.commit()?)
}

fn revision_in(transaction: &WriteTransaction) -> Result<Revision, Trouble> {
    let meta = transaction.open_table(META)?;
    let revision = meta.get(REVISION_KEY)?;
    Ok(Revision(revision.map_or(0, |value| value.value())))
}

/// Whether every reference leads to a record: whoever decides on a state takes it for granted.
fn whole(object: &str, state: &State) -> Result<(), StoreError> {
    let Some((referrer, missing)) = export::dangling(state) else {
        return Ok(());
    };
    Err(StoreError::Failed {
        object: format!("{} in {object}", layout::path_of(&referrer)),
        cause: format!("it refers to {missing}, which is not there"),
        remedy: RESTORE.to_owned(),
    })
}

/// A record that is none.
fn damaged(object: &str, path: &str, cause: String) -> StoreError {
    StoreError::Failed {
        object: format!("{path} in {object}"),
        cause: format!("it is no record: {cause}"),
        remedy: RESTORE.to_owned(),
    }
}

fn of_layout(object: &str, error: &LayoutError) -> StoreError {
    StoreError::Failed {
        object: object.to_owned(),
        cause: error.to_string(),
        remedy: error.remedy().to_owned(),
    }
}

/// What went wrong with a file, as a sentence that says what helps.
fn failure(object: &str, trouble: Trouble) -> StoreError {
    let error = match trouble {
        Trouble::Refused(error) => return error,
        Trouble::Database(error) => error,
    };
    let (cause, remedy) = match &error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => (
            "another process has it open".to_owned(),
            format!("stop that one first (`fuser {object}` shows it), or name another file"),
        ),
        redb::Error::Io(io) => (io.to_string(), remedy_of(io).to_owned()),
        redb::Error::PreviousIo => (
            "an earlier operation on the disk failed".to_owned(),
            "the next call tries again".to_owned(),
        ),
        other => (other.to_string(), RESTORE.to_owned()),
    };
    StoreError::Failed {
        object: object.to_owned(),
        cause,
        remedy,
    }
}

/// What helps against an error of the operating system.
fn remedy_of(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "make room on its file system; the next change tries again"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "let the agent's user write to it and to its folder"
        }
        ErrorKind::NotFound | ErrorKind::NotADirectory => "put it back, or start the agent again",
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => RESTORE,
        _ => "look for errors of the disk in the kernel's log; the next change tries again",
    }
}
