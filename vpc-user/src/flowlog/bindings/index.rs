//! The writer's side.

use std::{
    collections::HashSet,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::UNIX_EPOCH,
};

use super::{
    Binding, Found, IndexError, Query, Reader, Retention,
    append::append,
    columns::millis,
    compact::{Candidate, plan},
    file::{FileError, Summary},
    folder::{self, FileName, Listing},
    merge::{MergeError, merge},
};
use crate::flowlog::make_folder;

/// The file whose lock the writer has.
const LOCK: &str = "lock";

/// The longest time from the first end of a flow in a file to the last, milliseconds.
const SPAN: u64 = 86_400_000;

/// An index, for its one writer.
#[derive(Debug)]
pub struct Index {
    reader: Reader,
    retention: Retention,
    /// The highest batch that was ever appended.
    last_batch: Mutex<Option<u64>>,
    /// Held by the one that merges or removes: files that cannot be merged, since they cannot
    /// be read.
    unreadable: Mutex<HashSet<FileName>>,
    _lock: File,
}

/// What was removed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Removed {
    /// Files.
    pub files: u64,
    /// Their bindings, as far as they could be read.
    pub bindings: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Index {
    /// Opens the index in a folder, or makes one, and removes what a crash has left.
    pub fn open(folder: impl Into<PathBuf>, retention: Retention) -> Result<Self, IndexError> {
        let reader = Reader::new(folder);
        let failed = |source| failed(reader.folder(), source);
        make_folder(reader.folder()).map_err(failed)?;
        let lock = lock(reader.folder())?;
        let listing = reader.list()?;
        clean(reader.folder(), &listing).map_err(failed)?;
        for name in &listing.temporary {
            folder::remove(&reader.folder().join(name)).map_err(failed)?;
        }
        Ok(Self {
            last_batch: Mutex::new(listing.last_batch()),
            reader,
            retention,
            unreadable: Mutex::default(),
            _lock: lock,
        })
    }

    /// Appends a batch: it is on the disk, whole, when this returns. Batches are numbered in
    /// the order in which they are appended. One that is not above all before it is in the
    /// index already, so that nothing changes: `false`.
    pub fn append(&self, batch: u64, bindings: Vec<Binding>) -> Result<bool, IndexError> {
        let last = self.last_batch.lock();
        let mut last = last.unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| batch <= last) {
            return Ok(false);
        }
        let folder = self.reader.folder();
        if bindings.is_empty() {
            let marks = self.reader.list()?.marks;
            folder::set_mark(folder, batch, &marks).map_err(|source| failed(folder, source))?;
        } else {
            append(folder, batch, &bindings)?;
        }
        *last = Some(batch);
        Ok(true)
    }

    /// Merges files until there are few. Appending and reading go on meanwhile. Says how many
    /// merges that took.
    pub fn compact(&self) -> Result<usize, IndexError> {
        let unreadable = self.unreadable.lock();
        let mut unreadable = unreadable.unwrap_or_else(PoisonError::into_inner);
        let mut merges = 0;
        while let Some(inputs) = self.next_merge(&mut unreadable)? {
            match merge(&self.reader, &inputs) {
                Ok(()) => merges += 1,
                Err(MergeError::Output(error)) => return Err(error),
                Err(MergeError::Input(name, error)) => {
                    note(&error);
                    unreadable.insert(name);
                    continue;
                }
            }
            let folder = self.reader.folder();
            let listing = self.reader.list()?;
            clean(folder, &listing).map_err(|source| failed(folder, source))?;
        }
        Ok(merges)
    }

    fn next_merge(
        &self,
        unreadable: &mut HashSet<FileName>,
    ) -> Result<Option<Vec<FileName>>, IndexError> {
        let files = self.reader.list()?.files;
        let mut candidate = |name: &FileName| {
            if unreadable.contains(name) {
                return None;
            }
            match self.reader.summary(name) {
                Ok(summary) => Some(Candidate {
                    rows: summary.rows(),
                    ends: (summary.oldest()?, summary.newest()?),
                }),
                Err(error) => {
                    note(&error);
                    unreadable.insert(*name);
                    None
                }
            }
        };
        let candidates: Vec<_> = files.iter().map(&mut candidate).collect();
        let span = SPAN.min(self.retention.age_secs.saturating_mul(100));
        let range = plan(&candidates, millis(span));
        Ok(range.map(|range| files[range].to_vec()))
    }

    /// Removes files all of whose flows ended too long before now (Unix milliseconds), and the
    /// oldest files until the rest is small enough.
    pub fn retain(&self, now: u64) -> Result<Removed, IndexError> {
        let _alone = self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let folder = self.reader.folder();
        let listing = self.reader.list()?;
        // First, or what is covered would count again.
        clean(folder, &listing).map_err(|source| failed(folder, source))?;
        let oldest = millis(now.saturating_sub(self.retention.age_secs.saturating_mul(1_000)));
        let files: Vec<_> = listing.files.iter().map(|name| self.kept(name)).collect();
        let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let mut removed = Removed::default();
        for (name, file) in listing.files.iter().zip(files) {
            if file.newest >= oldest && bytes <= self.retention.bytes {
                continue;
            }
            self.remove(name, &listing)
                .map_err(|source| failed(folder, source))?;
            bytes -= file.bytes;
            removed.files += 1;
            removed.bindings += file.rows;
            removed.bytes += file.bytes;
        }
        Ok(removed)
    }

    /// Removes a file. With the newest goes what says which batch was the last, which is noted
    /// before.
    fn remove(&self, name: &FileName, listing: &Listing) -> io::Result<()> {
        let folder = self.reader.folder();
        if listing.files.last() == Some(name) {
            folder::set_mark(folder, name.last, &listing.marks)?;
        }
        folder::remove(&folder.join(name.to_string()))
    }

    fn kept(&self, name: &FileName) -> Kept {
        match self.reader.summary(name) {
            Ok(summary) => Kept::of(&summary),
            Err(error) => {
                note(&error);
                let path = self.reader.folder().join(name.to_string());
                Kept::of_unreadable(&path).unwrap_or_default()
            }
        }
    }

    /// Answers a question.
    pub fn find(&self, query: &Query) -> Result<Found, IndexError> {
        self.reader.find(query)
    }

    /// What answers questions.
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }
}

/// What is to be known of a file to remove it in time.
#[derive(Default)]
struct Kept {
    /// The newest end of a flow, Unix milliseconds.
    newest: i64,
    rows: u64,
    bytes: u64,
}

impl Kept {
    fn of(summary: &Summary) -> Self {
        Self {
            newest: summary.newest().unwrap_or_default(),
            rows: u64::try_from(summary.rows()).unwrap_or(u64::MAX),
            bytes: summary.bytes,
        }
    }

    /// A file that cannot be read is as old as it was written.
    fn of_unreadable(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let age = metadata.modified()?.duration_since(UNIX_EPOCH);
        let newest = age.map_or(0, |age| age.as_millis());
        Ok(Self {
            newest: i64::try_from(newest).unwrap_or(i64::MAX),
            rows: 0,
            bytes: metadata.len(),
        })
    }
}

fn lock(folder: &Path) -> Result<File, IndexError> {
    let path = folder.to_owned();
    let options = || {
        File::options()
            .create(true)
            .append(true)
            .open(folder.join(LOCK))
    };
    let file = options().map_err(|source| failed(folder, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(IndexError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(IndexError::Folder { path, source }),
    }
}

/// Removes files that larger ones cover.
fn clean(folder: &Path, listing: &Listing) -> io::Result<()> {
    for name in &listing.covered {
        folder::remove(&folder.join(name.to_string()))?;
    }
    Ok(())
}

fn failed(folder: &Path, source: io::Error) -> IndexError {
    IndexError::Folder {
        path: folder.to_owned(),
        source,
    }
}

fn note(error: &FileError) {
    if let FileError::Damaged(sentence) = error {
        tracing::warn!("{sentence}");
    }
}
