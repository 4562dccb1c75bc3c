//! Taking everything away.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    Dataplane, StartError,
    lock::{LockError, PinLock},
    mirror::{self, Environments, Mirror},
    object, peer,
    programs::{self, ProgramsError},
    tables::Tables,
};

impl Dataplane {
    /// Removes everything: links, prepared far ends, tables, folders.
    pub fn teardown(self) -> Result<(), TeardownError> {
        let Self {
            pin_dir,
            mirror,
            environments,
            ..
        } = self;
        remove(&pin_dir, &mirror, &environments)
    }
}

/// Why not everything was removed.
#[derive(Debug, thiserror::Error)]
pub enum TeardownError {
    /// An agent runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A link stays.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// A pin stays.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The folder stays.
    #[error("{path} cannot be removed ({source}): remove what else is in it, as root")]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Removes what an agent left running under `pin_dir`. Fine if there is nothing.
/// Works on tables of any layout; far ends of veths are restored if the tables
/// can be read.
pub fn teardown(pin_dir: &Path) -> Result<(), TeardownError> {
    if !pin_dir.exists() {
        return Ok(());
    }
    let _lock = PinLock::take(pin_dir)?;
    let tables = match object::read_meta(pin_dir) {
        Ok(Some(meta)) => Tables::open(&pin_dir.join(object::MAPS), &meta.limits).ok(),
        _ => None,
    };
    let (mirror, environments) = tables
        .and_then(|tables| mirror::read(&tables).ok())
        .unwrap_or_default();
    remove(pin_dir, &mirror, &environments)
}

fn remove(
    pin_dir: &Path,
    mirror: &Mirror,
    environments: &Environments,
) -> Result<(), TeardownError> {
    programs::detach_all(&pin_dir.join(object::LINKS))?;
    let peers = environments
        .iter()
        .filter_map(|(_, attached)| attached.peer.as_ref());
    for prepared in peers.chain(mirror.uplink_peers.values()) {
        peer::give_back(prepared);
    }
    object::remove_pins(&pin_dir.join(object::MAPS))?;
    for dir in [
        pin_dir.join(object::LINKS),
        pin_dir.join(object::MAPS),
        pin_dir.into(),
    ] {
        match std::fs::remove_dir(&dir) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(TeardownError::Io { path: dir, source });
            }
            _ => {}
        }
    }
    Ok(())
}
