//! Header views, one file per protocol. Fields hold wire order; accessors give
//! numbers. Headers are made of 16-bit words because that is the alignment a
//! packet has: a 32-bit field is read as two halves.

pub mod arp;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod tcp;
pub mod udp;

use crate::addr::V4;

/// A 32-bit field of a header, in wire order and halves.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Word32([u16; 2]);

impl Word32 {
    /// From the word as it stands on the wire.
    #[inline(always)]
    pub const fn from_wire(word: u32) -> Self {
        #[cfg(target_endian = "little")]
        return Self([word as u16, (word >> 16) as u16]);
        #[cfg(target_endian = "big")]
        return Self([(word >> 16) as u16, word as u16]);
    }

    /// The word as it stands on the wire.
    #[inline(always)]
    pub const fn to_wire(self) -> u32 {
        #[cfg(target_endian = "little")]
        return self.0[0] as u32 | (self.0[1] as u32) << 16;
        #[cfg(target_endian = "big")]
        return (self.0[0] as u32) << 16 | self.0[1] as u32;
    }

    /// The number.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        u32::from_be(self.to_wire())
    }

    /// A number.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        Self::from_wire(number.to_be())
    }

    /// As an address.
    #[inline(always)]
    pub const fn v4(self) -> V4 {
        V4::from_wire(self.to_wire())
    }

    /// From an address.
    #[inline(always)]
    pub const fn from_v4(address: V4) -> Self {
        Self::from_wire(address.to_wire())
    }
}
