//! TCP (RFC 9293).

use core::mem::MaybeUninit;

use super::Word32;
use crate::{packet::Header, verifier::masked};

/// Bytes of a header without options.
pub const LEN: usize = 20;
/// Bytes of options at most.
pub const OPTIONS_MAX: usize = 40;
/// Room for them of which a mask keeps an index within.
pub const OPTIONS_ROOM: usize = 64;

/// Room for a copy of a packet's options.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Options(pub [u8; OPTIONS_ROOM]);

impl Options {
    /// No options, in the given place. Cleared there, word by word: clearing it as a whole
    /// is a call of a function in BPF, with a frame that old kernels count as 32 bytes of
    /// 512.
    #[inline(always)]
    pub fn none(place: &mut MaybeUninit<Self>) -> &mut Self {
        let words = place.as_mut_ptr().cast::<u64>();
        for index in 0..OPTIONS_ROOM / 8 {
            // SAFETY: a word of that place, which is aligned for it.
            unsafe { words.add(index).write_volatile(0) };
        }
        // SAFETY: every word was just written, and any bytes are options.
        unsafe { place.assume_init_mut() }
    }
}

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
/// which `len` bytes are in use, at most [`OPTIONS_MAX`]. Malformed options read as "none".
#[inline(always)]
pub fn mss_offset(options: &[u8; OPTIONS_ROOM], len: usize) -> Option<usize> {
    let mut at = 0usize;
    // Every option but a no-op takes two bytes or more, so 40 steps see all.
    for _ in 0..OPTIONS_MAX {
        if at + 4 > len {
            return None;
        }
        // No news for the compiler, since `len` is less. For the verifier every step begins
        // alike by this, and it need not follow all that came before.
        at = masked::<{ OPTIONS_ROOM - 1 }>(at);
        let kind = options[at];
        let size = options[masked::<{ OPTIONS_ROOM - 1 }>(at + 1)];
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

    fn options(bytes: &[u8]) -> ([u8; OPTIONS_ROOM], usize) {
        let mut buffer = [0; OPTIONS_ROOM];
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
