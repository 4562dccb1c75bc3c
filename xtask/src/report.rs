//! Says what setup finds and does, on stderr: stdout belongs to the program
//! that is run in the end.

use std::time::Instant;

pub struct Report {
    /// Whether what was found is worth a line too.
    full: bool,
    installed: bool,
    started: Instant,
}

impl Report {
    /// Every thing gets its line.
    pub fn full() -> Self {
        Self {
            full: true,
            installed: false,
            started: Instant::now(),
        }
    }

    /// Only what changes something gets a line.
    pub fn brief() -> Self {
        Self {
            full: false,
            ..Self::full()
        }
    }

    pub fn found(&self, what: &str) {
        if self.full {
            eprintln!("found       {what}");
        }
    }

    pub fn installing(&mut self, what: &str) {
        self.installed = true;
        eprintln!("installing  {what}");
    }

    pub fn finish(&self) {
        let what = if self.installed {
            "complete"
        } else {
            "nothing was missing"
        };
        eprintln!(
            "setup       {what} ({:.1} s)",
            self.started.elapsed().as_secs_f32()
        );
    }
}
