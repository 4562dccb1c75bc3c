//! What rules and routes say of a flow: whether it may be opened, whether it may go on
//! after they changed, and what is remembered of a refusal. Security groups are asked
//! when a flow opens and never again (it is tracked); network ACLs and routes whenever
//! the generation of the ENI moved.

use crate::{
    addr::{Addr, V4},
    drop::DropReason,
    flow::{NewFlow, Opened},
    layout::{Decision, FlowKey, FlowRef, Hop, NextHopKey, OwnerKind, RefusalKey, Slot},
    offload::OnWire,
    policy::{self, Egress, Row},
    state::{Direction, ICMP},
    tables::Tables,
    time::Tick,
    verdict::Verdict,
};

/// What rules and routes say of a remote address on an ENI, and the generation they
/// are of.
#[derive(Clone, Copy)]
pub(crate) struct Outlook {
    pub eni: u32,
    pub generation: u64,
    pub row: Row,
}

/// The generation is read before anything it stands for, so that a decision is never
/// newer than its label.
#[inline(always)]
fn outlook<T: Tables>(tables: &T, eni: u32, remote: Addr) -> Option<Outlook> {
    let generation = tables.generation(eni);
    let row = policy::row(tables, tables.policy(eni)?, remote.v4())?;
    Some(Outlook {
        eni,
        generation,
        row,
    })
}

/// The neighbour that packets to a remote address are sent to, whose MAC is known; or
/// why there is none.
#[inline(always)]
fn next_hop<T: Tables>(tables: &T, outlook: &Outlook, remote: Addr) -> Result<Hop, Opened> {
    let egress = policy::egress(tables, outlook.row, remote);
    if egress.kind == Egress::BLACKHOLE {
        return Err(Opened::refused(DropReason::Blackhole));
    }
    if egress.kind == Egress::NO_ROUTE {
        return Err(Opened::refused(DropReason::NoRoute));
    }
    let key = NextHopKey {
        uplink: egress.uplink,
        address: egress.next_hop,
    };
    let Some(index) = tables.next_hop_index(&key) else {
        return Err(Opened::unresolved(outlook.eni));
    };
    match tables.next_hop(index) {
        Some(hop) if hop.mac.load() != 0 => {
            let home = tables.eni(outlook.eni).map(|eni| eni.uplink);
            Ok(Hop::new(index, home != Some(egress.uplink)))
        }
        _ => Err(Opened::unresolved(outlook.eni)),
    }
}

/// The neighbour that a destination is reached by from an ENI, whether its MAC is
/// known or not.
#[inline(always)]
pub fn route<T: Tables>(tables: &T, eni: u32, remote: Addr) -> Option<NextHopKey> {
    let outlook = outlook(tables, eni, remote)?;
    let egress = policy::egress(tables, outlook.row, remote);
    let leads = egress.kind == Egress::ON_LINK || egress.kind == Egress::VIA;
    leads.then_some(NextHopKey {
        uplink: egress.uplink,
        address: egress.next_hop,
    })
}

/// Whether the network ACL lets an ICMP error between an ENI and a remote address
/// pass. Security groups have no say: it is about a flow that they let pass.
#[inline(always)]
pub fn lets_error_pass<T: Tables>(
    tables: &T,
    eni: u32,
    remote: V4,
    direction: Direction,
    kind: [u8; 2],
) -> bool {
    let Some(outlook) = outlook(tables, eni, Addr::from_v4(remote)) else {
        return false;
    };
    let port = policy::icmp_port(kind[0], kind[1]);
    let denied = match direction {
        Direction::Forward => policy::out(tables, outlook.row, ICMP, port),
        Direction::Reply => policy::into(tables, outlook.row, ICMP, port),
    };
    denied & policy::Verdict::ACL_DENIES == 0
}

/// Decides on an open flow again, after its ENI's generation moved or when its next hop
/// was not known. A security group has no say any more: the flow is tracked.
#[inline(always)]
pub fn judge_again<T: Tables>(tables: &T, slot: &Slot) -> Opened {
    // What the slot has is read where it is needed: the frames of old kernels are scarce.
    let before = slot.decision();
    let protocol = || slot.state().protocol();
    let Some(outlook) = outlook(tables, slot.eni() as u32, slot.remote()) else {
        return Opened::refused(DropReason::NoPolicy);
    };
    let outside = before.outside_port();
    let reply_denied = policy::into(tables, outlook.row, protocol(), outside.number()) != 0;
    let port = slot.remote_port().number();
    let denied = policy::out(tables, outlook.row, protocol(), port);
    // Also of a flow that is stopped: it is answered from there.
    let (hop, mut judged) = match next_hop(tables, &outlook, slot.remote()) {
        Ok(hop) => (hop, Opened::flow(FlowRef { slot: 0, epoch: 0 })),
        Err(why) => (before.hop(), why),
    };
    if denied & policy::Verdict::ACL_DENIES != 0 {
        judged = Opened::refused(DropReason::NaclOut);
    }
    let after =
        Decision::new(outlook.generation, hop, outside).stopping(!judged.is_flow(), reply_denied);
    // Another CPU may have been faster, or the slot may be another flow's by now: what
    // is there then was decided later.
    slot.decision.compare_exchange(before.0, after.0);
    judged
}

/// What is remembered of a refusal besides the packet's flow key, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused(pub u64);

impl Refused {
    /// A packet into the VPC, on an ENI.
    #[inline(always)]
    pub const fn forward(eni: u32, reason: u32) -> Self {
        Self(eni as u64 & 0xffff | (reason as u64) << 16)
    }
}

/// Remembers that a packet into the VPC was refused by rules or routes.
#[inline(always)]
pub fn note_refusal<T: Tables>(
    tables: &T,
    key: &FlowKey,
    refused: Refused,
    on_wire: &OnWire,
    now: Tick,
) {
    let (inside, remote) = (key.inside_port.to_wire(), key.remote_port.to_wire());
    let refusal = RefusalKey {
        remote: key.remote,
        owners: (key.environment as u32) << 16 | refused.0 as u32 & 0xffff,
        ports: (inside as u32) << 16 | remote as u32,
        protocol: key.protocol as u32,
        reason: (refused.0 >> 16) as u32,
    };
    tables.refuse(&refusal, on_wire, now);
}

/// Remembers that the network ACL kept a reply out of the subnet.
#[inline(always)]
pub fn note_refused_reply<T: Tables>(
    tables: &T,
    slot: &Slot,
    protocol: u8,
    on_wire: &OnWire,
    now: Tick,
) {
    let (outside, remote) = (slot.outside_port().to_wire(), slot.remote_port().to_wire());
    let refusal = RefusalKey {
        remote: slot.remote(),
        owners: slot.owners.load(),
        ports: (outside as u32) << 16 | remote as u32,
        protocol: protocol as u32 | RefusalKey::REPLY,
        reason: DropReason::NaclIn as u32,
    };
    tables.refuse(&refusal, on_wire, now);
}

/// Counts a refusal for the ENI, and a refused reply for the environment too: exactly,
/// where what is remembered of tuples is bounded. The drop counters have the rest.
#[inline(always)]
pub fn count_refusal<T: Tables>(tables: &T, verdict: Verdict) {
    let Some(other) = verdict.other() else {
        return;
    };
    let Some(index) = DropReason::refusal_index(verdict.reason_number()) else {
        return;
    };
    let (kind, owner) = verdict.owner().parts();
    let is_reply = matches!(kind, OwnerKind::Eni);
    let eni = if is_reply { owner } else { other };
    if let Some(state) = tables.eni_state(eni) {
        state.refused.count(index);
    }
    if is_reply && let Some(state) = tables.environment_state(other) {
        state.refused_replies.add(1);
    }
}

/// Whether a flow may be opened, by whatever needs no port.
#[inline(always)]
pub fn admit<T: Tables>(tables: &T, new: &NewFlow) -> Opened {
    match admission(tables, new) {
        Ok(_) => Opened::flow(FlowRef { slot: 0, epoch: 0 }),
        Err(why) => why,
    }
}

/// Where a flow that may be opened goes.
#[derive(Clone, Copy)]
pub(crate) struct Admission {
    pub outlook: Outlook,
    pub hop: Hop,
}

#[inline(always)]
pub(crate) fn admission<T: Tables>(tables: &T, new: &NewFlow) -> Result<Admission, Opened> {
    let remote = new.key.remote;
    let Some(environment) = tables.environment(new.key.environment as u32) else {
        return Err(Opened::refused(DropReason::LinkUnknown));
    };
    if !remote.v4().is_unicast() {
        return Err(Opened::refused(DropReason::DestinationNotUnicast));
    }
    if remote == environment.gateway {
        return Err(Opened::refused(DropReason::ToGateway));
    }
    let Some(group) = tables.group(environment.group) else {
        return Err(Opened::refused(DropReason::NoRoute));
    };
    // An emptied group names no ENI: what stands in its list is not its own.
    if group.count == 0 {
        return Err(Opened::refused(DropReason::NoRoute));
    }
    let Some(outlook) = outlook(tables, group.enis[0], remote) else {
        return Err(Opened::refused(DropReason::NoPolicy));
    };
    let port = new.key.remote_port.number();
    let denied = policy::out(tables, outlook.row, new.key.protocol, port);
    if denied & policy::Verdict::SG_DENIES != 0 {
        return Err(Opened::refused(DropReason::SgEgress));
    }
    if denied != 0 {
        return Err(Opened::refused(DropReason::NaclOut));
    }
    let hop = next_hop(tables, &outlook, remote)?;
    Ok(Admission { outlook, hop })
}
