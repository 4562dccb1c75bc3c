//! Where policies lie among the words: runs that are taken and given back. Knows
//! nothing of what is in them.

use std::collections::BTreeMap;

/// Runs of a number of words.
#[derive(Debug)]
pub struct Arena {
    size: u32,
    /// First word → length, of the runs that are taken.
    taken: BTreeMap<u32, u32>,
}

impl Arena {
    /// An arena of `size` words, none of which is taken.
    pub const fn new(size: u32) -> Self {
        Self {
            size,
            taken: BTreeMap::new(),
        }
    }

    /// Takes the first run that is long enough; its first word.
    pub fn take(&mut self, length: u32) -> Option<u32> {
        let mut first = 0u32;
        for (&start, &taken) in &self.taken {
            if start - first >= length {
                break;
            }
            first = start + taken;
        }
        if length == 0 || self.size.checked_sub(first)? < length {
            return None;
        }
        self.taken.insert(first, length);
        Some(first)
    }

    /// Takes a run that is known to be in use. `false` if it is none, or not free.
    pub fn reserve(&mut self, first: u32, length: u32) -> bool {
        let Some(end) = first.checked_add(length).filter(|end| *end <= self.size) else {
            return false;
        };
        let before = self.taken.range(..end).next_back();
        let is_free = before.is_none_or(|(start, taken)| start + taken <= first);
        if length == 0 || !is_free {
            return false;
        }
        self.taken.insert(first, length);
        true
    }

    /// Gives a run back.
    pub fn give(&mut self, first: u32) {
        self.taken.remove(&first);
    }

    /// Words that are taken.
    pub fn used(&self) -> u64 {
        self.taken.values().map(|length| u64::from(*length)).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_gap_is_used_before_the_end() {
        let mut arena = Arena::new(10);
        assert_eq!(
            [arena.take(3), arena.take(3), arena.take(3)],
            [Some(0), Some(3), Some(6)]
        );
        assert_eq!(arena.take(2), None);
        arena.give(3);
        assert_eq!(arena.take(4), None);
        assert_eq!(
            (arena.take(2), arena.take(1), arena.take(1)),
            (Some(3), Some(5), Some(9))
        );
        assert_eq!(arena.used(), 10);
        assert_eq!(arena.take(0), None);
    }

    #[test]
    fn what_overlaps_or_lies_outside_is_not_reserved() {
        let mut arena = Arena::new(10);
        assert!(arena.reserve(4, 3));
        for (first, length) in [
            (4, 3),
            (3, 2),
            (6, 1),
            (5, 1),
            (0, 11),
            (10, 1),
            (u32::MAX, 2),
            (8, 0),
        ] {
            assert!(!arena.reserve(first, length), "{first} + {length}");
        }
        assert!(arena.reserve(7, 3) && arena.reserve(0, 4));
    }

    proptest! {
        #[test]
        fn no_word_is_in_two_runs(steps in proptest::collection::vec((1u32..40, any::<bool>()), 0..200)) {
            let mut arena = Arena::new(400);
            let mut taken: Vec<(u32, u32)> = Vec::new();
            for (length, give) in steps {
                if give && !taken.is_empty() {
                    let (first, _) = taken.swap_remove(length as usize % taken.len());
                    arena.give(first);
                } else if let Some(first) = arena.take(length) {
                    prop_assert!(first + length <= 400);
                    let apart = |(other, len): &(u32, u32)| first + length <= *other || other + len <= first;
                    prop_assert!(taken.iter().all(apart));
                    taken.push((first, length));
                }
            }
            prop_assert_eq!(arena.used(), taken.iter().map(|(_, length)| u64::from(*length)).sum::<u64>());
        }
    }
}
