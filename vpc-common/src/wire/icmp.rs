//! ICMP (RFC 792, RFC 1191).

use crate::packet::Header;

/// Bytes of the header.
pub const LEN: usize = 8;
/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;
/// Code of [`UNREACHABLE`]: fragmentation needed and DF set.
pub const FRAGMENTATION_NEEDED: u8 = 4;

/// The header; of an error, what it quotes follows.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Icmp {
    /// Type and code.
    pub kind: [u8; 2],
    /// Checksum as stored.
    pub checksum: u16,
    /// Identifier and sequence number, or unused and next-hop MTU, wire order.
    pub rest: [u16; 2],
}

const _: () = assert!(size_of::<Icmp>() == LEN);

// SAFETY: 16-bit words and bytes, no padding.
unsafe impl Header for Icmp {}

impl Icmp {
    /// Whether it reports an error about a packet that it quotes, of the kinds
    /// that a NAT translates (RFC 5508 §4).
    #[inline(always)]
    pub const fn is_error(&self) -> bool {
        matches!(
            self.kind[0],
            UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM
        )
    }
}
