//! From a verdict to an XDP action.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    maps::DevMap,
};
use vpc_common::{
    drop::DropReason,
    layout::{Link, Owner, Stat},
    tables::Tables as _,
    verdict::{Kind, Verdict},
};

use crate::maps::{ENVIRONMENT_PORTS, Maps, UPLINK_PORTS, count_dropped};

/// Where a program's packets go. Each program names its maps, so that the verifier
/// sees which one a redirect is on and calls it directly: one of two possible maps
/// costs an indirect call, 25 ns.
pub struct Ports {
    /// For what is sent on.
    pub onward: &'static DevMap,
    /// For what is answered.
    pub back: &'static DevMap,
}

/// From an environment.
pub const FORWARD: Ports = Ports {
    onward: &UPLINK_PORTS,
    back: &ENVIRONMENT_PORTS,
};
/// From an uplink.
pub const REPLY: Ports = Ports {
    onward: &ENVIRONMENT_PORTS,
    back: &UPLINK_PORTS,
};

/// Does what a verdict on a packet from `ifindex` says.
#[inline(always)]
pub fn perform(verdict: Verdict, ifindex: u32, ports: &Ports) -> u32 {
    match verdict.kind() {
        Kind::Send => match ports.onward.redirect(verdict.port().index(), 0) {
            Ok(action) => action,
            Err(_) => drop_packet(owner_of(ifindex), DropReason::RedirectFailed as u32),
        },
        Kind::Pass => XDP_PASS,
        Kind::HandedOver => XDP_DROP,
        Kind::Answer => {
            Maps.count(Stat::Answers);
            if verdict.reason_number() != 0 {
                drop_packet(verdict.owner(), verdict.reason_number());
            }
            // The answer is of our own making: if its way is gone, so is who asked.
            let index = Maps.link(ifindex).map_or(u32::MAX, |link| link.index);
            ports.back.redirect(index, 0).unwrap_or(XDP_DROP)
        }
        Kind::Drop | Kind::Open | Kind::Aside => {
            drop_packet(verdict.owner(), verdict.reason_number())
        }
    }
}

#[inline(always)]
fn drop_packet(owner: Owner, reason: u32) -> u32 {
    count_dropped(owner.0, reason);
    XDP_DROP
}

#[inline(always)]
fn owner_of(ifindex: u32) -> Owner {
    match Maps.link(ifindex) {
        Some(Link {
            kind: Link::UPLINK,
            index,
        }) => Owner::uplink(index),
        Some(link) => Owner::environment(link.index),
        None => Owner::HOST,
    }
}
