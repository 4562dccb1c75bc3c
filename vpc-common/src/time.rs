//! Time in the tables: coarse, 32 bits wide, compared by wrapping difference.

/// A moment: nanoseconds of the kernel's coarse monotonic clock, shifted right
/// by 26, so one tick is 67.1 ms and the counter wraps after nine years.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tick(pub u32);

/// Nanoseconds of one tick.
pub const TICK_NS: u64 = 1 << 26;

impl Tick {
    /// The tick that a clock reading (nanoseconds) falls into.
    pub const fn from_ns(ns: u64) -> Self {
        Self((ns >> 26) as u32)
    }

    /// Ticks from `earlier` to `self`; 0 when another CPU stored a later one.
    pub const fn since(self, earlier: Self) -> u32 {
        let ticks = self.0.wrapping_sub(earlier.0);
        if ticks > u32::MAX / 2 { 0 } else { ticks }
    }
}

/// The ticks after which `seconds` have surely passed: rounded up and one more,
/// because a stamp may lie anywhere inside its tick. Expiry never comes early.
pub const fn ticks_from_secs(seconds: u32) -> u32 {
    let ticks = (seconds as u64 * 1_000_000_000).div_ceil(TICK_NS) + 1;
    if ticks > (u32::MAX / 2) as u64 {
        u32::MAX / 2
    } else {
        ticks as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_never_ends_early_and_less_than_three_ticks_late() {
        for seconds in [1, 10, 30, 120, 350, 7_440, 432_000] {
            let ticks = u64::from(ticks_from_secs(seconds));
            let limit = u64::from(seconds) * 1_000_000_000;
            for offset in [0, 1, TICK_NS - 1] {
                let (from, just_before) = (5 * TICK_NS + offset, 5 * TICK_NS + offset + limit - 1);
                let age = Tick::from_ns(just_before).since(Tick::from_ns(from));
                assert!(u64::from(age) < ticks);
                let late = Tick::from_ns(from + limit + 3 * TICK_NS).since(Tick::from_ns(from));
                assert!(u64::from(late) >= ticks);
            }
        }
    }

    #[test]
    fn differences_survive_the_wrap() {
        assert_eq!(Tick(3).since(Tick(u32::MAX - 1)), 5);
        assert_eq!(Tick(3).since(Tick(4)), 0);
    }
}
