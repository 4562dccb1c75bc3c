//! The compiler of the kernel side: one that has the sources of `core`.
//!
//! The toolchain's own comes first. Where rustup cannot add the sources, the
//! distribution's compiler, whose sources are a package, takes its place for
//! the kernel side only.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::{
    download, packages,
    version::{Version, leading_number},
};
use crate::{exec, refusal::Refusal, report::Report, workspace::Workspace};

/// Debian's newest compiler, kept for its web browsers, and its sources.
const DISTRIBUTION_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const DISTRIBUTION_CARGO: &str = "/usr/bin/cargo";
/// vpc-user's build script reads the same variable.
const OVERRIDE: &str = "VPC_EBPF_CARGO";

pub struct Compiler {
    pub cargo: PathBuf,
    pub rustc: PathBuf,
    sysroot: PathBuf,
    version: Version,
    llvm_major: u32,
    /// Another compiler than the one that builds the host side.
    pub foreign: bool,
}

impl Compiler {
    /// The compiler beside that cargo.
    fn beside(workspace: &Workspace, cargo: PathBuf, foreign: bool) -> Result<Self> {
        let beside = cargo.with_file_name("rustc");
        let rustc = if beside.is_file() {
            beside
        } else {
            "rustc".into()
        };
        let ask = |arguments: &[&str]| {
            let mut command: Command = workspace.program(&rustc);
            exec::output(command.current_dir(workspace.root()).args(arguments))
        };
        let about = ask(&["--version", "--verbose"])?;
        let field = |name| about.lines().find_map(|line: &str| line.strip_prefix(name));
        let version = field("release: ").and_then(Version::parse);
        let llvm_major = field("LLVM version: ").and_then(leading_number);
        Ok(Self {
            sysroot: ask(&["--print", "sysroot"])?.trim().into(),
            version: version.context("the compiler does not say its release")?,
            llvm_major: llvm_major.context("the compiler does not say its LLVM version")?,
            cargo,
            rustc,
            foreign,
        })
    }

    fn has_sources(&self) -> bool {
        self.sysroot
            .join("lib/rustlib/src/rust/library/core/src/lib.rs")
            .is_file()
    }

    pub fn llvm_major(&self) -> u32 {
        self.llvm_major
    }

    /// The very library that the compiler uses: bitcode of one LLVM is not
    /// always understood by another.
    pub fn llvm_library(&self) -> Result<PathBuf> {
        let folders = [
            self.sysroot.join("lib"),
            self.sysroot
                .join(format!("lib/{}-linux-gnu", env::consts::ARCH)),
            self.sysroot.join("lib64"),
            PathBuf::from(format!("/usr/lib/llvm-{}/lib", self.llvm_major)),
        ];
        folders
            .iter()
            .find_map(|folder| library_in(folder, self.llvm_major))
            .ok_or_else(|| Refusal::NoSharedLlvm(self.llvm_major).into())
    }

    fn described(&self) -> String {
        format!(
            "rustc {} with the sources of core ({})",
            self.version,
            self.sysroot.display()
        )
    }
}

pub fn find_or_install(workspace: &Workspace, report: &mut Report) -> Result<Compiler> {
    if let Some(cargo) = env::var_os(OVERRIDE) {
        let compiler = Compiler::beside(workspace, cargo.into(), true)?;
        if !compiler.has_sources() {
            bail!(
                "the compiler beside {} ({OVERRIDE}) has no sources of core",
                compiler.cargo.display()
            );
        }
        report.found(&format!("{}, named by {OVERRIDE}", compiler.described()));
        return Ok(compiler);
    }
    let cargo = PathBuf::from(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let toolchain = Compiler::beside(workspace, cargo, false)?;
    if toolchain.has_sources() {
        report.found(&toolchain.described());
        return Ok(toolchain);
    }
    if let Some(distribution) = distribution(workspace) {
        report.found(&format!(
            "{}, for the kernel side",
            distribution.described()
        ));
        return Ok(distribution);
    }
    let Err(cause) = add_component(workspace, &toolchain, report) else {
        return Ok(toolchain);
    };
    from_distribution(workspace, report, cause)
}

fn add_component(workspace: &Workspace, toolchain: &Compiler, report: &mut Report) -> Result<()> {
    let rustup = packages::find("rustup").ok_or(Refusal::NoCoreSources)?;
    report.installing(&format!("rust-src {} (rustup)", toolchain.version));
    let mut rustup = workspace.program(rustup);
    rustup
        .current_dir(workspace.root())
        .args(["component", "add", "rust-src"])
        .env_remove("RUST_BACKTRACE");
    download::run(&mut rustup, "rust-src")?;
    if toolchain.has_sources() {
        return Ok(());
    }
    Err(anyhow!(
        "rustup added rust-src to another toolchain than {}",
        toolchain.sysroot.display()
    ))
}

/// The last resort; if it fails too, the first failure is what the user should
/// mend.
fn from_distribution(
    workspace: &Workspace,
    report: &mut Report,
    cause: anyhow::Error,
) -> Result<Compiler> {
    if packages::find("apt-get").is_none() {
        return Err(cause);
    }
    eprintln!("note        rustup cannot add rust-src: trying the distribution's compiler");
    report.installing(&format!("{} (apt-get)", DISTRIBUTION_PACKAGES.join(", ")));
    if let Err(second) = packages::install(workspace, &DISTRIBUTION_PACKAGES) {
        eprintln!("note        {second:#}");
        return Err(cause);
    }
    distribution(workspace).ok_or(cause)
}

/// The distribution's compiler, if it can build the kernel side.
fn distribution(workspace: &Workspace) -> Option<Compiler> {
    if !Path::new(DISTRIBUTION_CARGO).is_file() {
        return None;
    }
    let compiler = Compiler::beside(workspace, DISTRIBUTION_CARGO.into(), true).ok()?;
    let fits = compiler.has_sources() && Some(compiler.version) >= Version::oldest_rust();
    fits.then_some(compiler)
}

fn library_in(folder: &Path, major: u32) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy());
            name.is_some_and(|name| llvm_major_of(&name) == Some(major))
        })
        .collect();
    // `libLLVM.so.22.1…` is the library, `libLLVM-22….so` may be a linker
    // script that names it.
    found.sort_by_key(|path| !path.to_string_lossy().contains("libLLVM.so."));
    found.into_iter().next()
}

/// The major release in the name of LLVM's shared library, old style
/// (`libLLVM-19.so.1`) or new (`libLLVM.so.22.1`).
fn llvm_major_of(file: &str) -> Option<u32> {
    let rest = file.strip_prefix("libLLVM")?;
    match rest.strip_prefix(".so.") {
        Some(version) => leading_number(version),
        None if rest.contains(".so") => leading_number(rest.strip_prefix('-')?),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_librarys_name_tells_the_major_release() {
        for (name, major) in [
            ("libLLVM.so.22.1-rust-1.95.0-stable", Some(22)),
            ("libLLVM-22-rust-1.95.0-stable.so", Some(22)),
            ("libLLVM.so.22.1", Some(22)),
            ("libLLVM-19.so.1", Some(19)),
            ("libLLVM.so", None),
            ("libLLVM-22.a", None),
            ("libLLVMCore.so.22", None),
            ("librustc_driver-6108105cd7e839cf.so", None),
        ] {
            assert_eq!(llvm_major_of(name), major, "{name}");
        }
    }

    #[test]
    fn the_library_itself_is_preferred_to_a_linker_script() {
        let folder = env::temp_dir().join(format!("xtask-llvm-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for name in [
            "libLLVM-22-rust.so",
            "libLLVM.so.22.1-rust",
            "libLLVM.so.21.1",
        ] {
            fs::write(folder.join(name), "").unwrap();
        }
        let found = library_in(&folder, 22);
        let none = library_in(&folder, 20);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, Some(folder.join("libLLVM.so.22.1-rust")));
        assert_eq!(none, None);
    }
}
