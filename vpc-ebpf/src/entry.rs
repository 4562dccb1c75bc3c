//! From a verdict to an XDP action.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    maps::DevMap,
};
use vpc_common::{
    drop::DropReason,
    layout::Stat,
    tables::Tables as _,
    verdict::{Kind, Outcome, Port},
};

use crate::maps::{ENVIRONMENT_PORTS, Maps, UPLINK_PORTS, count_drop};

/// Does what a verdict says.
#[inline(always)]
pub fn perform(outcome: Outcome) -> u32 {
    let verdict = outcome.verdict;
    let reason = match verdict.kind() {
        Kind::Pass => return XDP_PASS,
        Kind::HandedOver => return XDP_DROP,
        Kind::Send => match redirect(verdict.port()) {
            Some(action) => return action,
            None => DropReason::RedirectFailed as u32,
        },
        Kind::Answer => {
            Maps.count(Stat::Answers);
            if verdict.reason_number() != 0 {
                count_drop(outcome.owner, verdict.reason_number());
            }
            // The answer is of our own making: if its way is gone, so is who asked.
            return redirect(verdict.port()).unwrap_or(XDP_DROP);
        }
        Kind::Drop => verdict.reason_number(),
    };
    count_drop(outcome.owner, reason);
    XDP_DROP
}

#[inline(always)]
fn redirect(port: Port) -> Option<u32> {
    let map: &DevMap = if port.is_uplink() {
        &UPLINK_PORTS
    } else {
        &ENVIRONMENT_PORTS
    };
    map.redirect(port.index(), 0).ok()
}
