//! `cargo xtask fuzz`: lets libFuzzer look for bytes that break a promise of a target
//! (`tests/src/fuzz.rs`).

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::{Context as _, Result, ensure};
use signal_hook::{consts::SIGINT, flag};

use crate::{
    exec,
    report::Report,
    setup::{self, Kit},
    workspace::Workspace,
};

/// The target that runs programs in the kernel.
const NEEDS_KERNEL: &str = "program";
/// What libFuzzer ends with when it was interrupted.
const INTERRUPTED: i32 = 72;
/// Seconds after which an input that still runs is a finding.
const PATIENCE: u32 = 25;
/// Seconds for making the input of a finding smaller.
const MINIMISING: u32 = 60;
/// How crates are built otherwise than for tests.
const OPTIMISED: [&str; 7] = [
    "libfuzzer-sys.opt-level=3",
    "tests.debug=\"line-tables-only\"",
    "tests.opt-level=2",
    "vpc-common.debug=\"line-tables-only\"",
    "vpc-common.opt-level=2",
    "vpc-user.debug=\"line-tables-only\"",
    "vpc-user.opt-level=2",
];
/// Bytes of a target's committed corpus at most: it is replayed with every test run.
const KEPT: u64 = 50_000;
/// Hexadecimal digits of a name that is a hash of the content.
const HASH_DIGITS: usize = 40;

/// Of AddressSanitizer: what leaks is freed at the end, and few frames of where memory was
/// taken are enough.
const SANITIZER: &str = "detect_leaks=0:malloc_context_size=3:quarantine_size_mb=16";
/// The compiler of the workspace's own crates.
const COMPILER: &str = "xtask/src/fuzz/rustc.sh";

#[derive(clap::Args)]
pub struct Args {
    /// What to feed; all there are are listed if none is named
    target: Option<String>,
    /// List the targets
    #[arg(long, conflicts_with = "target")]
    list: bool,
    /// Minutes after which to end; until Ctrl-C or a finding unless given
    #[arg(long, value_name = "N")]
    minutes: Option<u32>,
    /// Put what was learnt into the committed corpus, as little of it as covers as much
    #[arg(long, requires = "target")]
    keep: bool,
}

pub fn perform(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let targets = targets(workspace)?;
    let Some(target) = args.target.as_ref().filter(|_| !args.list) else {
        targets.iter().for_each(|target| println!("{target}"));
        return Ok(ExitCode::SUCCESS);
    };
    ensure!(
        targets.contains(target),
        "there is no target {target}: use one of {}",
        targets.join(", ")
    );
    let kit = setup::for_fuzzing(workspace, target == NEEDS_KERNEL, &mut Report::brief())?;
    let fuzzer = Fuzzer {
        workspace,
        program: build(workspace, &kit)?,
        target,
        dir: workspace.root().join("target/fuzz").join(target),
        committed: workspace.root().join("tests/corpus").join(target),
    };
    fuzzer.write_seeds()?;
    let finding = fuzzer.look(args.minutes)?;
    if args.keep {
        fuzzer.keep()?;
    }
    let Some(finding) = finding else {
        return Ok(ExitCode::SUCCESS);
    };
    let smallest = fuzzer.minimise(&finding)?;
    eprintln!(
        "fuzz        {target}: a promise is broken by {}",
        smallest.display()
    );
    Ok(ExitCode::FAILURE)
}

/// Each has a folder in the corpus: a test sees to it.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.root().join("tests/corpus");
    let mut names = names(&folder).with_context(|| format!("read {}", folder.display()))?;
    names.sort_unstable();
    Ok(names)
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// As tests are built, so that other crates are there already; the workspace's own are
/// optimised.
fn build(workspace: &Workspace, kit: &Kit) -> Result<PathBuf> {
    let mut cargo = workspace.cargo();
    cargo
        .args([
            "build",
            "--package=tests",
            "--bin=fuzz",
            "--features=libfuzzer",
        ])
        .args(OPTIMISED.map(|option| format!("--config=profile.dev.package.{option}")))
        .env("RUSTC_WORKSPACE_WRAPPER", workspace.root().join(COMPILER));
    exec::run(kit.equip(&mut cargo))?;
    Ok(workspace.debug_program("fuzz"))
}

/// What is to be run, and where it keeps what it learns.
struct Fuzzer<'w> {
    workspace: &'w Workspace,
    program: PathBuf,
    target: &'w str,
    /// Its own corpus, seeds, dictionary and findings.
    dir: PathBuf,
    /// The corpus that is committed.
    committed: PathBuf,
}

impl Fuzzer<'_> {
    fn command(&self) -> Command {
        let mut command = self.workspace.program(&self.program);
        command
            .env("VPC_FUZZ_TARGET", self.target)
            .env("ASAN_OPTIONS", SANITIZER)
            .arg("-detect_leaks=0")
            .arg(format!("-timeout={PATIENCE}"))
            .arg("-rss_limit_mb=4096");
        command
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What the target begins with, made anew from tests and documents.
    fn write_seeds(&self) -> Result<()> {
        let seeds = self.folder("seeds");
        emptied(&seeds)?;
        for folder in ["corpus", "findings"] {
            make(&self.folder(folder))?;
        }
        let mut command = self.command();
        exec::run(command.env("VPC_FUZZ_SEEDS", &seeds))
    }

    /// Lets the target run until it breaks a promise, whose input is returned, or until the
    /// time is over.
    fn look(&self, minutes: Option<u32>) -> Result<Option<PathBuf>> {
        let mut command = self.command();
        command
            .args(["-print_final_stats=1", "-print_funcs=0"])
            .arg(format!("-max_total_time={}", minutes.unwrap_or(0) * 60))
            .arg(format!("-max_len={}", self.len_max()?))
            .arg(format!("-dict={}", self.folder("dictionary").display()))
            .arg(format!(
                "-artifact_prefix={}/",
                self.folder("findings").display()
            ))
            .args([
                self.folder("corpus"),
                self.folder("seeds"),
                self.committed.clone(),
            ]);
        // Ctrl-C ends the fuzzer, which says how far it came; this program waits for it.
        flag::register(SIGINT, Arc::new(AtomicBool::new(false)))?;
        let mut progress = Progress::default();
        let status = exec::watch_stderr(&mut command, |line| progress.read(line))?;
        eprintln!("fuzz        {}: {}", self.target, progress.summary());
        if progress.finding.is_none() && status.code() != Some(INTERRUPTED) {
            exec::succeeded(&command, status)?;
        }
        Ok(progress.finding)
    }

    fn len_max(&self) -> Result<String> {
        let path = self.folder("len_max");
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// A smaller input that breaks a promise too, if one is found in time.
    fn minimise(&self, finding: &Path) -> Result<PathBuf> {
        let smaller = finding.with_extension("min");
        let mut command = self.command();
        command
            .arg("-minimize_crash=1")
            .arg(format!("-max_total_time={MINIMISING}"))
            .arg(format!("-exact_artifact_path={}", smaller.display()))
            .arg(finding);
        // What is small already cannot be made smaller, which is no failure.
        let _: ExitStatus = exec::watch_stderr(&mut command, |_| {})?;
        Ok(if smaller.is_file() {
            smaller
        } else {
            finding.to_path_buf()
        })
    }

    /// Replaces what is named by its hash in the committed corpus by the least that reaches,
    /// beyond the seeds, what the fuzzer has reached; of more than there is room for, the
    /// smallest.
    fn keep(&self) -> Result<()> {
        let merged = self.folder("merged");
        emptied(&merged)?;
        for name in names(&self.folder("seeds"))? {
            fs::copy(self.folder("seeds").join(&name), merged.join(&name))?;
        }
        let mut command = self.command();
        command
            .args(["-set_cover_merge=1", "-use_counters=0"])
            .args([
                merged.clone(),
                self.committed.clone(),
                self.folder("corpus"),
            ]);
        exec::run(&mut command)?;
        for name in names(&self.committed)?.iter().filter(|name| is_hash(name)) {
            fs::remove_file(self.committed.join(name))?;
        }
        let names_of_new = names(&merged)?.into_iter().filter(|name| is_hash(name));
        let sized = |name: String| Ok((fs::metadata(merged.join(&name))?.len(), name));
        let mut new = names_of_new.map(sized).collect::<io::Result<Vec<_>>>()?;
        new.sort_unstable();
        let mut room = KEPT;
        for (len, name) in new {
            let Some(rest) = room.checked_sub(len) else {
                break;
            };
            room = rest;
            fs::copy(merged.join(&name), self.committed.join(&name))?;
        }
        let kept = names(&self.committed)?.len();
        eprintln!(
            "fuzz        {}: {kept} inputs in {}",
            self.target,
            self.committed.display()
        );
        Ok(())
    }
}

fn is_hash(name: &str) -> bool {
    name.len() == HASH_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))
}

fn emptied(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", folder.display()));
        }
        _ => {}
    }
    make(folder)
}

/// What libFuzzer says of itself.
#[derive(Default)]
struct Progress {
    runs: String,
    runs_a_second: String,
    edges: String,
    finding: Option<PathBuf>,
}

impl Progress {
    fn read(&mut self, line: &str) {
        let behind = |word: &str| {
            let (_, rest) = line.split_once(word)?;
            rest.split_whitespace().next().map(str::to_owned)
        };
        if let Some(edges) = behind(" cov: ") {
            self.edges = edges;
        }
        if let Some(runs) = behind("stat::number_of_executed_units:") {
            self.runs = runs;
        }
        if let Some(runs) = behind("stat::average_exec_per_sec:") {
            self.runs_a_second = runs;
        }
        if let Some(path) = behind("Test unit written to ") {
            self.finding = Some(path.into());
        }
    }

    fn summary(&self) -> String {
        let end = match self.finding {
            Some(_) => "something was found",
            None => "nothing was found",
        };
        format!(
            "{} runs, {} a second, {} edges covered, {end}",
            self.runs, self.runs_a_second, self.edges
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_read_from_what_the_fuzzer_says() {
        let mut progress = Progress::default();
        for line in [
            "#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb",
            "#131072\tpulse  cov: 1234 ft: 5678 corp: 99/10Kb lim: 4 exec/s: 43690 rss: 40Mb",
            "stat::number_of_executed_units: 200000",
            "stat::average_exec_per_sec:     40000",
        ] {
            progress.read(line);
        }
        assert_eq!(
            progress.summary(),
            "200000 runs, 40000 a second, 1234 edges covered, nothing was found"
        );
        progress.read("artifact_prefix='f/'; Test unit written to f/crash-0a1b");
        assert_eq!(progress.finding.as_deref(), Some(Path::new("f/crash-0a1b")));
    }

    #[test]
    fn only_names_of_forty_digits_are_hashes() {
        assert!(is_hash(&"0a".repeat(20)));
        assert!(!is_hash("story-of-two-vpcs"));
        assert!(!is_hash(&"0g".repeat(20)));
    }
}
