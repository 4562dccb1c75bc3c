//! From an environment into the VPC, in three steps:
//!
//! * [`straight`]: parse, look up, rewrite — what a packet of an open flow takes;
//! * [`open`]: opens the flow of a packet that has none, after which the packet
//!   goes straight;
//! * [`aside`]: what few packets take: ARP, ICMP, later fragments, answers, handing
//!   over to the agent.
//!
//! Each parses the packet on its own, so that none has to keep what another needs.

use crate::{
    addr::{self, Addr, Mac, V4},
    answer::{self, Error, Station},
    drop::DropReason,
    flow::{self, Moment, NewFlow, Opened},
    fragment,
    layout::{
        Eni, Environment, FlowKey, FlowRef, Fragment, Link, NextHopKey, Owner, Slot, Stat, Uplink,
    },
    offload::{Checksum, OnWire},
    packet::Packet,
    quoted,
    rewrite::{self, Rewrite},
    state::{self, Direction, ICMP, TCP, UDP},
    tables::Tables,
    transport,
    verdict::{Arrival, Awaited, Kind, Port, Step, Verdict},
    wire::{
        arp::{self, Arp},
        ethernet::{self, Ethernet},
        icmp::{self, Icmp},
        ipv4,
    },
};

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
    if verdict == Verdict::OPEN {
        verdict = packet.open(tables, ifindex, moment);
        if verdict == Verdict::OPEN {
            verdict = packet.straight(tables, ifindex, moment);
        }
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

/// Opens the flow of a packet; [`Kind::Open`] when it is open.
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
        let ip = ipv4::parse(packet, ethernet::LEN)?;
        if ip.source != self.environment.address.v4() {
            return Err(DropReason::SourceSpoofed.into());
        }
        if ip.checksum == Checksum::Misplaced {
            return Err(DropReason::ChecksumMisplaced.into());
        }
        Ok(ip)
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
        Ok(Verdict::send(Port::uplink(way.eni.uplink)))
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
        if !ip.destination.is_unicast() {
            return Err(DropReason::DestinationNotUnicast.into());
        }
        if ip.protocol == TCP && !transport.is_syn() {
            return Ok(Aside::verdict(Aside::RESET, 0));
        }
        self.learn_mac(packet);
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
        if let Some((flow, _, state)) = flow::lookup(self.tables, &new.key) {
            // Another CPU opened it meanwhile, or it is closing and begins anew.
            let open = !state::reopens(state.phase()) || self.tables.reopen(flow.slot, state, &new);
            return if open {
                Ok(Verdict::OPEN)
            } else {
                Err(DropReason::FlowSetupRace.into())
            };
        }
        let mut opened = self.tables.open(&new);
        if opened.is_exhausted() && flow::reclaim(self.tables, &new) {
            opened = self.tables.open(&new);
        }
        Ok(Self::judged(opened))
    }

    /// The verdict that goes with the opening or judging of a flow.
    #[inline(always)]
    fn judged(opened: Opened) -> Verdict {
        if opened.is_flow() {
            return Verdict::OPEN;
        }
        match opened.unresolved_eni() {
            Some(eni) => Aside::verdict(Aside::UNRESOLVED, eni),
            None => Verdict::drop_number(opened.reason_number()),
        }
    }

    /// The way out of a flow, judged again if its ENI's generation moved.
    #[inline(always)]
    fn way<P: Packet>(&self, packet: &P, slot: &Slot) -> Step<Way<'t>> {
        let eni_index = slot.eni() as u32;
        if slot.verdict_generation.load() != self.tables.generation(eni_index) as u32 {
            let judged = self.tables.judge_again(slot);
            if !judged.is_flow() {
                return Err(Self::judged(judged));
            }
        }
        let eni = self.tables.eni(eni_index).ok_or(DropReason::NoRoute)?;
        let uplink = self.tables.uplink(eni.uplink).ok_or(DropReason::NoRoute)?;
        if !packet.reaches(uplink.has_xdp()) {
            return Err(Verdict::PASS);
        }
        let next_hop = self.tables.next_hop(slot.next_hop() as u32);
        match next_hop.map_or(0, |next_hop| next_hop.mac.load()) {
            0 => Err(Aside::verdict(Aside::UNRESOLVED, eni_index)),
            mac => Ok(Way {
                eni,
                uplink,
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

/// The steps beside the straight way.
impl<'t, T: Tables> From<'t, T> {
    #[inline(always)]
    fn gateway(&self) -> Station {
        Station {
            mac: Mac::GATEWAY,
            address: self.environment.gateway.v4(),
        }
    }

    #[inline(always)]
    fn aside<P: Packet>(&self, packet: &mut P, step: Aside) -> Step<Verdict> {
        let what = step.0 & 0xff;
        if what == Aside::OTHER {
            return self.other(packet);
        }
        let ip = self.parse(packet)?;
        match what {
            Aside::TOO_BIG => {
                let error = Error::fragmentation_needed(step.argument() as u16);
                Ok(self.error(packet, &ip, error, DropReason::FragmentationNeeded))
            }
            Aside::UNRESOLVED => self.unresolved(packet, &ip, step.argument()),
            Aside::RESET => {
                let transport = transport::parse(packet, &ip)?;
                let built = answer::tcp_reset(packet, &ip, &transport, Mac::GATEWAY);
                Ok(Verdict::answered(built, Some(DropReason::TcpMidStream)))
            }
            _ => Ok(self.error(packet, &ip, Error::TIME_EXCEEDED, DropReason::TtlExpired)),
        }
    }

    #[inline(always)]
    fn other<P: Packet>(&self, packet: &mut P) -> Step<Verdict> {
        let ethernet = packet
            .header::<Ethernet>(0)
            .ok_or(DropReason::FrameTruncated)?;
        match ethernet.ethertype {
            _ if packet.is_tagged() => return Err(DropReason::VlanTagged.into()),
            ethernet::IPV4 => {}
            ethernet::ARP => return self.arp(packet),
            ethernet::VLAN | ethernet::QINQ => return Err(DropReason::VlanTagged.into()),
            _ => return Err(DropReason::EthertypeUnsupported.into()),
        }
        let ip = self.parse(packet)?;
        fragment::check(&ip)?;
        // What is for the gateway goes no further (RFC 1812 §5.3.1).
        if ip.ttl <= 1 && ip.destination != self.environment.gateway.v4() {
            return Ok(self.error(packet, &ip, Error::TIME_EXCEEDED, DropReason::TtlExpired));
        }
        match ip.protocol {
            UDP => self.later_fragment(packet, &ip),
            ICMP => self.icmp(packet, &ip),
            _ => Err(DropReason::ProtocolUnsupported.into()),
        }
    }

    /// Hands over a packet whose next hop is not known.
    #[inline(always)]
    fn unresolved<P: Packet>(&self, packet: &P, ip: &ipv4::View, eni: u32) -> Step<Verdict> {
        let eni = self.tables.eni(eni).ok_or(DropReason::NoRoute)?;
        // An ICMP error goes where the packet that it quotes came from.
        let address = flow::route(eni, Addr::from_v4(ip.destination)).ok_or(DropReason::NoRoute)?;
        let key = NextHopKey {
            uplink: eni.uplink,
            address,
        };
        Ok(self.hand_over(packet, &Awaited::NextHop(key, eni.address)))
    }

    /// Hands the packet to the agent.
    #[inline(always)]
    fn hand_over<P: Packet>(&self, packet: &P, awaited: &Awaited) -> Verdict {
        match packet.hand_over(Owner::environment(self.arrival.index), awaited) {
            Some(()) => {
                self.tables.count(Stat::Punts);
                Verdict::HANDED_OVER
            }
            None => DropReason::PuntOverflow.into(),
        }
    }

    /// Leaves a note for the later fragments of a datagram.
    #[inline(always)]
    fn note_first(&self, flow: FlowRef, ip: &ipv4::View, outside_id: u16) {
        let key = fragment::key(&self.arrival, self.environment.generation, ip);
        let created = self.arrival.moment.tick.0;
        self.tables.insert_fragment(
            &key,
            &Fragment {
                flow,
                created,
                outside_id,
                reserved: 0,
            },
        );
    }

    #[inline(always)]
    fn later_fragment<P: Packet>(&self, packet: &mut P, ip: &ipv4::View) -> Step<Verdict> {
        let key = fragment::key(&self.arrival, self.environment.generation, ip);
        let Some(found) = fragment::find(self.tables, &key, self.arrival.moment.tick) else {
            return Ok(self.hand_over(packet, &Awaited::Fragment(key)));
        };
        let (slot, _) =
            flow::resolve(self.tables, found.flow).ok_or(DropReason::FragmentUnknown)?;
        let way = self.way_beside(packet, ip, slot)?;
        if ip.total_len > way.uplink.mtu {
            return Err(DropReason::FragmentationNeeded.into());
        }
        let rewrite = self.rewrite(&way, slot, found.outside_id);
        rewrite::apply_network(packet, ip, &rewrite)?;
        flow::account(
            slot,
            Direction::Forward,
            &OnWire::one(ip),
            self.arrival.moment.tick,
        );
        Ok(Verdict::send(Port::uplink(way.eni.uplink)))
    }

    /// [`From::way`] for a packet beside the straight way: what it cannot do, the
    /// packet waits for with the agent, or is dropped.
    #[inline(always)]
    fn way_beside<P: Packet>(&self, packet: &P, ip: &ipv4::View, slot: &Slot) -> Step<Way<'t>> {
        match self.way(packet, slot) {
            Err(verdict) if matches!(verdict.kind(), Kind::Aside) => {
                Err(self.unresolved(packet, ip, slot.eni() as u32)?)
            }
            way => way,
        }
    }

    #[inline(always)]
    fn icmp<P: Packet>(&self, packet: &mut P, ip: &ipv4::View) -> Step<Verdict> {
        let header = packet
            .header::<Icmp>(ip.l4())
            .ok_or(DropReason::L4Truncated)?;
        if ip.payload_len() < icmp::LEN {
            return Err(DropReason::L4Truncated.into());
        }
        if header.is_error() {
            return self.icmp_error(packet, ip);
        }
        let for_gateway = ip.destination == self.environment.gateway.v4();
        if header.kind[0] == icmp::ECHO_REQUEST && for_gateway {
            let built = answer::echo_reply(packet, ip, self.gateway());
            return Ok(Verdict::answered(built, None));
        }
        Err(DropReason::IcmpQuery.into())
    }

    /// An error about a reply: the environment quotes the packet as it got it.
    #[inline(always)]
    fn icmp_error<P: Packet>(&self, packet: &mut P, ip: &ipv4::View) -> Step<Verdict> {
        let quote = quoted::parse(packet, ip)?;
        if quote.destination != self.environment.address.v4() || quote.source != ip.destination {
            return Err(DropReason::IcmpMalformed.into());
        }
        let key = self.key(
            quote.source,
            quote.protocol,
            quote.destination_port,
            quote.source_port,
        );
        let (_, slot, _) = flow::lookup(self.tables, &key).ok_or(DropReason::IcmpUnmatched)?;
        let way = self.way_beside(packet, ip, slot)?;
        let id = self.outside_id(slot, ip, 1);
        let rewrite = self.rewrite(&way, slot, id);
        quoted::apply(packet, ip, &quote, &rewrite)?;
        rewrite::apply_network(packet, ip, &rewrite)?;
        Ok(Verdict::send(Port::uplink(way.eni.uplink)))
    }

    /// Tells the environment why its packet went no further.
    #[inline(always)]
    fn error<P: Packet>(
        &self,
        packet: &mut P,
        ip: &ipv4::View,
        error: Error,
        reason: DropReason,
    ) -> Verdict {
        // No error about an error, a later fragment, or what went to many
        // (RFC 1122 §3.2.2).
        if ip.protocol == ICMP || ip.is_later_fragment() || !ip.destination.is_unicast() {
            return reason.into();
        }
        let built = answer::icmp_error(packet, ip, self.gateway(), error);
        Verdict::answered(built, Some(reason))
    }

    #[inline(always)]
    fn arp<P: Packet>(&self, packet: &mut P) -> Step<Verdict> {
        let arp = packet
            .header::<Arp>(ethernet::LEN)
            .ok_or(DropReason::FrameTruncated)?;
        let for_gateway = arp.is_ipv4_over_ethernet()
            && arp.operation == arp::REQUEST
            && arp.target.v4() == self.environment.gateway.v4();
        if !for_gateway {
            return Err(DropReason::ArpIgnored.into());
        }
        if !packet.partial().is_none() {
            return Err(DropReason::ChecksumMisplaced.into());
        }
        self.learn_mac(packet);
        let built = answer::arp_reply(packet, self.gateway());
        Ok(Verdict::answered(built, None))
    }
}
