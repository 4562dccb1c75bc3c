//! Access to a packet's bytes and to the marks beside them: the one thing that
//! differs between XDP, TC and a host test.

use crate::{
    checksum::Delta,
    flow::Moment,
    forward::{self, Aside},
    layout::Owner,
    offload::{Partial, Segments},
    reply, rewrite,
    tables::Tables,
    verdict::{Awaited, Verdict},
};

/// A header that can be laid over the bytes of a packet.
///
/// # Safety
///
/// The type is `repr(C)`, has no padding, is valid for every bit pattern and is
/// aligned to at most two bytes. Headers start at even offsets, because Ethernet
/// is 14 bytes and every IPv4 header a multiple of four.
pub unsafe trait Header: Copy {}

// SAFETY: bytes.
unsafe impl<const N: usize> Header for [u8; N] {}

/// The bytes of one packet, from its Ethernet header on.
///
/// Every access is checked against the end of the packet; none panics.
pub trait Packet {
    /// Bytes, from the Ethernet header to the end.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `len` bytes from an offset on are within the packet. Cheaper than
    /// [`Packet::len`] in the kernel.
    fn holds(&self, at: usize, len: usize) -> bool;

    /// The header at an offset, or `None` if the packet ends before it does.
    fn header<T: Header>(&self, at: usize) -> Option<&T>;

    /// The same, to write.
    fn header_mut<T: Header>(&mut self, at: usize) -> Option<&mut T>;

    /// The one's complement sum (RFC 1071) of `len` bytes, not folded to the end
    /// and not complemented; an odd last byte counts as the high one of a word.
    fn sum(&self, at: usize, len: usize) -> Option<u32>;

    /// Copies `len` bytes to the front of `to`; `None` if the packet or `to` is
    /// shorter.
    fn copy<const N: usize>(&self, at: usize, len: usize, to: &mut [u8; N]) -> Option<()>;

    /// Adds bytes before the Ethernet header; their content is not defined.
    fn grow_front(&mut self, bytes: usize) -> Option<()>;

    /// Cuts the packet to a length.
    fn truncate(&mut self, len: usize) -> Option<()>;

    /// Whether the hook sees the marks beside the bytes. Where it does not, a
    /// half-made checksum can be told by its value only.
    fn sees_marks(&self) -> bool {
        false
    }

    /// The segments that a device will cut the packet into.
    fn segments(&self) -> Segments {
        Segments::NONE
    }

    /// Bytes from an offset to the end of a packet too long for the length field of
    /// its IPv4 header, which is 0 then; 0 if the packet is no such one.
    fn big_len(&self, _at: usize) -> u32 {
        0
    }

    /// Where a device is to finish a checksum.
    fn partial(&self) -> Partial {
        Partial::NONE
    }

    /// Whether the packet has a VLAN tag beside its bytes.
    fn is_tagged(&self) -> bool {
        false
    }

    /// The sum of the packet's bytes changed, which a device may have computed when
    /// the packet arrived (`CHECKSUM_COMPLETE`).
    fn note_change(&mut self, _delta: Delta) {}

    /// Whether the hook can send to a link: XDP only to one whose own hook is XDP,
    /// because another may lose the frame.
    fn reaches(&self, _link_has_xdp: bool) -> bool {
        true
    }

    /// [`rewrite::clamp_mss`]; the kernel keeps it, and the options' copy, out of the
    /// hot path's frame.
    fn clamp_mss(&mut self, at: usize, len: usize, mss: u16) -> Delta
    where
        Self: Sized,
    {
        rewrite::clamp_mss(self, at, len, mss)
    }

    /// [`forward::straight`]; in the kernel, each of these three has a frame of its
    /// own, because one of 512 bytes does not hold them all.
    fn straight<T: Tables>(&mut self, tables: &T, ifindex: u32, moment: Moment) -> Verdict
    where
        Self: Sized,
    {
        forward::straight(tables, self, ifindex, moment)
    }

    /// [`forward::open`]; as for [`Packet::straight`].
    fn open<T: Tables>(&mut self, tables: &T, ifindex: u32, moment: Moment) -> Verdict
    where
        Self: Sized,
    {
        forward::open(tables, self, ifindex, moment)
    }

    /// [`forward::aside`]; as for [`Packet::straight`].
    fn aside<T: Tables>(&mut self, tables: &T, ifindex: u32, moment: Moment, step: Aside) -> Verdict
    where
        Self: Sized,
    {
        forward::aside(tables, self, ifindex, moment, step)
    }

    /// [`reply::straight`]; as for [`Packet::straight`].
    fn reply<T: Tables>(&mut self, tables: &T, ifindex: u32, moment: Moment) -> Verdict
    where
        Self: Sized,
    {
        reply::straight(tables, self, ifindex, moment)
    }

    /// [`reply::aside`]; as for [`Packet::straight`].
    fn reply_aside<T: Tables>(
        &mut self,
        tables: &T,
        ifindex: u32,
        moment: Moment,
        step: reply::Aside,
    ) -> Verdict
    where
        Self: Sized,
    {
        reply::aside(tables, self, ifindex, moment, step)
    }

    /// Hands the packet as it is to the agent, to come back when what it waits for
    /// is there; should the agent give up, it counts the drop for `owner`. `None`
    /// if the agent has no room.
    fn hand_over(&self, owner: Owner, awaited: &Awaited) -> Option<()>;
}
