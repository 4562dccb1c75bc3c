//! Builds the kernel object with the very toolchain that builds this crate and
//! copies it to `OUT_DIR`.
//!
//! aya-build cannot set `target-cpu`, and without v3 there is no 32-bit
//! compare-and-swap, so this script runs cargo itself. `RUSTC_BOOTSTRAP` is set
//! in that child only: it unlocks `-Z build-std` on the stable compiler.

#![expect(clippy::disallowed_types, reason = "building is running the compiler")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use object::{Object as _, ObjectSymbol as _};

/// Names another cargo (a distribution's, with matching `rust-src`).
const CARGO_OVERRIDE: &str = "VPC_EBPF_CARGO";
/// Names the bpf-linker binary; `cargo xtask` sets it.
const LINKER_OVERRIDE: &str = "VPC_BPF_LINKER";
const OBJECTS: [&str; 2] = ["vpc-ebpf", "vpc-ebpf-bench"];

fn main() -> Result<()> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR")?);
    let workspace = manifest
        .parent()
        .context("the crate has a parent folder")?
        .to_path_buf();
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR")?);
    for source in [
        "vpc-ebpf",
        "vpc-common",
        "Cargo.lock",
        "rust-toolchain.toml",
    ] {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(source).display()
        );
    }
    for name in [CARGO_OVERRIDE, LINKER_OVERRIDE] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let target_dir = out.join("ebpf");
    build(&workspace, &target_dir)?;
    for object in OBJECTS {
        let built = target_dir.join("bpfel-unknown-none/bpf").join(object);
        refuse_panics(&built)?;
        fs::copy(&built, out.join(object)).with_context(|| format!("copy {object}"))?;
    }
    Ok(())
}

fn build(workspace: &Path, target_dir: &Path) -> Result<()> {
    let overridden = env::var_os(CARGO_OVERRIDE).map(PathBuf::from);
    let cargo = overridden
        .clone()
        .or_else(|| env::var_os("CARGO").map(PathBuf::from));
    let rustc = match &overridden {
        // The compiler beside that cargo, so that both are of one release.
        Some(cargo) => cargo.with_file_name("rustc").into_os_string(),
        None => env::var_os("RUSTC").context("RUSTC")?,
    };
    let linker = linker(workspace)?;
    let arch = env::var("CARGO_CFG_TARGET_ARCH").context("CARGO_CFG_TARGET_ARCH")?;
    let flags = [
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        "-Ctarget-cpu=v3".into(),
        format!("-Clinker={}", linker.display()),
    ];
    let mut command = Command::new(cargo.context("CARGO")?);
    command
        .current_dir(workspace)
        .args(["build", "--package=vpc-ebpf", "--bins", "--profile=bpf"])
        .args([
            "--target=bpfel-unknown-none",
            "-Zbuild-std=core",
            "--target-dir",
        ])
        .arg(target_dir);
    if env::var_os("CARGO_FEATURE_TRACE").is_some() {
        command.arg("--features=trace");
    }
    for name in [
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
    ] {
        command.env_remove(name);
    }
    command
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let status = command
        .status()
        .with_context(|| format!("run {command:?}"))?;
    ensure!(
        status.success(),
        "the kernel object did not build: {command:?}"
    );
    Ok(())
}

fn linker(workspace: &Path) -> Result<PathBuf> {
    let path = match env::var_os(LINKER_OVERRIDE) {
        Some(path) => PathBuf::from(path),
        None => workspace.join("target/tools/bin/bpf-linker"),
    };
    if !path.exists() {
        bail!(
            "no bpf-linker at {}: run `cargo xtask setup` first",
            path.display()
        );
    }
    Ok(path)
}

/// A reachable panic leaves its symbols behind and the verifier would refuse
/// the program with a message that names neither: refuse it here instead.
fn refuse_panics(object: &Path) -> Result<()> {
    let data = fs::read(object).with_context(|| format!("read {}", object.display()))?;
    let file = object::File::parse(&*data)?;
    let panics: Vec<&str> = file
        .symbols()
        .filter_map(|symbol| symbol.name().ok())
        .filter(|name| name.contains("panicking") || name.contains("unwrap_failed"))
        .collect();
    ensure!(
        panics.is_empty(),
        "a panic can be reached in {}: {panics:?}",
        object.display()
    );
    Ok(())
}
