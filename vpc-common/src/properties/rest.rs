//! Ports that rest.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{START_NS, host, sweep_all};
use crate::{
    double::Buffer,
    drop::DropReason,
    expiry::SweepOptions,
    flow::Moment,
    forward,
    packet_table::{Conn, Host, In, Machine as _, world::*},
    pool::REST,
    state::{TCP, Timeouts, UDP},
    time::Tick,
    verdict::{Kind, Verdict},
};

/// So few that they are used again and again.
const PORTS: [u16; 4] = [50_000, 50_001, 50_070, 50_175];

#[derive(Clone, Debug)]
enum Op {
    /// An environment opens a flow from one of a few ports to one of two peers.
    Open(usize, u16, bool),
    /// An environment goes, and another gets its index.
    Gone(usize),
    /// Seconds pass.
    Pass(u32),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (0usize..2, 0u16..3, any::<bool>()).prop_map(|(e, port, far)| Op::Open(e, port, far)),
        3 => (0usize..2).prop_map(Op::Gone),
        2 => prop_oneof![Just(1u32), Just(50), Just(121)].prop_map(Op::Pass),
    ];
    proptest::collection::vec(op, 1..120)
}

/// What a port carried last.
#[derive(Clone, Copy, Debug)]
struct Last {
    peer: [u8; 4],
    /// The environment, until it is gone.
    holder: Option<usize>,
    /// Until when it rests after that.
    until: u32,
}

struct Model {
    host: Host,
    world: World,
    protocol: u8,
    now: u64,
    last: BTreeMap<u16, Last>,
}

impl Model {
    fn new(protocol: u8) -> Self {
        let mut host = host();
        restrict(&host, crate::flow::pool_index(0, protocol), &PORTS);
        let mut world = World::new(&host);
        // Nothing ends but with its environment.
        world.enis[0].timeouts = Timeouts([u32::MAX / 2; 16]);
        host.configure(&world);
        Self {
            host,
            world,
            protocol,
            now: START_NS,
            last: BTreeMap::new(),
        }
    }

    fn tick(&self) -> u32 {
        Tick::from_ns(self.now).0
    }

    fn rests(&self, port: u16, peer: [u8; 4]) -> bool {
        let last = self.last.get(&port);
        last.is_some_and(|last| {
            last.holder.is_none() && last.peer == peer && self.tick() < last.until
        })
    }

    fn free(&self) -> impl Iterator<Item = u16> {
        let is_free = |port: &u16| self.last.get(port).is_none_or(|it| it.holder.is_none());
        PORTS.into_iter().filter(is_free)
    }

    fn run(&mut self, conn: &Conn) -> (Verdict, Vec<u8>) {
        let frame = match self.protocol {
            TCP => conn.tcp("S", 1, 0, b"").frame(),
            _ => conn.udp(b"out").frame(),
        };
        let mut packet = Buffer::new(&frame);
        let ifindex = self.host.ifindex(In::Environment(conn.environment));
        let (tables, moment) = (&*self.host.tables(), Moment::from_ns(self.now));
        let verdict = forward::from_environment(tables, &mut packet, ifindex, moment);
        (verdict, packet.frame().to_vec())
    }

    fn open(&mut self, environment: usize, inside: u16, far: bool) {
        let conn = match self.protocol {
            TCP => Conn::new_tcp(environment, 40_000 + inside),
            _ => Conn::new_udp(environment, 40_000 + inside),
        };
        let conn = if far { conn.to(FAR) } else { conn };
        let before = self.host.flows().len();
        let (verdict, left) = self.run(&conn);
        let rests = |port| self.rests(port, conn.remote);
        if verdict.kind() != Kind::Send {
            let (free, resting) = (self.free().count(), self.free().filter(|it| rests(*it)));
            let why = match (free, resting.count()) {
                (0, _) => DropReason::PortsExhausted,
                (_, 0) => panic!("refused although a port is free and none rests: {verdict:?}"),
                _ => DropReason::PortsContended,
            };
            assert_eq!(verdict.reason(), Some(why));
            return;
        }
        if self.host.flows().len() == before {
            return;
        }
        let port = u16::from_be_bytes([left[34], left[35]]);
        assert!(self.free().any(|it| it == port), "{port} is somebody's");
        assert!(!rests(port), "{port} rests: {:?}", self.last);
        let last = Last {
            peer: conn.remote,
            holder: Some(environment),
            until: 0,
        };
        self.last.insert(port, last);
    }

    fn gone(&mut self, environment: usize) {
        self.world.environments[environment].generation += 1;
        self.host.configure(&self.world);
        let tables = self.host.tables();
        tables.environment_states[environment].flows.store(0);
        sweep_all(tables, Tick::from_ns(self.now), SweepOptions::PURGE);
        let until = self.tick() + REST;
        for last in self.last.values_mut() {
            if last.holder == Some(environment) {
                (last.holder, last.until) = (None, until);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whoever comes and goes, a port that carried a former environment to a peer carries
    /// no other there before its rest is over, unless it served another peer meanwhile; and
    /// nobody is refused for it while no free port rests.
    #[test]
    fn a_late_reply_reaches_no_other_environment(history in ops(), tcp in any::<bool>()) {
        let mut model = Model::new(if tcp { TCP } else { UDP });
        for op in &history {
            match *op {
                Op::Open(environment, inside, far) => model.open(environment, inside, far),
                Op::Gone(environment) => model.gone(environment),
                Op::Pass(seconds) => model.now += u64::from(seconds) * 1_000_000_000,
            }
            let faults = model.host.tables().faults();
            prop_assert!(faults.is_empty(), "after {op:?}: {faults:#?}");
        }
    }
}
