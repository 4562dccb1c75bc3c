//! From an environment into the VPC: parse, look up, open if need be, rewrite,
//! redirect to the uplink. The first error ends the packet.

use crate::{
    addr::{Addr, Mac},
    answer::{self, Error, Station},
    drop::DropReason,
    flow::{self, Moment, NewFlow, Opened},
    fragment,
    layout::{
        Eni, Environment, FlowKey, FlowRef, Fragment, Link, NextHopKey, Owner, Slot, Stat, Uplink,
    },
    packet::Packet,
    quoted,
    rewrite::{self, Rewrite},
    state::{self, Direction, ICMP, State, TCP, UDP},
    tables::Tables,
    transport::{self, Transport},
    verdict::{Arrival, Awaited, Outcome, Port, Step, Verdict},
    wire::{
        arp::{self, Arp},
        ethernet::{self, Ethernet},
        icmp::{self, Icmp},
        ipv4,
    },
};

/// Bytes that IPv4 and TCP headers without options take from the MTU.
const MSS_OVERHEAD: u32 = 40;

/// Decides on a packet that arrived on an interface with the environments'
/// program, and rewrites it.
#[inline(always)]
pub fn from_environment<T: Tables, P: Packet>(
    tables: &T,
    packet: &mut P,
    ifindex: u32,
    moment: Moment,
) -> Outcome {
    let link = tables
        .link(ifindex)
        .filter(|link| link.kind == Link::ENVIRONMENT);
    let Some(environment) = link.and_then(|link| tables.environment(link.index)) else {
        return Outcome {
            verdict: Verdict::drop(DropReason::LinkUnknown),
            owner: Owner::HOST,
        };
    };
    let index = link.map_or(0, |link| link.index);
    let from = From {
        tables,
        environment,
        arrival: Arrival {
            ifindex,
            index,
            moment,
        },
    };
    let (Ok(verdict) | Err(verdict)) = from.frame(packet);
    Outcome {
        verdict,
        owner: Owner::environment(index),
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
    #[inline(always)]
    fn port(&self) -> Port {
        Port::environment(self.arrival.index)
    }

    #[inline(always)]
    fn gateway(&self) -> Station {
        Station {
            mac: Mac::GATEWAY,
            address: self.environment.gateway.v4(),
        }
    }

    #[inline(always)]
    fn frame<P: Packet>(&self, packet: &mut P) -> Step<Verdict> {
        let ethernet = packet
            .header::<Ethernet>(0)
            .ok_or(DropReason::FrameTruncated)?;
        match ethernet.ethertype {
            ethernet::IPV4 => self.ipv4(packet),
            ethernet::ARP => self.arp(packet),
            ethernet::VLAN | ethernet::QINQ => Err(DropReason::VlanTagged.into()),
            _ => Err(DropReason::EthertypeUnsupported.into()),
        }
    }

    #[inline(always)]
    fn ipv4<P: Packet>(&self, packet: &mut P) -> Step<Verdict> {
        let ip = ipv4::parse(packet, ethernet::LEN)?;
        if ip.source != self.environment.address.v4() {
            return Err(DropReason::SourceSpoofed.into());
        }
        if ip.is_fragment() {
            fragment::check(&ip)?;
        }
        if ip.ttl <= 1 {
            return Err(self.error(packet, &ip, Error::TIME_EXCEEDED, DropReason::TtlExpired));
        }
        match ip.protocol {
            UDP if ip.is_later_fragment() => self.later_fragment(packet, &ip),
            TCP | UDP => self.datagram(packet, &ip),
            ICMP => self.icmp(packet, &ip),
            _ => Err(DropReason::ProtocolUnsupported.into()),
        }
    }

    #[inline(always)]
    fn datagram<P: Packet>(&self, packet: &mut P, ip: &ipv4::View) -> Step<Verdict> {
        let transport = transport::parse(packet, ip)?;
        let key = self.key(
            ip.destination,
            ip.protocol,
            transport.source,
            transport.destination,
        );
        let (flow, slot, state) = match flow::lookup(self.tables, &key) {
            Some(found) if !(transport.is_syn() && state::reopens(found.2.phase())) => found,
            _ => self.open(packet, ip, &transport, &key)?,
        };
        let way = self.way(packet, slot)?;
        if ip.total_len as u32 > way.uplink.mtu {
            let error = Error::fragmentation_needed(way.uplink.mtu as u16);
            return Err(self.error(packet, ip, error, DropReason::FragmentationNeeded));
        }
        let segment = (ip.protocol == TCP).then_some(&transport.segment);
        if !flow::observe(slot, state, Direction::Forward, segment) {
            return Err(DropReason::FlowSetupRace.into());
        }
        let id = self.outside_id(slot, ip);
        if ip.is_fragment() {
            self.note_first(flow, id, ip);
        }
        let rewrite = self.rewrite(&way, slot, id);
        let completed = rewrite::apply(packet, ip, &transport, &rewrite)?;
        if completed.0 {
            self.tables.count(Stat::ChecksumsCompleted);
        }
        flow::account(
            slot,
            Direction::Forward,
            ip.total_len,
            self.arrival.moment.tick,
        );
        Ok(Verdict::send(Port::uplink(way.eni.uplink)))
    }

    #[inline(always)]
    fn key(
        &self,
        remote: crate::addr::V4,
        protocol: u8,
        inside_port: crate::addr::Port,
        remote_port: crate::addr::Port,
    ) -> FlowKey {
        FlowKey {
            environment: self.arrival.index as u16,
            protocol,
            reserved: 0,
            generation: self.environment.generation,
            remote: Addr::from_v4(remote),
            inside_port,
            remote_port,
        }
    }

    /// Opens a flow for a packet that may open one.
    #[inline(always)]
    fn open<P: Packet>(
        &self,
        packet: &mut P,
        ip: &ipv4::View,
        transport: &Transport,
        key: &FlowKey,
    ) -> Step<(FlowRef, &'t Slot, State)> {
        let is_syn = transport.is_syn();
        if ip.protocol == TCP && !is_syn {
            let built = answer::tcp_reset(packet, ip, transport, Mac::GATEWAY);
            return Err(Verdict::answered(
                built,
                self.port(),
                Some(DropReason::TcpMidStream),
            ));
        }
        self.learn_mac(packet);
        let new = NewFlow {
            key: *key,
            moment: self.arrival.moment,
            expected_ack: transport.segment.end,
            is_syn: is_syn && ip.protocol == TCP,
        };
        match self.tables.open(&new) {
            Opened::Flow(flow) => {
                let (slot, state) =
                    flow::resolve(self.tables, flow).ok_or(DropReason::FlowSetupRace)?;
                Ok((flow, slot, state))
            }
            Opened::Refused(reason) => Err(reason.into()),
            Opened::Unresolved(key, source) => {
                Err(self.hand_over(packet, &Awaited::NextHop(key, source)))
            }
        }
    }

    /// The way out of a flow, judged again if its ENI's generation moved.
    #[inline(always)]
    fn way<P: Packet>(&self, packet: &P, slot: &Slot) -> Step<Way<'t>> {
        let eni_index = slot.eni() as u32;
        if slot.verdict_generation.load() != self.tables.generation(eni_index) {
            match self.tables.judge_again(slot) {
                Opened::Flow(_) => {}
                Opened::Refused(reason) => return Err(reason.into()),
                Opened::Unresolved(key, source) => {
                    return Err(self.hand_over(packet, &Awaited::NextHop(key, source)));
                }
            }
        }
        let eni = self.tables.eni(eni_index).ok_or(DropReason::NoRoute)?;
        let uplink = self.tables.uplink(eni.uplink).ok_or(DropReason::NoRoute)?;
        let next_hop = self.tables.next_hop(slot.next_hop() as u32);
        match next_hop.map_or(0, |next_hop| next_hop.mac.load()) {
            0 => {
                let address = flow::route(eni, slot.remote()).ok_or(DropReason::NoRoute)?;
                let key = NextHopKey {
                    uplink: eni.uplink,
                    address,
                };
                Err(self.hand_over(packet, &Awaited::NextHop(key, eni.address)))
            }
            mac => Ok(Way {
                eni,
                uplink,
                next_hop: Mac::from_word(mac),
            }),
        }
    }

    #[inline(always)]
    fn rewrite(&self, way: &Way<'_>, slot: &Slot, id: u16) -> Rewrite {
        let mtu = if way.uplink.mtu < self.environment.mtu {
            way.uplink.mtu
        } else {
            self.environment.mtu
        };
        Rewrite {
            direction: Direction::Forward,
            address: way.eni.address.v4(),
            port: slot.outside_port(),
            destination_mac: way.next_hop,
            source_mac: way.uplink.mac,
            id,
            mss: mtu.wrapping_sub(MSS_OVERHEAD) as u16,
            completes_checksums: true,
        }
    }

    /// The identification on the outside: environments behind one address must
    /// not use the same for datagrams that may be fragmented (RFC 6864 §4.3,
    /// RFC 7857 §8).
    #[inline(always)]
    fn outside_id(&self, slot: &Slot, ip: &ipv4::View) -> u16 {
        if ip.dont_fragment() && !ip.is_fragment() {
            return ip.id;
        }
        match self.tables.eni_state(slot.eni() as u32) {
            Some(state) => state.ip_id.fetch_add(1) as u16,
            None => ip.id,
        }
    }

    /// Leaves a note for the later fragments of a datagram.
    #[inline(always)]
    fn note_first(&self, flow: FlowRef, id: u16, ip: &ipv4::View) {
        let key = fragment::key(&self.arrival, self.environment.generation, ip);
        let created = self.arrival.moment.tick.0;
        self.tables.insert_fragment(
            &key,
            &Fragment {
                flow,
                created,
                outside_id: id,
                reserved: 0,
            },
        );
    }

    #[inline(always)]
    fn later_fragment<P: Packet>(&self, packet: &mut P, ip: &ipv4::View) -> Step<Verdict> {
        let key = fragment::key(&self.arrival, self.environment.generation, ip);
        let Some(found) = fragment::find(self.tables, &key, self.arrival.moment.tick) else {
            return Err(self.hand_over(packet, &Awaited::Fragment(key)));
        };
        let (slot, _) =
            flow::resolve(self.tables, found.flow).ok_or(DropReason::FragmentUnknown)?;
        let way = self.way(packet, slot)?;
        let rewrite = self.rewrite(&way, slot, found.outside_id);
        rewrite::apply_network(packet, ip, &rewrite)?;
        flow::account(
            slot,
            Direction::Forward,
            ip.total_len,
            self.arrival.moment.tick,
        );
        Ok(Verdict::send(Port::uplink(way.eni.uplink)))
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
            return Ok(Verdict::answered(built, self.port(), None));
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
        let way = self.way(packet, slot)?;
        let id = self.outside_id(slot, ip);
        let rewrite = self.rewrite(&way, slot, id);
        quoted::apply(packet, ip, &quote, &rewrite)?;
        rewrite::apply_network(packet, ip, &rewrite)?;
        Ok(Verdict::send(Port::uplink(way.eni.uplink)))
    }

    /// Hands the packet to the agent.
    #[inline(always)]
    fn hand_over<P: Packet>(&self, packet: &P, awaited: &Awaited) -> Verdict {
        match packet.hand_over(Owner::environment(self.arrival.index), awaited) {
            Some(()) => {
                self.tables.count(Stat::Punts);
                Verdict::HANDED_OVER
            }
            None => Verdict::drop(DropReason::PuntOverflow),
        }
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
        // No error about an error, nor about a later fragment (RFC 1122 §3.2.2).
        if ip.protocol == ICMP || ip.is_later_fragment() {
            return Verdict::drop(reason);
        }
        let built = answer::icmp_error(packet, ip, self.gateway(), error);
        Verdict::answered(built, self.port(), Some(reason))
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
        self.learn_mac(packet);
        let built = answer::arp_reply(packet, self.gateway());
        Ok(Verdict::answered(built, self.port(), None))
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
