//! Chance that a number decides.

/// A generator whose numbers are the same everywhere (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The generator of a number.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `sides`, which is not 0.
    pub const fn roll(&mut self, sides: usize) -> usize {
        (self.word() % sides as u64) as usize
    }

    /// A number of a closed range.
    pub const fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.roll(most - least + 1)
    }

    /// True once in so many times.
    pub const fn one_in(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }

    /// One of a list that is not empty.
    pub fn pick<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[self.roll(list.len())]
    }

    /// Some of a list, in its order.
    pub fn some<T: Clone>(&mut self, list: &[T], most: usize) -> Vec<T> {
        let mut taken = list.to_vec();
        let wanted = self.between(0, most.min(list.len()));
        while taken.len() > wanted {
            taken.remove(self.roll(taken.len()));
        }
        taken
    }
}
