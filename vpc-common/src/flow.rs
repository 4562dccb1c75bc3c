//! A flow's life up to its end: look-up, opening, observation. Its end is in
//! [`crate::expiry`].
//!
//! Order for a new flow: judge, check the environment's quota and rate, claim a
//! connection of an ENI and a port, move the slot from `Free` to `Claiming`, fill
//! it, insert the forward entry with "must not exist", open the slot. Undone in
//! reverse. The environment's packet leaves only after that, so a reply finds the
//! slot open.

use crate::{
    drop::DropReason,
    judge::{self, Admission, Outlook},
    layout::{
        Decision, EniState, Environment, EnvironmentState, Event, FlowKey, FlowRef, GROUP_ENIS,
        Group, POOLS_PER_ENI, Slot, Stat,
    },
    offload::OnWire,
    policy,
    pool::{self, Claim, ClaimError, Peer, Purpose},
    state::{self, Direction, Phase, State, TCP, UDP, tcp_flags},
    tables::{Insertion, Tables},
    time::Tick,
};

/// The moment at which a packet is handled.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Nanoseconds of the coarse monotonic clock.
    pub ns: u64,
    /// The same in ticks.
    pub tick: Tick,
}

impl Moment {
    /// From a clock reading.
    #[inline(always)]
    pub const fn from_ns(ns: u64) -> Self {
        Self {
            ns,
            tick: Tick::from_ns(ns),
        }
    }
}

/// The pool of an ENI for a protocol.
#[inline(always)]
pub const fn pool_index(eni: u32, protocol: u8) -> u32 {
    eni * POOLS_PER_ENI + (protocol == UDP) as u32
}

/// The open flow of a key.
#[inline(always)]
pub fn lookup<'t, T: Tables>(tables: &'t T, key: &FlowKey) -> Option<(FlowRef, &'t Slot, State)> {
    let flow = tables.flow(key)?;
    let (slot, state) = resolve(tables, flow)?;
    Some((flow, slot, state))
}

/// The slot that a reference means, if that use of it is still open.
#[inline(always)]
pub fn resolve<T: Tables>(tables: &T, flow: FlowRef) -> Option<(&Slot, State)> {
    let slot = tables.slot(flow.slot)?;
    let state = slot.state();
    (state.epoch() == flow.epoch && state.is_open()).then_some((slot, state))
}

/// A flow to be opened.
#[derive(Clone, Copy, Debug)]
pub struct NewFlow {
    /// What identifies it.
    pub key: FlowKey,
    /// Now.
    pub moment: Moment,
    /// TCP: the acknowledgment that answers the SYN.
    pub expected_ack: u32,
}

/// How the opening of a flow ended, in one word: see [`crate::verdict`] for why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened(pub u64);

impl Opened {
    const INDEX: u64 = (1 << 24) - 1;
    const REFUSED: u64 = 1 << 24;
    const UNRESOLVED: u64 = 2 << 24;

    /// There is an open flow; it may be another CPU's.
    #[inline(always)]
    pub(crate) const fn flow(flow: FlowRef) -> Self {
        Self(flow.slot as u64 & Self::INDEX | (flow.epoch as u64) << 32)
    }

    #[inline(always)]
    pub(crate) const fn refused(reason: DropReason) -> Self {
        Self(reason as u64 | Self::REFUSED)
    }

    #[inline(always)]
    pub(crate) const fn unresolved(eni: u32) -> Self {
        Self(eni as u64 & Self::INDEX | Self::UNRESOLVED)
    }

    /// Whether there is a flow.
    #[inline(always)]
    pub const fn is_flow(self) -> bool {
        self.0 & (Self::REFUSED | Self::UNRESOLVED) == 0
    }

    /// The ENI whose next hop must be resolved first, if that is what is missing.
    #[inline(always)]
    pub const fn unresolved_eni(self) -> Option<u32> {
        if self.0 & Self::UNRESOLVED == 0 {
            return None;
        }
        Some((self.0 & Self::INDEX) as u32)
    }

    /// The number of the reason of a refusal.
    #[inline(always)]
    pub const fn reason_number(self) -> u32 {
        (self.0 & 0xff) as u32
    }

    /// The reason, if it was refused.
    pub const fn reason(self) -> Option<DropReason> {
        if self.0 & Self::REFUSED == 0 {
            return None;
        }
        DropReason::from_number(self.reason_number())
    }

    /// Whether every port or connection of the group, or every slot of the host, is
    /// in use.
    #[inline(always)]
    pub const fn is_exhausted(self) -> bool {
        self.0 == Self::refused(DropReason::PortsExhausted).0
            || self.0 == Self::refused(DropReason::SlabExhausted).0
    }
}

/// Opens a flow for an environment's packet that belongs to none.
#[inline(always)]
pub fn open<T: Tables>(tables: &T, new: &NewFlow) -> Opened {
    let index = new.key.environment as u32;
    let (Some(environment), Some(state)) =
        (tables.environment(index), tables.environment_state(index))
    else {
        return Opened::refused(DropReason::LinkUnknown);
    };
    let Some(group) = tables.group(environment.group) else {
        return Opened::refused(DropReason::NoRoute);
    };
    let admission = match judge::admission(tables, new) {
        Ok(admission) => admission,
        Err(why) => return why,
    };
    if state.flows.fetch_add(1) >= environment.flow_quota as u64 {
        state.flows.fetch_add(u64::MAX);
        return Opened::refused(DropReason::EnvironmentQuota);
    }
    let settled = if within_rate(environment, state, new.moment.ns) {
        settle(tables, new, group, &admission)
    } else {
        Settled::Refused(DropReason::NewFlowRate)
    };
    match settled {
        Settled::Mine(flow) => {
            tables.count(Stat::FlowsOpened);
            Opened::flow(flow)
        }
        Settled::Theirs(flow) => {
            state.flows.fetch_add(u64::MAX);
            Opened::flow(flow)
        }
        Settled::Refused(reason) => {
            state.flows.fetch_add(u64::MAX);
            Opened::refused(reason)
        }
    }
}

/// The new-flow rate of an environment: a generic cell rate algorithm in one word.
#[inline(always)]
fn within_rate(environment: &Environment, state: &EnvironmentState, now: u64) -> bool {
    let interval = environment.flow_interval_ns as u64;
    if interval == 0 {
        return true;
    }
    for _ in 0..4 {
        let expected = state.next_flow_ns.load();
        let Some(next) = next_flow(environment, expected, now) else {
            return false;
        };
        if state.next_flow_ns.compare_exchange(expected, next) {
            return true;
        }
    }
    false
}

/// When an environment that may open a flow at `expected` and does at `now` may open the
/// next one, nanoseconds; `None`: it may not open this one.
#[inline(always)]
pub const fn next_flow(environment: &Environment, expected: u64, now: u64) -> Option<u64> {
    let interval = environment.flow_interval_ns as u64;
    let start = if expected > now { expected } else { now };
    // One at a time always passes when none came lately.
    if start > now && start + interval - now > environment.flow_burst_ns {
        return None;
    }
    Some(start + interval)
}

/// A connection of an ENI and a port on it.
#[derive(Clone, Copy)]
struct Place {
    eni: u32,
    claim: Claim,
}

enum Settled {
    /// This CPU opened the flow.
    Mine(FlowRef),
    /// Another CPU opened it first.
    Theirs(FlowRef),
    /// Nobody did.
    Refused(DropReason),
}

/// Claims a place for the flow and opens it there.
#[inline(always)]
fn settle<T: Tables>(tables: &T, new: &NewFlow, group: &Group, admission: &Admission) -> Settled {
    let place = match claim_in_group(tables, group, new) {
        Ok(place) => place,
        Err(reason) => return Settled::Refused(reason),
    };
    let settled = fill(tables, new, admission, place);
    if !matches!(settled, Settled::Mine(_)) {
        pool::release(tables, place.claim.slot);
        leave(tables, place.eni);
    }
    settled
}

/// Fills the slot of a claimed port, links it and opens it; on failure the slot
/// is free again and the port still claimed.
#[inline(always)]
fn fill<T: Tables>(tables: &T, new: &NewFlow, admission: &Admission, place: Place) -> Settled {
    let Some(slot) = tables.slot(place.claim.slot) else {
        return Settled::Refused(DropReason::SlabExhausted);
    };
    let old = slot.state();
    let epoch = old.epoch().wrapping_add(1);
    let protocol = new.key.protocol;
    let claiming = State::new(Phase::Claiming, protocol, epoch);
    if old.phase() != Phase::Free || !slot.state.compare_exchange(old.0, claiming.0) {
        tables.count(Stat::SlotConflicts);
        return Settled::Refused(DropReason::PortsContended);
    }
    write(tables, slot, new, admission, place);
    let flow = FlowRef {
        slot: place.claim.slot,
        epoch,
    };
    let settled = match tables.insert_flow(&new.key, flow) {
        Insertion::Done => {
            let phase = if protocol == TCP {
                Phase::TcpSynSent
            } else {
                Phase::UdpNew
            };
            slot.state.store(claiming.with_phase(phase).0);
            return Settled::Mine(flow);
        }
        Insertion::Failed => Settled::Refused(DropReason::FlowTableFull),
        Insertion::Exists => match lookup(tables, &new.key) {
            Some((winner, ..)) => Settled::Theirs(winner),
            None => Settled::Refused(DropReason::FlowSetupRace),
        },
    };
    slot.state.store(claiming.with_phase(Phase::Free).0);
    settled
}

#[inline(always)]
fn write<T: Tables>(tables: &T, slot: &Slot, new: &NewFlow, admission: &Admission, place: Place) {
    let Outlook {
        eni,
        generation,
        row,
    } = admission.outlook;
    let port = place.claim.port;
    let reply_denied = policy::into(tables, row, new.key.protocol, port) != 0;
    // Judged for the first ENI of the group, and placed on another: that one's
    // generation is another count, so the flow is judged for it before it goes on.
    let generation = if place.eni == eni {
        generation
    } else {
        tables.generation(place.eni).wrapping_sub(1)
    };
    let outside = crate::addr::Port::new(port);
    let decision = Decision::new(generation, admission.hop, outside).stopping(false, reply_denied);
    let (inside, remote) = (new.key.inside_port.to_wire(), new.key.remote_port.to_wire());
    slot.decision.store(decision.0);
    slot.set_remote(new.key.remote);
    slot.owners
        .store((new.key.environment as u32) << 16 | place.eni);
    slot.ports.store((inside as u32) << 16 | remote as u32);
    slot.generation.store(new.key.generation);
    slot.begin(new.moment.tick, new.expected_ack);
}

/// A place on the first ENI of the group that has one.
#[inline(always)]
fn claim_in_group<T: Tables>(
    tables: &T,
    group: &Group,
    new: &NewFlow,
) -> Result<Place, DropReason> {
    let random = tables.random();
    let mut reason = DropReason::PortsExhausted;
    let mut i = 0;
    while i < GROUP_ENIS && (i as u32) < group.count {
        match claim_on(tables, group.enis[i], new, random) {
            Ok(place) => return Ok(place),
            Err(why) => reason = why,
        }
        i += 1;
    }
    Err(reason)
}

/// Looks for an expired flow on the group's ENIs, one of them a time, that no
/// sweep has seen yet: it gives up its port. Whether one did.
#[inline(always)]
pub fn reclaim<T: Tables>(tables: &T, new: &NewFlow) -> bool {
    let environment = tables.environment(new.key.environment as u32);
    let Some(group) = environment.and_then(|environment| tables.group(environment.group)) else {
        return false;
    };
    if group.count == 0 {
        return false;
    }
    let turn = if group.count > 1 {
        tables.random() % group.count
    } else {
        0
    };
    let eni = group.enis[turn as usize % GROUP_ENIS];
    tables.reclaim(eni, new.key.protocol, new.moment.tick)
}

/// Claims a connection of an ENI and a port of its pool.
#[inline(always)]
fn claim_on<T: Tables>(
    tables: &T,
    eni_index: u32,
    new: &NewFlow,
    random: u32,
) -> Result<Place, DropReason> {
    let (Some(eni), Some(state)) = (tables.eni(eni_index), tables.eni_state(eni_index)) else {
        return Err(DropReason::PortsExhausted);
    };
    let before = state.connections.fetch_add(1);
    if before >= eni.connection_limit as u64 {
        state.connections.fetch_add(u64::MAX);
        return Err(DropReason::PortsExhausted);
    }
    let (key, now) = (&new.key, new.moment.tick);
    let peer = Peer::of(key.remote, key.remote_port);
    let purpose = Purpose::new(peer, now);
    match tables.claim(pool_index(eni_index, key.protocol), random, purpose) {
        Ok(claim) => {
            if before + 1 >= eni.high_water as u64 {
                tell_high_water(tables, state, eni_index, before + 1);
            }
            Ok(Place {
                eni: eni_index,
                claim,
            })
        }
        Err(error) => {
            state.connections.fetch_add(u64::MAX);
            Err(match error {
                ClaimError::Exhausted => DropReason::PortsExhausted,
                ClaimError::SlabExhausted => DropReason::SlabExhausted,
                ClaimError::Contended => DropReason::PortsContended,
            })
        }
    }
}

/// Tells the agent once that an ENI is nearly full.
#[inline(always)]
fn tell_high_water<T: Tables>(tables: &T, state: &EniState, eni: u32, connections: u64) {
    if state.high_water_told.load() == 0 && state.high_water_told.compare_exchange(0, 1) {
        tables.event(Event {
            kind: Event::HIGH_WATER,
            eni,
            value: connections,
        });
    }
}

/// Gives back a connection of an ENI.
#[inline(always)]
pub(crate) fn leave<T: Tables>(tables: &T, eni_index: u32) {
    let (Some(eni), Some(state)) = (tables.eni(eni_index), tables.eni_state(eni_index)) else {
        return;
    };
    let left = state.connections.fetch_add(u64::MAX).wrapping_sub(1);
    // An eighth below the mark, so that a count hovering at it tells once.
    let rearm_below = eni.high_water as u64 / 8 * 7;
    if left < rearm_below && state.high_water_told.load() != 0 {
        state.high_water_told.store(0);
    }
}

/// What of a TCP segment moves the state machine.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Flags.
    pub flags: u8,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// The sequence number after it.
    pub end: u32,
}

/// Moves the flow's phase by a packet. `false` if the flow was taken down
/// meanwhile: the packet belongs to no flow then.
#[inline(always)]
pub fn observe(slot: &Slot, state: State, direction: Direction, segment: Option<&Segment>) -> bool {
    let (flags, credible) = match segment {
        Some(segment) => (
            segment.flags,
            credible(slot, state.phase(), direction, segment),
        ),
        None => (0, true),
    };
    let next = |phase| match segment {
        Some(_) => state::after_tcp(phase, direction, flags, credible),
        None => state::after_udp(phase, direction),
    };
    note_flags(slot, direction, flags);
    let mut state = state;
    for _ in 0..3 {
        let phase = state.phase();
        let after = next(phase);
        if after as u8 == phase as u8
            || slot
                .state
                .compare_exchange(state.0, state.with_phase(after).0)
        {
            return true;
        }
        let now = slot.state();
        if now.epoch() != state.epoch() || !now.is_open() {
            return false;
        }
        state = now;
    }
    true
}

/// Whether a segment may shorten the flow's life, and follows the remote's
/// sequence numbers. The environment may always end its own flow: its link
/// proves who it is. A remote could be anyone who guesses a tuple.
#[inline(always)]
fn credible(slot: &Slot, phase: Phase, direction: Direction, segment: &Segment) -> bool {
    if matches!(direction, Direction::Forward) {
        // A SYN that is tried again may have numbers of its own.
        if matches!(phase, Phase::TcpSynSent) && segment.flags & tcp_flags::SYN != 0 {
            slot.expected_ack.store(segment.sequence.wrapping_add(1));
        }
        return true;
    }
    if matches!(phase, Phase::TcpSynSent) {
        // Behind the SYN, or behind data that came with it (RFC 7413).
        let beyond = segment
            .acknowledgment
            .wrapping_sub(slot.expected_ack.load());
        let answers = beyond <= u16::MAX as u32;
        if segment.flags & tcp_flags::SYN != 0 && (answers || segment.flags & tcp_flags::ACK == 0) {
            slot.reply_next.store(segment.end);
        }
        return answers;
    }
    let next = slot.reply_next.load();
    let credible = state::is_credible(segment.sequence, next);
    if credible && (segment.end.wrapping_sub(next) as i32) > 0 {
        slot.reply_next.store(segment.end);
    }
    credible
}

/// Remembers the flags that flow logs report.
#[inline(always)]
fn note_flags(slot: &Slot, direction: Direction, flags: u8) {
    let telling = (flags & (tcp_flags::SYN | tcp_flags::FIN | tcp_flags::RST)) as u32;
    if telling == 0 {
        return;
    }
    // SYN/ACK is reported apart from SYN: bit 4 stands beside bit 1.
    let with_ack = if flags & tcp_flags::SYN != 0 {
        flags & tcp_flags::ACK
    } else {
        0
    } as u32;
    let bits = match direction {
        Direction::Forward => (telling | with_ack) << 8,
        Direction::Reply => telling | with_ack,
    };
    if slot.tcp_flags.load() & bits != bits {
        slot.tcp_flags.fetch_or(bits);
    }
}

/// Counts a packet on its flow, as it is on the wire. The stamp is stored only when
/// it changes, so that CPUs do not fight for the line.
#[inline(always)]
pub fn account(slot: &Slot, direction: Direction, on_wire: &OnWire, now: Tick) {
    let (packets, total, last) = match direction {
        Direction::Forward => (
            &slot.forward_packets,
            &slot.forward_bytes,
            &slot.forward_last,
        ),
        Direction::Reply => (&slot.reply_packets, &slot.reply_bytes, &slot.reply_last),
    };
    packets.add(on_wire.packets as u64);
    total.add(on_wire.bytes as u64);
    if last.load() != now.0 {
        last.store(now.0);
    }
}
