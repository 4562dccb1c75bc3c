//! Whatever happens, in whatever order, adds up.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{START_NS, assert_nothing_left, host, sweep_all};
use crate::{
    double::Buffer,
    expiry::SweepOptions,
    flow::Moment,
    forward,
    layout::{FlowKey, FlowRecord},
    packet_table::{Conn, Host, In, Machine as _, build::Built, world::*},
    reply,
    state::TCP,
    time::Tick,
    verdict::Kind,
};

/// One step of a history.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// An environment sends on one of a few tuples.
    Out(usize, bool, u16, bool),
    /// The remote answers one of the flows.
    Back(usize),
    /// A stranger answers one of the flows.
    Stranger(usize),
    /// The environment of one of the flows resets it and connects again.
    Again(usize),
    Pass(u32),
    Sweep(u64),
    Recycle(usize),
    /// The ring of records has room for so many more.
    Room(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (0usize..3, any::<bool>(), 0u16..4, any::<bool>())
            .prop_map(|(e, tcp, port, far)| Op::Out(e, tcp, port, far)),
        6 => any::<usize>().prop_map(Op::Back),
        2 => any::<usize>().prop_map(Op::Stranger),
        2 => any::<usize>().prop_map(Op::Again),
        3 => prop_oneof![Just(1u32), Just(59), Just(100), Just(400)].prop_map(Op::Pass),
        3 => (0u64..4).prop_map(Op::Sweep),
        1 => (0usize..3).prop_map(Op::Recycle),
        2 => (0usize..4).prop_map(Op::Room),
    ];
    proptest::collection::vec(op, 1..80)
}

/// Packets and bytes out, packets and bytes back.
type Carried = [u64; 4];

/// What a history must have led to.
pub(super) struct Model {
    pub(super) host: Host,
    world: World,
    pub(super) now: u64,
    /// Outside port and connection of every flow that was seen to be open.
    live: HashMap<FlowKey, (Conn, [u8; 4], u16)>,
    carried: HashMap<FlowKey, Carried>,
    recorded: HashMap<FlowKey, Carried>,
    /// First and last records, and the TCP flags that were told since the first.
    connections: HashMap<FlowKey, (u64, u64, u32)>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self::on(host())
    }

    /// On tables that hold the packet table's world.
    pub(super) fn on(host: Host) -> Self {
        let world = World::new(&host);
        Self {
            host,
            world,
            now: START_NS,
            live: HashMap::new(),
            carried: HashMap::new(),
            recorded: HashMap::new(),
            connections: HashMap::new(),
        }
    }

    pub(super) fn key(&self, conn: &Conn) -> FlowKey {
        FlowKey::new(
            conn.environment as u16,
            conn.protocol,
            self.world.environments[conn.environment].generation,
            addr(conn.remote),
            crate::addr::Port::new(conn.inside_port),
            crate::addr::Port::new(conn.remote_port),
        )
    }

    fn run(&mut self, link: In, frame: &[u8]) -> (Kind, Vec<u8>) {
        let (ifindex, moment) = (self.host.ifindex(link), Moment::from_ns(self.now));
        let mut packet = Buffer::new(frame);
        let tables = &*self.host.tables();
        let verdict = match link {
            In::Uplink(_) => reply::from_uplink(tables, &mut packet, ifindex, moment),
            In::Environment(_) | In::Stranger => {
                forward::from_environment(tables, &mut packet, ifindex, moment)
            }
        };
        (verdict.kind(), packet.frame().to_vec())
    }

    fn carry(&mut self, key: FlowKey, direction: usize, frame: &[u8]) {
        let bytes = u64::from(u16::from_be_bytes([frame[16], frame[17]]));
        let carried = self.carried.entry(key).or_default();
        carried[direction] += 1;
        carried[direction + 1] += bytes;
    }

    pub(super) fn out(&mut self, conn: Conn) {
        let key = self.key(&conn);
        let packet = match conn.protocol {
            TCP => conn.tcp("S", 1, 0, b""),
            _ => conn.udp(b"out"),
        };
        let frame = packet.frame();
        let (kind, left) = self.run(conn.link(), &frame);
        assert_eq!(kind, Kind::Send);
        let address = [left[26], left[27], left[28], left[29]];
        let port = u16::from_be_bytes([left[34], left[35]]);
        assert!(port >= 1_024);
        // Open flows of the tables, not of the model, say whether the port is new.
        let others = self.live.iter().filter(|(other, _)| **other != key);
        for (other, (their, their_address, their_port)) in others {
            let same = their.protocol == conn.protocol
                && (*their_address, *their_port) == (address, port)
                && their.remote == conn.remote
                && self.is_open(other);
            assert!(!same, "{other:?} and {key:?} share {address:?}:{port}");
        }
        self.live.insert(key, (conn, address, port));
        self.carry(key, 0, &frame);
    }

    fn again(&mut self, n: usize) {
        let Some((key, conn, _, port)) = self.nth(n) else {
            return;
        };
        if conn.protocol != TCP || self.key(&conn) != key || !self.is_open(&key) {
            return;
        }
        let frame = conn.tcp("R", 2, 0, b"").frame();
        assert_eq!(self.run(conn.link(), &frame).0, Kind::Send);
        self.carry(key, 0, &frame);
        self.out(conn);
        assert_eq!(self.live[&key].2, port);
    }

    fn is_open(&self, key: &FlowKey) -> bool {
        self.host.flows().contains_key(key)
    }

    fn nth(&self, n: usize) -> Option<(FlowKey, Conn, [u8; 4], u16)> {
        let mut keys: Vec<_> = self.live.iter().collect();
        keys.sort_by_key(|(key, _)| {
            (
                key.environment,
                key.generation,
                key.protocol,
                key.inside_port.number(),
                key.remote.octets(),
            )
        });
        let count = keys.len();
        let (key, (conn, address, port)) = keys.get(n % count.max(1))?;
        Some((**key, *conn, *address, *port))
    }

    fn back(&mut self, n: usize, stranger: bool) {
        let Some((key, conn, address, port)) = self.nth(n) else {
            return;
        };
        let uplink = UPLINK_MAC[usize::from(conn.environment == 2)];
        let from = if stranger { [10, 9, 9, 9] } else { conn.remote };
        let packet = Built::new(SERVER_MAC, uplink, from, address);
        let packet = match conn.protocol {
            TCP => packet.tcp(
                crate::packet_table::build::segment(conn.remote_port, port, "SA", 9, 2),
                b"",
            ),
            _ => packet.udp(conn.remote_port, port, b"back again"),
        };
        let frame = packet.frame();
        let environment = self.world.environments[conn.environment];
        let open = self.is_open(&key) && environment.generation == key.generation;
        // The port may be another flow's by now, or its flow's without an entry,
        // while its last record waits for room.
        let owner = self.owner_of(&conn, address, port);
        let (kind, came) = self.run(conn.uplink(), &frame);
        if stranger {
            assert_eq!(kind, Kind::Drop);
            return;
        }
        if open {
            assert_eq!((kind, owner), (Kind::Send, Some(key)));
        }
        if kind == Kind::Send {
            let owner = owner.expect("a reply passes to a flow only");
            assert_eq!(came[30..34], INSIDE);
            assert_eq!(came[36..38], owner.inside_port.to_wire().to_ne_bytes());
            self.carry(owner, 2, &frame);
        }
    }

    /// The flow that has an outside tuple.
    fn owner_of(&mut self, conn: &Conn, address: [u8; 4], port: u16) -> Option<FlowKey> {
        let mut slots = self.host.tables().slots.iter().filter(|slot| {
            let state = slot.state();
            state.is_open()
                && state.protocol() == conn.protocol
                && ENI[usize::from(slot.eni())] == address
                && slot.outside_port().number() == port
                && slot.remote() == addr(conn.remote)
        });
        let slot = slots.next()?;
        assert!(slots.next().is_none(), "one outside tuple, two flows");
        Some(slot.flow_key(conn.protocol))
    }

    fn collect(&mut self) {
        for record in self.host.told().records {
            let sums = self.recorded.entry(record.key).or_default();
            let news = [
                u64::from(record.forward_packets),
                record.forward_bytes,
                u64::from(record.reply_packets),
                record.reply_bytes,
            ];
            for (sum, new) in sums.iter_mut().zip(news) {
                *sum += new;
            }
            self.note_connection(&record);
        }
    }

    /// A connection has a first and a last record, and tells each TCP flag once.
    fn note_connection(&mut self, record: &FlowRecord) {
        let (firsts, lasts, flags) = self.connections.entry(record.key).or_default();
        if record.flags & FlowRecord::FIRST != 0 {
            assert_eq!(firsts, lasts, "a first record amid a connection");
            (*firsts, *flags) = (*firsts + 1, 0);
        }
        assert_eq!(record.tcp_flags & *flags, 0, "a flag is told twice");
        *flags |= record.tcp_flags;
        *lasts += u64::from(record.ended);
    }

    pub(super) fn step(&mut self, op: &Op) {
        match *op {
            Op::Out(environment, tcp, port, far) => {
                let conn = match tcp {
                    true => Conn::new_tcp(environment, 40_000 + port),
                    false => Conn::new_udp(environment, 40_000 + port),
                };
                self.out(if far && environment != 2 {
                    conn.to(FAR)
                } else {
                    conn
                });
            }
            Op::Back(n) => self.back(n, false),
            Op::Again(n) => self.again(n),
            Op::Stranger(n) => self.back(n, true),
            Op::Pass(seconds) => self.now += u64::from(seconds) * 1_000_000_000,
            Op::Sweep(options) => {
                let now = Tick::from_ns(self.now);
                sweep_all(self.host.tables(), now, options);
            }
            Op::Recycle(environment) => {
                self.world.environments[environment].generation += 1;
                self.host.configure(&self.world);
                let state = &self.host.tables().environment_states[environment];
                state.flows.store(0);
            }
            Op::Room(room) => {
                self.collect();
                self.host.tables().record_capacity = room;
            }
        }
        let faults = self.host.tables().faults();
        assert!(faults.is_empty(), "after {op:?}: {faults:#?}");
    }

    pub(super) fn end(&mut self) {
        self.collect();
        self.host.tables().record_capacity = usize::MAX;
        self.now += 1_000 * 1_000_000_000;
        let now = Tick::from_ns(self.now);
        sweep_all(self.host.tables(), now, SweepOptions::PURGE);
        self.collect();
        assert_nothing_left(self.host.tables());
        for (key, carried) in &self.carried {
            assert_eq!(
                self.recorded.get(key),
                Some(carried),
                "recorded and carried on {key:?}"
            );
        }
        assert_eq!(self.recorded.len(), self.carried.len());
        for (key, (firsts, lasts, _)) in &self.connections {
            assert_eq!(firsts, lasts, "first and last records of {key:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Outside tuples of open flows differ, replies reach whom they are for, the
    /// tables agree after every step, the records add up to every packet and byte
    /// although their ring is full at times, and in the end nothing is left.
    #[test]
    fn any_history_ends_well(history in ops()) {
        let mut model = Model::new();
        for op in &history {
            model.step(op);
        }
        model.end();
    }
}
