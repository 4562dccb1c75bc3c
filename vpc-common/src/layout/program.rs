//! Names of the programs in the kernel object.

/// XDP, on an environment link.
pub const FROM_ENVIRONMENT: &str = "from_environment";
/// XDP, on an uplink.
pub const FROM_UPLINK: &str = "from_uplink";
/// TC, on an environment link.
pub const TC_FROM_ENVIRONMENT: &str = "tc_from_environment";
/// TC, on an uplink.
pub const TC_FROM_UPLINK: &str = "tc_from_uplink";
/// The read-only global [`SkbLayout`](super::SkbLayout).
pub const SKB_LAYOUT: &str = "SKB_LAYOUT";
/// Raw tracepoint, run by test run only: args = now (ns, coarse monotonic),
/// first block, blocks, [`crate::expiry::SweepOptions`].
pub const SWEEP: &str = "sweep";
/// Raw tracepoint, run by test run only: args = owner, reason. Counts a packet
/// that the agent had to give up.
pub const COUNT_DROP: &str = "count_drop";
