//! Two evaluators asked the same: the [oracle](crate::oracle), and whatever carries
//! packets. Where they differ, the least rule set that shows it is printed.

mod host;
mod install;
mod machine;

use std::{cell::RefCell, collections::BTreeMap, fmt, ops::Range};

use vpc_user::model::Config;

pub use host::{Compiled, host_differs};
pub use install::{Installed, install};
pub use machine::{Judge, carried, machine_differs};

use crate::{
    oracle::{Hop, Oracle, Refusal},
    rules::{Question, Size, config, is_closed, questions, show, shrink},
};

/// What becomes of a packet and of its reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The packet of a new connection.
    pub forward: Result<Hop, Refusal>,
    /// The reply, had the packet left.
    pub reply: Result<(), Refusal>,
    /// An ICMP error of the environment about the reply.
    pub error_out: Result<(), Refusal>,
    /// An ICMP error of the remote end about the packet.
    pub error_in: Result<(), Refusal>,
}

impl Verdict {
    /// The oracle's.
    pub fn expected(config: &Config, question: &Question) -> Self {
        let oracle = Oracle::new(config, &question.group);
        let (remote, (kind, code)) = (question.remote, question.error);
        let unless = |allowed: bool, refusal| if allowed { Ok(()) } else { Err(refusal) };
        Self {
            forward: oracle.forward(remote, question.carried),
            reply: oracle.reply(remote, question.reply()),
            error_out: unless(oracle.error_out(remote, kind, code), Refusal::NaclOut),
            error_in: unless(oracle.error_in(remote, kind, code), Refusal::NaclIn),
        }
    }

    /// Of a packet that does not leave: there is nothing that anybody could answer.
    pub const fn refused(refusal: Refusal) -> Self {
        Self {
            forward: Err(refusal),
            reply: Ok(()),
            error_out: Ok(()),
            error_in: Ok(()),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.forward {
            Ok(Hop { uplink, address }) => write!(f, "leaves by {uplink} to {address}")?,
            Err(refusal) => f.write_str(refusal.label())?,
        }
        for (what, verdict) in [
            ("reply", self.reply),
            ("error out", self.error_out),
            ("error in", self.error_in),
        ] {
            write!(
                f,
                ", {what} {}",
                verdict.map_or_else(Refusal::label, |()| "passes")
            )?;
        }
        Ok(())
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// Numbers of configurations.
    pub seeds: Range<u64>,
    /// How large they are.
    pub size: Size,
    /// Questions about each.
    pub questions: usize,
    /// What is changed about each before it is asked about.
    pub change: fn(&mut Config),
}

impl Hunt {
    /// So many configurations, the first ones, as they are.
    pub const fn new(size: Size, configurations: u64, questions: usize) -> Self {
        Self {
            seeds: 0..configurations,
            size,
            questions,
            change: |_| {},
        }
    }
}

/// How the oracle answered, by label: packets that leave or do not, and the replies to
/// those that leave.
pub type Tally = BTreeMap<&'static str, u64>;

/// Asks about every configuration. `differs` answers with what is wrong about a
/// question, if anything.
///
/// # Panics
///
/// With the least configuration that still fails, where the evaluators differ.
pub fn hunt(
    hunt: &Hunt,
    wanted: impl Fn(&Config, &Question) -> bool,
    differs: impl FnMut(&Config, &Question) -> Option<String>,
) -> Tally {
    let differs = RefCell::new(differs);
    let mut tally = Tally::new();
    for seed in hunt.seeds.clone() {
        let mut config = config(seed, hunt.size);
        (hunt.change)(&mut config);
        for question in questions(&config, seed, hunt.questions) {
            if !wanted(&config, &question) {
                continue;
            }
            count(&mut tally, &Verdict::expected(&config, &question));
            if differs.borrow_mut()(&config, &question).is_some() {
                fail(seed, &config, &question, &differs);
            }
        }
    }
    tally
}

fn count(tally: &mut Tally, verdict: &Verdict) {
    let forward = verdict.forward.as_ref();
    let forward = forward.map_or_else(|refusal| refusal.label(), |_| "leaves");
    *tally.entry(forward).or_default() += 1;
    if verdict.forward.is_ok() {
        let reply = verdict.reply.map_or_else(Refusal::label, |()| "enters");
        *tally.entry(reply).or_default() += 1;
    }
}

fn fail(
    seed: u64,
    config: &Config,
    question: &Question,
    differs: &RefCell<impl FnMut(&Config, &Question) -> Option<String>>,
) -> ! {
    let difference = |config: &Config| {
        let is_there = config.groups.iter().any(|g| g.name == question.group);
        (is_there && is_closed(config)).then(|| differs.borrow_mut()(config, question))?
    };
    let least = shrink(config, &|config| difference(config).is_some());
    let difference = difference(&least).unwrap_or_default();
    panic!(
        "configuration {seed}, {question}:\n{difference}\n\n{}",
        show(&least)
    );
}

#[cfg(test)]
mod tests;
