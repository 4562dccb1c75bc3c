//! [`Packet`] over a kernel buffer, by direct access.

use aya_ebpf::helpers::bpf_csum_diff;
use vpc_common::{
    addr::Addr,
    checksum::Delta,
    flow::Moment,
    forward::Aside,
    layout::{FragmentKey, NextHopKey, Owner, PUNT_FRAME, Punt},
    offload::{Partial, Segments},
    packet::{Header, Packet},
    reply, rewrite,
    tables::Tables,
    verdict::{Awaited, Verdict},
    verifier::at_least_one,
};

use crate::{hook::Hook, maps::PUNTS};

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

/// The packet of a program on a hook.
pub struct KernelPacket<H> {
    hook: H,
}

impl<H: Hook> KernelPacket<H> {
    /// The packet of a context.
    #[inline(always)]
    pub const fn new(hook: H) -> Self {
        Self { hook }
    }

    /// Its hook.
    #[inline(always)]
    pub const fn hook(&self) -> H {
        self.hook
    }

    /// A checked pointer to `len` bytes. The ends are loaded anew for each access:
    /// see [`Hook::data`].
    #[inline(always)]
    fn pointer(&self, at: usize, len: usize) -> Option<*mut u8> {
        let start = self.hook.data() + at;
        if start + len > self.hook.data_end() {
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
    unsafe fn copy_out<const N: usize>(&self, len: usize, to: *mut u8) -> Option<()> {
        let len = at_least_one(len);
        if len > N {
            return None;
        }
        // SAFETY: the caller vouches for `to`; the helper checks the packet's end.
        unsafe { self.hook.load(0, to, len as u32) }
    }

    /// [`rewrite::clamp_mss`], for the global function of a hook.
    #[inline(always)]
    pub fn clamp_mss_here(&mut self, at: usize, len: usize, mss: u16) -> Delta {
        rewrite::clamp_mss(self, at & 0xff, len, mss)
    }

    /// [`Packet::sum`], for the global function of a hook: in steps of constant size, because that is what the
    /// verifier can follow and what every kernel's helper takes (512 bytes at most
    /// before 6.13).
    #[inline(always)]
    pub fn sum_in_steps(&self, at: usize, len: usize) -> Option<u32> {
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

impl<H: Hook> Packet for KernelPacket<H> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.hook.packet_len()
    }

    #[inline(always)]
    fn holds(&self, at: usize, len: usize) -> bool {
        self.hook.holds(at, len)
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
        let sum = self.hook.sum(at as u32, len as u32);
        (sum != u64::MAX).then_some(sum as u32)
    }

    #[inline(always)]
    fn copy<const N: usize>(&self, at: usize, len: usize, to: &mut [u8; N]) -> Option<()> {
        let len = at_least_one(len);
        if len > N {
            return None;
        }
        // SAFETY: `to` has room for `len` bytes; the helper checks the packet's end.
        unsafe { self.hook.load(at as u32, to.as_mut_ptr(), len as u32) }
    }

    #[inline(always)]
    fn grow_front(&mut self, bytes: usize) -> Option<()> {
        self.hook.grow_front(bytes)
    }

    #[inline(always)]
    fn truncate(&mut self, len: usize) -> Option<()> {
        self.hook.resize(len)
    }

    #[inline(always)]
    fn sees_marks(&self) -> bool {
        H::SEES_MARKS
    }

    #[inline(always)]
    fn segments(&self) -> Segments {
        self.hook.segments()
    }

    #[inline(always)]
    fn big_len(&self, at: usize) -> u32 {
        self.hook.big_len(at)
    }

    #[inline(always)]
    fn partial(&self) -> Partial {
        self.hook.partial()
    }

    #[inline(always)]
    fn is_tagged(&self) -> bool {
        self.hook.is_tagged()
    }

    #[inline(always)]
    fn note_change(&mut self, delta: Delta) {
        self.hook.note_change(delta);
    }

    #[inline(always)]
    fn reaches(&self, link_has_xdp: bool) -> bool {
        H::REACHES_ALL || link_has_xdp
    }

    #[inline(always)]
    fn clamp_mss(&mut self, at: usize, len: usize, mss: u16) -> Delta {
        let sum = self.hook.clamp_mss(at as u32, len as u32, mss as u32);
        Delta::from_sum(sum)
    }

    #[inline(always)]
    fn straight<T: Tables>(&mut self, _: &T, _: u32, moment: Moment) -> Verdict {
        Verdict::from_word(self.hook.straight(moment.ns))
    }

    #[inline(always)]
    fn open<T: Tables>(&mut self, _: &T, _: u32, moment: Moment) -> Verdict {
        Verdict::from_word(self.hook.open(moment.ns))
    }

    #[inline(always)]
    fn aside<T: Tables>(&mut self, _: &T, _: u32, moment: Moment, step: Aside) -> Verdict {
        Verdict::from_word(self.hook.aside(moment.ns, step.0))
    }

    #[inline(always)]
    fn reply<T: Tables>(&mut self, _: &T, _: u32, moment: Moment) -> Verdict {
        Verdict::from_word(self.hook.reply(moment.ns))
    }

    #[inline(always)]
    fn reply_aside<T: Tables>(
        &mut self,
        _: &T,
        _: u32,
        moment: Moment,
        step: reply::Aside,
    ) -> Verdict {
        Verdict::from_word(self.hook.reply_aside(moment.ns, step.0))
    }

    #[inline(always)]
    fn hand_over(&self, owner: Owner, awaited: &Awaited) -> Option<()> {
        // The agent sends frames, not what a device would have to cut first.
        if self.segments().size != 0 {
            return None;
        }
        let len = self.len();
        let mut entry = PUNTS.reserve::<Punt>(0)?;
        let punt = entry.as_mut_ptr();
        // SAFETY: the reservation is as large as a `Punt` and this program's
        // alone. Every field before `frame` is written here, and of `frame` only
        // the `len` bytes that are copied are ever read.
        let copied = unsafe {
            describe(punt, awaited);
            (&raw mut (*punt).ifindex).write(self.hook.ifindex());
            (&raw mut (*punt).owner).write(owner);
            (&raw mut (*punt).len).write(len as u32);
            (&raw mut (*punt).checksum).write(self.hook.punted_checksum());
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
