//! The TC hook: a packet with the marks that the stack keeps beside its bytes. It
//! may be a super-packet of many segments, and its transport checksum half made.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{
        bpf_csum_update, bpf_skb_change_head, bpf_skb_change_tail, bpf_skb_load_bytes,
        bpf_skb_pull_data, generated::bpf_probe_read_kernel,
    },
};
use vpc_common::{
    checksum::Delta,
    flow::Moment,
    forward::{self, Aside},
    layout::{SKB_WINDOW, SkbLayout},
    offload::{Partial, Segments},
    reply,
    state::{ICMP, TCP, UDP},
    wire::{arp::Arp, ethernet, icmp, ipv4, tcp, udp},
};

use crate::{
    hook::{Hook, calls_of_global_functions, global_functions},
    maps::Maps,
    packet::KernelPacket,
};

/// Filled in by whoever loads the programs.
#[unsafe(no_mangle)]
static SKB_LAYOUT: SkbLayout = SkbLayout {
    start: 0,
    ip_summed: 0,
    ip_summed_shift: 0,
    csum_start: 0,
    csum_offset: 0,
    mac_header: 0,
    reserved: [0; 7],
};

/// `CHECKSUM_PARTIAL` of the kernel's linux/skbuff.h.
const CHECKSUM_PARTIAL: u8 = 3;

/// The context of a TC program.
#[derive(Clone, Copy)]
pub struct Skb {
    context: *mut __sk_buff,
}

impl Skb {
    /// The program's own context.
    #[inline(always)]
    pub const fn new(context: *mut __sk_buff) -> Self {
        Self { context }
    }

    /// Leaves the interface a packet is sent to where a test run shows it: the agent
    /// has packets decided on that way, and sends them itself.
    #[inline(always)]
    pub fn note_target(self, ifindex: u32) {
        // SAFETY: the context is the program's own, and the control block a
        // classifier's to use.
        unsafe { (*self.context).cb[0] = ifindex };
    }

    /// Makes directly accessible every header that a decision looks at.
    #[inline(always)]
    pub fn pull_headers(self) {
        self.pull(ethernet::LEN + size_of::<Arp>());
        let Some([version, protocol]) = self.version_and_protocol() else {
            return;
        };
        let l4 = ethernet::LEN + ((version & 0x0f) as usize) * 4;
        match protocol {
            TCP => {
                self.pull(l4 + tcp::LEN);
                let offset = self.byte(l4 + 12).unwrap_or_default();
                self.pull(l4 + ((offset >> 4) as usize) * 4);
            }
            UDP => self.pull(l4 + udp::LEN),
            // With the packet that an error quotes.
            ICMP => self.pull(l4 + icmp::LEN + ipv4::LEN_MAX + tcp::LEN),
            _ => self.pull(l4),
        }
    }

    #[inline(always)]
    fn version_and_protocol(self) -> Option<[u8; 2]> {
        let protocol = self.byte(ethernet::LEN + 9)?;
        Some([self.byte(ethernet::LEN)?, protocol])
    }

    #[inline(always)]
    fn byte(self, at: usize) -> Option<u8> {
        let start = self.data() + at;
        // Two bytes, because the check of a single one becomes `start >= end`, of
        // which the verifier learns nothing.
        if start + 2 > self.data_end() {
            return None;
        }
        // SAFETY: within the packet as just checked.
        Some(unsafe { *(start as *const u8) })
    }

    /// Makes the first `len` bytes directly accessible, or all if there are fewer.
    #[inline(always)]
    fn pull(self, len: usize) {
        if self.data() + len <= self.data_end() {
            return;
        }
        let all = self.packet_len();
        let len = if len < all { len } else { all };
        // SAFETY: the context is the program's own; nobody holds a pointer into
        // the packet here.
        unsafe { bpf_skb_pull_data(self.context, len as u32) };
    }

    /// Read from the kernel's own structure, because nothing else tells: a guest may
    /// ask for any two bytes of its packet to be overwritten on the way out, after
    /// they were checked and translated.
    #[inline(always)]
    fn read_partial(self) -> Partial {
        let mut window = [0u8; SKB_WINDOW];
        // SAFETY: volatile as for `place`; the helper checks what it reads.
        let result = unsafe {
            let start = (&raw const SKB_LAYOUT.start).read_volatile() as usize;
            let from = self.context.cast::<u8>().add(start);
            bpf_probe_read_kernel(
                window.as_mut_ptr().cast(),
                SKB_WINDOW as u32,
                from.cast_const().cast(),
            )
        };
        if result != 0 {
            // Nothing a checksum could be at: the packet is dropped.
            return Partial::new(0, 0);
        }
        let summed = window[Self::place(&raw const SKB_LAYOUT.ip_summed)];
        let shift = Self::place(&raw const SKB_LAYOUT.ip_summed_shift) & 7;
        if summed >> shift & 3 != CHECKSUM_PARTIAL {
            return Partial::NONE;
        }
        let start = half_word(&window, Self::place(&raw const SKB_LAYOUT.csum_start));
        let mac = half_word(&window, Self::place(&raw const SKB_LAYOUT.mac_header));
        let offset = half_word(&window, Self::place(&raw const SKB_LAYOUT.csum_offset));
        Partial::new(start.wrapping_sub(mac), offset)
    }

    /// A field of the layout. Volatile, because what stands in the object is not
    /// what will be there when it runs.
    #[inline(always)]
    fn place(field: *const u8) -> usize {
        // SAFETY: a field of a static.
        (unsafe { field.read_volatile() }) as usize % SKB_WINDOW
    }
}

#[inline(always)]
fn half_word(window: &[u8; SKB_WINDOW], at: usize) -> u16 {
    u16::from_ne_bytes([window[at], window[(at + 1) % SKB_WINDOW]])
}

impl Hook for Skb {
    const SEES_MARKS: bool = true;
    const REACHES_ALL: bool = true;

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
        // SAFETY: the context is the program's own.
        unsafe { (*self.context).len as usize }
    }

    #[inline(always)]
    fn holds(self, at: usize, len: usize) -> bool {
        at + len <= self.packet_len()
    }

    #[inline(always)]
    fn ifindex(self) -> u32 {
        // SAFETY: the context is the program's own.
        unsafe { (*self.context).ifindex }
    }

    #[inline(always)]
    unsafe fn load(self, at: u32, to: *mut u8, len: u32) -> Option<()> {
        // SAFETY: the caller vouches for `to`; the helper checks the packet's end.
        let result = unsafe { bpf_skb_load_bytes(self.context.cast(), at, to.cast(), len) };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn grow_front(self, bytes: usize) -> Option<()> {
        // SAFETY: the context is the program's own; pointers into the packet are
        // borrowed from it and do not outlive this call.
        let result = unsafe { bpf_skb_change_head(self.context, bytes as u32, 0) };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn resize(self, len: usize) -> Option<()> {
        // SAFETY: as for `grow_front`.
        let result = unsafe { bpf_skb_change_tail(self.context, len as u32, 0) };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn segments(self) -> Segments {
        // SAFETY: the context is the program's own.
        unsafe {
            Segments {
                size: (*self.context).gso_size,
                count: (*self.context).gso_segs,
            }
        }
    }

    #[inline(always)]
    fn big_len(self, at: usize) -> u32 {
        let cut = self.segments().size != 0;
        if cut {
            (self.packet_len() - at) as u32
        } else {
            0
        }
    }

    #[inline(always)]
    fn partial(self) -> Partial {
        Partial::from_word(skb_partial(self.context))
    }

    #[inline(always)]
    fn punted_checksum(self) -> u32 {
        self.partial().to_word()
    }

    #[inline(always)]
    fn is_tagged(self) -> bool {
        // SAFETY: the context is the program's own.
        unsafe { (*self.context).vlan_present != 0 }
    }

    #[inline(always)]
    fn note_change(self, delta: Delta) {
        // Refused unless the device has summed: fine.
        // SAFETY: the context is the program's own.
        unsafe { bpf_csum_update(self.context, delta.to_sum()) };
    }

    calls_of_global_functions!(
        skb_sum,
        skb_clamp_mss,
        skb_straight,
        skb_open,
        skb_aside,
        skb_reply,
        skb_reply_aside
    );
}

global_functions!(
    Skb,
    __sk_buff,
    skb_sum,
    skb_clamp_mss,
    skb_straight,
    skb_open,
    skb_aside,
    skb_reply,
    skb_reply_aside
);

/// [`Partial`] as a word; a function of its own, because the window takes a part of
/// every caller's frame.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn skb_partial(context: *mut __sk_buff) -> u32 {
    Skb::new(context).read_partial().to_word()
}
