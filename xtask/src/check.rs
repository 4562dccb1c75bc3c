//! `cargo xtask check`: what must be clean before a change is shown to others.

use std::{env::consts::ARCH, process::Command};

use anyhow::Result;

use crate::{
    budget, exec, promises,
    report::Report,
    setup::{self, Deny, Kit},
    workspace::Workspace,
};

pub fn perform(workspace: &Workspace) -> Result<()> {
    let (kit, tool) = setup::for_checks(workspace, &mut Report::brief())?;
    step("format");
    exec::run(workspace.cargo().args(["fmt", "--all", "--check"]))?;
    step("promises");
    promises::check(workspace.root())?;
    step("clippy, host");
    let mut clippy = workspace.cargo();
    clippy.args([
        "clippy",
        "--workspace",
        "--exclude=vpc-ebpf",
        "--all-targets",
    ]);
    exec::run(kit.equip(&mut clippy).args(["--", "-Dwarnings"]))?;
    for features in [None, Some("--all-features")] {
        step(&format!("clippy, BPF {}", features.unwrap_or_default()));
        exec::run(&mut bpf_clippy(workspace, &kit, features))?;
    }
    step("documentation");
    let mut doc = workspace.cargo();
    doc.args(["doc", "--no-deps", "--workspace", "--exclude=vpc-ebpf"]);
    exec::run(kit.equip(&mut doc).env("RUSTDOCFLAGS", "-Dwarnings"))?;
    step("verified instructions");
    budget::check(workspace, &kit)?;
    deny(workspace, &tool)
}

fn step(what: &str) {
    eprintln!("checking    {}", what.trim_end());
}

/// The flags are those of vpc-user's build script, without the linker, which
/// clippy does not need; a target folder of its own keeps both builds warm.
fn bpf_clippy(workspace: &Workspace, kit: &Kit, features: Option<&str>) -> Command {
    let mut cargo = workspace.cargo();
    let mut flags = vec![
        format!("--cfg=bpf_target_arch=\"{ARCH}\""),
        "-Ctarget-cpu=v3".into(),
    ];
    let verb = match kit.foreign_compiler() {
        None => "clippy",
        // The distribution's compiler has no clippy beside it: its own warnings
        // are better than nothing.
        Some(compiler) => {
            eprintln!(
                "note        {} has no clippy: plain check",
                compiler.cargo.display()
            );
            cargo = workspace.program(&compiler.cargo);
            cargo
                .current_dir(workspace.root())
                .env("RUSTC", &compiler.rustc);
            flags.push("-Dwarnings".into());
            "check"
        }
    };
    cargo
        .args([verb, "--package=vpc-ebpf", "--profile=bpf"])
        .args([
            "--target=bpfel-unknown-none",
            "-Zbuild-std=core",
            "--target-dir",
        ])
        .arg(workspace.root().join("target/check-bpf"))
        .args(features)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    if verb == "clippy" {
        cargo.args(["--", "-Dwarnings"]);
    }
    cargo
}

/// The list of advisories is cloned, which a check must not depend on: where that is out of
/// reach, they are left to whoever can reach it.
fn deny(workspace: &Workspace, deny: &Deny) -> Result<()> {
    step("licences, versions and sources");
    deny.licences_versions_sources(workspace)?;
    step("advisories");
    if !deny.advisories(workspace)? {
        eprintln!("note        the list of advisories is out of reach: not checked");
    }
    Ok(())
}
