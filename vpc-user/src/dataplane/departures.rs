//! Environments that left a moment ago.
//!
//! A program that met an environment just before it was detached may run on for a moment,
//! and still send to its interface by its index. Neither serves another environment before
//! every program that ran then has ended. The sweep waits for that anyway, before it ends
//! the flows of those who left, so an attach hardly ever has to.

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
    /// Number, interface and index of each, the oldest first.
    left: VecDeque<(u64, u32, u32)>,
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

    /// An environment is in no table any more.
    pub fn note(&mut self, ifindex: u32, index: u32) {
        self.forget();
        // This thread alone adds to it.
        let number = self.count.left.load(Ordering::Relaxed) + 1;
        self.left.push_back((number, ifindex, index));
        self.count.left.store(number, Ordering::Release);
    }

    /// Returns once no program knows the last environment of an interface and of an index,
    /// by `wait` if that is not certain yet.
    pub fn let_go(
        &mut self,
        ifindex: u32,
        index: u32,
        wait: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        self.forget();
        let mut left = self.left.iter();
        if left.any(|(_, its, number)| *its == ifindex || *number == index) {
            self.count.settle(wait)?;
            self.forget();
        }
        Ok(())
    }

    fn forget(&mut self) {
        let over = self.count.over.load(Ordering::Acquire);
        while self
            .left
            .front()
            .is_some_and(|(number, ..)| *number <= over)
        {
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
    fn waits(departures: &mut Departures, ifindex: u32, index: u32) -> bool {
        let mut waited = false;
        let wait = || {
            waited = true;
            Ok(())
        };
        departures.let_go(ifindex, index, wait).expect("it ends");
        waited
    }

    #[test]
    fn an_interface_or_index_that_was_left_is_waited_for_once() {
        let mut departures = Departures::default();
        assert!(!waits(&mut departures, 7, 1));
        departures.note(7, 1);
        assert!(!waits(&mut departures, 8, 2));
        assert!(waits(&mut departures, 7, 3));
        assert!(!waits(&mut departures, 7, 1));
        departures.note(7, 1);
        assert!(waits(&mut departures, 9, 1));
    }

    #[test]
    fn what_the_sweep_has_waited_for_is_over_and_nothing_that_came_later() {
        let mut departures = Departures::default();
        let count = departures.count();
        departures.note(7, 1);
        let later = &mut departures;
        count
            .settle(|| {
                later.note(8, 2);
                Ok(())
            })
            .expect("it ends");
        assert!(!waits(&mut departures, 7, 1));
        assert!(waits(&mut departures, 8, 2));
    }

    #[test]
    fn a_wait_that_failed_is_not_over() {
        let mut departures = Departures::default();
        departures.note(7, 1);
        let fails = || Err(io::Error::from(io::ErrorKind::OutOfMemory));
        departures.let_go(7, 1, fails).expect_err("not known");
        assert!(waits(&mut departures, 7, 1));
        assert!(departures.left.is_empty(), "nothing is kept for ever");
    }
}
