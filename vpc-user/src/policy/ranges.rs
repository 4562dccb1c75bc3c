//! Sets of ports as sorted ranges that neither overlap nor touch, each set kept once.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    rc::Rc,
};

/// A set of ports in a [`RangeSets`].
pub(super) type SetId = u32;

/// No port.
pub(super) const NONE: SetId = 0;
/// Every port.
pub(super) const ALL: SetId = 1;

/// A range in one word, first << 16 | last: sets are hashed as plain words, and sort
/// as their first ports do.
pub(super) type PortRange = u32;

/// A range of ports.
pub(super) const fn range(first: u16, last: u16) -> PortRange {
    (first as u32) << 16 | last as u32
}

/// The first and last port of a range.
pub(super) const fn ends(range: PortRange) -> (u16, u16) {
    ((range >> 16) as u16, range as u16)
}

/// An entry of an ordered list: the first that covers a port decides on it.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// The ports it covers.
    pub ports: PortRange,
    /// What it says of them.
    pub allow: bool,
}

/// Every set that a policy needs, by content.
pub(super) struct RangeSets {
    ids: HashMap<Rc<[PortRange]>, SetId>,
    sets: Vec<Rc<[PortRange]>>,
    total: usize,
    /// What a set is made in, before it is known whether it is new.
    scratch: Vec<PortRange>,
}

impl RangeSets {
    /// With [`NONE`] and [`ALL`] in it.
    pub fn new() -> Self {
        let mut sets = Self {
            ids: HashMap::new(),
            sets: Vec::new(),
            total: 0,
            scratch: Vec::new(),
        };
        sets.intern(&[]);
        sets.intern(&[range(0, u16::MAX)]);
        sets
    }

    /// The ranges of a set.
    pub fn ranges(&self, id: SetId) -> &[PortRange] {
        self.sets.get(id as usize).map_or(&[], |ranges| ranges)
    }

    /// Ranges of all sets together.
    pub const fn total(&self) -> usize {
        self.total
    }

    /// A set and more ranges, in any order.
    pub fn union(&mut self, id: SetId, more: &mut [PortRange]) -> SetId {
        if id == ALL || more.is_empty() {
            return id;
        }
        more.sort_unstable();
        let mut merged = std::mem::take(&mut self.scratch);
        merged.clear();
        let (mut old, mut new) = (self.ranges(id).iter().peekable(), more.iter().peekable());
        while let Some(&next) = match (old.peek(), new.peek()) {
            (Some(a), Some(b)) if a <= b => old.next(),
            (Some(_), None) => old.next(),
            _ => new.next(),
        } {
            append(&mut merged, next);
        }
        let id = self.intern(&merged);
        self.scratch = merged;
        id
    }

    /// The ports that an ordered list of entries allows.
    pub fn first_match(&mut self, entries: &[Entry]) -> SetId {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_unstable_by_key(|&i| entries[i].ports >> 16);
        let mut starts = order.into_iter().peekable();
        let mut covering = BinaryHeap::new();
        let mut allowed = Vec::new();
        let mut bounds = bounds(entries).into_iter().peekable();
        while let Some(bound) = bounds.next() {
            while let Some(i) = starts.next_if(|&i| u32::from(ends(entries[i].ports).0) == bound) {
                covering.push(Reverse(i));
            }
            let over = |i: usize| u32::from(ends(entries[i].ports).1) < bound;
            while covering.peek().is_some_and(|&Reverse(i)| over(i)) {
                covering.pop();
            }
            let allows = covering.peek().is_some_and(|&Reverse(i)| entries[i].allow);
            if let (true, Some(&next)) = (allows, bounds.peek()) {
                append(&mut allowed, bound << 16 | (next - 1));
            }
        }
        self.intern(&allowed)
    }

    fn intern(&mut self, ranges: &[PortRange]) -> SetId {
        if let Some(&id) = self.ids.get(ranges) {
            return id;
        }
        let id = self.sets.len() as SetId;
        let ranges: Rc<[PortRange]> = ranges.into();
        self.ids.insert(ranges.clone(), id);
        self.sets.push(ranges.clone());
        self.total += ranges.len();
        id
    }
}

/// Adds a range that begins no earlier than the last; they become one where they
/// overlap or touch.
fn append(ranges: &mut Vec<PortRange>, next: PortRange) {
    let (first, last) = ends(next);
    if let Some(before) = ranges.last_mut() {
        let (start, end) = ends(*before);
        if u32::from(first) <= u32::from(end) + 1 {
            *before = range(start, end.max(last));
            return;
        }
    }
    ranges.push(next);
}

/// Every port at which an entry begins, or the one before it ended; the last bound is
/// beyond the last entry.
fn bounds(entries: &[Entry]) -> Vec<u32> {
    let mut bounds: Vec<u32> = entries
        .iter()
        .map(|entry| ends(entry.ports))
        .flat_map(|(first, last)| [first.into(), u32::from(last) + 1])
        .collect();
    bounds.sort_unstable();
    bounds.dedup();
    bounds
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn a_range() -> impl Strategy<Value = PortRange> {
        let port = prop_oneof![0..40_u16, 65_500..=u16::MAX];
        (port.clone(), port).prop_map(|(a, b)| range(a.min(b), a.max(b)))
    }

    fn covers(ranges: &[PortRange], port: u16) -> bool {
        ranges
            .iter()
            .any(|&range| (ends(range).0..=ends(range).1).contains(&port))
    }

    fn assert_canonical(ranges: &[PortRange]) {
        for pair in ranges.windows(2) {
            assert!(u32::from(ends(pair[0]).1) + 1 < u32::from(ends(pair[1]).0));
        }
    }

    proptest! {
        #[test]
        fn a_union_covers_what_either_covers(
            first in prop::collection::vec(a_range(), 0..8),
            second in prop::collection::vec(a_range(), 0..8),
        ) {
            let mut sets = RangeSets::new();
            let one = sets.union(NONE, &mut first.clone());
            let both = sets.union(one, &mut second.clone());
            assert_canonical(sets.ranges(both));
            for port in (0..50).chain(65_490..=u16::MAX) {
                let expected = covers(&first, port) || covers(&second, port);
                prop_assert_eq!(covers(sets.ranges(both), port), expected, "port {}", port);
            }
        }

        #[test]
        fn the_first_match_decides(
            entries in prop::collection::vec((a_range(), any::<bool>()), 0..10),
        ) {
            let entries: Vec<Entry> =
                entries.into_iter().map(|(ports, allow)| Entry { ports, allow }).collect();
            let mut sets = RangeSets::new();
            let allowed = sets.first_match(&entries);
            assert_canonical(sets.ranges(allowed));
            for port in (0..50).chain(65_490..=u16::MAX) {
                let first = entries.iter().find(|entry| covers(&[entry.ports], port));
                let expected = first.is_some_and(|entry| entry.allow);
                prop_assert_eq!(covers(sets.ranges(allowed), port), expected, "port {}", port);
            }
        }
    }

    #[test]
    fn equal_sets_are_one() {
        let mut sets = RangeSets::new();
        let one = sets.union(NONE, &mut [range(5, 9), range(1, 4)]);
        assert_eq!(sets.union(NONE, &mut [range(1, 9)]), one);
        let rest = &mut [range(10, u16::MAX), range(0, 0)];
        assert_eq!(sets.union(one, rest), ALL);
        assert_eq!(sets.first_match(&[]), NONE);
    }
}
