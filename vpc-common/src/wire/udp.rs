//! UDP (RFC 768).

use crate::packet::Header;

/// Bytes of the header.
pub const LEN: usize = 8;

/// The header.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Udp {
    /// Source and destination port, wire order.
    pub ports: [u16; 2],
    /// Bytes of header and data, wire order.
    pub len: u16,
    /// Checksum as stored; 0 = none.
    pub checksum: u16,
}

const _: () = assert!(size_of::<Udp>() == LEN);

// SAFETY: 16-bit words.
unsafe impl Header for Udp {}
