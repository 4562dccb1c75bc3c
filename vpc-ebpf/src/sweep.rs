//! The sweep: run by the agent over windows of blocks, in the kernel, so that no
//! packet can come between a look and a deed.

use aya_ebpf::helpers::generated::bpf_loop;
use vpc_common::{
    expiry::{self, SweepOptions},
    layout::SweepResult,
    time::Tick,
};

use crate::maps::{Maps, SWEEP_RESULT};

/// Blocks of one run at most.
const BLOCKS_MAX: u32 = 4_096;

#[repr(C)]
struct Window {
    first: u32,
    now: Tick,
    options: SweepOptions,
}

extern "C" fn sweep_one(step: u64, window: *mut Window) -> i64 {
    // SAFETY: `bpf_loop` hands on the pointer that `run` gives it.
    let window = unsafe { &*window };
    // Counted in the map's value, not in the frame: the verifier follows what is
    // in a frame, and would look at every sum apart.
    let Some(result) = SWEEP_RESULT.get_ptr_mut(0) else {
        return 1;
    };
    // SAFETY: valid until the program ends; one sweep runs at a time, and a
    // second one could only make the figures wrong.
    let result = unsafe { &mut *result };
    let block = window.first.wrapping_add(step as u32);
    expiry::sweep_block(&Maps, block, window.now, window.options, result);
    0
}

/// Sweeps `count` blocks from `first` on.
#[inline(always)]
pub fn run(now_ns: u64, first: u32, count: u32, options: SweepOptions) {
    let mut window = Window {
        first,
        now: Tick::from_ns(now_ns),
        options,
    };
    let count = if count > BLOCKS_MAX {
        BLOCKS_MAX
    } else {
        count
    };
    let _ = SWEEP_RESULT.set(0, SweepResult::default(), 0);
    // SAFETY: the callback has the helper's signature and gets a pointer to this
    // frame, which outlives the loop.
    unsafe {
        bpf_loop(
            count,
            sweep_one as *mut core::ffi::c_void,
            (&raw mut window).cast(),
            0,
        );
    }
}
