//! What a machine has besides its kernel and busybox: the test programs, the agent, and
//! the few programs of the host that they call, each with its libraries.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::agent;

/// What kernel tests call.
const CALLED: [&str; 5] = ["ethtool", "ip", "ping", "sysctl", "tc"];
/// Where root's programs are even if the PATH leaves them out.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];
const TESTS: &str = "tests";

/// A test program by the name of its source.
#[derive(Clone, Debug)]
pub(super) struct TestProgram {
    pub(super) name: String,
    path: PathBuf,
}

impl TestProgram {
    /// Cargo appends a hash to the name.
    pub(super) fn of(path: &Path) -> Self {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let name = file.rsplit_once('-').map_or(&*file, |(name, _)| name);
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
        }
    }

    /// The line that runs it. What tests let through to standard error goes to the
    /// console: it would cut the runner's lines.
    pub(super) fn command(&self, runner: &[String]) -> String {
        let quoted = runner
            .iter()
            .map(|word| format!(" '{}'", word.replace('\'', r"'\''")));
        let words: String = quoted.collect();
        format!(
            "PATH=/bin VPC_BIN=/bin/vpc VPC_CNI_BIN=/bin/vpc-cni RUST_TEST_THREADS=2 \
             /{TESTS}/{}{words} 2>/dev/console",
            self.name
        )
    }
}

/// Puts all of it into the folder that becomes the root.
pub(super) fn fill(root: &Path, programs: &[TestProgram]) {
    let mut libraries = BTreeSet::new();
    let mut put = |from: &Path, to: PathBuf| {
        libraries.extend(libraries_of(from));
        strip(from, &to);
    };
    fs::create_dir_all(root.join(TESTS)).expect("create the folder of test programs");
    for program in programs {
        put(&program.path, root.join(TESTS).join(&program.name));
    }
    put(agent::binary(), root.join("bin/vpc"));
    put(agent::cni_binary(), root.join("bin/vpc-cni"));
    for name in CALLED {
        let found =
            find(name).unwrap_or_else(|| panic!("`{name}` is missing: run `cargo xtask setup`"));
        put(&found, root.join("bin").join(name));
    }
    for library in libraries {
        let to = root.join(
            library
                .strip_prefix("/")
                .expect("libraries have whole paths"),
        );
        fs::create_dir_all(to.parent().expect("a file lies in a folder")).expect("create a folder");
        fs::copy(&library, &to).expect("copy a library");
    }
}

/// Without what debuggers read, which is most of it. Whole if there is no `strip`.
fn strip(from: &Path, to: &Path) {
    let stripped = Command::new("strip").arg("-o").arg(to).arg(from).status();
    if !stripped.is_ok_and(|status| status.success()) {
        fs::copy(from, to).expect("copy a program");
    }
}

/// The libraries that a program is bound to, and what binds it.
fn libraries_of(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output();
    let output = output.expect("run `ldd` (package libc-bin)");
    parse_libraries(&String::from_utf8_lossy(&output.stdout))
}

/// `name => /path (address)`, or `/path (address)`.
fn parse_libraries(listed: &str) -> Vec<PathBuf> {
    let words = listed.lines().flat_map(str::split_whitespace);
    words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = SYSTEM_FOLDERS.iter().map(PathBuf::from);
    let mut candidates = env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(program));
    candidates.find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_program_has_the_name_of_its_source() {
        for (path, name) in [
            ("/target/release/deps/bad_frames-0123abcd", "bad_frames"),
            ("/target/release/deps/arp", "arp"),
        ] {
            assert_eq!(TestProgram::of(Path::new(path)).name, name);
        }
    }

    #[test]
    fn what_is_passed_on_stays_a_word_in_the_shell() {
        let program = TestProgram::of(Path::new("/deps/arp-1"));
        let line = program.command(&["it's".to_owned(), "--nocapture".to_owned()]);
        assert!(
            line.ends_with(r"/tests/arp 'it'\''s' '--nocapture' 2>/dev/console"),
            "{line}"
        );
    }

    #[test]
    fn libraries_are_all_that_have_a_path() {
        let listed = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                      \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n\tstatically linked\n";
        let paths = [
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(parse_libraries(listed), paths.map(PathBuf::from));
    }
}
