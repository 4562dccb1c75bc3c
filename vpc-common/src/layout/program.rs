//! Names of the programs in the kernel object.

/// XDP, on an environment link.
pub const FROM_ENVIRONMENT: &str = "from_environment";
/// XDP, on an uplink.
pub const FROM_UPLINK: &str = "from_uplink";
/// Raw tracepoint, run by test run only: args = now (ns, coarse monotonic),
/// first block, blocks, [`crate::expiry::SweepOptions`].
pub const SWEEP: &str = "sweep";
/// Raw tracepoint, run by test run only: args = owner, reason. Counts a packet
/// that the agent had to give up.
pub const COUNT_DROP: &str = "count_drop";
