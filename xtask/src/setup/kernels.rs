//! Kernels of other releases of Debian, for virtual machines: fetched by a private
//! configuration of apt into target/tools/kernels, which is also their cache.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Result, bail};

use super::{
    guest, kernel, packages,
    version::{Version, leading_number},
};
use crate::{exec, refusal::Refusal, report::Report, workspace::Workspace};

/// What stands for the newest kernel of a release, in its smallest build.
const KERNEL: &str = "linux-image-cloud-amd64";
/// From the oldest that has a kernel with BTF to the newest. One that a mirror has no
/// more, or not yet, is passed over.
const SUITES: [&str; 7] = [
    "bullseye",
    "bookworm",
    "bookworm-backports",
    "trixie",
    "trixie-backports",
    "forky",
    "sid",
];
/// Names a mirror of Debian for a machine that does not install from one.
const MIRROR: &str = "VPC_DEBIAN_MIRROR";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Which kernel somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The newest of a major version (`7.x`).
    Major(u32),
    /// The newest of a minor version (`6.12`).
    Minor(Version),
    /// The newest there is.
    Newest,
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "newest" {
            return Ok(Self::Newest);
        }
        let major = text.strip_suffix(".x").and_then(|major| major.parse().ok());
        let minor = || Version::parse(text).filter(|version| version.to_string() == text);
        match major.map(Self::Major).or_else(|| minor().map(Self::Minor)) {
            Some(wish) => Ok(wish),
            None => Err(format!(
                "`{text}` is no version of a kernel: write 6.12, 7.x or newest"
            )),
        }
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Major(major) => write!(f, "{major}.x"),
            Self::Minor(version) => version.fmt(f),
            Self::Newest => f.write_str("newest"),
        }
    }
}

/// A kernel that can be had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offer {
    /// Major, minor, patch: the order of offers.
    numbers: (Version, u32),
    /// The package's version, such as `6.12.117-1`.
    package: String,
    /// The suite that has it.
    suite: String,
}

impl Offer {
    /// Reads a line of `apt-cache madison`. Release candidates are nobody's stock kernel.
    fn parse(line: &str) -> Option<Self> {
        let mut columns = line.split('|').map(str::trim);
        let (_, package, from) = (columns.next()?, columns.next()?, columns.next()?);
        let upstream = package.split('-').next()?;
        let patch = upstream.splitn(3, '.').nth(2).and_then(leading_number);
        (!upstream.contains("rc")).then_some(())?;
        Some(Self {
            numbers: (Version::parse(upstream)?, patch.unwrap_or(0)),
            package: package.to_owned(),
            suite: from.split([' ', '/']).rev().nth(3)?.to_owned(),
        })
    }

    fn fits(&self, wish: &Wish) -> bool {
        match wish {
            Wish::Major(major) => self.numbers.0.0 == *major,
            Wish::Minor(version) => self.numbers.0 == *version,
            Wish::Newest => true,
        }
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.package, self.suite)
    }
}

/// The kernels of the archive, oldest first.
pub struct Kernels {
    archive: packages::Archive,
    offers: BTreeSet<Offer>,
}

impl Kernels {
    /// Asks the archive what it has.
    pub fn offered(workspace: &Workspace) -> Result<Self> {
        if !guest::possible() {
            bail!(Refusal::NoGuestPackages([KERNEL, KERNEL]));
        }
        let sources = sources(&mirror(workspace)?);
        let archive = packages::Archive::private(&folder(workspace).join("apt"), &sources)?;
        // It also complains of a suite that is not there; what counts is what it found.
        let updated = archive.update(workspace);
        let mut ask = archive.cache(workspace);
        let listed = exec::output(ask.args(["madison", KERNEL]))?;
        let offers: BTreeSet<_> = listed.lines().filter_map(Offer::parse).collect();
        if offers.is_empty() {
            updated?;
            bail!(Refusal::NoKernel("of any version".into(), String::new()));
        }
        Ok(Self { archive, offers })
    }

    /// What there is, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Offer> {
        self.offers.iter()
    }

    /// The folder with the kernel that is wished for, fetched if it is not there yet.
    pub fn find_or_fetch(
        &self,
        workspace: &Workspace,
        wish: &Wish,
        report: &mut Report,
    ) -> Result<PathBuf> {
        let Some(offer) = self.offers.iter().rfind(|offer| offer.fits(wish)) else {
            bail!(Refusal::NoKernel(wish.to_string(), list(&self.offers)));
        };
        let folder = folder(workspace).join(&offer.package);
        if let Some(release) = kernel::release(&folder) {
            report.found(&format!("kernel {release}"));
            return Ok(folder);
        }
        report.installing(&format!("kernel {offer} (virtual machines; 30 to 50 MB)"));
        let mut names = self.packages(workspace, offer)?;
        names.push(kernel::SHELL.to_owned());
        kernel::make(workspace, &self.archive, &names, &folder)?;
        Ok(folder)
    }

    fn packages(&self, workspace: &Workspace, offer: &Offer) -> Result<Vec<String>> {
        let version = format!("{KERNEL}={}", offer.package);
        let mut show = self.archive.cache(workspace);
        let shown = exec::output(show.args(["show", &version]))?;
        let depends = shown
            .lines()
            .filter_map(|line| line.strip_prefix("Depends: "));
        let words = depends.flat_map(|line| line.split([',', ' ']));
        let images = words.filter(|word| !kernel::packages_of(word).is_empty());
        let mut packages = BTreeSet::new();
        for image in images {
            let mut ask = self.archive.cache(workspace);
            ask.args(["depends", "--recurse", "--important", image]);
            packages.extend(kernel::packages_of(&exec::output(&mut ask)?));
        }
        Ok(packages.into_iter().collect())
    }
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.tools().join("kernels")
}

/// The mirror of Debian that this machine installs from.
fn mirror(workspace: &Workspace) -> Result<String> {
    if let Ok(mirror) = std::env::var(MIRROR) {
        return Ok(mirror);
    }
    let mut ask = workspace.program("apt-get");
    let format = "$(ORIGIN) $(LABEL) $(COMPONENT) $(REPO_URI)";
    ask.args(["indextargets", "--format", format, "Created-By: Packages"]);
    let targets = match packages::find("apt-get") {
        Some(_) => exec::output(&mut ask)?,
        None => String::new(),
    };
    match debians(&targets) {
        Some(mirror) if Path::new(KEYRING).exists() => Ok(mirror.to_owned()),
        _ => bail!(Refusal::NoDebian {
            mirror: MIRROR,
            keyring: KEYRING
        }),
    }
}

fn debians(targets: &str) -> Option<&str> {
    let mut lines = targets.lines();
    lines.find_map(|line| line.strip_prefix("Debian Debian main "))
}

fn sources(mirror: &str) -> String {
    let line =
        |suite: &&str| format!("deb [signed-by={KEYRING} arch=amd64] {mirror} {suite} main\n");
    SUITES.iter().map(line).collect()
}

fn list(offers: &BTreeSet<Offer>) -> String {
    let items: Vec<_> = offers.iter().map(Offer::to_string).collect();
    items.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "\
linux-image-cloud-amd64 | 7.3.4-1~bpo13+1 | http://mirror/debian trixie-backports/main amd64 Packages
linux-image-cloud-amd64 | 7.4~rc7-1~exp1 | http://mirror/debian experimental/main amd64 Packages
linux-image-cloud-amd64 | 6.12.117-1 | http://mirror/debian trixie/main amd64 Packages
linux-image-cloud-amd64 | 6.12.95-1~bpo12+1 | http://mirror/debian bookworm-backports/main amd64 Packages
linux-image-cloud-amd64 |  6.1.176-1 | http://mirror/debian bookworm/main amd64 Packages
linux-image-cloud-amd64 | 5.10.223-1 | http://mirror/debian bullseye/main amd64 Packages
";

    fn chosen(wish: &str) -> Option<String> {
        let wish: Wish = wish.parse().unwrap();
        let offers: BTreeSet<_> = LISTED.lines().filter_map(Offer::parse).collect();
        let offer = offers.into_iter().rfind(|offer| offer.fits(&wish));
        offer.map(|offer| offer.to_string())
    }

    #[test]
    fn the_newest_kernel_that_fits_is_chosen() {
        for (wish, offer) in [
            ("newest", "7.3.4-1~bpo13+1 (trixie-backports)"),
            ("7.x", "7.3.4-1~bpo13+1 (trixie-backports)"),
            ("6.12", "6.12.117-1 (trixie)"),
            ("6.1", "6.1.176-1 (bookworm)"),
            ("5.10", "5.10.223-1 (bullseye)"),
        ] {
            assert_eq!(chosen(wish).as_deref(), Some(offer), "{wish}");
        }
        for wish in ["6.18", "8.x", "7.4"] {
            assert_eq!(chosen(wish), None, "{wish}");
        }
    }

    #[test]
    fn a_wish_is_a_version_or_the_newest() {
        for text in ["6.1", "6.12", "7.x", "newest"] {
            assert_eq!(text.parse::<Wish>().unwrap().to_string(), text);
        }
        for text in ["", "6", "six", "6.1.2", "6.x.1", "6.1x", "oldest"] {
            let error = text.parse::<Wish>().unwrap_err();
            assert!(error.contains("write 6.12"), "{error}");
        }
    }

    #[test]
    fn the_mirror_is_debians_own() {
        let targets = "Debian Debian-Security main http://mirror/security/\n\
                       Other Other main http://other/\nDebian Debian main http://mirror/debian/\n";
        assert_eq!(debians(targets), Some("http://mirror/debian/"));
        assert_eq!(debians("Ubuntu Ubuntu main http://mirror/ubuntu/\n"), None);
    }
}
