//! The packet table through the loaded programs, by program test run, against the
//! host functions: the same verdicts, bytes and counters.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tests::kernel::with_kernel;
use vpc_common::packet_table::{CASES, Host, STREAMS, differential};

#[test]
fn every_case_holds_in_the_kernel() {
    with_kernel(|kernel| {
        let mut failed = Vec::new();
        for case in CASES.iter().flat_map(|cases| cases.iter()) {
            if catch_unwind(AssertUnwindSafe(|| case.check(kernel))).is_err() {
                failed.push(case.name);
            }
        }
        assert!(failed.is_empty(), "{failed:#?}");
    });
}

#[test]
fn host_and_kernel_agree_on_damaged_frames() {
    with_kernel(|kernel| {
        for stream in 0..STREAMS {
            differential(stream, &mut [&mut Host::new(), kernel]);
        }
    });
}
