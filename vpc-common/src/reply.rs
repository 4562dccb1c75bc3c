//! From the VPC to an environment: (uplink, address) → ENI, port → slot by
//! arithmetic, does the peer match, rewrite, redirect. Whatever answers no flow is
//! dropped: V2N is one way (RFC 4787 REQ-8 address- and port-dependent filtering,
//! RFC 5382 REQ-4 silence).

use crate::{
    addr::{Addr, Mac},
    answer::{self, Error, Station},
    drop::DropReason,
    flow::{self, Moment},
    fragment,
    layout::{
        EniKey, EniRef, Environment, FlowRef, Fragment, Link, NextHopKey, Owner, Slot, Stat, Uplink,
    },
    offload::{self, Checksum, OnWire},
    packet::Packet,
    pool, quoted,
    rewrite::{self, Rewrite},
    state::{Direction, ICMP, State, TCP, UDP},
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

/// Decides on a packet that arrived on an uplink, and rewrites it: as on the way into
/// the VPC, what few packets take is a step of its own.
#[inline(always)]
pub fn from_uplink<T: Tables, P: Packet>(
    tables: &T,
    packet: &mut P,
    ifindex: u32,
    moment: Moment,
) -> Verdict {
    let mut verdict = packet.reply(tables, ifindex, moment);
    let mut round = 0;
    // Once more, if rules changed between judging and going straight.
    while round < JUDGINGS && verdict.kind() == Kind::Aside {
        verdict = packet.reply_aside(tables, ifindex, moment, Aside(verdict.step()));
        if verdict == Verdict::OPEN {
            verdict = packet.reply(tables, ifindex, moment);
        }
        round += 1;
    }
    match verdict.kind() {
        Kind::Aside | Kind::Open => DropReason::FlowSetupRace.into(),
        _ => verdict,
    }
}

/// How often a reply's flow is judged at most.
const JUDGINGS: u32 = 2;

/// A step beside the straight way: what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aside(pub u64);

impl Aside {
    /// Whatever is no TCP or UDP packet with ports in it for an ENI.
    const OTHER: u64 = 0;
    /// The flow has to be judged again; [`Verdict::OPEN`] when it was.
    const JUDGE: u64 = 1;
    /// The packet is larger than the environment's MTU: tell its sender.
    const TOO_BIG: u64 = 2;
}

/// Decides on a reply of an open flow; [`Kind::Aside`] says which step decides instead.
#[inline(always)]
pub fn straight<T: Tables, P: Packet>(
    tables: &T,
    packet: &mut P,
    ifindex: u32,
    moment: Moment,
) -> Verdict {
    From::run(tables, ifindex, moment, |from| from.frame(packet))
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

struct From<'t, T> {
    tables: &'t T,
    uplink: &'t Uplink,
    arrival: Arrival,
}

/// Where a reply goes.
struct Way<'t> {
    environment: &'t Environment,
    index: u32,
    mac: Mac,
}

impl<'t, T: Tables> From<'t, T> {
    /// Takes a step for the uplink behind an interface.
    #[inline(always)]
    fn run(
        tables: &'t T,
        ifindex: u32,
        moment: Moment,
        step: impl FnOnce(&Self) -> Verdict,
    ) -> Verdict {
        let unknown = Verdict::from(DropReason::LinkUnknown);
        let Some(link) = tables.link(ifindex) else {
            return unknown;
        };
        let Some(uplink) = tables.uplink(link.index) else {
            return unknown;
        };
        if link.kind != Link::UPLINK {
            return unknown;
        }
        step(&Self {
            tables,
            uplink,
            arrival: Arrival {
                ifindex,
                index: link.index,
                moment,
            },
        })
    }

    #[inline(always)]
    fn frame<P: Packet>(&self, packet: &mut P) -> Verdict {
        let Some(ethernet) = packet.header::<Ethernet>(0) else {
            return Verdict::aside(Aside::OTHER);
        };
        let is_ours = ethernet.destination == self.uplink.mac
            && ethernet.ethertype == ethernet::IPV4
            && !packet.is_tagged();
        if !is_ours {
            return Verdict::aside(Aside::OTHER);
        }
        self.to_eni(packet, |packet, ip, eni| {
            let has_ports = ip.protocol == TCP && !ip.is_fragment()
                || ip.protocol == UDP && !ip.is_later_fragment();
            if has_ports && ip.checksum != Checksum::Misplaced {
                return self.datagram(packet, ip, eni);
            }
            Ok(Verdict::aside(Aside::OTHER))
        })
    }

    /// Does what is to be done with an IPv4 packet to an ENI.
    #[inline(always)]
    fn to_eni<P: Packet>(
        &self,
        packet: &mut P,
        step: impl FnOnce(&mut P, &ipv4::View, EniRef) -> Step<Verdict>,
    ) -> Verdict {
        let ip = match ipv4::parse(packet, ethernet::LEN) {
            Ok(ip) => ip,
            Err(_) if self.is_uncut(packet) => return Verdict::PASS,
            Err(reason) => return self.not_ours(reason),
        };
        let address = Addr::from_v4(ip.destination);
        let key = EniKey::new(self.arrival.index, address);
        let Some(eni) = self.tables.eni_by_address(&key) else {
            return self.not_ours(DropReason::NotAnEni);
        };
        let (Ok(verdict) | Err(verdict)) = step(packet, &ip, eni);
        verdict.of(Owner::eni(eni.index()))
    }

    #[inline(always)]
    fn aside<P: Packet>(&self, packet: &mut P, step: Aside) -> Verdict {
        if step.0 != Aside::OTHER {
            return self.to_eni(packet, |packet, ip, eni| self.again(packet, ip, eni, step));
        }
        let owner = Owner::uplink(self.arrival.index);
        let Some(ethernet) = packet.header::<Ethernet>(0) else {
            return Verdict::from(DropReason::FrameTruncated).of(owner);
        };
        let for_link = ethernet.destination == self.uplink.mac;
        match ethernet.ethertype {
            _ if packet.is_tagged() => self.not_ours(DropReason::VlanTagged),
            ethernet::IPV4 if for_link => {
                self.to_eni(packet, |packet, ip, eni| self.other(packet, ip, eni))
            }
            ethernet::ARP => self.arp(packet).of(owner),
            ethernet::IPV4 => self.not_ours(DropReason::NotForLink),
            ethernet::VLAN | ethernet::QINQ => self.not_ours(DropReason::VlanTagged),
            _ => self.not_ours(DropReason::EthertypeUnsupported),
        }
    }

    /// A reply that could not go straight.
    #[inline(always)]
    fn again<P: Packet>(
        &self,
        packet: &mut P,
        ip: &ipv4::View,
        eni: EniRef,
        step: Aside,
    ) -> Step<Verdict> {
        let transport = transport::parse(packet, ip)?;
        let (_, slot, _) = self
            .find(
                eni,
                ip.protocol,
                transport.destination,
                Addr::from_v4(ip.source),
                transport.source,
            )
            .ok_or(DropReason::Unsolicited)?;
        if step.0 == Aside::JUDGE {
            // Whether the other direction is refused is the next packet's concern.
            self.tables.judge_again(slot);
            return Ok(Verdict::OPEN);
        }
        if self.is_uncut(packet) {
            return Ok(Verdict::PASS);
        }
        let way = self.way(packet, slot)?;
        let on_wire = OnWire::of(packet.segments(), ip, transport.header_len);
        self.check_size(packet, ip, on_wire.largest, &way)?;
        // It has shrunk meanwhile: the interface's MTU was raised.
        Err(DropReason::FlowSetupRace.into())
    }

    #[inline(always)]
    fn is_uncut<P: Packet>(&self, packet: &P) -> bool {
        offload::is_uncut(packet, self.uplink.mtu)
    }

    /// What is for no ENI: the host's own traffic on a shared uplink.
    #[inline(always)]
    fn not_ours(&self, reason: DropReason) -> Verdict {
        let shared = self.uplink.flags & Uplink::SHARED != 0;
        let dropped = Verdict::from(reason).of(Owner::uplink(self.arrival.index));
        if shared { Verdict::PASS } else { dropped }
    }

    #[inline(always)]
    fn other<P: Packet>(&self, packet: &mut P, ip: &ipv4::View, eni: EniRef) -> Step<Verdict> {
        if ip.checksum == Checksum::Misplaced {
            return Err(DropReason::ChecksumMisplaced.into());
        }
        if ip.is_fragment() {
            fragment::check(ip)?;
        }
        match ip.protocol {
            UDP => self.later_fragment(packet, ip),
            ICMP => self.icmp(packet, ip, eni),
            _ => Err(DropReason::ProtocolUnsupported.into()),
        }
    }

    #[inline(always)]
    fn datagram<P: Packet>(&self, packet: &mut P, ip: &ipv4::View, eni: EniRef) -> Step<Verdict> {
        let transport = transport::parse(packet, ip)?;
        let (flow, slot, state) = self
            .find(
                eni,
                ip.protocol,
                transport.destination,
                Addr::from_v4(ip.source),
                transport.source,
            )
            .ok_or(DropReason::Unsolicited)?;
        let way = self.way(packet, slot)?;
        let on_wire = OnWire::of(packet.segments(), ip, transport.header_len);
        self.admit(slot, state.protocol(), &on_wire)?;
        if ip.ttl <= 1 {
            return Err(DropReason::TtlExpired.into());
        }
        if on_wire.largest > way.environment.mtu as u32 {
            return Err(Verdict::aside(Aside::TOO_BIG));
        }
        let segment = (ip.protocol == TCP).then_some(&transport.segment);
        if !flow::observe(slot, state, Direction::Reply, segment) {
            return Err(DropReason::Unsolicited.into());
        }
        if ip.is_fragment() {
            let key = fragment::key(&self.arrival, 0, ip);
            let created = self.arrival.moment.tick.0;
            let note = Fragment {
                flow,
                created,
                outside_id: ip.id,
                reserved: 0,
            };
            self.tables.insert_fragment(&key, &note);
        }
        let rewrite = self.rewrite(&way, slot, ip.id);
        let completed = rewrite::apply(packet, ip, &transport, &rewrite)?;
        if completed.0 {
            self.tables.count(Stat::ChecksumsCompleted);
        }
        flow::account(slot, Direction::Reply, &on_wire, self.arrival.moment.tick);
        Ok(Verdict::send(Port::environment(way.index)))
    }

    /// The open flow that owns a port of an ENI, if this peer is its other end.
    #[inline(always)]
    fn find(
        &self,
        eni: EniRef,
        protocol: u8,
        outside_port: crate::addr::Port,
        remote: Addr,
        remote_port: crate::addr::Port,
    ) -> Option<(FlowRef, &'t Slot, State)> {
        let peered = eni.is_peered();
        let eni = eni.index();
        let pool = self.tables.pool(flow::pool_index(eni, protocol))?;
        let index = pool::slot_of_port(pool, outside_port.number())?;
        let slot = self.tables.slot(index)?;
        let state = slot.state();
        // The block may have changed hands between the two look-ups, so the slot
        // itself says whose it is.
        let matches = state.is_open()
            && state.protocol() == protocol
            && slot.eni() as u32 == eni
            && slot.outside_port() == outside_port
            && slot.remote_port() == remote_port
            && slot.remote() == remote
            && self.went_out_here(slot, peered);
        matches.then_some((
            FlowRef {
                slot: index,
                epoch: state.epoch(),
            },
            slot,
            state,
        ))
    }

    /// Whether a flow's packets leave by the uplink that this one came in by, or would if
    /// they were not stopped: nobody else's neighbours may answer for it.
    #[inline(always)]
    fn went_out_here(&self, slot: &Slot, came_peered: bool) -> bool {
        let hop = slot.decision().hop();
        if hop.is_peered() != came_peered {
            return false;
        }
        // An ENI has one uplink of its own, and of peered VPCs' as many as there are.
        if !came_peered {
            return true;
        }
        let hop = self.tables.next_hop(hop.index());
        hop.is_some_and(|hop| hop.uplink.load() == self.arrival.index)
    }

    /// Whether the network ACL lets a reply in.
    #[inline(always)]
    fn admit(&self, slot: &Slot, protocol: u8, on_wire: &OnWire) -> Step<()> {
        if !slot
            .decision()
            .is_of(self.tables.generation(slot.eni() as u32))
        {
            return Err(Verdict::aside(Aside::JUDGE));
        }
        if !slot.decision().denies_replies() {
            return Ok(());
        }
        let now = self.arrival.moment.tick;
        self.tables.note_refused_reply(slot, protocol, on_wire, now);
        Err(refused(slot))
    }

    #[inline(always)]
    fn way<P: Packet>(&self, packet: &P, slot: &Slot) -> Step<Way<'t>> {
        let index = slot.environment() as u32;
        let environment = self
            .tables
            .environment(index)
            .ok_or(DropReason::EnvironmentGone)?;
        if environment.generation != slot.generation.load() || environment.ifindex == 0 {
            return Err(DropReason::EnvironmentGone.into());
        }
        if !packet.reaches(environment.has_xdp()) {
            return Err(Verdict::PASS);
        }
        let state = self
            .tables
            .environment_state(index)
            .ok_or(DropReason::EnvironmentGone)?;
        match state.mac.load() {
            0 => Err(DropReason::EnvironmentMacUnknown.into()),
            mac => Ok(Way {
                environment,
                index,
                mac: Mac::from_word(mac),
            }),
        }
    }

    /// TTL, and the MTU of the environment's link.
    #[inline(always)]
    fn check_size<P: Packet>(
        &self,
        packet: &mut P,
        ip: &ipv4::View,
        largest: u32,
        way: &Way<'_>,
    ) -> Step<()> {
        if ip.ttl <= 1 {
            return Err(DropReason::TtlExpired.into());
        }
        let mtu = way.environment.mtu;
        if largest <= mtu as u32 {
            return Ok(());
        }
        let reason = DropReason::FragmentationNeeded;
        if ip.protocol == ICMP || ip.is_later_fragment() {
            return Err(reason.into());
        }
        let station = Station {
            mac: self.uplink.mac,
            address: ip.destination,
        };
        let error = Error::fragmentation_needed(mtu);
        let built = answer::icmp_error(packet, ip, station, error);
        Err(Verdict::answered(built, Some(reason)))
    }

    #[inline(always)]
    fn rewrite(&self, way: &Way<'_>, slot: &Slot, id: u16) -> Rewrite {
        Rewrite {
            direction: Direction::Reply,
            address: way.environment.address.v4(),
            port: slot.inside_port(),
            destination_mac: way.mac,
            source_mac: Mac::GATEWAY,
            id,
            mss: rewrite::largest_segment(self.uplink, way.environment),
            completes_checksums: self.uplink.flags & Uplink::PARTIAL_CHECKSUMS != 0,
        }
    }

    #[inline(always)]
    fn later_fragment<P: Packet>(&self, packet: &mut P, ip: &ipv4::View) -> Step<Verdict> {
        let key = fragment::key(&self.arrival, 0, ip);
        let Some(found) = fragment::find(self.tables, &key, self.arrival.moment.tick) else {
            return Err(self.hand_over(packet, &Awaited::Fragment(key)));
        };
        let (slot, _) =
            flow::resolve(self.tables, found.flow).ok_or(DropReason::FragmentUnknown)?;
        let way = self.way(packet, slot)?;
        if !slot
            .decision()
            .is_of(self.tables.generation(slot.eni() as u32))
        {
            self.tables.judge_again(slot);
        }
        self.admit(slot, UDP, &OnWire::one(ip))?;
        self.check_size(packet, ip, ip.total_len, &way)?;
        rewrite::apply_network(packet, ip, &self.rewrite(&way, slot, ip.id))?;
        flow::account(
            slot,
            Direction::Reply,
            &OnWire::one(ip),
            self.arrival.moment.tick,
        );
        Ok(Verdict::send(Port::environment(way.index)))
    }

    /// Hands the packet to the agent.
    #[inline(always)]
    fn hand_over<P: Packet>(&self, packet: &P, awaited: &Awaited) -> Verdict {
        match packet.hand_over(Owner::uplink(self.arrival.index), awaited) {
            Some(()) => {
                self.tables.count(Stat::Punts);
                Verdict::HANDED_OVER
            }
            None => DropReason::PuntOverflow.into(),
        }
    }

    /// An error about what an environment sent; from any router on the way.
    #[inline(always)]
    fn icmp<P: Packet>(&self, packet: &mut P, ip: &ipv4::View, eni: EniRef) -> Step<Verdict> {
        let header = packet
            .header::<Icmp>(ip.l4())
            .ok_or(DropReason::L4Truncated)?;
        if ip.payload_len() < icmp::LEN {
            return Err(DropReason::L4Truncated.into());
        }
        let kind = header.kind;
        if !header.is_error() {
            return Err(DropReason::Unsolicited.into());
        }
        let quote = quoted::parse(packet, ip)?;
        if quote.source != ip.destination {
            return Err(DropReason::IcmpMalformed.into());
        }
        let (_, slot, _) = self
            .find(
                eni,
                quote.protocol,
                quote.source_port,
                Addr::from_v4(quote.destination),
                quote.destination_port,
            )
            .ok_or(DropReason::IcmpUnmatched)?;
        let (tables, eni) = (self.tables, eni.index());
        if !tables.lets_error_pass(eni, ip.source, Direction::Reply, kind) {
            return Err(refused(slot));
        }
        let way = self.way(packet, slot)?;
        self.check_size(packet, ip, ip.total_len, &way)?;
        let rewrite = self.rewrite(&way, slot, ip.id);
        quoted::apply(packet, ip, &quote, &rewrite)?;
        rewrite::apply_network(packet, ip, &rewrite)?;
        Ok(Verdict::send(Port::environment(way.index)))
    }

    #[inline(always)]
    fn arp<P: Packet>(&self, packet: &mut P) -> Verdict {
        let Some(arp) = packet.header::<Arp>(ethernet::LEN).copied() else {
            return self.not_ours(DropReason::FrameTruncated);
        };
        if !arp.is_ipv4_over_ethernet() {
            return self.not_ours(DropReason::ArpIgnored);
        }
        self.learn(&arp);
        let address = Addr::from_v4(arp.target.v4());
        let key = EniKey::new(self.arrival.index, address);
        if self.tables.eni_by_address(&key).is_none() {
            return self.not_ours(DropReason::ArpIgnored);
        }
        if !packet.partial().is_none() {
            return self.not_ours(DropReason::ChecksumMisplaced);
        }
        if arp.operation != arp::REQUEST {
            // An answer to the agent's question: it has been learnt.
            return Verdict::PASS;
        }
        let station = Station {
            mac: self.uplink.mac,
            address: arp.target.v4(),
        };
        let built = answer::arp_reply(packet, station);
        Verdict::answered(built, None)
    }

    /// Learns a neighbour from any ARP packet it sends (RFC 826's merge flag):
    /// only one that the agent has made an entry for, so nobody can fill the table.
    #[inline(always)]
    fn learn(&self, arp: &Arp) {
        let address = Addr::from_v4(arp.sender.v4());
        let key = NextHopKey {
            uplink: self.arrival.index,
            address,
        };
        let Some(next_hop) = self
            .tables
            .next_hop_index(&key)
            .and_then(|index| self.tables.next_hop(index))
        else {
            return;
        };
        if arp.sender_mac.is_unicast() {
            next_hop.mac.store(arp.sender_mac.to_word());
            next_hop.confirmed.store(self.arrival.moment.tick.0);
        }
    }
}

/// The verdict on a packet that the network ACL keeps out.
#[inline(always)]
fn refused(slot: &Slot) -> Verdict {
    Verdict::refused(DropReason::NaclIn as u32, slot.environment() as u32)
}
