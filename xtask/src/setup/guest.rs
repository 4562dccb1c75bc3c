//! What the tests boot as a guest: QEMU from the distribution, and its smallest
//! kernel and shell, in target/tools/guest.

use std::env::consts::ARCH;

use anyhow::{Result, bail};

use super::{kernel, packages};
use crate::{exec, refusal::Refusal, report::Report, workspace::Workspace};

/// The only kind of guest there is; `tests` ignores its test on other hosts.
const GUEST_ARCH: &str = "x86_64";
/// The smallest kernels with virtio, of Debian and of Ubuntu.
const KERNELS: [&str; 2] = ["linux-image-cloud-amd64", "linux-image-virtual"];

/// Whether this machine can run guests; says so if not.
pub fn possible() -> bool {
    if ARCH != GUEST_ARCH {
        eprintln!("skipping    guests in tests: they are {GUEST_ARCH} and this host is {ARCH}");
    }
    ARCH == GUEST_ARCH
}

pub fn find_or_install(workspace: &Workspace, report: &mut Report) -> Result<()> {
    if !possible() {
        return Ok(());
    }
    packages::install_missing(workspace, &packages::FOR_GUESTS, report)?;
    let guest = workspace.tools().join("guest");
    if let Some(release) = kernel::release(&guest) {
        report.found(&format!("kernel {release} and busybox (guests in tests)"));
        return Ok(());
    }
    if packages::find("apt-get").is_none() {
        bail!(Refusal::NoGuestPackages(KERNELS));
    }
    report.installing("a kernel and busybox (guests in tests; 30 to 40 MB to download)");
    let archive = packages::Archive::of_this_machine();
    archive.update(workspace)?;
    let mut names = kernel_packages(workspace, &archive)?;
    names.push(kernel::SHELL.to_owned());
    kernel::make(workspace, &archive, &names, &guest).map(drop)
}

/// The packages that the distribution's name of a kernel stands for today.
fn kernel_packages(workspace: &Workspace, archive: &packages::Archive) -> Result<Vec<String>> {
    for kernel in KERNELS {
        let mut ask = archive.cache(workspace);
        ask.args(["depends", "--recurse", "--important", kernel]);
        let packages = kernel::packages_of(&exec::output(&mut ask).unwrap_or_default());
        if !packages.is_empty() {
            return Ok(packages);
        }
    }
    bail!(Refusal::NoGuestPackages(KERNELS))
}
