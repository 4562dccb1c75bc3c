//! Other network namespaces: naming, finding and working in them.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use nix::sched::{CloneFlags, setns};

use super::{helper, netlink::Netlink};

/// Where named namespaces are.
const NAMED: &str = "/run/netns";

/// A namespace that is open.
#[derive(Debug)]
pub struct Netns {
    file: File,
    /// The path it was opened by.
    pub path: PathBuf,
}

impl Netns {
    /// Opens a namespace by name (`ip netns`) or path.
    pub fn open(given: &str) -> io::Result<Self> {
        let path = if given.contains('/') {
            given.into()
        } else {
            Path::new(NAMED).join(given)
        };
        let file = match File::open(&path) {
            // Its process may do what the agent may not.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                helper::open_namespace(&path)?
            }
            opened => opened?,
        };
        Ok(Self { file, path })
    }

    /// What tells this namespace from every other.
    pub fn inode(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.ino())
    }

    /// The number that the calling thread's namespace has given to this one.
    pub fn id(&self, netlink: &mut Netlink) -> io::Result<Option<i32>> {
        netlink.netns_id(self.file.as_fd())
    }

    /// Does something in this namespace, which takes more than the agent may.
    pub fn within<R: Send>(&self, work: impl FnOnce() -> io::Result<R> + Send) -> io::Result<R> {
        within(self.as_fd(), work)
    }

    /// A socket of rtnetlink in this namespace.
    pub fn netlink(&self) -> io::Result<Netlink> {
        helper::netlink_in(self.as_fd())
    }
}

/// Does something in a namespace, on a thread that ends with it: a thread of the pool must
/// never be left in another namespace.
pub fn within<R: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> io::Result<R> + Send,
) -> io::Result<R> {
    std::thread::scope(|scope| {
        let moved = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            work()
        });
        moved
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}

/// Refuses what does not stand for a network namespace.
pub fn require(file: &File) -> io::Result<()> {
    // SAFETY: this question takes no argument, and other kinds of files do not know it.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), libc::NS_GET_NSTYPE) };
    if kind == libc::CLONE_NEWNET {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::EINVAL))
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Every named namespace that can be opened.
pub fn named() -> impl Iterator<Item = Netns> {
    let entries = std::fs::read_dir(NAMED).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let path = entry.path();
        Some(Netns {
            file: File::open(&path).ok()?,
            path,
        })
    })
}
