//! `cargo xtask test`: first what runs on any machine, then what needs this
//! kernel, and one line with the sum of both.

use std::{
    env,
    process::{Command, ExitCode},
};

use anyhow::{Result, bail};

use crate::{
    build, exec,
    report::Report,
    setup::{self, kernels::Kernels},
    summary::Summary,
    vm,
    workspace::Workspace,
};

/// Tests of the data path, which run over XDP once more: the hook that links get by
/// themselves here is TC.
const OVER_EITHER_HOOK: [&str; 15] = [
    "arp",
    "bad_frames",
    "checksums",
    "clones",
    "fragments",
    "icmp",
    "lifecycle",
    "mtu",
    "one_way",
    "ports",
    "restart",
    "rules",
    "tap",
    "timeouts",
    "traffic",
];

/// The kernels of the virtual machines: the oldest, on which the programs take the verifier
/// longest and every packet is to fare as it does here, and one with long support, on which
/// what is attached is adopted and upgraded.
const OTHER_KERNELS: [&str; 2] = ["6.1", "6.12"];

/// Kernel tests keep several processes busy each; more of them at once only
/// makes their time limits meet by chance.
const KERNEL_TEST_THREADS: &str = "2";

#[derive(clap::Args)]
pub struct Args {
    /// Passed to every test runner: a part of a test's name, or options such as
    /// --nocapture
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "FILTER"
    )]
    runner: Vec<String>,
}

/// The sum is the last line whatever happened, so what went wrong is said
/// here, before it.
pub fn perform(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let kit = setup::all(workspace, &mut Report::brief())?;
    let mut summary = Summary::default();
    let mut broken = Vec::new();

    let mut unit = workspace.cargo();
    unit.args(["test", "--no-fail-fast"]);
    watch(kit.equip(&mut unit), args, &mut summary, &mut broken)?;

    let mut kernel = kernel_tests(workspace);
    let mut over_xdp = kernel_tests(workspace);
    over_xdp.env("VPC_TEST_HOOK", "xdp");
    over_xdp.args(OVER_EITHER_HOOK.map(|name| format!("--test={name}")));
    match build::release(workspace, &kit) {
        Ok(()) => {
            watch(kit.equip(&mut kernel), args, &mut summary, &mut broken)?;
            eprintln!("test        the data path once more, over XDP");
            watch(kit.equip(&mut over_xdp), args, &mut summary, &mut broken)?;
            // With a filter there might be nothing left to run.
            if args.runner.is_empty() {
                on_other_kernels(workspace, &kit, args, &mut summary, &mut broken)?;
            }
        }
        Err(error) => broken.push(format!("{error:#}")),
    }

    for failure in &broken {
        eprintln!("error: {failure}");
    }
    let verdict = verdict(summary, &broken);
    if let Err(error) = &verdict {
        eprintln!("error: {error}");
    }
    println!("{summary}");
    Ok(if verdict.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn kernel_tests(workspace: &Workspace) -> Command {
    let mut kernel = workspace.cargo();
    kernel.args(["test", "--no-fail-fast", "--release", "--package=tests"]);
    build::name_agent(workspace, &mut kernel);
    if env::var_os("RUST_TEST_THREADS").is_none() {
        kernel.env("RUST_TEST_THREADS", KERNEL_TEST_THREADS);
    }
    kernel
}

/// A few of the kernel tests in virtual machines; `cargo xtask vm` is the whole. A machine
/// that cannot be had is a failure as that of a test is.
fn on_other_kernels(
    workspace: &Workspace,
    kit: &setup::Kit,
    args: &Args,
    summary: &mut Summary,
    broken: &mut Vec<String>,
) -> Result<()> {
    let names = OTHER_KERNELS.join(" and ");
    eprintln!("test        a few on Linux {names}, in virtual machines");
    let machines = Kernels::offered(workspace).and_then(|kernels| {
        let find = |version: &str| {
            let wish = version.parse().map_err(anyhow::Error::msg)?;
            kernels.find_or_fetch(workspace, &wish, &mut Report::brief())
        };
        let folders = OTHER_KERNELS.into_iter().map(find);
        vm::command(workspace, kit, &folders.collect::<Result<Vec<_>>>()?)
    });
    match machines {
        Ok(mut machines) => watch(machines.arg("--short"), args, summary, broken)?,
        Err(error) => broken.push(format!("{error:#}")),
    }
    Ok(())
}

/// A runner that could not be built, or that crashed, writes no result line:
/// its exit code has to count as well.
fn watch(
    command: &mut Command,
    args: &Args,
    summary: &mut Summary,
    broken: &mut Vec<String>,
) -> Result<()> {
    command.arg("--").args(&args.runner);
    let status = exec::watch_stdout(command, |line| summary.read(line))?;
    broken.extend(
        exec::succeeded(command, status)
            .err()
            .map(|error| error.to_string()),
    );
    Ok(())
}

fn verdict(summary: Summary, broken: &[String]) -> Result<()> {
    match summary {
        _ if summary.is_good() && broken.is_empty() => Ok(()),
        Summary {
            failed: 0,
            passed: 0,
        } if broken.is_empty() => bail!("no test ran"),
        Summary { failed: 0, .. } => bail!("not every test could run"),
        Summary { failed, .. } => bail!("failed tests: {failed}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(passed: u64, failed: u64, broken: &[&str]) -> Option<String> {
        let broken: Vec<String> = broken.iter().map(ToString::to_string).collect();
        verdict(Summary { passed, failed }, &broken)
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn only_a_run_with_passes_and_nothing_else_is_good() {
        assert_eq!(judge(3, 0, &[]), None);
        assert_eq!(
            judge(3, 1, &["exit 101"]).as_deref(),
            Some("failed tests: 1")
        );
        assert_eq!(
            judge(3, 0, &["exit 101"]).as_deref(),
            Some("not every test could run")
        );
        assert_eq!(
            judge(0, 0, &["exit 101"]).as_deref(),
            Some("not every test could run")
        );
        assert_eq!(judge(0, 0, &[]).as_deref(), Some("no test ran"));
    }
}
