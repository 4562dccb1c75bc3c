//! Programs of the distribution that building and testing call.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

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
pub const ALWAYS: [Need; 7] = [
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
    Need {
        programs: &["faketime"],
        packages: &["faketime"],
        reason: "a clock that jumps, for one agent, in tests",
    },
];

/// For booting a guest.
pub const FOR_GUESTS: [Need; 1] = [Need {
    programs: &["qemu-system-x86_64"],
    packages: &["qemu-system-x86"],
    reason: "guests in tests",
}];

/// For building libFuzzer.
pub const FOR_FUZZING: [Need; 1] = [Need {
    programs: &["c++", "g++", "clang++"],
    packages: &["g++"],
    reason: "builds libFuzzer",
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
    let archive = Archive::of_this_machine();
    archive.update(workspace)?;
    let mut apt = archive.apt(workspace);
    apt.args(["install", "--yes", "--no-install-recommends"])
        .args(packages);
    download::run(&mut apt, WHAT)
}

/// Where packages come from.
pub struct Archive {
    /// Options of apt, none for the machine's own sources.
    options: Vec<String>,
}

impl Archive {
    /// What the machine itself installs from.
    pub const fn of_this_machine() -> Self {
        let options = Vec::new();
        Self { options }
    }

    /// Sources of the project's own, in a folder of its own: nothing that the machine
    /// knows of packages changes.
    pub fn private(folder: &Path, sources: &str) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        }
        let list = folder.join("sources.list");
        fs::write(&list, sources).with_context(|| format!("write {}", list.display()))?;
        let at = |name: &str| folder.join(name).display().to_string();
        let options = [
            format!("Dir::Etc::SourceList={}", list.display()),
            "Dir::Etc::SourceParts=-".to_owned(),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::Cache={}", at("cache")),
            // As if nothing were installed.
            "Dir::State::status=/dev/null".to_owned(),
            // Descriptions of programs for shops.
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ];
        let options = options
            .into_iter()
            .flat_map(|option| ["-o".to_owned(), option]);
        Ok(Self {
            options: options.collect(),
        })
    }

    /// Fetches packages into a folder and leaves the system as it is.
    pub fn fetch(&self, workspace: &Workspace, packages: &[String], folder: &Path) -> Result<()> {
        let mut apt = self.apt(workspace);
        // apt's own user cannot write to the folder, and says so every time.
        apt.args(["-o", "APT::Sandbox::User=root", "download"])
            .args(packages)
            .current_dir(folder);
        download::run(&mut apt, WHAT)
    }

    /// Brings the list of packages up to date.
    pub fn update(&self, workspace: &Workspace) -> Result<()> {
        host::require_root()?;
        download::run(self.apt(workspace).arg("update"), WHAT)
    }

    /// A question about packages.
    pub fn cache(&self, workspace: &Workspace) -> Command {
        let mut cache = workspace.program("apt-cache");
        cache.args(&self.options);
        cache
    }

    fn apt(&self, workspace: &Workspace) -> Command {
        let mut apt = workspace.program("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-q", "-o", "DPkg::Lock::Timeout=120"])
            .args(&self.options)
            // Standard output belongs to what was asked for.
            .stdout(io::stderr());
        apt
    }
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
