//! The folder of one world.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::netns::serial;

/// The folder of one world, with a bpffs of its own inside it: unmounting it is
/// what detaches the programs and frees the tables.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes it.
    pub fn make() -> Self {
        let path = Path::new("/run").join(format!("vpc-{}-{}", std::process::id(), serial()));
        let bpffs = path.join("bpf");
        fs::create_dir_all(&bpffs).expect("create the world's folder");
        let folder = Self(path);
        mount(
            Some("bpf"),
            &bpffs,
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .expect("mount a bpffs");
        folder
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The agent's part of the bpffs; it does not exist yet.
    pub fn pins(&self) -> PathBuf {
        self.0.join("bpf/vpc")
    }

    /// The agent's socket.
    pub fn socket(&self) -> PathBuf {
        self.0.join("agent.sock")
    }

    /// The agent's configuration file.
    pub fn config(&self) -> PathBuf {
        self.0.join("agent.toml")
    }

    /// What the agents write.
    pub fn log(&self) -> PathBuf {
        self.0.join("agent.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing is left to do about a failure here.
        let _ = umount2(&self.0.join("bpf"), MntFlags::MNT_DETACH);
        let _ = fs::remove_dir_all(&self.0);
    }
}
