//! The XDP hook: a frame before the kernel has made anything of it.

use aya_ebpf::{
    bindings::xdp_md,
    helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
};
use vpc_common::{
    flow::Moment,
    forward::{self, Aside},
    reply,
    verifier::masked,
};

use crate::{
    hook::{Hook, calls_of_global_functions, global_functions},
    maps::Maps,
    packet::KernelPacket,
};

/// More than any length that a header can tell.
const LEN_MASK: usize = 0xf_ffff;

/// The context of an XDP program.
#[derive(Clone, Copy)]
pub struct Xdp {
    context: *mut xdp_md,
}

impl Xdp {
    /// The program's own context.
    #[inline(always)]
    pub const fn new(context: *mut xdp_md) -> Self {
        Self { context }
    }
}

impl Hook for Xdp {
    const SEES_MARKS: bool = false;
    const REACHES_ALL: bool = false;

    #[inline(always)]
    fn data(self) -> usize {
        // SAFETY: the context is the program's own.
        unsafe { (&raw const (*self.context).data).read_volatile() as usize }
    }

    #[inline(always)]
    fn data_end(self) -> usize {
        // SAFETY: the context is the program's own.
        unsafe { (&raw const (*self.context).data_end).read_volatile() as usize }
    }

    #[inline(always)]
    fn packet_len(self) -> usize {
        // Not `data_end - data`: LLVM subtracts in 32 bits where it can, and the
        // verifier says "32-bit pointer arithmetic prohibited" (6.18).
        // SAFETY: the context is the program's own.
        unsafe { bpf_xdp_get_buff_len(self.context) as usize }
    }

    #[inline(always)]
    fn holds(self, at: usize, len: usize) -> bool {
        self.data() + at + masked::<LEN_MASK>(len) <= self.data_end()
    }

    #[inline(always)]
    fn ifindex(self) -> u32 {
        // SAFETY: the context is the program's own.
        unsafe { (*self.context).ingress_ifindex }
    }

    #[inline(always)]
    unsafe fn load(self, at: u32, to: *mut u8, len: u32) -> Option<()> {
        // SAFETY: the caller vouches for `to`; the helper checks the packet's end.
        let result = unsafe { bpf_xdp_load_bytes(self.context, at, to.cast(), len) };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn grow_front(self, bytes: usize) -> Option<()> {
        // SAFETY: the context is the program's own; pointers into the packet are
        // borrowed from it and do not outlive this call.
        let result = unsafe { bpf_xdp_adjust_head(self.context, -(bytes as i32)) };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn resize(self, len: usize) -> Option<()> {
        let change = len as i32 - self.packet_len() as i32;
        // SAFETY: as for `grow_front`.
        let result = unsafe { bpf_xdp_adjust_tail(self.context, change) };
        (result == 0).then_some(())
    }

    calls_of_global_functions!(
        xdp_sum,
        xdp_clamp_mss,
        xdp_straight,
        xdp_open,
        xdp_aside,
        xdp_reply,
        xdp_reply_aside
    );
}

global_functions!(
    Xdp,
    xdp_md,
    xdp_sum,
    xdp_clamp_mss,
    xdp_straight,
    xdp_open,
    xdp_aside,
    xdp_reply,
    xdp_reply_aside
);
