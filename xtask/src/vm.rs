//! `cargo xtask vm`: the kernel tests on other kernels, in virtual machines.

use std::{ffi::OsString, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    build, exec,
    report::Report,
    setup::{
        self,
        kernels::{Kernels, Wish},
    },
    workspace::Workspace,
};

/// Boots stock kernels of Debian and runs the kernel tests inside: attach, packets,
/// rules, sweep, restart and upgrade. Shows a table of what held on which kernel and of
/// what each verifier made of the programs.
///
/// A machine is run by KVM where that boots a kernel, which is tried first, else
/// emulated, which takes about ten times as long. Kernels are fetched once and kept in
/// target/tools/kernels.
#[derive(clap::Args)]
pub struct Args {
    /// Kernels by version: 6.12, 7.x (the newest 7) or newest
    #[arg(long, num_args = 1.., value_name = "VERSION", default_values = ["6.1", "6.12", "newest"])]
    kernel: Vec<Wish>,
    /// Show which kernels there are and leave
    #[arg(long)]
    list: bool,
    /// Passed on: see `cargo xtask vm -- --help`
    #[arg(last = true, value_name = "ARGS")]
    rest: Vec<OsString>,
}

pub fn perform(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut report = Report::brief();
    if args.list {
        let kernels = Kernels::offered(workspace)?;
        kernels.all().for_each(|offer| println!("{offer}"));
        return Ok(());
    }
    let kit = setup::all(workspace, &mut report)?;
    let kernels = Kernels::offered(workspace)?;
    let fetch = |wish| kernels.find_or_fetch(workspace, wish, &mut report);
    let folders: Vec<PathBuf> = args.kernel.iter().map(fetch).collect::<Result<_>>()?;
    build::release(workspace, &kit)?;
    let mut vm = command(workspace, &kit, &folders)?;
    vm.args(&args.rest);
    match exec::replace(vm)? {}
}

/// The program that boots these kernels, with the tests that it is to run there.
pub fn command(workspace: &Workspace, kit: &setup::Kit, kernels: &[PathBuf]) -> Result<Command> {
    let mut vm = build::release_program(workspace, "vm")?;
    for kernel in kernels {
        vm.arg("--kernel").arg(kernel);
    }
    for program in test_programs(workspace, kit)? {
        vm.arg("--program").arg(program);
    }
    Ok(vm)
}

/// Where cargo put the kernel tests, which it brings up to date.
fn test_programs(workspace: &Workspace, kit: &setup::Kit) -> Result<Vec<PathBuf>> {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--release", "--package=tests", "--no-run"]);
    cargo.arg("--message-format=json-render-diagnostics");
    let messages = exec::output(kit.equip(&mut cargo))?;
    let programs: Vec<_> = messages.lines().filter_map(test_program).collect();
    (!programs.is_empty())
        .then_some(programs)
        .context("cargo names no test program")
}

/// The executable of an integration test, by a message of cargo.
fn test_program(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_test = message["target"]["kind"]
        .as_array()?
        .contains(&"test".into());
    let executable = message["executable"].as_str()?;
    is_test.then(|| executable.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_those_that_cargo_says_are() {
        let message = |kind: &str, executable: &str| {
            format!(r#"{{"target":{{"kind":["{kind}"]}},"executable":{executable}}}"#)
        };
        let found = test_program(&message("test", r#""/target/arp-1""#));
        assert_eq!(found, Some("/target/arp-1".into()));
        for other in [
            message("bin", r#""/target/vm""#),
            message("test", "null"),
            "Compiling tests".to_owned(),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ] {
            assert_eq!(test_program(&other), None, "{other}");
        }
    }
}
