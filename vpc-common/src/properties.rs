//! What must hold whatever happens: random packets, random histories, threads.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use proptest::prelude::*;

use crate::{
    audit::Unlinked,
    double::{Buffer, Double},
    drop::DropReason,
    expiry::{self, SweepOptions},
    flow::Moment,
    forward,
    layout::{BLOCK_PORTS, FlowKey, Stat, SweepResult},
    packet_table::{
        Action, BLOCKS, Conn, Host, In, Machine as _, Run,
        build::{Built, Sum},
        world::*,
    },
    reply,
    state::{Phase, State, TCP, Timeouts, UDP},
    time::{TICK_NS, Tick},
    verdict::Kind,
};

/// The clock of the tests of this file, long after its start.
const START_NS: u64 = 1_000_000_000_000;

/// Tables with the packet table's world in them.
fn host() -> Host {
    let mut host = Host::new();
    Run::new(&mut host, "a property").into_log();
    host
}

fn sweep_all(tables: &Double, now: Tick, options: u64) -> SweepResult {
    let mut result = SweepResult::default();
    for block in 0..BLOCKS {
        expiry::sweep_block(tables, block, now, SweepOptions(options), &mut result);
    }
    result
}

/// Nothing is open, claimed or counted.
fn assert_nothing_left(tables: &Double) {
    assert!(tables.flow_entries().is_empty());
    for state in &tables.environment_states {
        assert_eq!(state.flows.load(), 0);
    }
    for state in &tables.eni_states {
        assert_eq!(state.connections.load(), 0);
    }
    for pool in &tables.pools {
        assert_eq!(pool.used.load(), 0);
    }
    assert_eq!(tables.faults(Unlinked::Refused), Vec::<String>::new());
}

fn ip_options() -> impl Strategy<Value = Vec<u8>> {
    (0usize..=10).prop_flat_map(|words| proptest::collection::vec(any::<u8>(), words * 4))
}

fn sums() -> impl Strategy<Value = Sum> {
    prop_oneof![Just(Sum::Right), Just(Sum::HalfMade)]
}

prop_compose! {
    /// A packet's look, but for its ends.
    fn looks()(
        data in proptest::collection::vec(any::<u8>(), 0..1_200),
        options in ip_options(),
        ttl in 2u8..,
        id in any::<u16>(),
        sum in sums(),
        padding in 0usize..20,
        (sequence, ack) in any::<(u32, u32)>(),
    ) -> Look {
        Look { data, options, ttl, id, sum, padding, sequence, ack }
    }
}

#[derive(Clone, Debug)]
struct Look {
    data: Vec<u8>,
    options: Vec<u8>,
    ttl: u8,
    id: u16,
    sum: Sum,
    padding: usize,
    sequence: u32,
    ack: u32,
}

impl Look {
    fn dress(&self, packet: Built) -> Built {
        let mut packet = packet.options(&self.options).ttl(self.ttl).sum(self.sum);
        packet.ip.identification = self.id;
        packet.padded(self.padding)
    }
}

/// Runs a frame; `None` unless it is sent on.
fn sent(run: &mut Run<'_>, link: In, frame: &[u8]) -> Option<Vec<u8>> {
    let (ran, _) = run.send(link, frame);
    (ran.action == Action::Redirect).then_some(ran.frame)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Every byte of a rewritten packet is that of one built anew, both ways, so
    /// payload and inside tuple come back as they left.
    #[test]
    fn rewriting_equals_building_anew(
        out in looks(),
        back in looks(),
        inside_port in 1u16..,
        remote_port in 1u16..,
        is_tcp in any::<bool>(),
    ) {
        let mut host = host();
        let mut run = Run::new(&mut host, "rewriting");
        let conn = Conn {
            protocol: if is_tcp { TCP } else { UDP },
            remote_port,
            ..Conn::new_udp(0, inside_port)
        };
        let packet = if is_tcp {
            conn.tcp("S", out.sequence, out.ack, &out.data)
        } else {
            conn.udp(&out.data)
        };
        let packet = out.dress(packet);
        let left = sent(&mut run, conn.link(), &packet.frame()).expect("it leaves");
        prop_assert_eq!(left, run.outward(&conn, &packet, 0).frame());
        let answer = if is_tcp {
            conn.tcp_back(&run, "SA", back.sequence, back.ack, &back.data)
        } else {
            conn.udp_back(&run, &back.data)
        };
        let answer = back.dress(answer);
        let came = sent(&mut run, conn.uplink(), &answer.frame()).expect("it arrives");
        prop_assert_eq!(came, run.inward(&conn, &answer).frame());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The buffer panics on an access beyond its end only if the code under test
    /// does: every access is checked, and this calls all of it.
    #[test]
    fn arbitrary_bytes_are_judged_without_a_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        kind in 0u8..6,
        fix in any::<bool>(),
    ) {
        let mut host = host();
        let ethertype = [[8, 0], [8, 0], [8, 0], [8, 6], [0x81, 0], [0x86, 0xdd]][usize::from(kind)];
        if bytes.len() >= 34 && fix {
            bytes[12..14].copy_from_slice(&ethertype);
            bytes[..6].copy_from_slice(&UPLINK_MAC[0]);
            let total = (bytes.len() as u16 - 14).to_be_bytes();
            let protocol = [6, 17, 1][usize::from(kind % 3)];
            bytes[14] = 0x45 + bytes[14] % 2;
            bytes[16..18].copy_from_slice(&total);
            bytes[20] &= 0x40;
            bytes[21] = 0;
            bytes[22] |= 2;
            bytes[23] = protocol;
            bytes[30..34].copy_from_slice(&ENI[0]);
            bytes[26..30].copy_from_slice(&INSIDE);
            let header_len = usize::from(bytes[14] & 15) * 4;
            if bytes.len() >= 14 + header_len {
                bytes[24..26].fill(0);
                let pairs = bytes[14..14 + header_len].chunks(2);
                let mut sum: u32 = pairs.map(|p| u32::from(p[0]) << 8 | u32::from(p[1])).sum();
                sum = (sum & 0xffff) + (sum >> 16);
                sum = (sum & 0xffff) + (sum >> 16);
                bytes[24..26].copy_from_slice(&(!sum as u16).to_be_bytes());
            }
        }
        for link in In::ALL {
            host.run(link, &bytes);
        }
        prop_assert_eq!(host.tables().faults(Unlinked::Refused), Vec::<String>::new());
    }
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Op {
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
struct Model {
    host: Host,
    world: World,
    now: u64,
    /// Outside port and connection of every flow that was seen to be open.
    live: HashMap<FlowKey, (Conn, [u8; 4], u16)>,
    carried: HashMap<FlowKey, Carried>,
    recorded: HashMap<FlowKey, Carried>,
}

impl Model {
    fn new() -> Self {
        let host = host();
        let world = World::new(&host);
        Self {
            host,
            world,
            now: START_NS,
            live: HashMap::new(),
            carried: HashMap::new(),
            recorded: HashMap::new(),
        }
    }

    fn key(&self, conn: &Conn) -> FlowKey {
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

    fn out(&mut self, conn: Conn) {
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
        }
    }

    fn step(&mut self, op: &Op) {
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
        let faults = self.host.tables().faults(Unlinked::Tolerated);
        assert!(faults.is_empty(), "after {op:?}: {faults:#?}");
    }

    fn end(&mut self) {
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

#[test]
fn a_flow_ends_at_its_limit_and_not_before_in_every_phase() {
    for timeouts in [Timeouts::AWS, Timeouts::RFC] {
        for phase in Phase::ALL
            .into_iter()
            .filter(|phase| *phase >= Phase::UdpNew)
        {
            let conn = match phase {
                Phase::UdpNew | Phase::UdpStream => Conn::new_udp(0, 40_000),
                _ => Conn::new_tcp(0, 40_000),
            };
            let mut host = host();
            for eni in &mut host.tables().enis {
                eni.timeouts = timeouts;
            }
            let mut model = Model {
                host,
                ..Model::new()
            };
            model.out(conn);
            let flow = model.host.flows()[&model.key(&conn)];
            let slot = &model.host.tables().slots[flow.slot as usize];
            slot.state.store(slot.state().with_phase(phase).0);
            let limit = timeouts.of(State::new(phase, conn.protocol, 0));
            let start = Tick::from_ns(START_NS).0;
            for (age, ends) in [(0, 0), (limit - 1, 0), (limit, 1)] {
                let result = sweep_all(model.host.tables(), Tick(start + age), 0);
                assert_eq!(
                    result.expired, ends,
                    "{phase:?} after {age} of {limit} ticks"
                );
            }
            assert_nothing_left(model.host.tables());
        }
    }
}

#[test]
fn a_sweep_whose_record_nobody_takes_ends_nothing() {
    for options in [0, SweepOptions::PURGE] {
        let mut model = Model::new();
        model.out(Conn::new_udp(0, 40_000));
        if options == SweepOptions::PURGE {
            model.step(&Op::Recycle(0));
        } else {
            model.step(&Op::Pass(400));
        }
        model.host.tables().record_capacity = 0;
        let now = Tick::from_ns(model.now);
        assert_eq!(sweep_all(model.host.tables(), now, options).expired, 0);
        model.host.tables().record_capacity = usize::MAX;
        assert_eq!(sweep_all(model.host.tables(), now, options).expired, 1);
        model.end();
    }
}

#[test]
fn an_entry_that_cannot_be_removed_yet_keeps_its_flow() {
    let mut model = Model::new();
    model.out(Conn::new_udp(0, 40_000));
    model.step(&Op::Pass(400));
    model.host.tables().failing_removals.store(1, Relaxed);
    let now = Tick::from_ns(model.now);
    assert_eq!(sweep_all(model.host.tables(), now, 0).expired, 0);
    assert_eq!(
        model.host.tables().faults(Unlinked::Refused),
        Vec::<String>::new()
    );
    assert_eq!(sweep_all(model.host.tables(), now, 0).expired, 1);
    model.end();
}

#[test]
fn a_full_forward_table_refuses_and_leaks_nothing() {
    let mut model = Model::new();
    model.host.tables().flow_capacity = 1;
    model.out(Conn::new_udp(0, 40_000));
    let refused = Conn::new_udp(0, 40_001);
    let ran = model.host.run(refused.link(), &refused.udp(b"x").frame());
    assert_eq!(ran.action, Action::Drop);
    let drops = model.host.drops();
    assert_eq!(drops.len(), 1);
    assert!(
        drops
            .keys()
            .all(|key| key.reason == DropReason::FlowTableFull as u32)
    );
    assert_eq!(
        model.host.tables().faults(Unlinked::Refused),
        Vec::<String>::new()
    );
    model.end();
}

/// A packet of one thread; the source port it left by.
fn thread_sends(tables: &Double, host: u32, conn: &Conn, ns: u64) -> Option<u16> {
    let packet = match conn.protocol {
        TCP => conn.tcp("S", 1, 0, b""),
        _ => conn.udp(b"out"),
    };
    let mut packet = Buffer::new(&packet.frame());
    let verdict = forward::from_environment(tables, &mut packet, host, Moment::from_ns(ns));
    match verdict.kind() {
        Kind::Send => {
            let frame = packet.frame();
            Some(u16::from_be_bytes([frame[34], frame[35]]))
        }
        Kind::Drop => {
            let reason = verdict.reason();
            let expected = [
                DropReason::FlowSetupRace,
                DropReason::PortsContended,
                DropReason::PortsExhausted,
                DropReason::SlabExhausted,
            ];
            assert!(
                reason.is_some_and(|reason| expected.contains(&reason)),
                "{verdict:?}"
            );
            None
        }
        _ => panic!("{verdict:?}"),
    }
}

#[test]
fn threads_that_open_the_same_flow_share_one() {
    const TUPLES: u16 = 1_500;
    let mut host = host();
    let ifindex = host.ifindex(In::Environment(0));
    host.tables().environments[0].flow_quota = u32::MAX;
    let tables = &*host.tables();
    let ports: Vec<Mutex<HashSet<u16>>> = (0..TUPLES).map(|_| Mutex::default()).collect();
    let barrier = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (tuple, seen) in ports.iter().enumerate() {
                    if tuple % 50 == 0 {
                        barrier.wait();
                    }
                    let conn = match tuple % 2 {
                        0 => Conn::new_udp(0, 10_000 + tuple as u16),
                        _ => Conn::new_tcp(0, 10_000 + tuple as u16),
                    };
                    if let Some(port) = thread_sends(tables, ifindex, &conn, START_NS) {
                        seen.lock().expect("no thread panicked").insert(port);
                    }
                }
            });
        }
    });
    for (tuple, seen) in ports.iter().enumerate() {
        let seen = seen.lock().expect("no thread panicked");
        assert_eq!(seen.len(), 1, "tuple {tuple} left by {seen:?}");
    }
    assert_eq!(tables.stat(Stat::FlowsOpened), u64::from(TUPLES));
    assert_eq!(tables.faults(Unlinked::Refused), Vec::<String>::new());
}

#[test]
fn threads_and_a_sweep_leave_the_tables_in_agreement() {
    let mut host = host();
    let links: Vec<u32> = (0..3).map(|e| host.ifindex(In::Environment(e))).collect();
    let clock = AtomicU64::new(START_NS);
    let tables = &*host.tables();
    let stop = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3u64)
            .map(|me| {
                let (links, clock) = (&links, &clock);
                scope.spawn(move || {
                    let mut seed = me.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    for _ in 0..30_000 {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        let roll = (seed >> 33) as usize;
                        let port = 10_000 + (roll >> 3 & 0x3ff) as u16;
                        let conn = match roll & 1 {
                            0 => Conn::new_udp(roll >> 1 & 1, port),
                            _ => Conn::new_tcp(roll >> 1 & 1, port),
                        };
                        let link = links[conn.environment];
                        thread_sends(tables, link, &conn, clock.load(Relaxed));
                    }
                })
            })
            .collect();
        let sweeper = scope.spawn(|| {
            while stop.load(Relaxed) == 0 {
                let now = clock.fetch_add(40 * 1_000_000_000, Relaxed);
                sweep_all(tables, Tick::from_ns(now), 0);
            }
        });
        for worker in workers {
            worker.join().expect("a worker does not panic");
        }
        stop.store(1, Relaxed);
        sweeper.join().expect("the sweep does not panic");
    });
    assert_eq!(tables.stat(Stat::DoubleFrees), 0);
    assert_eq!(tables.stat(Stat::SlotConflicts), 0);
    assert_eq!(tables.faults(Unlinked::Refused), Vec::<String>::new());
    let opened = tables.stat(Stat::FlowsOpened);
    assert!(opened > u64::from(BLOCK_PORTS), "{opened}");
    let end = Tick::from_ns(clock.load(Relaxed) + 1_000_000_000_000 + TICK_NS);
    sweep_all(tables, end, 0);
    assert_eq!(tables.stat(Stat::FlowsExpired), opened);
    assert_nothing_left(tables);
}
