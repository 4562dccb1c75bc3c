//! [`Packet`] over an XDP buffer, by direct access.

use aya_ebpf::{
    EbpfContext,
    bindings::xdp_md,
    helpers::{
        bpf_csum_diff, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
        bpf_xdp_load_bytes,
    },
    programs::XdpContext,
};
use vpc_common::{
    addr::Addr,
    checksum::Delta,
    flow::Moment,
    forward::{self, Aside},
    layout::{FragmentKey, NextHopKey, Owner, PUNT_FRAME, Punt},
    packet::{Header, Packet},
    rewrite,
    tables::Tables,
    verdict::{Awaited, Verdict},
};

use crate::maps::{Maps, PUNTS};

/// The packet of an XDP program.
pub struct XdpPacket {
    context: XdpContext,
}

impl XdpPacket {
    /// The packet of a context.
    #[inline(always)]
    pub const fn new(context: XdpContext) -> Self {
        Self { context }
    }

    /// Its context.
    #[inline(always)]
    pub const fn context(&self) -> &XdpContext {
        &self.context
    }

    /// Interface it arrived on.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        self.context.ingress_ifindex() as u32
    }

    /// Where the packet starts, loaded anew for each access: from a check at a
    /// variable offset LLVM infers that a smaller constant one holds and leaves its
    /// check out, which the verifier cannot follow ("offset is outside of the
    /// packet").
    #[inline(always)]
    fn data(&self) -> usize {
        // SAFETY: the context is the program's own.
        unsafe { (&raw const (*self.context.ctx).data).read_volatile() as usize }
    }

    /// Where the packet ends, loaded anew for each access: one that is kept is
    /// zero-extended again by LLVM and is no pointer to the verifier afterwards.
    #[inline(always)]
    fn data_end(&self) -> usize {
        // SAFETY: the context is the program's own.
        unsafe { (&raw const (*self.context.ctx).data_end).read_volatile() as usize }
    }

    /// A checked pointer to `len` bytes.
    #[inline(always)]
    fn pointer(&self, at: usize, len: usize) -> Option<*mut u8> {
        let start = self.data() + at;
        if start + len > self.data_end() {
            return None;
        }
        Some(start as *mut u8)
    }

    /// Copies the packet's first `len` bytes, at most `N`, to memory of another kind.
    ///
    /// # Safety
    ///
    /// `to` points to at least `N` writable bytes.
    #[inline(always)]
    pub unsafe fn copy_out<const N: usize>(&self, len: usize, to: *mut u8) -> Option<()> {
        if len == 0 || len > N {
            return None;
        }
        // SAFETY: the caller vouches for `to`; the helper checks the packet's end.
        let result =
            unsafe { bpf_xdp_load_bytes(self.context.as_ptr().cast(), 0, to.cast(), len as u32) };
        (result == 0).then_some(())
    }
}

/// The sum of a constant number of bytes, added to a sum.
macro_rules! sum_step {
    ($packet:ident, $at:ident, $sum:ident, $bytes:literal) => {{
        let start = $packet.pointer($at, $bytes)?;
        // SAFETY: `$bytes` bytes from `start` on are within the packet.
        let sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, start.cast(), $bytes, $sum) };
        if sum < 0 {
            return None;
        }
        $sum = sum as u32;
        $at += $bytes;
    }};
}

impl XdpPacket {
    /// [`Packet::sum`] in steps of constant size, because that is what the
    /// verifier can follow and what every kernel's helper takes (512 bytes at most
    /// before 6.13).
    #[inline(always)]
    fn sum_in_steps(&self, at: usize, len: usize) -> Option<u32> {
        let (mut at, mut left, mut sum) = (at & 0xfff, len, 0u32);
        for _ in 0..8 {
            if left < 512 {
                break;
            }
            sum_step!(self, at, sum, 512);
            left -= 512;
        }
        if left >= 512 {
            return None;
        }
        if left & 256 != 0 {
            sum_step!(self, at, sum, 256);
        }
        if left & 128 != 0 {
            sum_step!(self, at, sum, 128);
        }
        if left & 64 != 0 {
            sum_step!(self, at, sum, 64);
        }
        if left & 32 != 0 {
            sum_step!(self, at, sum, 32);
        }
        if left & 16 != 0 {
            sum_step!(self, at, sum, 16);
        }
        if left & 8 != 0 {
            sum_step!(self, at, sum, 8);
        }
        if left & 4 != 0 {
            sum_step!(self, at, sum, 4);
        }
        // By copy, because the check of a single byte's end becomes `start >= end`,
        // of which the verifier learns nothing.
        let mut rest = [0u8; 4];
        let tail = left & 3;
        if tail != 0 {
            self.copy(at, tail, &mut rest)?;
        }
        let rest = u32::from_ne_bytes(rest);
        Some((sum & 0xffff) + (sum >> 16) + (rest & 0xffff) + (rest >> 16))
    }
}

/// A global function: the verifier looks at its many branches once. All ones if
/// the packet is shorter.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sum_packet(context: *mut xdp_md, at: u32, len: u32) -> u64 {
    let packet = XdpPacket::new(XdpContext::new(context));
    match packet.sum_in_steps(at as usize, len as usize) {
        Some(sum) => sum as u64,
        None => u64::MAX,
    }
}

/// See [`sum_packet`]; returns the change of the checksum.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn clamp_packet_mss(context: *mut xdp_md, at: u32, len: u32, mss: u32) -> u32 {
    let mut packet = XdpPacket::new(XdpContext::new(context));
    rewrite::clamp_mss(&mut packet, (at & 0xff) as usize, len as usize, mss as u16).to_sum()
}

/// See [`sum_packet`]; a [`Verdict`] as a word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn forward_straight(context: *mut xdp_md, now_ns: u64) -> u64 {
    let mut packet = XdpPacket::new(XdpContext::new(context));
    let ifindex = packet.ifindex();
    forward::straight(&Maps, &mut packet, ifindex, Moment::from_ns(now_ns)).to_word()
}

/// See [`sum_packet`]; a [`Verdict`] as a word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn forward_open(context: *mut xdp_md, now_ns: u64) -> u64 {
    let mut packet = XdpPacket::new(XdpContext::new(context));
    let ifindex = packet.ifindex();
    forward::open(&Maps, &mut packet, ifindex, Moment::from_ns(now_ns)).to_word()
}

/// See [`sum_packet`]; a [`Verdict`] as a word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn forward_aside(context: *mut xdp_md, now_ns: u64, step: u64) -> u64 {
    let mut packet = XdpPacket::new(XdpContext::new(context));
    let ifindex = packet.ifindex();
    let moment = Moment::from_ns(now_ns);
    forward::aside(&Maps, &mut packet, ifindex, moment, Aside(step)).to_word()
}

impl Packet for XdpPacket {
    #[inline(always)]
    fn len(&self) -> usize {
        // Not `data_end - data`: LLVM subtracts in 32 bits where it can, and the
        // verifier says "32-bit pointer arithmetic prohibited" (6.18).
        // SAFETY: the context is the program's own.
        unsafe { bpf_xdp_get_buff_len(self.context.as_ptr().cast()) as usize }
    }

    #[inline(always)]
    fn holds(&self, at: usize, len: usize) -> bool {
        self.data() + at + len <= self.data_end()
    }

    #[inline(always)]
    fn header<T: Header>(&self, at: usize) -> Option<&T> {
        let start = self.pointer(at, size_of::<T>())?;
        // SAFETY: within the packet, which stays where it is until it is resized,
        // and that takes `&mut self`. BPF loads any address.
        Some(unsafe { &*start.cast::<T>() })
    }

    #[inline(always)]
    fn header_mut<T: Header>(&mut self, at: usize) -> Option<&mut T> {
        let start = self.pointer(at, size_of::<T>())?;
        // SAFETY: as for `header`.
        Some(unsafe { &mut *start.cast::<T>() })
    }

    #[inline(always)]
    fn sum(&self, at: usize, len: usize) -> Option<u32> {
        let sum = sum_packet(self.context.ctx, at as u32, len as u32);
        (sum != u64::MAX).then_some(sum as u32)
    }

    #[inline(always)]
    fn copy<const N: usize>(&self, at: usize, len: usize, to: &mut [u8; N]) -> Option<()> {
        if len == 0 || len > N {
            return None;
        }
        // SAFETY: `to` has room for `len` bytes; the helper checks the packet's end.
        let result = unsafe {
            bpf_xdp_load_bytes(
                self.context.as_ptr().cast(),
                at as u32,
                to.as_mut_ptr().cast(),
                len as u32,
            )
        };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn grow_front(&mut self, bytes: usize) -> Option<()> {
        // SAFETY: the context is the program's own; pointers into the packet are
        // borrowed from `self` and do not outlive this call.
        let result = unsafe { bpf_xdp_adjust_head(self.context.as_ptr().cast(), -(bytes as i32)) };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn truncate(&mut self, len: usize) -> Option<()> {
        let change = len as i32 - self.len() as i32;
        // SAFETY: as for `grow_front`.
        let result = unsafe { bpf_xdp_adjust_tail(self.context.as_ptr().cast(), change) };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn clamp_mss(&mut self, at: usize, len: usize, mss: u16) -> Delta {
        Delta::from_sum(clamp_packet_mss(
            self.context.ctx,
            at as u32,
            len as u32,
            mss as u32,
        ))
    }

    #[inline(always)]
    fn straight<T: Tables>(&mut self, _: &T, _: u32, moment: Moment) -> Verdict {
        Verdict::from_word(forward_straight(self.context.ctx, moment.ns))
    }

    #[inline(always)]
    fn open<T: Tables>(&mut self, _: &T, _: u32, moment: Moment) -> Verdict {
        Verdict::from_word(forward_open(self.context.ctx, moment.ns))
    }

    #[inline(always)]
    fn aside<T: Tables>(&mut self, _: &T, _: u32, moment: Moment, step: Aside) -> Verdict {
        Verdict::from_word(forward_aside(self.context.ctx, moment.ns, step.0))
    }

    #[inline(always)]
    fn hand_over(&self, owner: Owner, awaited: &Awaited) -> Option<()> {
        let len = self.len();
        let mut entry = PUNTS.reserve::<Punt>(0)?;
        let punt = entry.as_mut_ptr();
        // SAFETY: the reservation is as large as a `Punt` and this program's
        // alone. Every field before `frame` is written here, and of `frame` only
        // the `len` bytes that are copied are ever read.
        let copied = unsafe {
            describe(punt, awaited);
            (&raw mut (*punt).ifindex).write(self.ifindex());
            (&raw mut (*punt).owner).write(owner);
            (&raw mut (*punt).len).write(len as u32);
            self.copy_out::<PUNT_FRAME>(len, (&raw mut (*punt).frame).cast())
        };
        if copied.is_none() {
            entry.discard(0);
            return None;
        }
        entry.submit(0);
        Some(())
    }
}

/// Writes what the packet waits for.
///
/// # Safety
///
/// `punt` points to a `Punt` that may be written.
#[inline(always)]
unsafe fn describe(punt: *mut Punt, awaited: &Awaited) {
    let (kind, next_hop, fragment, source) = match *awaited {
        Awaited::NextHop(key, source) => (Punt::NEXT_HOP, key, NO_FRAGMENT, source),
        Awaited::Fragment(key) => (Punt::FRAGMENT, NO_NEXT_HOP, key, Addr::UNSPECIFIED),
    };
    // SAFETY: as the caller says.
    unsafe {
        (&raw mut (*punt).kind).write(kind);
        (&raw mut (*punt).next_hop).write(next_hop);
        (&raw mut (*punt).fragment).write(fragment);
        (&raw mut (*punt).source).write(source);
    }
}

const NO_NEXT_HOP: NextHopKey = NextHopKey {
    uplink: 0,
    address: Addr::UNSPECIFIED,
};
const NO_FRAGMENT: FragmentKey = FragmentKey {
    ifindex: 0,
    generation: 0,
    source: Addr::UNSPECIFIED,
    destination: Addr::UNSPECIFIED,
    id: 0,
    protocol: 0,
};
