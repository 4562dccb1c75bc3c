//! TCP (RFC 9293).

use super::Word32;
use crate::packet::Header;

/// Bytes of a header without options.
pub const LEN: usize = 20;
/// Bytes of options at most.
pub const OPTIONS_MAX: usize = 40;

/// The header without its options.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Tcp {
    /// Source and destination port, wire order.
    pub ports: [u16; 2],
    /// Sequence number.
    pub sequence: Word32,
    /// Acknowledgment number.
    pub acknowledgment: Word32,
    /// Data offset in the high nibble, then the flags.
    pub offset_flags: [u8; 2],
    /// Window, wire order.
    pub window: u16,
    /// Checksum as stored.
    pub checksum: u16,
    /// Urgent pointer, wire order.
    pub urgent: u16,
}

const _: () = assert!(size_of::<Tcp>() == LEN);

// SAFETY: 16-bit words and bytes, no padding.
unsafe impl Header for Tcp {}

impl Tcp {
    /// Bytes of header and options.
    #[inline(always)]
    pub const fn header_len(&self) -> usize {
        ((self.offset_flags[0] >> 4) as usize) * 4
    }
}

/// Where the value of the MSS option (RFC 9293 §3.7.1) stands in `options`, of
/// which `len` bytes are in use. Malformed options read as "none".
#[inline(always)]
pub fn mss_offset(options: &[u8; OPTIONS_MAX], len: usize) -> Option<usize> {
    let mut at = 0usize;
    // Every option but a no-op takes two bytes or more, so 40 steps see all.
    for _ in 0..OPTIONS_MAX {
        if at + 4 > len || at + 4 > OPTIONS_MAX {
            return None;
        }
        let (kind, size) = (*options.get(at)?, *options.get(at + 1)?);
        match kind {
            0 => return None,
            1 => at += 1,
            2 => return if size == 4 { Some(at + 2) } else { None },
            _ if size < 2 || size as usize > OPTIONS_MAX => return None,
            _ => at += size as usize,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(bytes: &[u8]) -> ([u8; OPTIONS_MAX], usize) {
        let mut buffer = [0; OPTIONS_MAX];
        buffer[..bytes.len()].copy_from_slice(bytes);
        (buffer, bytes.len())
    }

    #[test]
    fn the_mss_option_is_found_wherever_it_stands() {
        for (bytes, found) in [
            (&[2, 4, 5, 180][..], Some(2)),
            (&[1, 2, 4, 5, 180, 0, 0, 0], Some(3)),
            (&[8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 2, 4, 5, 180], Some(12)),
            (&[4, 2, 1, 1], None),
            (&[0, 2, 4, 5, 180], None),
            (&[3, 0, 2, 4], None),
            (&[2, 3, 5, 180], None),
            (&[8, 66, 2, 4, 5, 180], None),
            (&[2, 4, 5], None),
            (&[], None),
        ] {
            let (buffer, len) = options(bytes);
            assert_eq!(mss_offset(&buffer, len), found, "{bytes:?}");
        }
    }
}
