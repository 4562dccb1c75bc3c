//! The bench: see `bin/bench.rs`. Everything runs in one network namespace of its
//! own, on one CPU, so that a figure is the cost of a packet and not of a race.

mod figures;
mod live;
mod rig;
mod test_run;

pub use figures::Figures;
use rig::Rig;

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Runs of each figure.
    pub runs: u32,
}

/// Measures everything; prints progress to standard error.
///
/// # Panics
///
/// When anything cannot be set up, and when packets did not take the way that is
/// measured.
pub fn run(options: &Options) -> Figures {
    let mut figures = Figures::default();
    let mut rig = Rig::new();
    for run in 1..=options.runs {
        eprintln!("run {run} of {}", options.runs);
        test_run::measure(&mut rig, &mut figures);
        live::measure(&mut rig, &mut figures);
    }
    figures.verified = rig.verified_instructions();
    figures
}
