//! What came of the tests on a kernel.

use std::{collections::BTreeSet, fmt::Write as _, fs, io, time::Duration};

use serde::Serialize;
use vpc_user::model::ProgramCheck;

/// What came of one kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Its version: that of its package, or what it calls itself.
    pub kernel: String,
    /// The test programs, in the order they ran.
    pub programs: Vec<Program>,
    /// What its verifier made of the programs of the data path.
    pub checks: Vec<ProgramCheck>,
    /// Why there is no more: it did not boot, went down or said nothing any more.
    pub problem: Option<String>,
}

/// What came of one test program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// How many tests held.
    pub passed: usize,
    /// Those that did not.
    pub failed: Vec<String>,
    /// How many do not apply.
    pub ignored: usize,
    /// How long it ran, in seconds.
    pub secs: u64,
}

impl Outcome {
    pub(super) const fn of(kernel: String) -> Self {
        Self {
            kernel,
            programs: Vec::new(),
            checks: Vec::new(),
            problem: None,
        }
    }

    /// The kernel that runs here, of which only the verifier was asked.
    ///
    /// # Errors
    /// It does not say what it is.
    pub fn of_this_kernel(checks: Vec<ProgramCheck>) -> io::Result<Self> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        Ok(Self {
            checks,
            ..Self::of(kernel.trim().to_owned())
        })
    }

    pub(super) fn failed(kernel: String, problem: String) -> Self {
        Self {
            problem: Some(problem),
            ..Self::of(kernel)
        }
    }

    /// Whether tests ran, all of them held, and no program was refused.
    pub fn is_good(&self) -> bool {
        let held = |program: &Program| program.failed.is_empty();
        let passed: usize = self.programs.iter().map(|program| program.passed).sum();
        self.problem.is_none()
            && passed > 0
            && self.programs.iter().all(held)
            && self.checks.iter().all(|check| check.refused.is_none())
    }

    /// Whether more was asked, or was to be, than the verifier.
    pub fn was_tested(&self) -> bool {
        !self.programs.is_empty() || self.problem.is_some()
    }

    /// Version and patch, without what a distribution adds.
    pub fn version(&self) -> &str {
        let kernel = &self.kernel;
        let end = kernel.find(|c: char| !c.is_ascii_digit() && c != '.');
        &kernel[..end.unwrap_or(kernel.len())]
    }

    /// The sum, in the words of a test runner.
    pub fn result(&self) -> String {
        let passed: usize = self.programs.iter().map(|program| program.passed).sum();
        let failed: usize = self
            .programs
            .iter()
            .map(|program| program.failed.len())
            .sum();
        let word = if self.is_good() { "ok" } else { "FAILED" };
        let kernel = self.version();
        format!("test result: {word}. {passed} passed; {failed} failed; on Linux {kernel}")
    }

    fn tests_of(&self, name: &str) -> String {
        match self.programs.iter().find(|program| program.name == name) {
            None => "-".to_owned(),
            Some(program) if program.failed.is_empty() => program.passed.to_string(),
            Some(Program { passed, failed, .. }) => {
                format!("{passed} of {}", passed + failed.len())
            }
        }
    }

    fn check_of(&self, name: &str) -> String {
        match self.checks.iter().find(|check| check.program == name) {
            None => "-".to_owned(),
            Some(check) if check.refused.is_some() => "refused".to_owned(),
            Some(check) => format!(
                "{} insns{}, {:.0} ms",
                check.instructions,
                frame(check),
                check.load_us as f64 / 1e3
            ),
        }
    }
}

impl Program {
    pub(super) fn report(&self, kernel: &str) {
        let Self {
            name,
            passed,
            failed,
            ignored,
            secs,
        } = self;
        let failed = match failed.len() {
            0 => String::new(),
            _ => format!(", failed: {}", failed.join(", ")),
        };
        eprintln!("{kernel}: {name}: {passed} passed, {ignored} ignored{failed} ({secs} s)");
    }
}

/// Reads what a test runner writes.
pub(super) struct Reader {
    program: Program,
    in_failures: bool,
}

impl Reader {
    pub(super) fn new(name: &str) -> Self {
        Self {
            program: Program {
                name: name.to_owned(),
                passed: 0,
                failed: Vec::new(),
                ignored: 0,
                secs: 0,
            },
            in_failures: false,
        }
    }

    /// Counts a line such as `test a_name ... ok`. Whether somebody who waits wants to see
    /// it: what became of a test, and what there is to a failure.
    pub(super) fn read(&mut self, line: &str) -> bool {
        self.in_failures |= line == "failures:";
        let told = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "));
        match told {
            Some((_, "ok")) => self.program.passed += 1,
            Some((name, "FAILED")) => self.program.failed.push(name.to_owned()),
            Some((_, ignored)) if ignored.starts_with("ignored") => self.program.ignored += 1,
            _ => (),
        }
        self.in_failures || told.is_some()
    }

    /// A runner that ended badly without a failed test has crashed.
    pub(super) fn finish(mut self, time: Duration, well: bool) -> Program {
        if !well && self.program.failed.is_empty() {
            self.program.failed.push("(the program itself)".to_owned());
        }
        self.program.secs = time.as_secs();
        self.program
    }
}

/// Two tables in Markdown, a kernel a column: tests that held, and what the verifier made
/// of the programs.
pub fn table(outcomes: &[Outcome]) -> String {
    let names = |of: &dyn Fn(&Outcome) -> Vec<String>| -> BTreeSet<String> {
        outcomes.iter().flat_map(of).collect()
    };
    let tests = names(&|outcome| {
        let programs = outcome.programs.iter();
        programs.map(|program| program.name.clone()).collect()
    });
    let checks = names(&|outcome| {
        let checks = outcome.checks.iter();
        checks.map(|check| check.program.clone()).collect()
    });
    let tested: Vec<_> = outcomes
        .iter()
        .filter(|outcome| outcome.was_tested())
        .collect();
    let all: Vec<_> = outcomes.iter().collect();
    let mut text = String::new();
    if !tests.is_empty() {
        text = columns("Tests that held", &tested, &tests, Outcome::tests_of) + "\n";
    }
    text += &columns("Program", &all, &checks, Outcome::check_of);
    for outcome in outcomes {
        if let Some(problem) = &outcome.problem {
            let first = problem.lines().next().unwrap_or_default();
            let _ = write!(text, "\n{}: {first}\n", outcome.kernel);
        }
    }
    text
}

fn frame(check: &ProgramCheck) -> String {
    let bytes = check.frame_bytes;
    bytes.map_or_else(String::new, |bytes| format!(", {bytes} B"))
}

fn columns(
    title: &str,
    outcomes: &[&Outcome],
    names: &BTreeSet<String>,
    cell: impl Fn(&Outcome, &str) -> String,
) -> String {
    let line = |first: &str, cells: Vec<String>| format!("| {first} | {} |\n", cells.join(" | "));
    let of_each = |what: &dyn Fn(&Outcome) -> String| outcomes.iter().map(|it| what(it)).collect();
    let mut text = line(title, of_each(&|outcome| outcome.version().to_owned()));
    text += &line("---", of_each(&|_| "---".to_owned()));
    for name in names {
        text += &line(
            &format!("`{name}`"),
            of_each(&|outcome| cell(outcome, name)),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\nrunning 3 tests\ntest one ... ok\ntest two ... FAILED\n\
        test three ... ignored, guests are x86-64 machines\n\nfailures:\n\n---- two stdout ----\n";

    fn read(said: &str, well: bool) -> Program {
        let mut reader = Reader::new("some");
        for line in said.lines() {
            reader.read(line);
        }
        reader.finish(Duration::from_secs(3), well)
    }

    fn outcome(programs: Vec<Program>) -> Outcome {
        Outcome {
            programs,
            ..Outcome::of("6.1.0-56-cloud-amd64".to_owned())
        }
    }

    #[test]
    fn tests_are_counted_and_failures_named() {
        let program = read(SAID, false);
        assert_eq!((program.passed, program.ignored), (1, 1));
        assert_eq!(program.failed, ["two"]);
        let outcome = outcome(vec![program]);
        assert_eq!(outcome.tests_of("some"), "1 of 2");
        assert_eq!(
            outcome.result(),
            "test result: FAILED. 1 passed; 1 failed; on Linux 6.1.0"
        );
    }

    #[test]
    fn a_program_that_crashes_has_failed() {
        let program = read("test one ... ok\n", false);
        assert_eq!(program.failed, ["(the program itself)"]);
    }

    #[test]
    fn only_a_kernel_on_which_tests_ran_and_held_is_good() {
        let good = read("test one ... ok\n", true);
        assert!(outcome(vec![good.clone()]).is_good());
        assert!(!outcome(vec![good.clone(), read(SAID, false)]).is_good());
        assert!(!outcome(vec![]).is_good(), "nothing ran");
        assert!(!outcome(vec![read("", true)]).is_good(), "no test ran");
        let down = Outcome {
            problem: Some("gone".into()),
            ..outcome(vec![good.clone()])
        };
        assert!(!down.is_good());
        let refused = ProgramCheck {
            program: "sweep".into(),
            instructions: 0,
            frame_bytes: None,
            load_us: 0,
            refused: Some("why".into()),
        };
        let refused = Outcome {
            checks: vec![refused],
            ..outcome(vec![good])
        };
        assert!(!refused.is_good());
        assert!(table(&[refused]).contains("| `sweep` | refused |"));
    }

    #[test]
    fn a_version_is_without_what_a_distribution_adds() {
        assert_eq!(outcome(vec![]).version(), "6.1.0");
        assert_eq!(
            Outcome::of("6.12.117+deb13-cloud-amd64".into()).version(),
            "6.12.117"
        );
    }
}
