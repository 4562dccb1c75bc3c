//! Release numbers of kernels and compilers.

use std::{fmt, path::Path, process::Stdio};

use crate::workspace::Workspace;

/// The oldest long-term release whose verifier takes the programs and that has
/// every helper they call; what the agent's own messages say too.
pub const OLDEST_KERNEL: Version = Version(6, 1);

/// Major and minor number; nothing here depends on the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl Version {
    /// Reads the start of `6.18.44-generic`, `5.15` or `1.95.0 (hash date)`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().splitn(3, '.');
        Some(Self(
            leading_number(parts.next()?)?,
            leading_number(parts.next()?)?,
        ))
    }

    /// The least compiler that the workspace takes.
    pub fn oldest_rust() -> Option<Self> {
        Self::parse(env!("CARGO_PKG_RUST_VERSION"))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// What a program says to `--version`; nothing if it does not start or ends badly.
pub fn told_by(workspace: &Workspace, program: &Path) -> Option<String> {
    let mut command = workspace.program(program);
    command.arg("--version").stderr(Stdio::null());
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

pub fn leading_number(text: &str) -> Option<u32> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_read() {
        for (text, version) in [
            ("6.18.44-cloud-amd64\n", Version(6, 18)),
            ("5.15.0-91-generic", Version(5, 15)),
            ("7.2-rc3", Version(7, 2)),
            ("6.1", Version(6, 1)),
        ] {
            assert_eq!(Version::parse(text), Some(version), "{text}");
        }
        for text in ["", "six", "6", "6.x", "-1.2"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn versions_are_ordered_as_numbers() {
        assert!(Version(5, 4) < OLDEST_KERNEL);
        assert!(Version(6, 1) >= OLDEST_KERNEL && Version(7, 2) >= OLDEST_KERNEL);
    }

    #[test]
    fn the_workspace_names_its_oldest_compiler() {
        assert!(Version::oldest_rust() >= Some(Version(1, 95)));
    }
}
