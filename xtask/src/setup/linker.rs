//! bpf-linker, built against the compiler's own LLVM and kept in target/tools.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{compiler::Compiler, download, version};
use crate::{refusal::Refusal, report::Report, workspace::Workspace};

const VERSION: &str = "0.13.0";
/// The releases of LLVM that this bpf-linker has a feature for.
const LLVM_MAJORS: std::ops::RangeInclusive<u32> = 21..=23;
/// vpc-user's build script reads the same variable.
const OVERRIDE: &str = "VPC_BPF_LINKER";

pub fn find_or_install(
    workspace: &Workspace,
    compiler: &Compiler,
    report: &mut Report,
) -> Result<()> {
    if let Some(named) = env::var_os(OVERRIDE).map(PathBuf::from) {
        let Some(version) = version_of(workspace, &named) else {
            bail!(
                "{} ({OVERRIDE}) is no bpf-linker that runs",
                named.display()
            );
        };
        report.found(&format!("bpf-linker {version}, named by {OVERRIDE}"));
        return Ok(());
    }
    let llvm = compiler.llvm_library()?;
    let link = workspace.tools().join("llvm/lib/libLLVM.so");
    let linker = workspace.tools().join("bin/bpf-linker");
    // The link says which library the linker was built against.
    let matches = fs::read_link(&link).is_ok_and(|target| target == llvm);
    if matches && version_of(workspace, &linker).as_deref() == Some(VERSION) {
        report.found(&format!(
            "bpf-linker {VERSION} for LLVM {}",
            compiler.llvm_major()
        ));
        return Ok(());
    }
    report.installing(&format!(
        "bpf-linker {VERSION} for LLVM {} (compiling takes about a minute)",
        compiler.llvm_major()
    ));
    point_at(&llvm, &link, &linker)?;
    install(workspace, compiler, &llvm)?;
    if version_of(workspace, &linker).as_deref() != Some(VERSION) {
        bail!("the new {} does not run", linker.display());
    }
    Ok(())
}

/// A linker is good only if it starts, which takes its LLVM, and knows itself.
fn version_of(workspace: &Workspace, linker: &Path) -> Option<String> {
    let text = version::told_by(workspace, linker)?;
    parse_version(&text).map(str::to_owned)
}

fn parse_version(text: &str) -> Option<&str> {
    text.trim()
        .strip_prefix("bpf-linker ")?
        .split_whitespace()
        .next()
}

/// The old linker goes first: beside a new link it would pass for a match.
fn point_at(llvm: &Path, link: &Path, linker: &Path) -> Result<()> {
    let folder = link.parent().context("the link lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    for old in [linker, link] {
        if old.symlink_metadata().is_ok() {
            fs::remove_file(old).with_context(|| format!("remove {}", old.display()))?;
        }
    }
    symlink(llvm, link).with_context(|| format!("create {}", link.display()))
}

fn install(workspace: &Workspace, compiler: &Compiler, llvm: &Path) -> Result<()> {
    let major = compiler.llvm_major();
    if !LLVM_MAJORS.contains(&major) {
        bail!(Refusal::LlvmOutOfReach(major));
    }
    let tools = workspace.tools();
    let scratch = tools.join("build");
    let llvm_folder = llvm.parent().context("the library lies in a folder")?;
    // At run time the linker finds its LLVM where the compiler has it.
    let mut flags = OsString::from("-Clink-arg=-Wl,-rpath,");
    flags.push(llvm_folder);
    let mut cargo = workspace.cargo_for_tools();
    cargo
        .args([
            "install",
            "bpf-linker",
            "--version",
            VERSION,
            "--locked",
            "--force",
        ])
        .args([
            "--no-default-features",
            "--features",
            &format!("llvm-{major}"),
            "--root",
        ])
        .arg(&tools)
        .arg("--target-dir")
        .arg(&scratch)
        // Spares the user cargo's advice to put that folder on their PATH.
        .env("PATH", path_with(&tools.join("bin"))?)
        .env("LLVM_PREFIX", tools.join("llvm"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags);
    download::run(&mut cargo, "bpf-linker")?;
    fs::remove_dir_all(&scratch).with_context(|| format!("remove {}", scratch.display()))
}

pub(super) fn path_with(folder: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([folder.to_owned()]);
    env::join_paths(folders).context("extend PATH")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linker_says_its_version() {
        assert_eq!(parse_version("bpf-linker 0.13.0\n"), Some("0.13.0"));
        assert_eq!(parse_version("bpf-linker 0.13.0 (LLVM 22)"), Some("0.13.0"));
        assert_eq!(parse_version("GNU ld 2.40"), None);
        assert_eq!(parse_version(""), None);
    }

    #[test]
    fn a_new_library_makes_the_old_linker_go() {
        let folder = env::temp_dir().join(format!("xtask-link-{}", std::process::id()));
        let (link, linker) = (
            folder.join("llvm/lib/libLLVM.so"),
            folder.join("bpf-linker"),
        );
        fs::create_dir_all(&folder).unwrap();
        fs::write(&linker, "").unwrap();
        point_at(Path::new("/one"), &link, &linker).unwrap();
        point_at(Path::new("/two"), &link, &linker).unwrap();
        let (target, left) = (fs::read_link(&link).unwrap(), linker.exists());
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(target, Path::new("/two"));
        assert!(!left);
    }
}
