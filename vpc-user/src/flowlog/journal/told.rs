//! What was told of each refusal so far. The kernel's counters of a refusal go on while
//! they are read, and end with their entry; the journal has the differences.

use std::collections::HashMap;

use vpc_common::layout::RefusalKey;

/// What was told of one entry of the kernel's table.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Told {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// [`Tick`](vpc_common::time::Tick) of the entry's first packet: another entry of the
    /// same key has another.
    pub first: u32,
}

/// By key.
pub type AllTold = HashMap<RefusalKey, Told>;

impl Told {
    /// What is to be told of an entry with these counts, after what was told of its key.
    pub const fn rest(self, before: Option<Self>) -> (u64, u64) {
        match before {
            Some(before) if before.first == self.first => (
                self.packets.saturating_sub(before.packets),
                self.bytes.saturating_sub(before.bytes),
            ),
            _ => (self.packets, self.bytes),
        }
    }
}
