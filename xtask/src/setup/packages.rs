//! Programs of the distribution that building and testing call.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use super::{download, host};
use crate::{refusal::Refusal, report::Report, workspace::Workspace};

pub struct Need {
    /// Any one of these programs will do.
    programs: &'static [&'static str],
    /// What brings the first of them on Debian and Ubuntu.
    packages: &'static [&'static str],
    reason: &'static str,
}

/// For building, running and testing on this machine's kernel.
pub const ALWAYS: [Need; 6] = [
    Need {
        programs: &["cc", "gcc", "clang"],
        packages: &["gcc", "libc6-dev"],
        reason: "links every program",
    },
    Need {
        programs: &["ip"],
        packages: &["iproute2"],
        reason: "shows links and routes when a test fails, and users' commands in tests",
    },
    Need {
        programs: &["nft"],
        packages: &["nftables"],
        reason: "the bench's rival NAT",
    },
    Need {
        programs: &["ethtool"],
        packages: &["ethtool"],
        reason: "offloads of test interfaces",
    },
    Need {
        programs: &["sysctl"],
        packages: &["procps"],
        reason: "settings of test namespaces",
    },
    Need {
        programs: &["ping"],
        packages: &["iputils-ping"],
        reason: "ICMP in tests",
    },
];

/// For booting a guest.
pub const FOR_GUESTS: [Need; 1] = [Need {
    programs: &["qemu-system-x86_64"],
    packages: &["qemu-system-x86"],
    reason: "guests in tests",
}];

/// For reading IPFIX in tests.
pub const READERS: [Need; 2] = [
    Need {
        programs: &["nfdump"],
        packages: &["nfdump"],
        reason: "reads IPFIX in tests",
    },
    Need {
        programs: &["tshark"],
        packages: &["tshark"],
        reason: "reads IPFIX in tests",
    },
];

/// Where root's programs are even if the user's PATH leaves them out.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// What a failed download of apt-get is called.
const WHAT: &str = "a distribution package";

pub fn install_missing(
    workspace: &Workspace,
    needs: &'static [Need],
    report: &mut Report,
) -> Result<()> {
    let mut missing = Vec::new();
    for need in needs {
        match need.programs.iter().find_map(|program| find(program)) {
            Some(path) => report.found(&format!("{} ({})", path.display(), need.reason)),
            None => missing.push(need),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    if find("apt-get").is_none() {
        bail!(Refusal::NoPackageManager(list(&missing)));
    }
    for need in &missing {
        report.installing(&format!("{} ({})", need.packages.join(", "), need.reason));
    }
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|need| need.packages)
        .copied()
        .collect();
    install(workspace, &packages)
}

/// Installs packages of Debian or Ubuntu.
pub fn install(workspace: &Workspace, packages: &[&str]) -> Result<()> {
    update(workspace)?;
    let mut apt = apt(workspace);
    apt.args(["install", "--yes", "--no-install-recommends"])
        .args(packages);
    download::run(&mut apt, WHAT)
}

/// Fetches packages into a folder and leaves the system as it is.
pub fn fetch(workspace: &Workspace, packages: &[String], folder: &Path) -> Result<()> {
    let mut apt = apt(workspace);
    // apt's own user cannot write to the folder, and says so every time.
    apt.args(["-o", "APT::Sandbox::User=root", "download"])
        .args(packages)
        .current_dir(folder);
    download::run(&mut apt, WHAT)
}

/// Brings the list of packages up to date.
pub fn update(workspace: &Workspace) -> Result<()> {
    host::require_root()?;
    download::run(apt(workspace).arg("update"), WHAT)
}

fn apt(workspace: &Workspace) -> Command {
    let mut apt = workspace.program("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-q", "-o", "DPkg::Lock::Timeout=120"]);
    apt
}

pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = SYSTEM_FOLDERS.iter().map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(program))
        .find(|candidate| is_program(candidate))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn list(needs: &[&Need]) -> String {
    let items: Vec<String> = needs
        .iter()
        .map(|need| format!("{} ({})", need.programs[0], need.packages.join(", ")))
        .collect();
    items.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_programs_are_listed_with_their_packages() {
        let needs: Vec<&Need> = ALWAYS
            .iter()
            .filter(|need| need.programs[0] != "ip")
            .collect();
        assert_eq!(
            list(&needs[..2]),
            "cc (gcc, libc6-dev), nft (nftables)",
            "the first program names the need"
        );
    }

    #[test]
    fn programs_are_found_and_folders_are_not_programs() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program").is_none());
        assert!(!is_program(Path::new("/")));
    }
}
