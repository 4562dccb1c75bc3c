//! Adds up what the test runners themselves report.

use std::fmt;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub passed: u64,
    pub failed: u64,
}

impl Summary {
    /// Counts a line such as `test result: ok. 5 passed; 0 failed; …` and
    /// ignores every other.
    pub fn read(&mut self, line: &str) {
        let Some(counts) = line.trim().strip_prefix("test result: ") else {
            return;
        };
        let Some((_, counts)) = counts.split_once(". ") else {
            return;
        };
        self.passed += count(counts, "passed");
        self.failed += count(counts, "failed");
    }

    pub fn is_good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

fn count(counts: &str, label: &str) -> u64 {
    counts
        .split(';')
        .filter_map(|part| part.trim().split_once(' '))
        .find(|(_, name)| *name == label)
        .and_then(|(number, _)| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(output: &str) -> Summary {
        let mut summary = Summary::default();
        output.lines().for_each(|line| summary.read(line));
        summary
    }

    const OK: &str = "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; \
                      finished in 0.00s";
    const FAILED: &str = "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; \
                          0 filtered out; finished in 1.20s";

    #[test]
    fn results_of_several_runners_add_up() {
        let output = format!("running 6 tests\ntest a ... ok\n\n{OK}\n\nDoc-tests\n{FAILED}\n");
        assert_eq!(
            sum(&output),
            Summary {
                passed: 7,
                failed: 1
            }
        );
        assert_eq!(sum(&output).to_string(), "7 passed, 1 failed");
    }

    #[test]
    fn lines_that_only_look_like_results_do_not_count() {
        let output = "test result\nresult: ok. 5 passed; 0 failed\ntest result: ok\n5 passed";
        assert_eq!(sum(output), Summary::default());
    }

    #[test]
    fn no_test_at_all_is_not_good() {
        assert!(!sum("test result: ok. 0 passed; 0 failed; 0 ignored").is_good());
        assert!(!sum(FAILED).is_good());
        assert!(sum(OK).is_good());
    }
}
