//! What differs between XDP and TC: how a program gets at a packet's bytes and at
//! the marks beside them.

use vpc_common::{
    checksum::Delta,
    layout::Punt,
    offload::{Partial, Segments},
};

/// The context of a program, which is a pointer and copied as one.
pub trait Hook: Copy {
    /// See [`vpc_common::packet::Packet::sees_marks`].
    const SEES_MARKS: bool;
    /// See [`vpc_common::packet::Packet::reaches`].
    const REACHES_ALL: bool;

    /// Where the packet starts, loaded anew for each access: from a check at a
    /// variable offset LLVM infers that a smaller constant one holds and leaves its
    /// check out, which the verifier cannot follow ("offset is outside of the
    /// packet").
    fn data(self) -> usize;

    /// Where the bytes end that can be accessed directly, loaded anew for each
    /// access: one that is kept is zero-extended again by LLVM and is no pointer to
    /// the verifier afterwards.
    fn data_end(self) -> usize;

    /// Bytes of the packet.
    fn packet_len(self) -> usize;

    /// Whether the packet is so long.
    fn holds(self, at: usize, len: usize) -> bool;

    /// Interface it arrived on.
    fn ifindex(self) -> u32;

    /// Copies `len` bytes from an offset on.
    ///
    /// # Safety
    ///
    /// `to` points to at least `len` writable bytes.
    unsafe fn load(self, at: u32, to: *mut u8, len: u32) -> Option<()>;

    /// Adds bytes before the Ethernet header.
    fn grow_front(self, bytes: usize) -> Option<()>;

    /// Cuts the packet to a length.
    fn resize(self, len: usize) -> Option<()>;

    /// See [`vpc_common::packet::Packet::segments`].
    #[inline(always)]
    fn segments(self) -> Segments {
        Segments::NONE
    }

    /// See [`vpc_common::packet::Packet::big_len`].
    #[inline(always)]
    fn big_len(self, _at: usize) -> u32 {
        0
    }

    /// See [`vpc_common::packet::Packet::partial`].
    #[inline(always)]
    fn partial(self) -> Partial {
        Partial::NONE
    }

    /// See [`Punt::checksum`].
    #[inline(always)]
    fn punted_checksum(self) -> u32 {
        Punt::BY_VALUE
    }

    /// See [`vpc_common::packet::Packet::is_tagged`].
    #[inline(always)]
    fn is_tagged(self) -> bool {
        false
    }

    /// See [`vpc_common::packet::Packet::note_change`].
    #[inline(always)]
    fn note_change(self, _delta: Delta) {}

    /// All ones if the packet is shorter.
    fn sum(self, at: u32, len: u32) -> u64;

    /// Returns the change of the checksum.
    fn clamp_mss(self, at: u32, len: u32, mss: u32) -> u32;

    /// Returns a verdict as a word.
    fn straight(self, now_ns: u64) -> u64;

    /// Returns a verdict as a word.
    fn open(self, now_ns: u64) -> u64;

    /// Returns a verdict as a word.
    fn aside(self, now_ns: u64, step: u64) -> u64;

    /// Returns a verdict as a word.
    fn reply(self, now_ns: u64) -> u64;

    /// Returns a verdict as a word.
    fn reply_aside(self, now_ns: u64, step: u64) -> u64;
}

/// The global functions of a hook: the verifier looks at the many branches of each
/// once, and each has a frame of its own. They take and return words, besides the
/// context.
macro_rules! global_functions {
    (
        $hook:ty, $context:ty, $sum:ident, $clamp:ident, $straight:ident, $open:ident,
        $aside:ident, $reply:ident, $reply_aside:ident
    ) => {
        /// All ones if the packet is shorter.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $sum(context: *mut $context, at: u32, len: u32) -> u64 {
            let packet = KernelPacket::new(<$hook>::new(context));
            match packet.sum_in_steps(at as usize, len as usize) {
                Some(sum) => sum as u64,
                None => u64::MAX,
            }
        }

        /// Returns the change of the checksum.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $clamp(context: *mut $context, at: u32, len: u32, mss: u32) -> u32 {
            let mut packet = KernelPacket::new(<$hook>::new(context));
            packet
                .clamp_mss_here(at as usize, len as usize, mss as u16)
                .to_sum()
        }

        /// Returns a verdict as a word.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $straight(context: *mut $context, now_ns: u64) -> u64 {
            let hook = <$hook>::new(context);
            let moment = Moment::from_ns(now_ns);
            forward::straight(&Maps, &mut KernelPacket::new(hook), hook.ifindex(), moment).to_word()
        }

        /// Returns a verdict as a word.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $open(context: *mut $context, now_ns: u64) -> u64 {
            let hook = <$hook>::new(context);
            let moment = Moment::from_ns(now_ns);
            forward::open(&Maps, &mut KernelPacket::new(hook), hook.ifindex(), moment).to_word()
        }

        /// Returns a verdict as a word.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $aside(context: *mut $context, now_ns: u64, step: u64) -> u64 {
            let hook = <$hook>::new(context);
            let moment = Moment::from_ns(now_ns);
            let packet = &mut KernelPacket::new(hook);
            forward::aside(&Maps, packet, hook.ifindex(), moment, Aside(step)).to_word()
        }

        /// Returns a verdict as a word.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $reply(context: *mut $context, now_ns: u64) -> u64 {
            let hook = <$hook>::new(context);
            let moment = Moment::from_ns(now_ns);
            reply::straight(&Maps, &mut KernelPacket::new(hook), hook.ifindex(), moment).to_word()
        }

        /// Returns a verdict as a word.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $reply_aside(context: *mut $context, now_ns: u64, step: u64) -> u64 {
            let hook = <$hook>::new(context);
            let moment = Moment::from_ns(now_ns);
            let (packet, step) = (&mut KernelPacket::new(hook), reply::Aside(step));
            reply::aside(&Maps, packet, hook.ifindex(), moment, step).to_word()
        }
    };
}
pub(crate) use global_functions;

/// The methods of [`Hook`] that call them.
macro_rules! calls_of_global_functions {
    (
        $sum:ident, $clamp:ident, $straight:ident, $open:ident, $aside:ident, $reply:ident,
        $reply_aside:ident
    ) => {
        #[inline(always)]
        fn sum(self, at: u32, len: u32) -> u64 {
            $sum(self.context, at, len)
        }

        #[inline(always)]
        fn clamp_mss(self, at: u32, len: u32, mss: u32) -> u32 {
            $clamp(self.context, at, len, mss)
        }

        #[inline(always)]
        fn straight(self, now_ns: u64) -> u64 {
            $straight(self.context, now_ns)
        }

        #[inline(always)]
        fn open(self, now_ns: u64) -> u64 {
            $open(self.context, now_ns)
        }

        #[inline(always)]
        fn aside(self, now_ns: u64, step: u64) -> u64 {
            $aside(self.context, now_ns, step)
        }

        #[inline(always)]
        fn reply(self, now_ns: u64) -> u64 {
            $reply(self.context, now_ns)
        }

        #[inline(always)]
        fn reply_aside(self, now_ns: u64, step: u64) -> u64 {
            $reply_aside(self.context, now_ns, step)
        }
    };
}
pub(crate) use calls_of_global_functions;
