//! `cargo xtask build`.

use std::{env, process::Command};

use anyhow::{Result, ensure};

use crate::{
    exec,
    report::Report,
    setup::{self, Kit},
    workspace::Workspace,
};

#[derive(clap::Args)]
pub struct Args {
    /// Optimise, as `run`, `test` and `bench` do
    #[arg(long)]
    release: bool,
}

/// Needs no root unless the compiler has to come from the distribution.
pub fn perform(workspace: &Workspace, args: &Args) -> Result<()> {
    let kit = setup::kit(workspace, &mut Report::brief())?;
    workspace_build(workspace, &kit, args.release)
}

pub fn release(workspace: &Workspace, kit: &Kit) -> Result<()> {
    workspace_build(workspace, kit, true)
}

/// A program of the release build that has just been made, which starts the agent of that
/// build.
pub fn release_program(workspace: &Workspace, name: &str) -> Result<Command> {
    let path = workspace.release_program(name);
    ensure!(
        path.exists(),
        "the release build made no program `{name}` ({})",
        path.display()
    );
    let mut program = workspace.program(path);
    name_agent(workspace, &mut program);
    Ok(program)
}

/// Names the agent and the CNI plugin of the release build to what starts them, unless the
/// user named others. Left to themselves tests would build them once more, with what one
/// package alone asks of their libraries.
pub fn name_agent(workspace: &Workspace, command: &mut Command) {
    for (variable, program) in [("VPC_BIN", "vpc"), ("VPC_CNI_BIN", "vpc-cni")] {
        if env::var_os(variable).is_none() {
            command.env(variable, workspace.release_program(program));
        }
    }
}

/// vpc-ebpf is built by the build script of vpc-user, for its own target; xtask
/// is running already.
fn workspace_build(workspace: &Workspace, kit: &Kit, release: bool) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args([
        "build",
        "--workspace",
        "--exclude=vpc-ebpf",
        "--exclude=xtask",
    ]);
    if release {
        cargo.arg("--release");
    }
    exec::run(kit.equip(&mut cargo))
}
