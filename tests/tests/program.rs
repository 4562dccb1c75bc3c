//! The packet table through the loaded programs, by program test run, against the
//! host functions: the same verdicts, bytes and counters.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tests::kernel::{Hook, with_kernel};
use vpc_common::packet_table::{CASES, Case, Host, STREAMS, XDP_CASES, differential};

fn every_case_holds(hook: Hook) {
    with_kernel(hook, |kernel| {
        let mut failed = Vec::new();
        let further: &[&[Case]] = match hook {
            Hook::Xdp => &[XDP_CASES],
            Hook::Tc => &[],
        };
        for case in CASES.iter().chain(further).flat_map(|cases| cases.iter()) {
            if catch_unwind(AssertUnwindSafe(|| case.check(kernel))).is_err() {
                failed.push(case.name);
            }
        }
        assert!(failed.is_empty(), "{failed:#?}");
    });
}

fn host_agrees_on_damaged_frames(hook: Hook) {
    with_kernel(hook, |kernel| {
        for stream in 0..STREAMS {
            let mut host = Host::new();
            host.tc = hook == Hook::Tc;
            differential(stream, &mut [&mut host, kernel]);
        }
    });
}

#[test]
fn every_case_holds_in_xdp() {
    every_case_holds(Hook::Xdp);
}

#[test]
fn every_case_holds_in_tc() {
    every_case_holds(Hook::Tc);
}

#[test]
fn host_and_xdp_agree_on_damaged_frames() {
    host_agrees_on_damaged_frames(Hook::Xdp);
}

#[test]
fn host_and_tc_agree_on_damaged_frames() {
    host_agrees_on_damaged_frames(Hook::Tc);
}
