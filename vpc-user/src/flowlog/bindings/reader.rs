//! What readers share: the folder, and what is known of its files.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    Found, IndexError, Query,
    file::{FileError, Footer, OpenFile, Summary, open},
    find,
    folder::{FileName, Listing},
};

/// Footers that are kept, with page indexes: a quarter of a megabyte each, of the largest files.
const FOOTERS: usize = 128;

/// Reads an index, also one that another process writes.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    summaries: HashMap<FileName, Arc<Summary>>,
    /// With the tick at which each was last used.
    footers: HashMap<FileName, (u64, Arc<Footer>)>,
    tick: u64,
}

impl Reader {
    /// Reads the index in a folder, which need not exist yet. Changes nothing.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            known: Mutex::default(),
        }
    }

    /// Answers a question.
    pub fn find(&self, query: &Query) -> Result<Found, IndexError> {
        find::find(self, query)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is in the folder, and forgets what is not.
    pub(super) fn list(&self) -> Result<Listing, IndexError> {
        let listing = match Listing::read(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Listing::default(),
            listing => listing.map_err(|source| IndexError::Folder {
                path: self.folder.clone(),
                source,
            })?,
        };
        let mut known = self.known();
        let is_there = |name: &FileName| listing.contains(name);
        known.summaries.retain(|name, _| is_there(name));
        known.footers.retain(|name, _| is_there(name));
        drop(known);
        Ok(listing)
    }

    /// What can be said of a file.
    pub(super) fn summary(&self, name: &FileName) -> Result<Arc<Summary>, FileError> {
        if let Some(summary) = self.known().summaries.get(name) {
            return Ok(summary.clone());
        }
        let file = open(&self.folder, name)?;
        let summary = Arc::new(Footer::summary(&self.folder, name, &file)?);
        self.known().summaries.insert(*name, summary.clone());
        Ok(summary)
    }

    /// A file, open.
    pub(super) fn open(&self, name: &FileName) -> Result<OpenFile, FileError> {
        let file = open(&self.folder, name)?;
        let footer = match self.known().footer(name) {
            Some(footer) => footer,
            None => Arc::new(Footer::read(&self.folder, name, &file)?),
        };
        self.known().keep(name, &footer);
        Ok(OpenFile::new(&self.folder, name, file, footer))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What is known is never half changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn footer(&self, name: &FileName) -> Option<Arc<Footer>> {
        self.footers.get(name).map(|(_, footer)| footer.clone())
    }

    fn keep(&mut self, name: &FileName, footer: &Arc<Footer>) {
        self.tick += 1;
        self.footers.insert(*name, (self.tick, footer.clone()));
        if self.footers.len() > FOOTERS {
            let oldest = self.footers.iter().min_by_key(|(_, (tick, _))| *tick);
            if let Some(name) = oldest.map(|(name, _)| *name) {
                self.footers.remove(&name);
            }
        }
    }
}
