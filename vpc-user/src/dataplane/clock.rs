//! The one place in which the data plane reads clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use vpc_common::time::Tick;

/// Nanoseconds of `CLOCK_MONOTONIC`: the kernel programs' time, which they read
/// coarsely and which therefore runs a few milliseconds behind this.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place to write to, and this clock exists on
    // every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The wall clock, Unix nanoseconds.
fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// The wall clock, Unix seconds.
pub fn unix_secs() -> u64 {
    unix_ns() / 1_000_000_000
}

/// The wall clock, Unix milliseconds.
pub fn unix_ms() -> u64 {
    unix_ns() / 1_000_000
}

/// When tick 0 was by the wall clock as it is set now, Unix nanoseconds.
pub fn zero() -> u64 {
    unix_ns().saturating_sub(now_ns())
}

/// The tick it is now.
pub fn now_tick() -> Tick {
    Tick::from_ns(now_ns())
}
