//! One record per packet, in trace builds only (feature `trace`): an enabled record
//! costs about 90 ns, and the call site alone thousands of verified instructions.

use aya_ebpf::EbpfContext;
use vpc_common::verdict::Verdict;

/// Records what became of a packet.
#[cfg(feature = "trace")]
#[inline(always)]
pub fn verdict<C: EbpfContext>(context: &C, ifindex: u32, verdict: Verdict) {
    aya_log_ebpf::debug!(
        context,
        "ifindex {} kind {} reason {} detail {}",
        ifindex,
        verdict.kind() as u8,
        verdict.reason_number(),
        (verdict.to_word() >> 32) as u32
    );
}

/// Nothing.
#[cfg(not(feature = "trace"))]
#[inline(always)]
pub fn verdict<C: EbpfContext>(_context: &C, _ifindex: u32, _verdict: Verdict) {}
