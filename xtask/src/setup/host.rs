//! This machine: who runs, on which kernel.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use anyhow::{Context as _, Result, bail};

use super::version::{OLDEST_KERNEL, Version};
use crate::{refusal::Refusal, report::Report, workspace::Workspace};

const BTF: &str = "/sys/kernel/btf/vmlinux";
const BPFFS: &str = "/sys/fs/bpf";

pub fn require_root() -> Result<()> {
    // The owner of a process' own folder in /proc is its effective user.
    let user = fs::metadata("/proc/self").context("read /proc/self")?.uid();
    if user == 0 {
        Ok(())
    } else {
        bail!(Refusal::NotRoot)
    }
}

/// The kernel that runs here.
pub fn kernel() -> Result<Version> {
    let release = release()?;
    Version::parse(&release)
        .with_context(|| format!("the kernel calls itself {release:?}, which is no version"))
}

fn release() -> Result<String> {
    fs::read_to_string("/proc/sys/kernel/osrelease").context("read osrelease")
}

pub fn require_kernel(report: &Report) -> Result<()> {
    let version = kernel()?;
    if version < OLDEST_KERNEL {
        bail!(Refusal::KernelTooOld(version));
    }
    if !Path::new(BTF).exists() {
        bail!(Refusal::NoBtf);
    }
    report.found(&format!("kernel {} with BTF", release()?.trim()));
    Ok(())
}

/// Pinned maps and programs live there.
pub fn mount_bpffs(workspace: &Workspace, report: &mut Report) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read the mount table")?;
    if is_mounted(&mounts, BPFFS, "bpf") {
        report.found(&format!("BPF file system at {BPFFS}"));
        return Ok(());
    }
    report.installing(&format!("BPF file system at {BPFFS} (mount)"));
    let status = workspace
        .program("mount")
        .args(["-t", "bpf", "bpf", BPFFS])
        .status();
    if status.context("cannot start `mount`")?.success() {
        return Ok(());
    }
    bail!(Refusal::NoBpffs)
}

/// Whether the topmost mount at `place` is of that type.
fn is_mounted(mounts: &str, place: &str, kind: &str) -> bool {
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .rfind(|(point, _)| *point == place)
        .is_some_and(|(_, found)| found == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "proc /proc proc rw 0 0\nsysfs /sys sysfs rw 0 0\n\
                          bpf /sys/fs/bpf bpf rw,mode=700 0 0\n";

    #[test]
    fn a_mounted_bpf_file_system_is_seen() {
        assert!(is_mounted(MOUNTS, BPFFS, "bpf"));
        assert!(!is_mounted("proc /proc proc rw 0 0\n", BPFFS, "bpf"));
    }

    #[test]
    fn a_file_system_mounted_over_it_hides_it() {
        let hidden = format!("{MOUNTS}tmpfs /sys/fs/bpf tmpfs rw 0 0\n");
        assert!(!is_mounted(&hidden, BPFFS, "bpf"));
    }
}
