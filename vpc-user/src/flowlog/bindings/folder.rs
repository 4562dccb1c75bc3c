//! The files of an index, by their names.

use std::{
    collections::BTreeSet,
    fmt,
    fs::{self, File},
    io,
    path::Path,
};

/// Listings that may differ until a folder counts as restless.
const ATTEMPTS: usize = 64;

/// The name of a file: the batches that it holds, and checksums of its footer and its page
/// indexes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct FileName {
    pub(super) first: u64,
    pub(super) last: u64,
    /// CRC-32 of the footer, from the metadata to the end of the file.
    pub(super) footer: u32,
    /// CRC-32 of the page indexes, which are in front of the footer.
    pub(super) page_indexes: u32,
}

impl FileName {
    fn parse(name: &str) -> Option<Self> {
        let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
        let sum = |digits: &str| u32::from_str_radix(digits, 16).ok();
        let mut parts = name.strip_suffix(".parquet")?.split('-');
        let parsed = Self {
            first: number(parts.next()?)?,
            last: number(parts.next()?)?,
            footer: sum(parts.next()?)?,
            page_indexes: sum(parts.next()?)?,
        };
        // One name for one file.
        (parsed.first <= parsed.last && parsed.to_string() == name).then_some(parsed)
    }

    /// What it is called until it is whole.
    pub(super) fn temporary(first: u64, last: u64) -> String {
        format!("{first:016x}-{last:016x}.tmp")
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            first,
            last,
            footer,
            page_indexes,
        } = self;
        write!(
            f,
            "{first:016x}-{last:016x}-{footer:08x}-{page_indexes:08x}.parquet"
        )
    }
}

/// What is in a folder.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Listing {
    /// Files that count, by their batches.
    pub(super) files: Vec<FileName>,
    /// Files whose batches are all in a larger one.
    pub(super) covered: Vec<FileName>,
    /// Files that were not finished.
    pub(super) temporary: Vec<String>,
    /// Notes of the last batch, where no file says it.
    pub(super) marks: BTreeSet<u64>,
    /// Parquet files that are not the index's.
    pub(super) foreign: Vec<String>,
}

impl Listing {
    /// What is in a folder, at one moment: while files are renamed and removed, a single look
    /// may miss both the file that replaces others and those that it replaces. A file is there
    /// before what it replaces goes, so that two looks that saw the same missed nothing.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        let mut before = Self::look(folder)?;
        for _ in 0..ATTEMPTS {
            let after = Self::look(folder)?;
            if after.files == before.files {
                return Ok(after);
            }
            before = after;
        }
        Err(io::Error::other("its files change too fast to be listed"))
    }

    /// The highest batch that was ever in it.
    pub(super) fn last_batch(&self) -> Option<u64> {
        let files = self.files.iter().map(|file| file.last);
        files.chain(self.marks.last().copied()).max()
    }

    /// Whether a file is there and counts.
    pub(super) fn contains(&self, name: &FileName) -> bool {
        // Of files that count no two begin with the same batch.
        let at = self
            .files
            .binary_search_by_key(&name.first, |file| file.first);
        at.is_ok_and(|at| self.files[at] == *name)
    }

    fn look(folder: &Path) -> io::Result<Self> {
        let mut listing = Self::default();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some(file) = FileName::parse(name) {
                listing.files.push(file);
            } else if name.ends_with(".parquet") {
                listing.foreign.push(name.to_owned());
            } else if name.ends_with(".tmp") {
                listing.temporary.push(name.to_owned());
            } else if let Some(last) = parse_mark(name) {
                listing.marks.insert(last);
            }
        }
        listing.foreign.sort_unstable();
        listing.set_covered_aside();
        Ok(listing)
    }

    fn set_covered_aside(&mut self) {
        // Of two that begin with the same batch, the larger comes first.
        let order = |file: &FileName| (file.first, u64::MAX - file.last, *file);
        self.files.sort_unstable_by_key(order);
        let mut reached = None;
        self.covered = self
            .files
            .extract_if(.., |file| {
                let is_covered = reached.is_some_and(|last| file.last <= last);
                reached = reached.max(Some(file.last));
                is_covered
            })
            .collect();
    }
}

/// The name of a note that batches up to this one were in the index.
fn mark(last: u64) -> String {
    format!("{last:016x}.last")
}

/// Notes that batches up to `last` were in the index. `marks`: the notes that are there.
pub(super) fn set_mark(folder: &Path, last: u64, marks: &BTreeSet<u64>) -> io::Result<()> {
    if marks.last().is_some_and(|mark| *mark >= last) {
        return Ok(());
    }
    create(&folder.join(mark(last)))?;
    sync(folder)?;
    marks
        .iter()
        .try_for_each(|older| remove(&folder.join(mark(*older))))
}

fn parse_mark(name: &str) -> Option<u64> {
    let last = u64::from_str_radix(name.strip_suffix(".last")?, 16).ok()?;
    (mark(last) == name).then_some(last)
}

/// Makes the names in a folder durable.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    kill::step()?;
    File::open(folder)?.sync_all()
}

/// Makes a file: what opens it makes it empty.
pub(super) fn create(path: &Path) -> io::Result<File> {
    kill::step()?;
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
}

/// Makes a file's bytes durable.
pub(super) fn sync_file(file: &File) -> io::Result<()> {
    kill::step()?;
    file.sync_all()
}

/// Gives a file its name.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    kill::step()?;
    fs::rename(from, to)
}

/// Removes a file; one that is gone already is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    kill::step()?;
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Every change to a folder is a step, after any of which a crash may come.
#[cfg(not(test))]
mod kill {
    pub(super) const fn step() -> std::io::Result<()> {
        Ok(())
    }
}

/// In tests one comes after as many steps as are asked for: nothing is done from then on.
#[cfg(test)]
pub(super) mod kill {
    use std::{cell::Cell, io};

    thread_local! {
        static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    pub(in super::super) fn after(steps: usize) {
        LEFT.set(steps);
    }

    pub(super) fn step() -> io::Result<()> {
        let left = LEFT.get().checked_sub(1);
        LEFT.set(left.unwrap_or(0));
        left.map(drop).ok_or_else(|| io::Error::other("killed"))
    }
}
