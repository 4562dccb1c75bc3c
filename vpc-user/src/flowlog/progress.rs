//! Up to which file of the journal everything was made.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::journal::JournalError;

/// The number of the next file of the journal that each consumer has yet to read.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// The index of bindings.
    pub index: u64,
    /// Flow logs, by id.
    pub logs: BTreeMap<String, u64>,
}

impl Progress {
    /// Reads what was kept; nothing, if it is not there or not to be understood: then every
    /// consumer begins with the oldest file there is.
    pub fn read(path: &Path) -> Self {
        let read = fs::read(path).ok();
        let progress = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        progress.unwrap_or_default()
    }

    /// Keeps it, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), JournalError> {
        let draft: PathBuf = path.with_extension("draft");
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.sync_all()?;
            fs::rename(&draft, path)
        };
        write().map_err(|source| JournalError::Io {
            path: path.to_owned(),
            verb: "written",
            source,
        })
    }

    /// The first file that somebody has yet to read.
    pub fn oldest(&self) -> u64 {
        let logs = self.logs.values().copied();
        logs.chain([self.index]).min().unwrap_or_default()
    }
}
