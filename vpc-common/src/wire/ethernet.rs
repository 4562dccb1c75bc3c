//! Ethernet II.

use crate::{addr::Mac, packet::Header};

/// Bytes of the header.
pub const LEN: usize = 14;
/// EtherType of IPv4, wire order.
pub const IPV4: u16 = 0x0800_u16.to_be();
/// EtherType of ARP, wire order.
pub const ARP: u16 = 0x0806_u16.to_be();
/// EtherType of an 802.1Q tag, wire order.
pub const VLAN: u16 = 0x8100_u16.to_be();
/// EtherType of an 802.1ad service tag, wire order.
pub const QINQ: u16 = 0x88a8_u16.to_be();

/// The header.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ethernet {
    /// Receiver.
    pub destination: Mac,
    /// Sender.
    pub source: Mac,
    /// What follows, wire order.
    pub ethertype: u16,
}

const _: () = assert!(size_of::<Ethernet>() == LEN);

// SAFETY: seven 16-bit words.
unsafe impl Header for Ethernet {}
