//! The files of a guest: what it boots, and what is left of it after a failure.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::netns::serial;

const INIT: &str = include_str!("init.sh");
/// Lines of each of its outputs that a failure shows.
const TAIL: usize = 40;
/// In the line with which a kernel begins to tell of its first failure. The cause is told
/// there; what comes last is the same after every failure.
const FAILURE: &str = "[#1]";

/// A kernel as `cargo xtask` unpacks it: a folder with the kernel itself, and with its
/// modules and busybox.
#[derive(Clone, Debug)]
pub struct Kernel(PathBuf);

impl Kernel {
    /// What guests of tests boot: put there by `cargo xtask setup`.
    pub fn of_guests() -> Self {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
        Self::of(tools.join("guest")).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The kernel in a folder.
    pub fn of(folder: PathBuf) -> Result<Self, String> {
        match folder.join("release").exists() {
            true => Ok(Self(folder)),
            false => Err(format!(
                "{} holds no kernel for a guest: run `cargo xtask setup`",
                folder.display()
            )),
        }
    }

    /// The version of its package, such as `6.1.176-1`; its release may say less.
    pub fn version(&self) -> String {
        fs::read_to_string(self.0.join("version")).expect("read a kernel's version")
    }

    /// What QEMU boots.
    pub(super) fn image(&self) -> PathBuf {
        self.0.join("vmlinuz")
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }
}

/// The folder of one guest, gone when dropped.
#[derive(Debug)]
pub(super) struct Files(PathBuf);

impl Files {
    /// Makes it.
    pub(super) fn make() -> Self {
        let name = format!("vpc-{}-{}-guest", std::process::id(), serial());
        let folder = Path::new("/run").join(name);
        fs::create_dir_all(&folder).expect("create the guest's folder");
        Self(folder)
    }

    /// Packs busybox, the kernel's modules, the first process and what else is put there
    /// into the image that the kernel unpacks as its root.
    pub(super) fn initramfs(&self, kernel: &Kernel, further: impl FnOnce(&Path)) -> PathBuf {
        let (root, image) = (self.0.join("root"), self.0.join("initramfs"));
        let mut copy = Command::new("cp");
        run(copy.arg("-a").arg(kernel.root()).arg(&root));
        for mount_point in ["proc", "sys", "dev", "tmp", "run"] {
            fs::create_dir(root.join(mount_point)).expect("create a mount point");
        }
        further(&root);
        let init = root.join("init");
        fs::write(&init, INIT).expect("write the first process");
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).expect("make it a program");
        let mut pack = Command::new("sh");
        pack.args(["-c", "find . | bin/busybox cpio -o -H newc >\"$0\""])
            .arg(&image)
            .current_dir(&root);
        run(&mut pack);
        fs::remove_dir_all(&root).expect("remove what was packed");
        image
    }

    /// What the guest's kernel writes.
    pub(super) fn console(&self) -> PathBuf {
        self.0.join("console")
    }

    /// What QEMU itself complains about.
    pub(super) fn log(&self) -> PathBuf {
        self.0.join("qemu")
    }

    /// What both say of a failure.
    pub(super) fn last_words(&self) -> String {
        let read = |path| {
            let bytes = fs::read(path).unwrap_or_default();
            last_words(&String::from_utf8_lossy(&bytes))
        };
        format!("{}\n{}", read(self.log()), read(self.console()))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Nothing is left to do about a failure here.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The first lines of a kernel's failure, else the last lines of all.
fn last_words(said: &str) -> String {
    let lines: Vec<_> = said.lines().map(str::trim_end).collect();
    let failure = lines.iter().position(|line| line.contains(FAILURE));
    let from = failure.unwrap_or(lines.len().saturating_sub(TAIL));
    let until = lines.len().min(from + TAIL);
    lines[from..until].join("\n")
}

fn run(command: &mut Command) {
    let output = command.output().expect("start a program");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_begin_with_the_first_failure_if_there_is_one() {
        let idle = "[ 1.0] up\r\n".repeat(90);
        assert_eq!(last_words(&idle), ["[ 1.0] up"; TAIL].join("\n"));
        let oops = "[ 2.0] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\n[ 2.0] CPU: 0\n";
        let said = format!("{idle}{oops}{}", "[ 3.0] Call Trace\n".repeat(90));
        assert!(last_words(&said).starts_with(oops), "{said}");
        assert_eq!(last_words(&said).lines().count(), TAIL);
        assert_eq!(last_words(""), "");
    }
}
