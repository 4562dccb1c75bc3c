//! Waiting for what happens soon: deadlines are for liveness, never a measure.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for something that should be there at once: on an emulated machine
/// at once is a while.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Whether `condition` holds before the deadline, asked every 20 ms.
pub fn eventually(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The first answer before the deadline.
pub fn find<T>(deadline: Duration, mut search: impl FnMut() -> Option<T>) -> Option<T> {
    let mut found = None;
    eventually(deadline, || {
        found = search();
        found.is_some()
    });
    found
}
