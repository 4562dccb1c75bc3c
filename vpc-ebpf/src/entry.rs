//! From a verdict to an XDP action.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    maps::DevMap,
};
use vpc_common::{
    drop::DropReason,
    layout::{Link, Owner, Stat},
    tables::Tables as _,
    verdict::{Kind, Port, Verdict},
};

use crate::maps::{ENVIRONMENT_PORTS, Maps, UPLINK_PORTS, count_dropped};

/// Does what a verdict on a packet from `ifindex` says.
#[inline(always)]
pub fn perform(verdict: Verdict, ifindex: u32) -> u32 {
    match verdict.kind() {
        Kind::Send => match redirect(verdict.port()) {
            Some(action) => action,
            None => drop_packet(owner_of(ifindex), DropReason::RedirectFailed as u32),
        },
        Kind::Pass => XDP_PASS,
        Kind::HandedOver => XDP_DROP,
        Kind::Answer => {
            Maps.count(Stat::Answers);
            if verdict.reason_number() != 0 {
                drop_packet(verdict.owner(), verdict.reason_number());
            }
            // The answer is of our own making: if its way is gone, so is who asked.
            port_of(ifindex).and_then(redirect).unwrap_or(XDP_DROP)
        }
        Kind::Drop | Kind::Open | Kind::Aside => {
            drop_packet(verdict.owner(), verdict.reason_number())
        }
    }
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

#[inline(always)]
fn drop_packet(owner: Owner, reason: u32) -> u32 {
    count_dropped(owner.0, reason);
    XDP_DROP
}

/// The port that an interface is.
#[inline(always)]
fn port_of(ifindex: u32) -> Option<Port> {
    let link = Maps.link(ifindex)?;
    Some(match link.kind {
        Link::UPLINK => Port::uplink(link.index),
        _ => Port::environment(link.index),
    })
}

#[inline(always)]
fn owner_of(ifindex: u32) -> Owner {
    match port_of(ifindex) {
        Some(port) if port.is_uplink() => Owner::uplink(port.index()),
        Some(port) => Owner::environment(port.index()),
        None => Owner::HOST,
    }
}
