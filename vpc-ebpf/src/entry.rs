//! From a verdict to an action of a hook.

use aya_ebpf::{
    bindings::{
        TC_ACT_SHOT, TC_ACT_UNSPEC,
        xdp_action::{XDP_DROP, XDP_PASS},
    },
    helpers::{bpf_redirect, bpf_redirect_peer},
    maps::DevMap,
};
use vpc_common::{
    drop::DropReason,
    layout::{Environment, Link, Owner, Stat},
    tables::Tables as _,
    verdict::{Kind, Verdict},
};

use crate::{
    hook::Hook as _,
    maps::{ENVIRONMENT_PORTS, Maps, UPLINK_PORTS, count_dropped, count_verdict},
    skb::Skb,
};

/// Where an XDP program's frames go. Each program names its maps, so that the verifier
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

/// Does what a verdict on a frame from `ifindex` says.
#[inline(always)]
pub fn xdp(verdict: Verdict, ifindex: u32, ports: &Ports) -> u32 {
    match verdict.kind() {
        Kind::Send => match ports.onward.redirect(verdict.port().index(), 0) {
            Ok(action) => action,
            Err(_) => {
                count_dropped(owner_of(ifindex).0, DropReason::RedirectFailed as u32);
                XDP_DROP
            }
        },
        Kind::Pass => XDP_PASS,
        Kind::HandedOver => XDP_DROP,
        Kind::Answer => {
            count_answer(verdict);
            // The answer is of our own making: if its way is gone, so is who asked.
            let index = Maps.link(ifindex).map_or(u32::MAX, |link| link.index);
            ports.back.redirect(index, 0).unwrap_or(XDP_DROP)
        }
        Kind::Drop | Kind::Open | Kind::Aside => {
            count_verdict(verdict.to_word());
            XDP_DROP
        }
    }
}

/// Does what a verdict on a packet says; what is sent on goes by `ports`.
#[inline(always)]
pub fn tc(verdict: Verdict, skb: Skb, ports: &DevMap) -> i32 {
    match verdict.kind() {
        Kind::Send => send(verdict, skb, ports),
        // To the next program, and the stack in the end.
        Kind::Pass => TC_ACT_UNSPEC,
        Kind::HandedOver => TC_ACT_SHOT,
        Kind::Answer => {
            count_answer(verdict);
            let ifindex = skb.ifindex();
            skb.note_target(ifindex);
            // SAFETY: the helper takes any number.
            (unsafe { bpf_redirect(ifindex, 0) }) as i32
        }
        Kind::Drop | Kind::Open | Kind::Aside => {
            count_verdict(verdict.to_word());
            TC_ACT_SHOT
        }
    }
}

/// The kernel empties an entry of the table of ports when its interface goes, so
/// that the number is never another interface's.
#[inline(always)]
fn send(verdict: Verdict, skb: Skb, ports: &DevMap) -> i32 {
    let index = verdict.port().index();
    let Some(ifindex) = ports.get_ifindex(index) else {
        count_dropped(owner_of(skb.ifindex()).0, DropReason::RedirectFailed as u32);
        return TC_ACT_SHOT;
    };
    skb.note_target(ifindex);
    let peer = !verdict.port().is_uplink()
        && Maps
            .environment(index)
            .is_some_and(|environment| environment.flags & Environment::PEER != 0);
    // SAFETY: the helpers take any number.
    (unsafe {
        if peer {
            bpf_redirect_peer(ifindex, 0)
        } else {
            bpf_redirect(ifindex, 0)
        }
    }) as i32
}

#[inline(always)]
fn count_answer(verdict: Verdict) {
    Maps.count(Stat::Answers);
    if verdict.reason_number() != 0 {
        count_verdict(verdict.to_word());
    }
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
