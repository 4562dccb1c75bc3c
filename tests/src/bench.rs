//! The bench: see `bin/bench.rs`.

mod bulk;
mod control;
mod figures;
mod flood;
mod flowlog;
mod live;
mod policy;
mod rig;
mod test_run;

use std::thread;

use bulk::Bulk;
pub use figures::Figures;
use policy::Policy;
use rig::Rig;

/// Figures that are measured together; their keys begin with its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Group {
    /// By program test run.
    #[value(name = "test_run")]
    TestRun,
    /// Generated frames on veth pairs.
    Veth,
    /// TCP and UDP transfers between two hosts.
    Bulk,
    /// Rules and routes: by program test run, and what their compilation takes.
    Policy,
    /// One TCP stream over taps, bridges and VXLANs.
    Media,
    /// Commands to an agent with a store.
    Control,
    /// What a neighbour of an environment that floods notices.
    Flood,
    /// Flow logs: their files, and what it takes an agent to collect.
    #[value(name = "flowlog")]
    FlowLog,
    /// Who was behind an address, asked of a hundred million flows: 2 GB of disk.
    Who,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 9] = [
        Self::TestRun,
        Self::Veth,
        Self::Policy,
        Self::Bulk,
        Self::Media,
        Self::Control,
        Self::Flood,
        Self::FlowLog,
        Self::Who,
    ];
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Runs of each figure.
    pub runs: u32,
    /// What to measure.
    pub groups: Vec<Group>,
}

impl Options {
    fn wants(&self, group: Group) -> bool {
        self.groups.contains(&group)
    }
}

/// Measures what is wanted; prints progress to standard error.
///
/// # Panics
///
/// When anything cannot be set up, and when packets did not take the way that is
/// measured.
pub fn run(options: &Options) -> Figures {
    let mut figures = Figures::default();
    let on_one_cpu_are = [Group::TestRun, Group::Veth, Group::Policy];
    if on_one_cpu_are.iter().any(|group| options.wants(*group)) {
        // A thread of its own: the rig moves the one it is made on to another
        // network namespace and to one CPU.
        thread::scope(|scope| {
            scope
                .spawn(|| on_one_cpu(options, &mut figures))
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }
    for (group, name, bulk) in [
        (Group::Bulk, "bulk", Bulk::between_veths as fn() -> Bulk),
        (Group::Media, "media", Bulk::over_media),
    ] {
        if options.wants(group) {
            let mut bulk = bulk();
            for run in 1..=options.runs {
                eprintln!("{name}: run {run} of {}", options.runs);
                bulk.measure(&mut figures);
            }
        }
    }
    if options.wants(Group::Control) {
        for run in 1..=options.runs {
            eprintln!("control: run {run} of {}", options.runs);
            control::measure(&mut figures);
        }
    }
    if options.wants(Group::Flood) {
        let mut flood = flood::Flood::start();
        for run in 1..=options.runs {
            eprintln!("flood: run {run} of {}", options.runs);
            flood.measure(&mut figures);
        }
    }
    if options.wants(Group::FlowLog) {
        for run in 1..=options.runs {
            eprintln!("flowlog: run {run} of {}", options.runs);
            flowlog::measure(&mut figures);
        }
    }
    if options.wants(Group::Who) {
        let index = flowlog::Filled::new(&mut figures);
        for run in 1..=options.runs {
            eprintln!("who: run {run} of {}", options.runs);
            index.measure(&mut figures);
        }
    }
    figures
}

/// Everything runs in one network namespace of its own, on one CPU, so that a
/// figure is the cost of a packet and not of a race.
fn on_one_cpu(options: &Options, figures: &mut Figures) {
    let mut rig = Rig::new();
    let mut policy = options.wants(Group::Policy).then(|| Policy::new(&rig));
    for run in 1..=options.runs {
        eprintln!("run {run} of {}", options.runs);
        if options.wants(Group::TestRun) {
            test_run::measure(&mut rig, figures);
        }
        if options.wants(Group::Veth) {
            live::measure(&mut rig, figures);
        }
        if let Some(policy) = &mut policy {
            policy.measure(&mut rig, figures);
        }
    }
    figures.verified = rig.verified_instructions();
}
