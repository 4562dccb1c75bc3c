//! ARP for IPv4 over Ethernet (RFC 826).

use super::Word32;
use crate::{addr::Mac, packet::Header};

/// Operation: who has, wire order.
pub const REQUEST: u16 = 1_u16.to_be();
/// Operation: is at, wire order.
pub const REPLY: u16 = 2_u16.to_be();
/// Hardware type Ethernet, protocol type IPv4, lengths 6 and 4, wire order.
const FORMAT: [u16; 3] = [1_u16.to_be(), 0x0800_u16.to_be(), 0x0604_u16.to_be()];

/// The packet, after the Ethernet header.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Arp {
    format: [u16; 3],
    /// [`REQUEST`] or [`REPLY`].
    pub operation: u16,
    /// Sender's MAC.
    pub sender_mac: Mac,
    /// Sender's address.
    pub sender: Word32,
    /// Target's MAC.
    pub target_mac: Mac,
    /// Target's address.
    pub target: Word32,
}

const _: () = assert!(size_of::<Arp>() == 28);

// SAFETY: fourteen 16-bit words.
unsafe impl Header for Arp {}

impl Arp {
    /// Whether it speaks of IPv4 over Ethernet.
    #[inline(always)]
    pub fn is_ipv4_over_ethernet(&self) -> bool {
        self.format[0] == FORMAT[0] && self.format[1] == FORMAT[1] && self.format[2] == FORMAT[2]
    }

    /// A packet.
    pub const fn new(
        operation: u16,
        (sender_mac, sender): (Mac, Word32),
        (target_mac, target): (Mac, Word32),
    ) -> Self {
        Self {
            format: FORMAT,
            operation,
            sender_mac,
            sender,
            target_mac,
            target,
        }
    }
}
