//! Where the running kernel keeps the marks that TC programs cannot ask for.

/// Bytes of the part of the kernel's `struct sk_buff` that a program reads.
pub const SKB_WINDOW: usize = 64;

/// Offsets into the running kernel's `struct sk_buff`, from its BTF. Not pinned: each
/// load of the programs brings its own.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SkbLayout {
    /// Where the [`SKB_WINDOW`] bytes start that hold the rest; a multiple of 8.
    pub start: u32,
    /// The byte of `ip_summed` in the window.
    pub ip_summed: u8,
    /// The lowest of its two bits in that byte.
    pub ip_summed_shift: u8,
    /// `csum_start`, 16 bits, in the window.
    pub csum_start: u8,
    /// `csum_offset`, 16 bits, in the window.
    pub csum_offset: u8,
    /// `mac_header`, 16 bits, in the window.
    pub mac_header: u8,
    /// Zero.
    pub reserved: [u8; 7],
}
