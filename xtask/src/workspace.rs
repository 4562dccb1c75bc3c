//! Where things are, and commands free of what the outer cargo left behind.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

/// Cargo sets these for the program it runs; an inner cargo or a program under
/// test must not mistake them for its own.
const LEFT_BY_CARGO: [&str; 6] = [
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_PACKAGE",
    "OUT_DIR",
];

/// What shapes the user's build of this workspace would misshape that of a tool
/// (where to reach a registry, or how many jobs, still applies).
const SHAPES_A_BUILD: [&str; 11] = [
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_INSTALL_ROOT",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "LLVM_",
    "RUSTC",
    "RUSTDOC",
    "RUSTFLAGS",
];

pub struct Workspace {
    root: PathBuf,
    /// Where this very program lies, as in target/debug.
    own_dir: PathBuf,
    library_path: Option<OsString>,
}

impl Workspace {
    pub fn find() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let manifest = manifest.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = manifest
            .parent()
            .context("xtask lies in the workspace")?
            .to_path_buf();
        let own = env::current_exe().context("find this program")?;
        let own_dir = own
            .parent()
            .context("a program lies in a folder")?
            .to_path_buf();
        let foreign = [own_dir.as_path(), &compiler_libraries()];
        let library_path = env::var_os("LD_LIBRARY_PATH").and_then(|path| without(&path, &foreign));
        Ok(Self {
            root,
            own_dir,
            library_path,
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The project's cache of tools. It stays here whatever `CARGO_TARGET_DIR`
    /// says, because vpc-user's build script looks for the linker here.
    pub fn tools(&self) -> PathBuf {
        self.root.join("target/tools")
    }

    /// A program of the release build. Deduced from where cargo put this one,
    /// which takes `CARGO_TARGET_DIR` and a configured target into account.
    pub fn release_program(&self, name: &str) -> PathBuf {
        self.own_dir.with_file_name("release").join(name)
    }

    /// A program of the build that tests have; as for [`Workspace::release_program`].
    pub fn debug_program(&self, name: &str) -> PathBuf {
        self.own_dir.with_file_name("debug").join(name)
    }

    /// A program that starts where the user is.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        remove_starting(&mut command, &LEFT_BY_CARGO);
        match &self.library_path {
            Some(path) => command.env("LD_LIBRARY_PATH", path),
            None => command.env_remove("LD_LIBRARY_PATH"),
        };
        command
    }

    /// The cargo that runs this program, at the workspace's root.
    pub fn cargo(&self) -> Command {
        let mut command = self.program(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root);
        command
    }

    /// The same for building something that is not of this workspace.
    pub fn cargo_for_tools(&self) -> Command {
        let mut command = self.cargo();
        remove_starting(&mut command, &SHAPES_A_BUILD);
        command
    }
}

/// Cargo and rustup put the compiler's libraries in front of the search path.
fn compiler_libraries() -> PathBuf {
    let cargo = PathBuf::from(env::var_os("CARGO").unwrap_or_default());
    let sysroot = cargo.parent().and_then(Path::parent).map(Path::to_path_buf);
    sysroot.unwrap_or_else(|| "/nonexistent".into()).join("lib")
}

fn remove_starting(command: &mut Command, prefixes: &[&str]) {
    for (name, _) in env::vars_os() {
        if starts_with_any(&name, prefixes) {
            command.env_remove(name);
        }
    }
}

fn starts_with_any(name: &OsStr, prefixes: &[&str]) -> bool {
    prefixes
        .iter()
        .any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
}

/// A search path without the folders that lie in `foreign`.
fn without(path: &OsStr, foreign: &[&Path]) -> Option<OsString> {
    let kept: Vec<PathBuf> = env::split_paths(path)
        .filter(|folder| {
            !foreign
                .iter()
                .any(|root| resolved(folder).starts_with(resolved(root)))
        })
        .filter(|folder| !folder.as_os_str().is_empty())
        .collect();
    if kept.is_empty() {
        None
    } else {
        env::join_paths(kept).ok()
    }
}

/// A toolchain may be a link to another.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(name: &str) -> bool {
        starts_with_any(OsStr::new(name), &SHAPES_A_BUILD)
    }

    #[test]
    fn a_tool_is_built_without_the_users_build_settings() {
        for name in [
            "RUSTFLAGS",
            "RUSTC",
            "RUSTC_WRAPPER",
            "CARGO_TARGET_DIR",
            "LLVM_PREFIX",
        ] {
            assert!(shapes(name), "{name}");
        }
    }

    #[test]
    fn a_tool_is_built_with_the_users_network_and_toolchain() {
        for name in [
            "CARGO_HOME",
            "CARGO_HTTP_PROXY",
            "CARGO_NET_RETRY",
            "CARGO_BUILD_JOBS",
        ] {
            assert!(!shapes(name), "{name}");
        }
        for name in [
            "CARGO_REGISTRIES_MIRROR_INDEX",
            "RUSTUP_TOOLCHAIN",
            "PATH",
            "HTTPS_PROXY",
        ] {
            assert!(!shapes(name), "{name}");
        }
    }

    #[test]
    fn only_cargos_own_folders_leave_the_library_path() {
        let path = OsStr::new("/w/target/debug/deps:/w/target/debug:/opt/lib:/sys/lib:");
        let kept = without(path, &[Path::new("/w/target/debug"), Path::new("/sys/lib")]);
        assert_eq!(kept.as_deref(), Some(OsStr::new("/opt/lib")));
        assert_eq!(
            without(OsStr::new("/sys/lib"), &[Path::new("/sys/lib")]),
            None
        );
    }
}
