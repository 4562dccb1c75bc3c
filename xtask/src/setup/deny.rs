//! cargo-deny, which reads licences, versions, sources and known holes of what is depended on;
//! kept in target/tools.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

use super::{download, linker::path_with, version};
use crate::{exec, report::Report, workspace::Workspace};

const VERSION: &str = "0.20.2";

/// What it says first when it has no list of advisories.
const NOT_FETCHED: &str = "failed to fetch advisory database";

/// It, installed.
pub struct Deny(PathBuf);

impl Deny {
    /// Compiled without optimising: it runs for seconds.
    pub fn find_or_install(workspace: &Workspace, report: &mut Report) -> Result<Self> {
        let tools = workspace.tools();
        let deny = Self(tools.join("bin/cargo-deny"));
        if deny.version(workspace).as_deref() == Some(VERSION) {
            report.found(&format!("cargo-deny {VERSION}"));
            return Ok(deny);
        }
        report.installing(&format!(
            "cargo-deny {VERSION} (compiling takes about two minutes)"
        ));
        let scratch = tools.join("build");
        let mut cargo = workspace.cargo_for_tools();
        cargo
            .args(["install", "cargo-deny", "--version", VERSION])
            .args(["--locked", "--force", "--debug", "--root"])
            .arg(&tools)
            .arg("--target-dir")
            .arg(&scratch)
            // Nobody looks for a fault in it.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("PATH", path_with(&tools.join("bin"))?);
        download::run(&mut cargo, "cargo-deny")?;
        fs::remove_dir_all(&scratch).with_context(|| format!("remove {}", scratch.display()))?;
        if deny.version(workspace).as_deref() != Some(VERSION) {
            bail!("the new {} does not run", deny.0.display());
        }
        Ok(deny)
    }

    fn version(&self, workspace: &Workspace) -> Option<String> {
        let text = version::told_by(workspace, &self.0)?;
        text.strip_prefix("cargo-deny ").map(str::to_owned)
    }

    /// Fails on what `deny.toml` does not allow, and on what it allows for nothing.
    pub fn licences_versions_sources(&self, workspace: &Workspace) -> Result<()> {
        let stale = ["unmatched-skip", "license-not-encountered"];
        let mut command = self.check(workspace);
        for one in stale {
            command.args(["--deny", one]);
        }
        exec::run(command.args(["licenses", "bans", "sources"]))
    }

    /// Fails on a known hole; whether the list of them could be fetched.
    pub fn advisories(&self, workspace: &Workspace) -> Result<bool> {
        let mut command = self.check(workspace);
        command.arg("advisories");
        let output = command
            .output()
            .with_context(|| format!("cannot start {}", exec::shown(&command)))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() && is_out_of_reach(&said) {
            return Ok(false);
        }
        eprint!("{said}");
        exec::succeeded(&command, output.status).map(|()| true)
    }

    fn check(&self, workspace: &Workspace) -> Command {
        let mut command = workspace.program(&self.0);
        command
            .current_dir(workspace.root())
            .args(["--locked", "check"]);
        command
    }
}

/// Whether it failed for want of the list, and that for want of a network: an advisory may speak
/// of networks too.
fn is_out_of_reach(said: &str) -> bool {
    said.contains(NOT_FETCHED) && said.lines().any(download::is_network_failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_out_of_reach_is_told_from_a_hole_and_from_a_damaged_list() {
        let cloning = "[ERROR] failed to fetch advisory database https://example.org/db with cli: \
                       failed to clone\nfatal: unable to access 'https://example.org/db/': ";
        let unresolved = format!("{cloning}Could not resolve host: example.org");
        assert!(is_out_of_reach(&unresolved));
        assert!(!is_out_of_reach(&format!("{cloning}server certificate")));
        let hole = "error[vulnerability]: a panic when the connection timed out\n";
        assert!(!is_out_of_reach(hole));
        assert!(!is_out_of_reach(""));
    }
}
