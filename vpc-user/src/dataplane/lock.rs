//! One agent per folder of pins: an advisory lock on the folder itself, which
//! ends with the process that holds it however it ends.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

/// The lock, held as long as this lives.
#[derive(Debug)]
pub struct PinLock {
    _folder: Flock<File>,
}

/// Why the folder cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another agent has it.
    #[error(
        "{dir} is in use by the agent with process id {holder}: stop that agent first, or give \
         this one another `pin_dir`"
    )]
    Held {
        /// The folder.
        dir: PathBuf,
        /// Who holds it.
        holder: String,
    },
    /// The folder cannot be opened.
    #[error("{dir} cannot be locked ({source}): run the agent as root on a mounted bpffs")]
    Io {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl PinLock {
    /// Locks an existing folder.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io {
            dir: dir.into(),
            source,
        };
        let file = File::open(dir).map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { _folder: lock }),
            Err((file, nix::errno::Errno::EWOULDBLOCK)) => {
                let inode = file.metadata().map_err(failed)?.ino();
                let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
                let holder = holder(&locks, inode).unwrap_or("unknown").to_owned();
                Err(LockError::Held {
                    dir: dir.into(),
                    holder,
                })
            }
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }
}

/// The process that holds the whole-file lock on an inode, from `/proc/locks`.
fn holder(locks: &str, inode: u64) -> Option<&str> {
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, file, ..] = fields[..] else {
            return None;
        };
        (file.rsplit(':').next()? == inode.to_string()).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found_by_inode() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 00:1a:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 22 00:1b:77 0 EOF\n";
        assert_eq!(holder(locks, 77), Some("22"));
        assert_eq!(holder(locks, 78), None);
    }

    #[test]
    fn a_second_lock_on_a_folder_names_the_holder() {
        let dir = std::env::temp_dir().join(format!("vpc-lock-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let first = PinLock::take(&dir).expect("free");
        let error = PinLock::take(&dir).expect_err("held").to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(first);
        PinLock::take(&dir).expect("free again");
        std::fs::remove_dir(&dir).expect("empty");
    }
}
