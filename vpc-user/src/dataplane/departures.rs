//! Environments that left a moment ago.
//!
//! A program that looked an environment up just before it was detached goes on by its index
//! for a moment. So an index serves no other environment before every program that ran then
//! has ended, or a packet could go halfway by the one and halfway by the other. The sweep
//! waits for that anyway, before it ends the flows of those who left, and indices are used
//! again in the order they were left: an attach has to wait only where few are left, and
//! then one waits for all.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Who left, for the thread that detaches and attaches.
#[derive(Debug, Default)]
pub struct Departures {
    /// Number and index of each, the oldest first.
    left: VecDeque<(u64, u32)>,
    count: Arc<DepartureCount>,
}

/// How many left, for whoever waits until their programs have ended.
#[derive(Debug, Default)]
pub struct DepartureCount {
    left: AtomicU64,
    /// Up to this one they are gone for good.
    over: AtomicU64,
}

impl Departures {
    /// The count, which another thread settles.
    pub fn count(&self) -> Arc<DepartureCount> {
        Arc::clone(&self.count)
    }

    /// The environment with an index is in no table any more.
    pub fn note(&mut self, index: u32) {
        self.forget();
        // This thread alone adds to it.
        let number = self.count.left.load(Ordering::Relaxed) + 1;
        self.left.push_back((number, index));
        self.count.left.store(number, Ordering::Release);
    }

    /// Returns once no program knows the last environment of an index, by `wait` if that is
    /// not certain yet.
    pub fn let_go(&mut self, index: u32, wait: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.forget();
        if self.left.iter().any(|(_, left)| *left == index) {
            self.count.settle(wait)?;
            self.forget();
        }
        Ok(())
    }

    fn forget(&mut self) {
        let over = self.count.over.load(Ordering::Acquire);
        while self.left.front().is_some_and(|(number, _)| *number <= over) {
            self.left.pop_front();
        }
    }
}

impl DepartureCount {
    /// Waits, by `wait`, until every program that knew one of those who left has ended.
    pub fn settle(&self, wait: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let left = self.left.load(Ordering::Acquire);
        wait()?;
        self.over.fetch_max(left, Ordering::AcqRel);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether an attach has to wait.
    fn waits(departures: &mut Departures, index: u32) -> bool {
        let mut waited = false;
        let wait = || {
            waited = true;
            Ok(())
        };
        departures.let_go(index, wait).expect("it ends");
        waited
    }

    #[test]
    fn an_index_that_was_left_is_waited_for_and_all_others_with_it() {
        let mut departures = Departures::default();
        assert!(!waits(&mut departures, 1));
        departures.note(1);
        departures.note(2);
        assert!(!waits(&mut departures, 3));
        assert!(waits(&mut departures, 2));
        assert!(!waits(&mut departures, 1));
        departures.note(1);
        assert!(waits(&mut departures, 1));
    }

    #[test]
    fn what_the_sweep_has_waited_for_is_over_and_nothing_that_came_later() {
        let mut departures = Departures::default();
        let count = departures.count();
        departures.note(1);
        let later = &mut departures;
        let wait = || {
            later.note(2);
            Ok(())
        };
        count.settle(wait).expect("it ends");
        assert!(!waits(&mut departures, 1));
        assert!(waits(&mut departures, 2));
    }

    #[test]
    fn a_wait_that_failed_is_not_over() {
        let mut departures = Departures::default();
        departures.note(1);
        let fails = || Err(io::Error::from(io::ErrorKind::OutOfMemory));
        departures.let_go(1, fails).expect_err("not known");
        assert!(waits(&mut departures, 1));
        assert!(departures.left.is_empty(), "nothing is kept for ever");
    }
}
