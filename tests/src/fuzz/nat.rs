//! What the data path did, remembered by a plain reader of its frames.

use std::collections::HashMap;

use vpc_common::{
    addr::Port,
    layout::{FlowKey, Slot},
    packet_table::{ENVIRONMENTS, In, Run, world::*},
    state::{ICMP, TCP, UDP},
};

use super::play::{Sent, is_sent_on};

/// A flow as the VPC sees it: uplink that it left by, protocol, ENI and port, the other
/// end.
type Outside = (usize, u8, [u8; 4], u16, [u8; 4], u16);

/// Whose a flow is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Owner {
    environment: usize,
    generation: u32,
    port: u16,
}

/// What identifies a datagram in fragments: uplink, source, destination, identification.
type Datagram = (usize, [u8; 4], [u8; 4], [u8; 2]);

/// Who may be answered: learnt from the frames that left.
#[derive(Default)]
pub struct Nat {
    owners: HashMap<Outside, Owner>,
    /// The environment that a datagram's first fragment went to.
    fragments: HashMap<Datagram, usize>,
}

/// Addresses and ports of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Tuple {
    protocol: u8,
    source: [u8; 4],
    destination: [u8; 4],
    /// Source and destination; none of a later fragment.
    ports: Option<[u16; 2]>,
}

impl Tuple {
    /// Of the IPv4 packet at an offset.
    fn at(frame: &[u8], at: usize) -> Option<Self> {
        let ip = frame.get(at..)?;
        let l4 = usize::from(ip.first()? & 15) * 4;
        let word = |at: usize| Some(u16::from_be_bytes([*ip.get(at)?, *ip.get(at + 1)?]));
        let protocol = *ip.get(9)?;
        let is_later = word(6)? & 0x1fff != 0;
        let ports = match protocol {
            TCP | UDP if !is_later => Some([word(l4)?, word(l4 + 2)?]),
            _ => None,
        };
        Some(Self {
            protocol,
            source: ip.get(12..16)?.try_into().ok()?,
            destination: ip.get(16..20)?.try_into().ok()?,
            ports,
        })
    }

    /// As its answers see it.
    fn turned(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            ports: self
                .ports
                .map(|[source, destination]| [destination, source]),
            ..self
        }
    }

    fn outside(self, uplink: usize) -> Option<Outside> {
        let [port, remote_port] = self.ports?;
        Some((
            uplink,
            self.protocol,
            self.source,
            port,
            self.destination,
            remote_port,
        ))
    }
}

/// Bytes from the start of the frame to the IPv4 header.
const IP: usize = 14;

impl Nat {
    /// What is sent on is its own flow's, either way.
    pub fn assert_own(&mut self, run: &mut Run<'_>, sent: &Sent<'_>) {
        if !is_sent_on(sent) {
            return;
        }
        let port = sent.ran.port.expect("it is sent on");
        let frames = [sent.frame, &sent.ran.frame[..]];
        let [came, left] = frames.map(|frame| Tuple::at(frame, IP).expect("an IPv4 packet"));
        match sent.link {
            In::Environment(environment) => {
                assert!(port.is_uplink(), "environments do not reach each other");
                self.leaves(run, environment, port.index() as usize, came, left);
            }
            In::Uplink(uplink) => {
                assert!(!port.is_uplink(), "uplinks do not reach each other");
                self.arrives(run, uplink, port.index() as usize, sent, (came, left));
            }
            In::Stranger => panic!("nothing is carried for a stranger"),
        }
    }

    fn leaves(
        &mut self,
        run: &mut Run<'_>,
        environment: usize,
        uplink: usize,
        came: Tuple,
        left: Tuple,
    ) {
        assert_eq!(came.source, INSIDE, "its own address");
        let own: &[[u8; 4]] = if environment == 2 {
            &ENI[2..]
        } else {
            &ENI[..2]
        };
        assert!(
            own.contains(&left.source),
            "{left:?} leaves by another's ENI"
        );
        assert_eq!(
            (left.protocol, left.destination),
            (came.protocol, came.destination)
        );
        let (Some(outside), Some([port, remote_port])) = (left.outside(uplink), came.ports) else {
            return;
        };
        assert_eq!(
            outside.5, remote_port,
            "the other end's port is nobody's to change"
        );
        let generation = run.world.environments[environment].generation;
        let owner = Owner {
            environment,
            generation,
            port,
        };
        let before = self.owners.insert(outside, owner);
        if let Some(before) = before.filter(|before| *before != owner) {
            let flows = run.machine().flows();
            assert!(
                !flows.contains_key(&before.key(&outside)),
                "{outside:?} is {before:?}'s"
            );
        }
    }

    fn arrives(
        &mut self,
        run: &mut Run<'_>,
        uplink: usize,
        environment: usize,
        sent: &Sent<'_>,
        (came, left): (Tuple, Tuple),
    ) {
        assert!(environment < ENVIRONMENTS as usize);
        assert_eq!(left.destination, INSIDE);
        assert_eq!((left.protocol, left.source), (came.protocol, came.source));
        let id = [sent.frame[IP + 4], sent.frame[IP + 5]];
        let datagram = (uplink, came.source, came.destination, id);
        let (answered, inside) = match (came.protocol, came.ports) {
            (ICMP, _) => {
                let quoted = |frame: &[u8]| {
                    let l4 = IP + usize::from(frame[IP] & 15) * 4;
                    Tuple::at(frame, l4 + 8).expect("an error quotes a packet")
                };
                // It quotes what was sent, and is told to whoever sent that.
                let (came, left) = (quoted(sent.frame), quoted(&sent.ran.frame));
                assert_eq!(left.source, INSIDE);
                (came, left.ports.map(|[source, _]| source))
            }
            (_, None) => {
                let first = self.fragments.get(&datagram);
                return assert_eq!(
                    first,
                    Some(&environment),
                    "a fragment's first went elsewhere"
                );
            }
            (_, Some(_)) => (
                came.turned(),
                left.ports.map(|[_, destination]| destination),
            ),
        };
        let outside = answered.outside(uplink).expect("a flow has ports");
        let expected = Owner {
            environment,
            generation: run.world.environments[environment].generation,
            port: inside.expect("a flow has ports"),
        };
        let owner = self.owner(run, &outside);
        assert_eq!(owner, Some(expected), "{outside:?} is answered");
        if came.protocol == UDP {
            self.fragments.insert(datagram, environment);
        }
    }
}

impl Nat {
    /// Whose a live flow is. One of which nothing has left yet, because its next hop is not
    /// known or its packet was too large, is looked up in its slot.
    fn owner(&self, run: &mut Run<'_>, outside: &Outside) -> Option<Owner> {
        let flows = run.machine().flows();
        let known = self.owners.get(outside).copied();
        let known = known.filter(|owner| flows.contains_key(&owner.key(outside)));
        let (_, protocol, address, port, remote, remote_port) = *outside;
        let is_it = |slot: &&Slot| {
            let state = slot.state();
            state.is_open()
                && state.protocol() == protocol
                && slot.forward_packets.load() == 0
                && ENI[usize::from(slot.eni())] == address
                && slot.outside_port().number() == port
                && slot.remote() == addr(remote)
                && slot.remote_port().number() == remote_port
        };
        known.or_else(|| {
            let slot = run.machine().seen().slots.iter().find(is_it)?;
            Some(Owner {
                environment: slot.environment().into(),
                generation: slot.generation.load(),
                port: slot.inside_port().number(),
            })
        })
    }
}

impl Owner {
    fn key(&self, (_, protocol, _, _, remote, remote_port): &Outside) -> FlowKey {
        FlowKey::new(
            self.environment as u16,
            *protocol,
            self.generation,
            addr(*remote),
            Port::new(self.port),
            Port::new(*remote_port),
        )
    }
}

/// Packets and bytes, into the VPC and to the environments.
pub type Sum = [u64; 4];

/// What was carried, and what was told of it.
#[derive(Default)]
pub struct Books {
    /// By the frames.
    pub carried: Sum,
    recorded: Sum,
}

impl Books {
    /// Notes a frame and the records that came with it.
    pub fn enter(&mut self, sent: &Sent<'_>) {
        for record in &sent.records {
            let numbers = [
                record.forward_packets.into(),
                record.forward_bytes,
                record.reply_packets.into(),
                record.reply_bytes,
            ];
            add(&mut self.recorded, numbers);
        }
        let is_icmp = sent.frame.get(IP + 9) == Some(&ICMP);
        if is_sent_on(sent) && !is_icmp {
            let bytes = u16::from_be_bytes([sent.frame[IP + 2], sent.frame[IP + 3]]).into();
            let is_forward = sent.ran.port.is_some_and(|port| port.is_uplink());
            let numbers = if is_forward {
                [1, bytes, 0, 0]
            } else {
                [0, 0, 1, bytes]
            };
            add(&mut self.carried, numbers);
        }
    }

    /// What the records say, and the open slots beyond that.
    pub fn told<'s>(&self, open: impl Iterator<Item = &'s Slot>) -> Sum {
        let mut told = self.recorded;
        for slot in open {
            let since = |packets: u64, exported: u32| u64::from((packets as u32) - exported);
            let numbers = [
                since(
                    slot.forward_packets.load(),
                    slot.exported_forward_packets.load(),
                ),
                slot.forward_bytes.load() - slot.exported_forward_bytes.load(),
                since(
                    slot.reply_packets.load(),
                    slot.exported_reply_packets.load(),
                ),
                slot.reply_bytes.load() - slot.exported_reply_bytes.load(),
            ];
            add(&mut told, numbers);
        }
        told
    }
}

fn add(sum: &mut Sum, numbers: Sum) {
    for (sum, number) in sum.iter_mut().zip(numbers) {
        *sum += number;
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, panic::AssertUnwindSafe};

    use vpc_common::{
        packet_table::{Action, Conn, Host, Ran},
        verdict,
    };

    use super::*;

    /// Whether the reader believes that a reply went where it should.
    fn believes(change: impl FnOnce(&mut Ran)) -> bool {
        let mut host = Host::new();
        let mut run = Run::new(&mut host, "a reader of frames");
        let conn = Conn::new_udp(0, 40_000);
        let (mut nat, moved) = (Nat::default(), BTreeMap::new());
        let mut look = |run: &mut Run<'_>, link, frame: &[u8], ran: &Ran| {
            let sent = Sent {
                link,
                frame,
                ran,
                moved: &moved,
                records: Vec::new(),
            };
            nat.assert_own(run, &sent);
        };
        let out = conn.udp(b"out").frame();
        let (ran, _) = run.send(conn.link(), &out);
        look(&mut run, conn.link(), &out, &ran);
        let back = conn.udp_back(&run, b"back").frame();
        let (mut ran, _) = run.send(conn.uplink(), &back);
        assert_eq!(ran.action, Action::Redirect);
        change(&mut ran);
        let seen = AssertUnwindSafe(|| look(&mut run, conn.uplink(), &back, &ran));
        std::panic::catch_unwind(seen).is_ok()
    }

    #[test]
    fn a_reply_to_another_environment_or_port_is_noticed() {
        assert!(believes(|_| {}));
        assert!(!believes(
            |ran| ran.port = Some(verdict::Port::environment(1))
        ));
        assert!(!believes(|ran| ran.port = Some(verdict::Port::uplink(0))));
        // Destination address, and destination port.
        assert!(!believes(|ran| ran.frame[33] ^= 1));
        assert!(!believes(|ran| ran.frame[37] ^= 1));
    }
}
