//! What reads flow logs in tests: Python packages in an environment of their own
//! under target/tools/python, where tests look for its interpreter.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};

use super::{download, packages};
use crate::{exec, refusal::Refusal, report::Report, workspace::Workspace};

/// Versions, exactly.
const REQUIREMENTS: &str = include_str!("requirements.txt");
/// Whether they are in reach, by one of them; importing it would take half a second.
const PROBE: &str = "from importlib.util import find_spec; assert find_spec('moto')";
/// The distribution's Python, and what it lacks to make environments.
const DISTRIBUTION_PYTHON: &str = "/usr/bin/python3";
const DISTRIBUTION_PACKAGE: &str = "python3-venv";
/// Tests read the same variable.
const OVERRIDE: &str = "VPC_TEST_PYTHON";

pub fn find_or_install(workspace: &Workspace, report: &mut Report) -> Result<()> {
    if let Some(named) = env::var_os(OVERRIDE).map(PathBuf::from) {
        if !runs(workspace, &named, PROBE) {
            bail!("{} ({OVERRIDE}) is no Python with moto", named.display());
        }
        report.found(&format!(
            "{} with moto, named by {OVERRIDE}",
            named.display()
        ));
        return Ok(());
    }
    let folder = workspace.tools().join("python");
    let python = folder.join("bin/python");
    // Written last, so a folder without it is an interrupted one.
    let installed = folder.join("requirements.txt");
    let matches = fs::read_to_string(&installed).is_ok_and(|found| found == REQUIREMENTS);
    if matches && runs(workspace, &python, PROBE) {
        report.found(&format!("Python with {} (readers in tests)", named_first()));
        return Ok(());
    }
    let maker = maker(workspace, report)?;
    report.installing(&format!(
        "Python packages {} (readers in tests; half a minute, 110 MB to download)",
        named_first()
    ));
    let mut venv = workspace.program(maker);
    exec::run(venv.args(["-m", "venv", "--clear"]).arg(&folder))?;
    install(workspace, &python)?;
    if !runs(workspace, &python, PROBE) {
        bail!("the new {} does not find moto", python.display());
    }
    fs::write(&installed, REQUIREMENTS).with_context(|| format!("write {}", installed.display()))
}

/// Only what is built already, so that no compiler is needed. Byte code is made when a module
/// is first used: most never are.
fn install(workspace: &Workspace, python: &Path) -> Result<()> {
    let requirements = workspace.root().join("xtask/src/setup/requirements.txt");
    let mut pip = workspace.program(python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--only-binary=:all:"])
        .args(["--no-compile", "--requirement"])
        .arg(requirements);
    download::run(&mut pip, "a Python package")
}

/// A Python that can make an environment with pip in it.
fn maker(workspace: &Workspace, report: &mut Report) -> Result<PathBuf> {
    let makes = |python: &PathBuf| runs(workspace, python, "import ensurepip, venv");
    let distribution = PathBuf::from(DISTRIBUTION_PYTHON);
    let on_path = packages::find("python3");
    let mut known = [Some(distribution.clone()), on_path].into_iter().flatten();
    if let Some(python) = known.find(makes) {
        return Ok(python);
    }
    if packages::find("apt-get").is_none() {
        bail!(Refusal::NoPackageManager(format!(
            "python3 with ensurepip ({DISTRIBUTION_PACKAGE})"
        )));
    }
    report.installing(&format!("{DISTRIBUTION_PACKAGE} (readers in tests)"));
    packages::install(workspace, &[DISTRIBUTION_PACKAGE])?;
    if !makes(&distribution) {
        bail!("{DISTRIBUTION_PYTHON} makes no environment, with {DISTRIBUTION_PACKAGE} installed");
    }
    Ok(distribution)
}

/// Whether it starts and carries that out.
fn runs(workspace: &Workspace, python: &Path, code: &str) -> bool {
    let mut command = workspace.program(python);
    command
        .args(["-c", code])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The packages that were asked for, without what they bring.
fn named_first() -> String {
    let lines = REQUIREMENTS
        .lines()
        .skip_while(|line| line.starts_with('#'));
    let names: Vec<String> = lines
        .take_while(|line| !line.is_empty())
        .map(|line| line.replace("==", " "))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_exact_and_named_once() {
        let lines: Vec<&str> = REQUIREMENTS
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        let mut names: Vec<&str> = lines
            .iter()
            .map(|line| line.split_once("==").unwrap().0)
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(all > 4);
    }

    #[test]
    fn what_was_asked_for_is_named_with_its_version() {
        let named = named_first();
        assert!(named.starts_with("moto[server] 5"), "{named}");
        assert_eq!(named.split(", ").count(), 4, "{named}");
    }
}
