//! The kernel tests on other kernels: each kernel is booted in a virtual machine that has
//! the test programs, the agent and nothing else, and what held is shown as a table.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use vpc_user::model::ProgramCheck;

use crate::guest::{Accel, Guest, Kernel, Size};

mod outcome;
mod page;
mod root;

use outcome::Reader;
pub use outcome::{Outcome, Program, table};
pub use page::record;

/// Two processors, since races need them; memory for the tables of two agents and for the
/// image that becomes the root.
const SIZE: Size = Size {
    processors: 2,
    megabytes: 3072,
};
/// How long a machine may be silent. An emulated one may take minutes over a test.
const PATIENCE: Duration = Duration::from_secs(600);
/// What depends on the kernel: packets, rules, attach, sweep, adoption and upgrade. Others
/// need programs that a machine does not have, or hours where it is emulated.
const INSIDE: [&str; 6] = [
    "lifecycle",
    "policy_program",
    "program",
    "restart",
    "timeouts",
    "traffic",
];
/// Every kind of packet, and adoption and upgrade of what is attached: what depends on the
/// kernel most, in a few minutes of an emulated machine.
const SHORT: [&str; 2] = ["program", "restart"];

/// What to run where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folders of kernels.
    pub kernels: Vec<PathBuf>,
    /// The test programs.
    pub programs: Vec<PathBuf>,
    /// Only those of the test programs that show most in the least time.
    pub short: bool,
    /// Only these test programs, by name; if empty those that depend on the kernel.
    pub only: Vec<String>,
    /// Passed to every test program.
    pub runner: Vec<String>,
}

impl Options {
    fn chosen(&self) -> Vec<root::TestProgram> {
        let all = self.programs.iter().map(|path| root::TestProgram::of(path));
        let wanted = |name: &str| match (self.only.is_empty(), self.short) {
            (false, _) => self.only.iter().any(|only| only == name),
            (true, true) => SHORT.contains(&name),
            (true, false) => INSIDE.contains(&name),
        };
        all.filter(|program| wanted(&program.name)).collect()
    }
}

/// Runs the tests on one kernel after the other, and tells of each as it goes on standard
/// error. What goes wrong on one is in its outcome.
pub fn run(options: &Options) -> Vec<Outcome> {
    let programs = options.chosen();
    let on = |folder: &PathBuf| {
        let outcome = match Kernel::of(folder.clone()) {
            Ok(kernel) => on_kernel(&kernel, &programs, &options.runner),
            Err(error) => Outcome::failed(folder.display().to_string(), error),
        };
        if let Some(problem) = &outcome.problem {
            // With the last words of the kernel, for which a table has no room.
            eprintln!("{}: {problem}", outcome.kernel);
        }
        outcome
    };
    options.kernels.iter().map(on).collect()
}

fn on_kernel(kernel: &Kernel, programs: &[root::TestProgram], runner: &[String]) -> Outcome {
    let version = kernel.version();
    eprintln!("{version}: booting, by {}", Accel::here());
    let started = Instant::now();
    let booted = Guest::boot_alone(kernel, SIZE, |folder| root::fill(folder, programs));
    let mut guest = match booted {
        Ok(guest) => guest,
        Err(error) => return Outcome::failed(version, error),
    };
    eprintln!("{version}: up after {:.0?}", started.elapsed());
    let mut outcome = Outcome::of(version);
    let ran = check_kernel(&mut guest, &mut outcome)
        .and_then(|()| run_tests(&mut guest, programs, runner, &mut outcome));
    outcome.problem = ran.err();
    outcome
}

/// What the kernel's verifier makes of the programs.
fn check_kernel(guest: &mut Guest, outcome: &mut Outcome) -> Result<(), String> {
    let mut json = String::new();
    guest.run_watched(
        "/bin/vpc check-kernel --json 2>/dev/console",
        PATIENCE,
        |line| json += line,
    )?;
    let checks: Vec<ProgramCheck> = serde_json::from_str(&json)
        .map_err(|error| format!("`vpc check-kernel` says {json:?} ({error})"))?;
    for check in &checks {
        if let Some(reason) = &check.refused {
            eprintln!("{}: {} is refused: {reason}", outcome.kernel, check.program);
        }
    }
    outcome.checks = checks;
    Ok(())
}

fn run_tests(
    guest: &mut Guest,
    programs: &[root::TestProgram],
    runner: &[String],
    outcome: &mut Outcome,
) -> Result<(), String> {
    for program in programs {
        let line = program.command(runner);
        let mut reader = Reader::new(&program.name);
        let started = Instant::now();
        let version = outcome.kernel.clone();
        let status = guest.run_watched(&line, PATIENCE, |said| {
            if reader.read(said) {
                eprintln!("{version}: {}: {said}", program.name);
            }
        });
        let result = reader.finish(started.elapsed(), status.as_deref() == Ok("0"));
        result.report(&version);
        outcome.programs.push(result);
        status?;
    }
    Ok(())
}

/// Where the page with the last results is.
pub fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kernels.md")
}
