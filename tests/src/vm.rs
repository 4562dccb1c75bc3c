//! The kernel tests on other kernels: each kernel is booted in a virtual machine that has
//! the test programs, the agent and nothing else, and what held is shown as a table.

use std::{
    iter,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
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
/// kernel most, in a few minutes of emulated machines.
const SHORT: [&str; 2] = ["program", "restart"];

/// What to run where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folders of kernels.
    pub kernels: Vec<PathBuf>,
    /// The test programs.
    pub programs: Vec<PathBuf>,
    /// Only those of the test programs that show most in the least time, dealt out to the
    /// kernels.
    pub short: bool,
    /// Only these test programs, by name; if empty those that depend on the kernel.
    pub only: Vec<String>,
    /// Passed to every test program.
    pub runner: Vec<String>,
}

impl Options {
    /// The test programs of one of the kernels.
    fn chosen(&self, kernel: usize) -> Vec<root::TestProgram> {
        let all = self.programs.iter().map(|path| root::TestProgram::of(path));
        let wanted = |name: &str| match (self.only.is_empty(), self.short) {
            (false, _) => self.only.iter().any(|only| only == name),
            (true, true) => dealt(&SHORT, kernel, self.kernels.len()).any(|dealt| dealt == name),
            (true, false) => INSIDE.contains(&name),
        };
        all.filter(|program| wanted(&program.name)).collect()
    }

    fn run_on(&self, kernel: usize, folder: &Path) -> Outcome {
        let outcome = match Kernel::of(folder.to_owned()) {
            Ok(found) => on_kernel(&found, &self.chosen(kernel), &self.runner),
            Err(error) => Outcome::failed(folder.display().to_string(), error),
        };
        if let Some(problem) = &outcome.problem {
            // With the last words of the kernel, for which a table has no room.
            eprintln!("{}: {problem}", outcome.kernel);
        }
        outcome
    }
}

/// What the one at `seat` of so many gets if each thing goes to one of them as long as there
/// is something for everyone; who comes too late gets what the first ones have.
fn dealt<'a>(things: &'a [&str], seat: usize, seats: usize) -> impl Iterator<Item = &'a str> {
    let seats = seats.clamp(1, things.len());
    things.iter().copied().skip(seat % seats).step_by(seats)
}

/// Runs the tests on as many kernels at once as this machine has processors for, and tells
/// of each as it goes on standard error. What goes wrong on one is in its outcome.
pub fn run(options: &Options) -> Vec<Outcome> {
    let waiting = Mutex::new(options.kernels.iter().enumerate());
    let next = || waiting.lock().expect("no one panics with it").next();
    let work = || {
        let outcome =
            |(number, folder): (usize, &PathBuf)| (number, options.run_on(number, folder));
        iter::from_fn(next).map(outcome).collect::<Vec<_>>()
    };
    let machines = Accel::here().machines_at_once(SIZE.processors);
    let mut outcomes: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..machines.min(options.kernels.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let join = |worker: thread::ScopedJoinHandle<'_, _>| worker.join().expect("no panic");
        workers.into_iter().flat_map(join).collect()
    });
    outcomes.sort_by_key(|(number, _)| *number);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_runs_deal_everything_out_and_leave_no_kernel_idle() {
        let on = |seat, seats| dealt(&SHORT, seat, seats).collect::<Vec<_>>();
        assert_eq!(on(0, 1), SHORT);
        assert_eq!([on(0, 2), on(1, 2)], [["program"], ["restart"]]);
        assert_eq!([on(0, 3), on(2, 3)], [["program"], ["program"]]);
        assert_eq!(on(1, 3), ["restart"]);
    }
}
