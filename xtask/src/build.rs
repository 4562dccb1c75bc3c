//! `cargo xtask build`.

use std::path::PathBuf;

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

/// A program of the release build that has just been made.
pub fn release_program(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    let path = workspace.release_program(name);
    ensure!(
        path.exists(),
        "the release build made no program `{name}` ({})",
        path.display()
    );
    Ok(path)
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
