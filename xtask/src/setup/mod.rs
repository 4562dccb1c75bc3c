//! `cargo xtask setup`: finds what building and testing need and installs what
//! is missing. Every other verb begins with it.

use std::process::Command;

use anyhow::Result;

use crate::{report::Report, workspace::Workspace};
use compiler::Compiler;

mod compiler;
mod deny;
mod download;
mod guest;
pub mod host;
mod kernel;
pub mod kernels;
mod linker;
mod packages;
mod python;
pub mod version;

pub use deny::Deny;

/// What the kernel side is built with.
pub struct Kit {
    compiler: Compiler,
}

impl Kit {
    /// Tells vpc-user's build script which compiler to use. The linker is where
    /// that script looks for it; naming it would make a plain `cargo build`
    /// build the kernel object anew.
    pub fn equip<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if let Some(compiler) = self.foreign_compiler() {
            command.env("VPC_EBPF_CARGO", &compiler.cargo);
        }
        command
    }

    /// The compiler of the kernel side, if it is not the toolchain's.
    pub fn foreign_compiler(&self) -> Option<&Compiler> {
        self.compiler.foreign.then_some(&self.compiler)
    }
}

/// All that building, running and testing take.
pub fn all(workspace: &Workspace, report: &mut Report) -> Result<Kit> {
    let kit = for_this_kernel(workspace, report)?;
    guest::find_or_install(workspace, report)?;
    packages::install_missing(workspace, &packages::READERS, report)?;
    python::find_or_install(workspace, report)?;
    report.finish();
    Ok(kit)
}

/// What building and running on this machine's kernel take.
pub fn without_guests(workspace: &Workspace, report: &mut Report) -> Result<Kit> {
    let kit = for_this_kernel(workspace, report)?;
    report.finish();
    Ok(kit)
}

/// What building takes: no root, no particular kernel.
pub fn kit(workspace: &Workspace, report: &mut Report) -> Result<Kit> {
    let kit = find_or_install(workspace, report)?;
    report.finish();
    Ok(kit)
}

/// What checking takes: no root, no particular kernel.
pub fn for_checks(workspace: &Workspace, report: &mut Report) -> Result<(Kit, Deny)> {
    let kit = find_or_install(workspace, report)?;
    let deny = Deny::find_or_install(workspace, report)?;
    report.finish();
    Ok((kit, deny))
}

/// What building a fuzzer takes, and running one on this machine's kernel if it does that.
pub fn for_fuzzing(workspace: &Workspace, on_kernel: bool, report: &mut Report) -> Result<Kit> {
    let kit = if on_kernel {
        for_this_kernel(workspace, report)?
    } else {
        find_or_install(workspace, report)?
    };
    packages::install_missing(workspace, &packages::FOR_FUZZING, report)?;
    report.finish();
    Ok(kit)
}

fn for_this_kernel(workspace: &Workspace, report: &mut Report) -> Result<Kit> {
    host::require_root()?;
    host::require_kernel(report)?;
    packages::install_missing(workspace, &packages::ALWAYS, report)?;
    let kit = find_or_install(workspace, report)?;
    host::mount_bpffs(workspace, report)?;
    Ok(kit)
}

fn find_or_install(workspace: &Workspace, report: &mut Report) -> Result<Kit> {
    let compiler = compiler::find_or_install(workspace, report)?;
    linker::find_or_install(workspace, &compiler, report)?;
    Ok(Kit { compiler })
}
