//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! Sums are taken over 16-bit words as they stand in memory: the one's complement
//! sum does not care for byte order, so nothing is swapped. A sum of at most
//! 2^16 words fits 32 bits before it is folded.

use crate::{addr::V4, packet::Header};

/// Folds a sum into 16 bits.
#[inline(always)]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The sum of a header's words.
#[inline(always)]
pub fn words_of<T: Header>(header: &T) -> u32 {
    const { assert!(size_of::<T>().is_multiple_of(2) && align_of::<T>() >= 2) }
    let words = core::ptr::from_ref(header).cast::<u16>();
    let mut sum = 0;
    let mut i = 0;
    while i < size_of::<T>() / 2 {
        // SAFETY: a `Header` has no padding, is aligned to two bytes as asserted
        // above, and `i` stays below its number of words.
        sum += unsafe { *words.add(i) } as u32;
        i += 1;
    }
    sum
}

/// The sum of a 32-bit word as on the wire.
#[inline(always)]
pub const fn word32(word: u32) -> u32 {
    (word & 0xffff) + (word >> 16)
}

/// The pseudo-header's sum (RFC 768, RFC 9293 §3.1); `len` is that of the
/// transport header and its data.
#[inline(always)]
pub const fn pseudo(source: V4, destination: V4, protocol: u8, len: u16) -> u32 {
    word32(source.to_wire())
        + word32(destination.to_wire())
        + (protocol as u16).to_be() as u32
        + len.to_be() as u32
}

/// What a change of some words adds to a stored checksum: RFC 1624 eqn. 3,
/// `~m + m'` summed over the words.
#[derive(Clone, Copy, Default, Debug)]
pub struct Delta(u32);

impl Delta {
    /// Nothing changed.
    pub const NONE: Self = Self(0);

    /// As a number, and back.
    #[inline(always)]
    pub const fn to_sum(self) -> u32 {
        self.0
    }

    /// See [`Delta::to_sum`].
    #[inline(always)]
    pub const fn from_sum(sum: u32) -> Self {
        Self(sum)
    }

    /// Both changes.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// A 16-bit word changed.
    #[inline(always)]
    #[must_use]
    pub const fn word16(self, old: u16, new: u16) -> Self {
        Self(self.0 + !old as u32 + new as u32)
    }

    /// A 32-bit word changed.
    #[inline(always)]
    #[must_use]
    pub const fn word32(self, old: u32, new: u32) -> Self {
        Self(self.0 + word32(!old) + word32(new))
    }

    /// The change undone.
    #[inline(always)]
    #[must_use]
    pub const fn negated(self) -> Self {
        Self(!fold(self.0) as u32)
    }

    /// A stored sum, not complemented, after the change.
    #[inline(always)]
    pub const fn apply_to_sum(self, stored: u16) -> u16 {
        fold(stored as u32 + self.0)
    }

    /// The stored checksum after the change.
    #[inline(always)]
    pub const fn apply(self, stored: u16) -> u16 {
        !fold(!stored as u32 + self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> u16 {
        let sum: u32 = bytes
            .chunks(2)
            .map(|pair| u32::from(u16::from_ne_bytes([pair[0], *pair.get(1).unwrap_or(&0)])))
            .sum();
        !fold(sum)
    }

    proptest! {
        #[test]
        fn an_update_equals_the_sum_made_anew(
            mut bytes in proptest::collection::vec(any::<u8>(), 8..200),
            new16 in any::<u16>(),
            new32 in any::<u32>(),
        ) {
            let before = whole(&bytes);
            let old16 = u16::from_ne_bytes([bytes[2], bytes[3]]);
            let old32 = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            bytes[2..4].copy_from_slice(&new16.to_ne_bytes());
            bytes[4..8].copy_from_slice(&new32.to_ne_bytes());
            let updated = Delta::NONE.word16(old16, new16).word32(old32, new32).apply(before);
            let anew = whole(&bytes);
            // Zero has two forms in one's complement; of data that is not all
            // zero both describe the same sum.
            let same = |sum: u16| if sum == 0xffff { 0 } else { sum };
            prop_assert_eq!(same(updated), same(anew));
        }
    }
}
