//! What few packets of an environment take: ARP, ICMP, later fragments, answers, handing
//! over to the agent.

use super::{Aside, From, Way};
use crate::{
    addr::{Addr, Mac},
    answer::{self, Error, Station},
    drop::DropReason,
    flow, fragment, judge,
    layout::{FlowRef, Fragment, Owner, Slot, Stat},
    offload::OnWire,
    packet::Packet,
    quoted, rewrite,
    state::{Direction, ICMP, UDP},
    tables::Tables,
    transport,
    verdict::{Awaited, Kind, Port, Step, Verdict},
    wire::{
        arp::{self, Arp},
        ethernet::{self, Ethernet},
        icmp::{self, Icmp},
        ipv4,
    },
};

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
    pub(super) fn aside<P: Packet>(&self, packet: &mut P, step: Aside) -> Step<Verdict> {
        let what = step.0 & 0xff;
        if what == Aside::OTHER
            && let Some(verdict) = self.beside_ipv4(packet)?
        {
            return Ok(verdict);
        }
        let ip = self.parse(packet)?;
        match what {
            Aside::OTHER => self.other(packet, &ip),
            Aside::TOO_BIG if self.is_uncut(packet) => Ok(Verdict::PASS),
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

    /// What becomes of a packet that is not IPv4; `None` if it is.
    #[inline(always)]
    fn beside_ipv4<P: Packet>(&self, packet: &mut P) -> Step<Option<Verdict>> {
        let ethernet = packet
            .header::<Ethernet>(0)
            .ok_or(DropReason::FrameTruncated)?;
        match ethernet.ethertype {
            _ if packet.is_tagged() => Err(DropReason::VlanTagged.into()),
            ethernet::IPV4 => Ok(None),
            ethernet::ARP => self.arp(packet).map(Some),
            ethernet::VLAN | ethernet::QINQ => Err(DropReason::VlanTagged.into()),
            _ => Err(DropReason::EthertypeUnsupported.into()),
        }
    }

    #[inline(always)]
    fn other<P: Packet>(&self, packet: &mut P, ip: &ipv4::View) -> Step<Verdict> {
        fragment::check(ip)?;
        // What is for the gateway goes no further (RFC 1812 §5.3.1).
        if ip.ttl <= 1 && ip.destination != self.environment.gateway.v4() {
            return Ok(self.error(packet, ip, Error::TIME_EXCEEDED, DropReason::TtlExpired));
        }
        match ip.protocol {
            UDP => self.later_fragment(packet, ip),
            ICMP => self.icmp(packet, ip),
            _ => Err(DropReason::ProtocolUnsupported.into()),
        }
    }

    /// Hands over a packet whose next hop is not known.
    #[inline(always)]
    fn unresolved<P: Packet>(&self, packet: &P, ip: &ipv4::View, eni: u32) -> Step<Verdict> {
        // An ICMP error goes where the packet that it quotes came from.
        let remote = Addr::from_v4(ip.destination);
        let key = judge::route(self.tables, eni, remote).ok_or(DropReason::NoRoute)?;
        let eni = self.tables.eni(eni).ok_or(DropReason::NoRoute)?;
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
    pub(super) fn note_first(&self, flow: FlowRef, ip: &ipv4::View, outside_id: u16) {
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
        Ok(Verdict::send(Port::uplink(way.uplink_index)))
    }

    /// [`From::way`] for a packet beside the straight way: its flow is judged again
    /// here if need be, and for a neighbour it waits with the agent. A refusal is in
    /// the drop counters alone: these packets have no ports to tell of.
    #[inline(always)]
    fn way_beside<P: Packet>(&self, packet: &P, ip: &ipv4::View, slot: &Slot) -> Step<Way<'t>> {
        let mut way = self.way(packet, slot);
        if matches!(way, Err(Verdict::OPEN)) {
            let judged = self.tables.judge_again(slot);
            way = if judged.is_flow() {
                self.way(packet, slot)
            } else if judged.unresolved_eni().is_some() {
                Err(Aside::verdict(Aside::UNRESOLVED, 0))
            } else {
                Err(refused(judged.reason_number(), slot))
            };
        }
        match way {
            Err(verdict) if matches!(verdict.kind(), Kind::Aside) => {
                Err(self.unresolved(packet, ip, slot.eni() as u32)?)
            }
            // Rules changed this very moment.
            Err(Verdict::OPEN) => Err(DropReason::FlowSetupRace.into()),
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
        let eni = slot.eni() as u32;
        let kind = packet
            .header::<Icmp>(ip.l4())
            .map_or([0; 2], |icmp| icmp.kind);
        let (tables, remote) = (self.tables, ip.destination);
        if !tables.lets_error_pass(eni, remote, Direction::Forward, kind) {
            return Err(refused(DropReason::NaclOut as u32, slot));
        }
        let way = self.way_beside(packet, ip, slot)?;
        let id = self.outside_id(slot, ip, 1);
        let rewrite = self.rewrite(&way, slot, id);
        quoted::apply(packet, ip, &quote, &rewrite)?;
        rewrite::apply_network(packet, ip, &rewrite)?;
        Ok(Verdict::send(Port::uplink(way.uplink_index)))
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

/// The verdict on a packet that rules or routes refuse to a flow.
#[inline(always)]
fn refused(reason: u32, slot: &Slot) -> Verdict {
    Verdict::refused(reason, slot.eni() as u32)
}
