//! Packets through a data path, host functions or loaded programs: one frame from an
//! environment and the answer from the remote end, with the verdict read off counters,
//! off the neighbour that is asked for, and off what leaves.

use std::net::Ipv4Addr;

use vpc_common::{
    drop::DropReason,
    flow,
    layout::NextHopKey,
    packet_table::{
        Action, In, Machine, UPLINKS,
        build::{Built, segment},
        world::*,
    },
    verdict::Awaited,
};
use vpc_user::model::{Config, ObjectName};

use super::{Installed, Verdict};
use crate::{
    oracle::{Carried, Hop, Oracle, Refusal},
    rules::Question,
};

/// The environment's port.
const INSIDE_PORT: u16 = 40_000;
/// The environment that sends, its ENI, and where its neighbours are written down.
const ENVIRONMENT: usize = 0;
const ENI_INDEX: u32 = 0;
const HOP_INDEX: u32 = 1;

/// A data path that answers questions.
pub struct Judge<'m, I> {
    machine: &'m mut dyn Machine,
    install: I,
}

impl<'m, I> Judge<'m, I>
where
    I: FnMut(&mut dyn Machine, &Config, &ObjectName) -> (World, Installed),
{
    /// With a function that does what [`install`](super::install) does, for an
    /// emptied machine, with the group's policy in force.
    pub const fn new(machine: &'m mut dyn Machine, install: I) -> Self {
        Self { machine, install }
    }

    /// The verdicts on questions, in their order.
    pub fn verdicts(&mut self, config: &Config, questions: &[Question]) -> Vec<Verdict> {
        let verdict = |question| self.verdict(config, question);
        questions.iter().map(verdict).collect()
    }

    /// The verdict on one question.
    ///
    /// # Panics
    ///
    /// When the packet meets a fate that has nothing to do with rules.
    pub fn verdict(&mut self, config: &Config, question: &Question) -> Verdict {
        self.machine.clear();
        let (mut world, installed) = (self.install)(self.machine, config, &question.group);
        fill(self.machine);
        prime(self.machine, &world);
        let pool = flow::pool_index(ENI_INDEX, question.protocol());
        restrict(self.machine, pool, &[question.eni_port]);
        self.machine.told();
        let key = match self.first(question) {
            Ok(key) => key,
            Err(refusal) => return Verdict::refused(refusal),
        };
        world.next_hops = vec![(HOP_INDEX, key, SERVER_MAC)];
        self.machine.configure(&world);
        prime(self.machine, &world);
        self.second(question);
        let uplink = key.uplink as usize;
        let ends = Ends {
            question,
            uplink,
            eni: installed.eni,
        };
        let (inside, outside) = (In::Environment(ENVIRONMENT), In::Uplink(uplink));
        let address = Ipv4Addr::from(key.address.v4().octets());
        Verdict {
            forward: Ok(Hop {
                uplink: installed.uplinks[uplink].clone(),
                address,
            }),
            reply: self.passes(question, outside, &ends.reply().frame()),
            error_out: self.passes(question, inside, &ends.error_out().frame()),
            error_in: self.passes(question, outside, &ends.error_in().frame()),
        }
    }

    /// The first packet: the neighbour that it needs, or why it goes nowhere.
    fn first(&mut self, question: &Question) -> Result<NextHopKey, Refusal> {
        let (action, dropped) = self.send(In::Environment(ENVIRONMENT), &outward(question).frame());
        assert_eq!(action, Action::Drop, "{question}: no neighbour is known");
        if let Some(reason) = dropped {
            return Err(refusal(reason).unwrap_or_else(|| panic!("{question}: {reason:?}")));
        }
        let handed = self.machine.told().handed;
        match handed.first().map(|handed| handed.awaited) {
            Some(Awaited::NextHop(key, _)) => Ok(key),
            other => panic!("{question}: neither dropped nor in want of a neighbour: {other:?}"),
        }
    }

    /// The packet again, now that the neighbour is known.
    fn second(&mut self, question: &Question) {
        let (action, dropped) = self.send(In::Environment(ENVIRONMENT), &outward(question).frame());
        assert_eq!(action, Action::Redirect, "{question}: {dropped:?}");
    }

    /// Whether a frame of an open flow goes on.
    fn passes(&mut self, question: &Question, link: In, frame: &[u8]) -> Result<(), Refusal> {
        let (action, dropped) = self.send(link, frame);
        match (action, dropped.map(refusal)) {
            (Action::Redirect, None) => Ok(()),
            (Action::Drop, Some(Some(refusal))) => Err(refusal),
            _ => panic!("{question}: {action:?} {dropped:?} on {link:?}: {frame:02x?}"),
        }
    }

    /// Sends a frame: the action, and the reason that was counted for it.
    fn send(&mut self, link: In, frame: &[u8]) -> (Action, Option<DropReason>) {
        let before = self.machine.drops();
        let action = self.machine.run(link, frame).action;
        let after = self.machine.drops();
        let counted = |key: &_| after.get(key) != before.get(key);
        let moved = after.keys().find(|key| counted(key));
        let reason = moved.map(|key| {
            let mut all = DropReason::ALL.iter().copied();
            let reason = all.find(|reason| *reason as u32 == key.reason);
            reason.expect("a reason that is counted has a name")
        });
        (action, reason)
    }
}

/// A reason that rules and routes give.
fn refusal(reason: DropReason) -> Option<Refusal> {
    let all = [
        Refusal::SgEgress,
        Refusal::NaclOut,
        Refusal::NaclIn,
        Refusal::NoRoute,
        Refusal::Blackhole,
    ];
    all.into_iter()
        .find(|refusal| refusal.label() == reason.label())
}

/// Whether the data path carries a question's packet at all, whatever the rules say;
/// what is no unicast destination, no port of an ENI, or an ENI itself is none of
/// theirs.
pub fn carried(config: &Config, question: &Question) -> bool {
    let [first, ..] = question.remote.octets();
    let enis = &mut config.groups.iter().flat_map(|group| &group.enis);
    let is_ours = enis.any(|eni| eni.address == question.remote);
    let is_flow = match question.carried {
        Carried::Tcp(port) | Carried::Udp(port) => port != 0,
        Carried::Icmp(..) | Carried::Other(_) => false,
    };
    is_flow
        && config.uplinks.len() <= UPLINKS as usize
        && question.eni_port >= 1_024
        && !matches!(first, 0 | 127 | 224..)
        && question.remote != Ipv4Addr::from(GATEWAY)
        && !is_ours
}

/// What differs between the oracle and a judge about one question. What comes back is
/// only asked for where the packet left.
pub fn machine_differs<I>(
    judge: &mut Judge<'_, I>,
    config: &Config,
    question: &Question,
) -> Option<String>
where
    I: FnMut(&mut dyn Machine, &Config, &ObjectName) -> (World, Installed),
{
    let mut expected = Verdict::expected(config, question);
    if let Err(refusal) = expected.forward {
        expected = Verdict::refused(refusal);
    }
    let found = judge.verdict(config, question);
    (found != expected).then(|| {
        let route = Oracle::new(config, &question.group).route(question.remote);
        format!("expected: {expected} ({:?})\n   found: {found}", route.by)
    })
}

/// The first packet, as the environment sends it.
fn outward(question: &Question) -> Built {
    let ends = (INSIDE, question.remote.octets());
    flow_packet(question, (INSIDE_MAC, GATEWAY_MAC), ends, INSIDE_PORT, true)
}

/// A packet of a flow between the remote end and a port on this side.
fn flow_packet(
    question: &Question,
    (from_mac, to_mac): ([u8; 6], [u8; 6]),
    (from, to): ([u8; 4], [u8; 4]),
    near_port: u16,
    outward: bool,
) -> Built {
    let packet = Built::new(from_mac, to_mac, from, to);
    let ports = |remote: u16| {
        if outward {
            (near_port, remote)
        } else {
            (remote, near_port)
        }
    };
    let (flags, ack) = if outward { ("S", 0) } else { ("SA", 2) };
    match question.carried {
        Carried::Tcp(remote) => {
            let (source, destination) = ports(remote);
            packet.tcp(segment(source, destination, flags, 1, ack), b"")
        }
        Carried::Udp(remote) => {
            let (source, destination) = ports(remote);
            packet.udp(source, destination, b"datagram")
        }
        Carried::Icmp(..) | Carried::Other(_) => panic!("{question}: not a flow"),
    }
}

/// Both ends of an open flow.
struct Ends<'q> {
    question: &'q Question,
    uplink: usize,
    eni: Ipv4Addr,
}

impl Ends<'_> {
    fn packet_in(&self) -> Built {
        let (remote, eni) = (self.question.remote.octets(), self.eni.octets());
        Built::new(SERVER_MAC, UPLINK_MAC[self.uplink], remote, eni)
    }

    fn reply(&self) -> Built {
        let (remote, eni) = (self.question.remote.octets(), self.eni.octets());
        let macs = (SERVER_MAC, UPLINK_MAC[self.uplink]);
        flow_packet(
            self.question,
            macs,
            (remote, eni),
            self.question.eni_port,
            false,
        )
    }

    /// About the first packet, as the remote end got it.
    fn error_in(&self) -> Built {
        let (remote, eni) = (self.question.remote.octets(), self.eni.octets());
        let macs = (UPLINK_MAC[self.uplink], SERVER_MAC);
        let quoted = flow_packet(
            self.question,
            macs,
            (eni, remote),
            self.question.eni_port,
            true,
        );
        let (kind, code) = self.question.error;
        self.packet_in()
            .icmp(kind, code, [0, 0, 5, 0], &quoted.packet())
    }

    /// About the reply, as the environment got it.
    fn error_out(&self) -> Built {
        let remote = self.question.remote.octets();
        let macs = (GATEWAY_MAC, INSIDE_MAC);
        let quoted = flow_packet(self.question, macs, (remote, INSIDE), INSIDE_PORT, false);
        let (kind, code) = self.question.error;
        let packet = Built::new(INSIDE_MAC, GATEWAY_MAC, INSIDE, remote);
        packet.icmp(kind, code, [0, 0, 5, 0], &quoted.packet())
    }
}
