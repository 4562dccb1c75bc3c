//! The journal: what the kernel told, in files of one period each, before it is made into
//! anything. The kernel forgets a record only when the journal has it, and each block says
//! up to which position of the ring it has all: whoever is killed in between reads some
//! records again and keeps none twice. Everything else (flow logs, the index of bindings)
//! is made from closed files, can be made again, and so may fail, wait and be late.
//!
//! A file is a row of blocks; a block is a length, a checksum, and entries. A block that was
//! cut off is none, and what is behind it was never kept.

mod block;
mod reader;
mod told;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use block::{ExhaustedEntry, FlowEntry, RefusalEntry};
pub use reader::{EniEntry, Entry, Summary, read};
pub use told::Told;
pub use writer::{Journal, Period};

/// Ending of the files' names.
const ENDING: &str = ".journal";

/// What is wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read or written.
    #[error("{path} cannot be {verb} ({source}): see whether the disk is full, and who owns it")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// It was damaged.
    #[error("{path} is damaged at byte {at}: what is behind that is lost")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
    },
}

impl JournalError {
    /// Whether what was to be read is not there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    fn io(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            path: path.to_owned(),
            verb,
            source,
        }
    }
}

/// The file of a number.
pub fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016}{ENDING}"))
}

/// When a file began, Unix seconds, without reading more of it.
pub fn begun(path: &Path) -> Result<u64, JournalError> {
    reader::begun(path)
}

/// The numbers of the files in a folder, the oldest first.
pub fn list(dir: &Path) -> Result<Vec<u64>, JournalError> {
    let failed = |source| JournalError::io(dir, "read")(source);
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(ENDING));
        numbers.extend(number.and_then(|digits| digits.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}
