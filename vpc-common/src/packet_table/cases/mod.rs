//! The cases, by topic.

use super::{Machine, Outcome, Run};

/// Makes a table of functions; the name of a case is that of its function.
macro_rules! cases {
    ($($(#[doc = $doc:literal])* fn $name:ident($run:ident) $body:block)+) => {
        $($(#[doc = $doc])* fn $name($run: &mut $crate::packet_table::Run<'_>) $body)+

        /// The cases of this topic.
        pub(super) const CASES: &[super::Case] = &[
            $(super::Case { name: stringify!($name), steps: $name }),+
        ];
    };
}

mod checksums;
mod closing;
mod flows;
mod fragments;
mod gateway;
mod icmp;
mod life;
mod limits;
mod malformed;
mod one_way;
mod policy;
mod sizes;
mod xdp;

/// A case: what happens, step by step.
#[derive(Clone, Copy)]
pub struct Case {
    /// What it is about.
    pub name: &'static str,
    steps: fn(&mut Run<'_>),
}

impl Case {
    /// Runs it; panics where the machine does something else.
    pub fn check(&self, machine: &mut dyn Machine) -> Vec<Outcome> {
        let mut run = Run::new(machine, self.name);
        (self.steps)(&mut run);
        run.into_log()
    }
}

/// The cases of XDP alone, which sees no marks beside a packet's bytes and reaches
/// links of its kind only.
pub const XDP_CASES: &[Case] = xdp::CASES;

/// Every case that holds on either hook.
pub const CASES: &[&[Case]] = &[
    flows::CASES,
    closing::CASES,
    checksums::CASES,
    sizes::CASES,
    fragments::CASES,
    gateway::CASES,
    malformed::CASES,
    one_way::CASES,
    icmp::CASES,
    limits::CASES,
    life::CASES,
    policy::CASES,
];
