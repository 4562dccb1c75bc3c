//! Taking the socket's place in the file system.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{DirBuilderExt as _, FileTypeExt as _},
    },
    path::{Path, PathBuf},
};

use nix::sys::{
    socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr},
    stat::{Mode, fchmod},
};
use tokio::net::UnixListener;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another agent answers there.
    #[error(
        "another agent answers at {}: stop it, or give this one another `socket`",
        path.display()
    )]
    Live {
        /// The socket.
        path: PathBuf,
    },
    /// Another agent is about to bind there.
    #[error(
        "another agent is starting in {}: stop it, or give this one another `socket`",
        folder.display()
    )]
    Starting {
        /// The socket's folder.
        folder: PathBuf,
    },
    /// Something else has the name.
    #[error("{} exists and is no socket: remove it, or choose another `socket`", path.display())]
    Occupied {
        /// The socket.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{} cannot be {doing} ({cause}): check `socket` and its folder", path.display())]
    System {
        /// The socket or its folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What it said.
        cause: io::Error,
    },
}

/// Binds the agent's socket, for root alone (0600), in a folder that is made if
/// missing (0755). A socket nobody listens on is replaced, a live one is not.
/// Needs a running tokio runtime.
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = |path: &Path, doing| {
        let path = path.to_path_buf();
        move |cause| BindError::System { path, doing, cause }
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .map_err(failed(folder, "created"))?;
    // Held until this function returns: between finding a stale socket and
    // replacing it, another agent must not do the same.
    let lock = File::open(folder).map_err(failed(folder, "opened"))?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => BindError::Starting {
            folder: folder.to_path_buf(),
        },
        TryLockError::Error(error) => failed(folder, "locked")(error),
    })?;
    remove_stale(path)?;
    let fd = listen(path).map_err(failed(path, "bound"))?;
    UnixListener::from_std(fd.into()).map_err(failed(path, "served"))
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |doing| {
        move |cause| BindError::System {
            path: path.to_path_buf(),
            doing,
            cause,
        }
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("examined")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::Occupied {
                path: path.to_path_buf(),
            });
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(BindError::Live {
            path: path.to_path_buf(),
        }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("removed"))
        }
        Err(error) => Err(failed("examined")(error)),
    }
}

/// Not `UnixListener::bind`, which leaves a moment between making the file and
/// restricting it: on Linux a socket's file takes the mode its descriptor has
/// when it is bound.
fn listen(path: &Path) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket::bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    socket::listen(&fd, Backlog::MAXCONN)?;
    Ok(fd)
}
