//! From an environment into the VPC, in three steps:
//!
//! * [`straight`]: parse, look up, rewrite — what a packet of an open flow takes;
//! * [`open`]: opens the flow of a packet that has none, or decides again on one whose
//!   rules changed, after which the packet goes straight;
//! * [`aside`]: what few packets take: ARP, ICMP, later fragments, answers, handing
//!   over to the agent.
//!
//! Each parses the packet on its own, so that none has to keep what another needs.

mod aside;

use crate::{
    addr::{self, Addr, Mac, V4},
    drop::DropReason,
    flow::{self, Moment, NewFlow, Opened},
    judge::Refused,
    layout::{Eni, Environment, FlowKey, Link, Owner, Slot, Stat, Uplink},
    offload::{self, Checksum, OnWire},
    packet::Packet,
    rewrite::{self, Rewrite},
    state::{self, Direction, TCP, UDP},
    tables::Tables,
    transport,
    verdict::{Arrival, Kind, Port, Step, Verdict},
    wire::{
        ethernet::{self, Ethernet},
        ipv4,
    },
};

/// How often a packet is taken to be opened for at most.
const OPENINGS: u32 = 2;

/// Decides on a packet that arrived on an interface with the environments'
/// program, and rewrites it.
#[inline(always)]
pub fn from_environment<T: Tables, P: Packet>(
    tables: &T,
    packet: &mut P,
    ifindex: u32,
    moment: Moment,
) -> Verdict {
    let mut verdict = packet.straight(tables, ifindex, moment);
    let mut round = 0;
    // Once more, if rules changed between opening and going straight.
    while round < OPENINGS && verdict == Verdict::OPEN {
        verdict = packet.open(tables, ifindex, moment);
        if verdict == Verdict::OPEN {
            verdict = packet.straight(tables, ifindex, moment);
        }
        round += 1;
    }
    match verdict.kind() {
        Kind::Aside => packet.aside(tables, ifindex, moment, Aside(verdict.step())),
        // Opened and gone again before this packet took it.
        Kind::Open => From::run(tables, ifindex, moment, |_| {
            Err(DropReason::FlowSetupRace.into())
        }),
        _ => verdict,
    }
}

/// Decides on a packet of an open flow; [`Kind::Open`] and [`Kind::Aside`] say which
/// step decides instead.
#[inline(always)]
pub fn straight<T: Tables, P: Packet>(
    tables: &T,
    packet: &mut P,
    ifindex: u32,
    moment: Moment,
) -> Verdict {
    From::run(tables, ifindex, moment, |from| from.frame(packet))
}

/// Opens the flow of a packet, or decides on it again; [`Kind::Open`] when it may go
/// on.
#[inline(always)]
pub fn open<T: Tables, P: Packet>(
    tables: &T,
    packet: &mut P,
    ifindex: u32,
    moment: Moment,
) -> Verdict {
    From::run(tables, ifindex, moment, |from| from.open(packet))
}

/// Takes a step beside the straight way.
#[inline(always)]
pub fn aside<T: Tables, P: Packet>(
    tables: &T,
    packet: &mut P,
    ifindex: u32,
    moment: Moment,
    step: Aside,
) -> Verdict {
    From::run(tables, ifindex, moment, |from| from.aside(packet, step))
}

/// A step beside the straight way, in 56 bits: what, and with what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aside(pub u64);

impl Aside {
    /// Whatever is no TCP or UDP packet with ports in it.
    const OTHER: u64 = 0;
    /// The time to live ran out: tell the environment.
    const TIME_EXCEEDED: u64 = 1;
    /// A segment of no connection: reset it.
    const RESET: u64 = 2;
    /// The packet is larger than the MTU in the argument: tell the environment.
    const TOO_BIG: u64 = 3;
    /// The next hop on the uplink of the ENI in the argument is not known.
    const UNRESOLVED: u64 = 4;

    /// As a verdict.
    #[inline(always)]
    const fn verdict(what: u64, argument: u32) -> Verdict {
        Verdict::aside(what | (argument as u64) << 8)
    }

    #[inline(always)]
    const fn argument(self) -> u32 {
        (self.0 >> 8) as u32
    }
}

struct From<'t, T> {
    tables: &'t T,
    environment: &'t Environment,
    arrival: Arrival,
}

/// The way out of a flow.
struct Way<'t> {
    eni: &'t Eni,
    uplink: &'t Uplink,
    uplink_index: u32,
    next_hop: Mac,
}

impl<'t, T: Tables> From<'t, T> {
    /// Takes a step for the environment behind an interface.
    #[inline(always)]
    fn run(
        tables: &'t T,
        ifindex: u32,
        moment: Moment,
        step: impl FnOnce(&Self) -> Step<Verdict>,
    ) -> Verdict {
        let unknown = Verdict::from(DropReason::LinkUnknown);
        let Some(link) = tables.link(ifindex) else {
            return unknown;
        };
        let Some(environment) = tables.environment(link.index) else {
            return unknown;
        };
        if link.kind != Link::ENVIRONMENT || environment.ifindex != ifindex {
            return unknown;
        }
        let from = Self {
            tables,
            environment,
            arrival: Arrival {
                ifindex,
                index: link.index,
                moment,
            },
        };
        let (Ok(verdict) | Err(verdict)) = step(&from);
        verdict.of(Owner::environment(link.index))
    }

    #[inline(always)]
    fn frame<P: Packet>(&self, packet: &mut P) -> Step<Verdict> {
        let ethernet = packet
            .header::<Ethernet>(0)
            .ok_or(DropReason::FrameTruncated)?;
        if ethernet.ethertype != ethernet::IPV4 || packet.is_tagged() {
            return Ok(Aside::verdict(Aside::OTHER, 0));
        }
        let ip = self.parse(packet)?;
        let has_ports = ip.protocol == TCP && !ip.is_fragment()
            || ip.protocol == UDP && !ip.is_later_fragment();
        if !has_ports {
            return Ok(Aside::verdict(Aside::OTHER, 0));
        }
        self.datagram(packet, &ip)
    }

    /// The IPv4 header, sent by the environment itself.
    #[inline(always)]
    fn parse<P: Packet>(&self, packet: &P) -> Step<ipv4::View> {
        let ip = match ipv4::parse(packet, ethernet::LEN) {
            Err(_) if self.is_uncut(packet) => return Err(Verdict::PASS),
            parsed => parsed?,
        };
        if ip.source != self.environment.address.v4() {
            return Err(DropReason::SourceSpoofed.into());
        }
        if ip.checksum == Checksum::Misplaced {
            return Err(DropReason::ChecksumMisplaced.into());
        }
        Ok(ip)
    }

    #[inline(always)]
    fn is_uncut<P: Packet>(&self, packet: &P) -> bool {
        offload::is_uncut(packet, self.environment.mtu as u32)
    }

    #[inline(always)]
    fn datagram<P: Packet>(&self, packet: &mut P, ip: &ipv4::View) -> Step<Verdict> {
        if ip.ttl <= 1 {
            return Ok(Aside::verdict(Aside::TIME_EXCEEDED, 0));
        }
        let transport = transport::parse(packet, ip)?;
        let key = self.key(
            ip.destination,
            ip.protocol,
            transport.source,
            transport.destination,
        );
        let Some((flow, slot, state)) = flow::lookup(self.tables, &key) else {
            return Ok(Verdict::OPEN);
        };
        if transport.is_syn() && state::reopens(state.phase()) {
            return Ok(Verdict::OPEN);
        }
        let way = self.way(packet, slot)?;
        let on_wire = OnWire::of(packet.segments(), ip, transport.header_len);
        if on_wire.largest > way.uplink.mtu {
            return Ok(Aside::verdict(Aside::TOO_BIG, way.uplink.mtu));
        }
        let segment = (ip.protocol == TCP).then_some(&transport.segment);
        if !flow::observe(slot, state, Direction::Forward, segment) {
            return Err(DropReason::FlowSetupRace.into());
        }
        let id = self.outside_id(slot, ip, on_wire.packets);
        if ip.is_fragment() {
            self.note_first(flow, ip, id);
        }
        let rewrite = self.rewrite(&way, slot, id);
        let completed = rewrite::apply(packet, ip, &transport, &rewrite)?;
        if completed.0 {
            self.tables.count(Stat::ChecksumsCompleted);
        }
        flow::account(slot, Direction::Forward, &on_wire, self.arrival.moment.tick);
        Ok(Verdict::send(Port::uplink(way.uplink_index)))
    }

    #[inline(always)]
    fn key(
        &self,
        remote: V4,
        protocol: u8,
        inside_port: addr::Port,
        remote_port: addr::Port,
    ) -> FlowKey {
        FlowKey::new(
            self.arrival.index as u16,
            protocol,
            self.environment.generation,
            Addr::from_v4(remote),
            inside_port,
            remote_port,
        )
    }

    /// Opens a flow for a packet that may open one. A closing flow with the same
    /// key begins anew where it is: on another port the new connection could meet
    /// the server's TIME_WAIT of somebody else's.
    #[inline(always)]
    fn open<P: Packet>(&self, packet: &mut P) -> Step<Verdict> {
        let ip = self.parse(packet)?;
        let transport = transport::parse(packet, &ip)?;
        let new = NewFlow {
            key: self.key(
                ip.destination,
                ip.protocol,
                transport.source,
                transport.destination,
            ),
            moment: self.arrival.moment,
            expected_ack: transport.segment.sequence.wrapping_add(1),
        };
        if let Some((flow, slot, state)) = flow::lookup(self.tables, &new.key) {
            let eni = slot.eni() as u32;
            if transport.is_syn() && state::reopens(state.phase()) {
                let admitted = self.tables.admit(&new);
                if !admitted.is_flow() {
                    return self.judged(packet, admitted, &new.key, eni);
                }
                if !self.tables.reopen(flow.slot, state, &new) {
                    return Err(DropReason::FlowSetupRace.into());
                }
            }
            let judged = self.tables.judge_again(slot);
            return self.judged(packet, judged, &new.key, eni);
        }
        if !ip.destination.is_unicast() {
            return Err(DropReason::DestinationNotUnicast.into());
        }
        if ip.protocol == TCP && !transport.is_syn() {
            return Ok(Aside::verdict(Aside::RESET, 0));
        }
        self.learn_mac(packet);
        let mut opened = self.tables.open(&new);
        if opened.is_exhausted() && flow::reclaim(self.tables, &new) {
            opened = self.tables.open(&new);
        }
        let group = self.tables.group(self.environment.group);
        match group.filter(|group| group.count != 0) {
            Some(group) => self.judged(packet, opened, &new.key, group.enis[0]),
            None => Err(Verdict::drop_number(opened.reason_number())),
        }
    }

    /// The verdict that goes with the opening or judging of a flow; what rules or
    /// routes refuse is remembered. The packet is parsed again for that, rather than
    /// kept at hand by everybody who is not refused.
    #[inline(always)]
    fn judged<P: Packet>(
        &self,
        packet: &P,
        opened: Opened,
        key: &FlowKey,
        eni: u32,
    ) -> Step<Verdict> {
        if opened.is_flow() {
            return Ok(Verdict::OPEN);
        }
        if let Some(eni) = opened.unresolved_eni() {
            return Ok(Aside::verdict(Aside::UNRESOLVED, eni));
        }
        let reason = opened.reason_number();
        if DropReason::is_refusal(reason) {
            let ip = self.parse(packet)?;
            let header_len = transport::parse(packet, &ip)?.header_len;
            let on_wire = OnWire::of(packet.segments(), &ip, header_len);
            let (refused, now) = (Refused::forward(eni, reason), self.arrival.moment.tick);
            self.tables.note_refusal(key, refused, &on_wire, now);
            return Ok(Verdict::refused(reason, eni));
        }
        Ok(Verdict::drop_number(reason))
    }

    /// The way out of a flow as it was decided; [`Verdict::OPEN`] if that is to be done
    /// again.
    #[inline(always)]
    fn way<P: Packet>(&self, packet: &P, slot: &Slot) -> Step<Way<'t>> {
        let (eni_index, decision) = (slot.eni() as u32, slot.decision());
        let is_current = decision.is_of(self.tables.generation(eni_index));
        if !is_current || decision.is_stopped() {
            return Err(Verdict::OPEN);
        }
        let eni = self.tables.eni(eni_index).ok_or(DropReason::NoRoute)?;
        let hop = self.tables.next_hop(decision.hop().index());
        let hop = hop.ok_or(DropReason::NoRoute)?;
        let uplink_index = hop.uplink.load();
        let uplink = self
            .tables
            .uplink(uplink_index)
            .ok_or(DropReason::NoRoute)?;
        if !packet.reaches(uplink.has_xdp()) {
            return Err(Verdict::PASS);
        }
        match hop.mac.load() {
            0 => Err(Aside::verdict(Aside::UNRESOLVED, eni_index)),
            mac => Ok(Way {
                eni,
                uplink,
                uplink_index,
                next_hop: Mac::from_word(mac),
            }),
        }
    }

    #[inline(always)]
    fn rewrite(&self, way: &Way<'_>, slot: &Slot, id: u16) -> Rewrite {
        Rewrite {
            direction: Direction::Forward,
            address: way.eni.address.v4(),
            port: slot.outside_port(),
            destination_mac: way.next_hop,
            source_mac: way.uplink.mac,
            id,
            mss: rewrite::largest_segment(way.uplink, self.environment),
            completes_checksums: true,
        }
    }

    /// The identification on the outside: environments behind one address must
    /// not use the same for datagrams that may be fragmented (RFC 6864 §4.3,
    /// RFC 7857 §8).
    #[inline(always)]
    fn outside_id(&self, slot: &Slot, ip: &ipv4::View, packets: u32) -> u16 {
        if ip.dont_fragment() && !ip.is_fragment() {
            return ip.id;
        }
        match self.tables.eni_state(slot.eni() as u32) {
            Some(state) => state.ip_id.fetch_add(packets as u64) as u16,
            None => ip.id,
        }
    }

    /// Learns the environment's MAC from a frame of its own. Its link proves who
    /// it is, so a change is believed.
    #[inline(always)]
    fn learn_mac<P: Packet>(&self, packet: &P) {
        let Some(ethernet) = packet.header::<Ethernet>(0) else {
            return;
        };
        let (mac, word) = (ethernet.source, ethernet.source.to_word());
        if let Some(state) = self.tables.environment_state(self.arrival.index)
            && mac.is_unicast()
            && state.mac.load() != word
        {
            state.mac.store(word);
        }
    }
}
