//! Policies in the tables: putting one in force, and giving the words of the one before
//! back once no program sees them any more.
//!
//! A policy is written where nothing leads to, and then the ENIs are pointed at it. The
//! word that points at it has the generation too, so that from one moment on nothing goes
//! by the old policy, neither a new flow nor one that was judged by it: no flow of an ENI
//! changes over before another, and an agent that dies in between leaves the one or the
//! other. Before the policy lies its length, so that another agent finds it.

use std::{
    collections::BTreeMap,
    io,
    sync::atomic::{Ordering, fence},
};

use vpc_common::{atomic::Shared64, layout::InForce};

use super::{arena::Arena, grace::Grace, images::Image, mirror::Mirror, tables::SharedTables};

/// There is no room for the words of a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a policy of {wanted} words finds no room: {used} of {size} are in use; raise \
     `limits.policy_words` (see `vpc teardown`), or use fewer rules"
)]
pub struct NoRoom {
    /// Words that it takes.
    pub wanted: u64,
    /// Words that others take.
    pub used: u64,
    /// Words there are.
    pub size: u32,
}

/// Where the policies are.
pub struct Policies {
    arena: Arena,
    size: u32,
    /// ENI index → first word of its run.
    runs: BTreeMap<u32, u32>,
    /// Runs that a program may still see.
    retired: Vec<u32>,
    /// Something was put in force that a program may not have seen yet.
    unsettled: bool,
    grace: Grace,
}

impl Policies {
    /// Finds what is in force, and notes it.
    pub fn adopt(shared: &SharedTables, mirror: &mut Mirror) -> io::Result<Self> {
        let size = shared.limits.policy_words;
        let mut policies = Self {
            arena: Arena::new(size),
            size,
            runs: BTreeMap::new(),
            retired: Vec::new(),
            unsettled: false,
            grace: Grace::open()?,
        };
        let mut images: BTreeMap<u32, Image> = BTreeMap::new();
        for (eni, place) in (0..).zip(shared.policies.iter()) {
            let Some(run) = run_of(InForce(place.load())) else {
                continue;
            };
            let image = match images.get(&run) {
                Some(image) => image.clone(),
                None => match policies.read(shared, run) {
                    Some(image) => images.entry(run).or_insert(image).clone(),
                    // Nothing that an agent wrote: it is replaced by the next pass.
                    None => continue,
                },
            };
            policies.runs.insert(eni, run);
            mirror.policies.insert(eni, image);
        }
        Ok(policies)
    }

    fn read(&mut self, shared: &SharedTables, run: u32) -> Option<Image> {
        let length = u32::try_from(shared.policy_words.get(run as usize)?.load()).ok()?;
        if !self.arena.reserve(run, length.checked_add(1)?) {
            return None;
        }
        let first = run as usize + 1;
        let words = shared.policy_words.get(first..first + length as usize)?;
        Some(words.iter().map(Shared64::load).collect())
    }

    /// Puts a policy in force on ENIs.
    pub fn put(
        &mut self,
        shared: &SharedTables,
        enis: &[u32],
        image: &Image,
    ) -> Result<(), NoRoom> {
        let run = self.take(image.len())?;
        let words = &shared.policy_words[run as usize..];
        words[0].store(image.len() as u64);
        for (word, value) in words[1..].iter().zip(image.iter()) {
            word.store(*value);
        }
        // Whoever is led to the words sees them.
        fence(Ordering::Release);
        for eni in enis {
            let word = &shared.policies[*eni as usize];
            let generation = InForce(word.load()).again().generation();
            word.store(InForce::new(generation, run + 1).0);
        }
        for eni in enis {
            let before = self.runs.insert(*eni, run);
            // Nobody goes by what was not there.
            self.unsettled |= before.is_some();
            self.retire(before);
        }
        Ok(())
    }

    /// Has the flows of an ENI judged again by the policy that it has.
    pub fn judge_again(&mut self, shared: &SharedTables, eni: u32) {
        let word = &shared.policies[eni as usize];
        word.store(InForce(word.load()).again().0);
        self.unsettled = true;
    }

    /// Takes an ENI's policy away: whatever still comes by it is refused.
    pub fn clear(&mut self, shared: &SharedTables, eni: u32) {
        let word = &shared.policies[eni as usize];
        word.store(InForce(word.load()).again().without().0);
        let before = self.runs.remove(&eni);
        self.retire(before);
        self.unsettled = true;
    }

    /// Returns once no program goes by what was replaced, and gives its words back.
    pub fn settle(&mut self) -> io::Result<()> {
        if !self.unsettled {
            return Ok(());
        }
        self.grace.wait()?;
        self.unsettled = false;
        for run in self.retired.drain(..) {
            self.arena.give(run);
        }
        Ok(())
    }

    /// Where an ENI's policy is.
    pub fn run_of_eni(&self, eni: u32) -> Option<u32> {
        self.runs.get(&eni).copied()
    }

    /// Returns once every program that runs now has ended.
    pub fn wait(&self) -> io::Result<()> {
        self.grace.wait()
    }

    /// Words in use.
    pub fn used(&self) -> u64 {
        self.arena.used()
    }

    fn take(&mut self, length: usize) -> Result<u32, NoRoom> {
        let wanted = length as u64 + 1;
        let short = |used| NoRoom {
            wanted,
            used,
            size: self.size,
        };
        let Ok(words) = u32::try_from(wanted) else {
            return Err(short(self.arena.used()));
        };
        if let Some(run) = self.arena.take(words) {
            return Ok(run);
        }
        let used = self.arena.used();
        if self.settle().is_err() {
            return Err(NoRoom {
                wanted,
                used,
                size: self.size,
            });
        }
        let taken = self.arena.take(words);
        taken.ok_or(NoRoom {
            wanted,
            used,
            size: self.size,
        })
    }

    /// A run that no ENI is at any more has had its time.
    fn retire(&mut self, run: Option<u32>) {
        if let Some(run) = run
            && !self.runs.values().any(|used| *used == run)
        {
            self.retired.push(run);
        }
    }
}

/// Where the run begins, which is one word before the policy does.
fn run_of(in_force: InForce) -> Option<u32> {
    in_force.begins()?.checked_sub(1)
}
