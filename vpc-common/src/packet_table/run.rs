//! One case on one machine: sends frames, knows what a rewritten one must look
//! like, and holds every counter against what the step says.

use std::collections::BTreeMap;

use etherparse::TcpHeader;

use super::{
    Action, ENIS, ENVIRONMENTS, Handed, In, Machine, Ran,
    build::{Body, Built, Sum, segment},
    world::{self, *},
};
use crate::{
    addr::Port,
    audit::{self, Unlinked},
    drop::DropReason,
    expiry::SweepOptions,
    layout::{DropKey, Event, FlowKey, FlowRecord, Owner, Slot, Stat, SweepResult},
    state::{Phase, TCP, UDP},
    time::ticks_from_secs,
    verdict::{self, Awaited},
};

/// Something that is counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Counter {
    /// Drops.
    Drop(Owner, DropReason),
    /// Another counter of the kernel's.
    Stat(Stat),
    /// Flows of an environment.
    Flows(usize),
    /// Connections of an ENI.
    Connections(usize),
    /// Ports of a pool.
    Used(usize),
    /// The next identification of an ENI.
    Id(usize),
    /// Packets of all open flows into the VPC.
    ForwardPackets,
    /// Bytes of all open flows into the VPC.
    ForwardBytes,
    /// Packets of all open flows to the environments.
    ReplyPackets,
    /// Bytes of all open flows to the environments.
    ReplyBytes,
}

/// What one frame brought about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Where it came in.
    pub link: In,
    /// The frame.
    pub input: Vec<u8>,
    /// What was done with it.
    pub action: Action,
    /// The frame afterwards.
    pub output: Vec<u8>,
    /// Counters that moved, and by how much.
    pub moved: BTreeMap<Counter, i64>,
}

/// The counters and stamps at a moment.
#[derive(Clone, Default)]
struct Snapshot {
    counters: BTreeMap<Counter, i64>,
    stamps: BTreeMap<(u32, u32), Stamps>,
}

#[derive(Clone, Copy)]
struct Stamps {
    packets: [u64; 2],
    last: [u32; 2],
}

/// Movements that a step names.
pub type Moves = [(Counter, i64)];

/// A case in progress.
pub struct Run<'m> {
    machine: &'m mut dyn Machine,
    /// What the agent decided; [`Run::configure`] after a change.
    pub world: World,
    name: &'static str,
    before: Snapshot,
    log: Vec<Outcome>,
    events: Vec<Event>,
    records: Vec<FlowRecord>,
    handed: Vec<Handed>,
    unlinked: Unlinked,
}

impl<'m> Run<'m> {
    /// On an emptied machine.
    pub fn new(machine: &'m mut dyn Machine, name: &'static str) -> Self {
        machine.clear();
        let world = World::new(machine);
        machine.configure(&world);
        world::fill(machine);
        world::prime(machine, &world);
        machine.told();
        let mut run = Self {
            machine,
            world,
            name,
            before: Snapshot::default(),
            log: Vec::new(),
            events: Vec::new(),
            records: Vec::new(),
            handed: Vec::new(),
            unlinked: Unlinked::Refused,
        };
        run.before = run.snapshot();
        run
    }

    /// What happened so far.
    pub fn into_log(mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.log)
    }

    /// The machine.
    pub fn machine(&mut self) -> &mut dyn Machine {
        self.machine
    }

    /// Writes a changed [`Run::world`].
    pub fn configure(&mut self) {
        self.machine.configure(&self.world);
    }

    /// See [`world::restrict`].
    pub fn restrict(&mut self, eni: u32, protocol: u8, ports: &[u16]) {
        let pool = crate::flow::pool_index(eni, protocol);
        world::restrict(self.machine, pool, ports);
        self.before = self.snapshot();
    }

    /// Gives an environment's index to another one.
    pub fn recycle(&mut self, environment: usize) {
        self.world.environments[environment].generation += 1;
        self.machine.seen().environment_states[environment]
            .flows
            .store(0);
        self.configure();
        self.before = self.snapshot();
    }

    /// Lets time pass: everything is older afterwards.
    pub fn age(&mut self, seconds: u32) {
        let ticks = ticks_from_secs(seconds);
        for slot in self.machine.seen().slots {
            for stamp in [&slot.forward_last, &slot.reply_last, &slot.created] {
                stamp.store(stamp.load().wrapping_sub(ticks));
            }
        }
        self.machine.age_fragments(ticks);
        self.before = self.snapshot();
    }

    /// Sweeps, and holds the counters against the movements named.
    pub fn sweep(&mut self, options: u64, moves: &Moves) -> SweepResult {
        let result = self.machine.sweep(SweepOptions(options));
        let moved = self.settle();
        self.expect_moves(&moved, moves);
        result
    }

    /// Takes the events told so far.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Takes the flow records handed over so far.
    pub fn take_records(&mut self) -> Vec<FlowRecord> {
        std::mem::take(&mut self.records)
    }

    // Sending.

    /// Sends a frame whatever comes of it.
    pub fn send(&mut self, link: In, frame: &[u8]) -> (Ran, BTreeMap<Counter, i64>) {
        let ran = self.machine.run(link, frame);
        let moved = self.settle();
        self.log.push(Outcome {
            link,
            input: frame.to_vec(),
            action: ran.action,
            output: ran.frame.clone(),
            moved: moved.clone(),
        });
        (ran, moved)
    }

    fn expect(&mut self, link: In, frame: &[u8], action: Action, moves: &Moves) -> Ran {
        let (ran, moved) = self.send(link, frame);
        assert_eq!(ran.action, action, "{moved:?}");
        self.expect_moves(&moved, moves);
        ran
    }

    fn expect_moves(&self, moved: &BTreeMap<Counter, i64>, moves: &Moves) {
        let mut named = BTreeMap::new();
        for (counter, by) in moves {
            *named.entry(*counter).or_insert(0) += by;
        }
        named.retain(|_, by| *by != 0);
        assert_eq!(*moved, named, "counters that moved, and that should have");
    }

    /// The frame is dropped, and nothing else is counted.
    pub fn drops(&mut self, link: In, frame: &[u8], owner: Owner, reason: DropReason) {
        self.drops_with(link, frame, owner, reason, &[]);
    }

    /// The frame is dropped, and something else is counted.
    pub fn drops_with(
        &mut self,
        link: In,
        frame: &[u8],
        owner: Owner,
        reason: DropReason,
        moves: &Moves,
    ) {
        let moves = [&[(Counter::Drop(owner, reason), 1)], moves].concat();
        self.expect(link, frame, Action::Drop, &moves);
    }

    /// The frame goes to the host's stack as it is.
    pub fn passes(&mut self, link: In, frame: &[u8]) {
        let ran = self.expect(link, frame, Action::Pass, &[]);
        assert_frame(&ran.frame, frame);
    }

    /// The frame is turned into an answer; with a reason, it is a drop too.
    pub fn answers(
        &mut self,
        link: In,
        frame: &[u8],
        answer: &[u8],
        dropped: Option<(Owner, DropReason)>,
    ) {
        let mut moves = vec![(Counter::Stat(Stat::Answers), 1)];
        moves.extend(dropped.map(|(owner, reason)| (Counter::Drop(owner, reason), 1)));
        let ran = self.expect(link, frame, Action::Redirect, &moves);
        assert_frame(&ran.frame, answer);
    }

    /// The frame is handed to the agent as it is.
    pub fn hands_over(&mut self, link: In, frame: &[u8], owner: Owner, awaited: Awaited) {
        self.expect(
            link,
            frame,
            Action::Drop,
            &[(Counter::Stat(Stat::Punts), 1)],
        );
        let handed = Handed {
            owner,
            awaited,
            frame: frame.to_vec(),
        };
        assert_eq!(std::mem::take(&mut self.handed), [handed]);
    }

    /// The frame leaves as this one, by this port.
    pub fn leaves(
        &mut self,
        link: In,
        frame: &[u8],
        port: verdict::Port,
        expected: impl FnOnce(&Self) -> Vec<u8>,
        moves: &Moves,
    ) {
        let ran = self.expect(link, frame, Action::Redirect, moves);
        if let Some(left_by) = ran.port {
            assert_eq!(left_by, port);
        }
        assert_frame(&ran.frame, &expected(self));
    }

    /// A packet of an environment leaves, translated.
    pub fn forwards(&mut self, conn: &Conn, packet: &Built, moves: &Moves) {
        self.forwards_as(conn, packet, moves, |packet| packet);
    }

    /// The same, with another change.
    pub fn forwards_as(
        &mut self,
        conn: &Conn,
        packet: &Built,
        moves: &Moves,
        change: impl FnOnce(Built) -> Built,
    ) {
        let uplink = u32::from(conn.environment == 2);
        let frame = packet.frame();
        let id = self.next_id(conn);
        let count = [
            (Counter::ForwardPackets, 1),
            (Counter::ForwardBytes, bytes_of(&frame)),
        ];
        let link = In::Environment(conn.environment);
        let moves = [&count, moves, &id_move(conn, packet, self)].concat();
        let expected = |run: &Self| change(run.outward(conn, packet, id)).frame();
        self.leaves(
            link,
            &frame,
            verdict::Port::uplink(uplink),
            expected,
            &moves,
        );
    }

    /// A packet of an environment opens a flow and leaves, translated.
    pub fn opens(&mut self, conn: &Conn, packet: &Built, moves: &Moves) {
        let moves = [&self.opening(conn, conn.default_eni())[..], moves].concat();
        self.forwards(conn, packet, &moves);
        let expected = if conn.protocol == TCP {
            Phase::TcpSynSent
        } else {
            Phase::UdpNew
        };
        assert_eq!(self.phase(conn), Some(expected));
    }

    /// A SYN begins another connection in the place of one that is closing: by the
    /// same port, counted from zero.
    pub fn reopens(&mut self, conn: &Conn, syn: &Built) {
        let outside = self.outside(conn);
        let mut moves = self.ending(conn);
        moves.retain(|(counter, _)| {
            !matches!(
                counter,
                Counter::Flows(_) | Counter::Connections(_) | Counter::Used(_)
            )
        });
        moves.push((Counter::Stat(Stat::FlowsOpened), 1));
        self.forwards(conn, syn, &moves);
        assert_eq!(self.outside(conn), outside);
        assert_eq!(self.phase(conn), Some(Phase::TcpSynSent));
        let last = self.take_records();
        assert_eq!(last.len(), 1);
        assert_eq!(last[0].ended, 1);
    }

    /// What moves when a flow opens on an ENI.
    pub fn opening(&self, conn: &Conn, eni: usize) -> Vec<(Counter, i64)> {
        let pool = crate::flow::pool_index(eni as u32, conn.protocol) as usize;
        let mut moves = vec![
            (Counter::Stat(Stat::FlowsOpened), 1),
            (Counter::Flows(conn.environment), 1),
            (Counter::Connections(eni), 1),
            (Counter::Used(pool), 1),
        ];
        let pool = &self.machine.seen().pools[pool];
        let leased: u32 = pool
            .leased
            .iter()
            .map(|word| word.load().count_ones())
            .sum();
        let blocks = pool.blocks.load();
        // A pool starts with four blocks and grows at a half.
        let wanting = blocks < 4 || pool.used.load() >= blocks * 128;
        if wanting && blocks < u64::from(leased) {
            moves.push((Counter::Stat(Stat::BlocksGranted), 1));
        }
        moves
    }

    /// What moves when a flow of these counts ends.
    pub fn ending(&self, conn: &Conn) -> Vec<(Counter, i64)> {
        let slot = self.slot(conn).expect("the flow is open");
        let eni = usize::from(slot.eni());
        let pool = crate::flow::pool_index(eni as u32, conn.protocol) as usize;
        vec![
            (Counter::Stat(Stat::FlowsExpired), 1),
            (Counter::Flows(conn.environment), -1),
            (Counter::Connections(eni), -1),
            (Counter::Used(pool), -1),
            (
                Counter::ForwardPackets,
                -(slot.forward_packets.load() as i64),
            ),
            (Counter::ForwardBytes, -(slot.forward_bytes.load() as i64)),
            (Counter::ReplyPackets, -(slot.reply_packets.load() as i64)),
            (Counter::ReplyBytes, -(slot.reply_bytes.load() as i64)),
        ]
    }

    /// A packet from the VPC reaches the environment, translated back.
    pub fn replies(&mut self, conn: &Conn, packet: &Built, moves: &Moves) {
        self.replies_as(conn, packet, moves, |packet| packet);
    }

    /// The same, with another change.
    pub fn replies_as(
        &mut self,
        conn: &Conn,
        packet: &Built,
        moves: &Moves,
        change: impl FnOnce(Built) -> Built,
    ) {
        let frame = packet.frame();
        let count = [
            (Counter::ReplyPackets, 1),
            (Counter::ReplyBytes, bytes_of(&frame)),
        ];
        let expected = change(self.inward(conn, packet)).frame();
        let port = verdict::Port::environment(conn.environment as u32);
        let moves = [&count, moves].concat();
        self.leaves(conn.uplink(), &frame, port, |_| expected, &moves);
    }

    /// Opens a flow, by SYN or by datagram.
    pub fn open(&mut self, conn: &Conn) {
        let first = match conn.protocol {
            TCP => conn.tcp("S", 1_000, 0, b""),
            _ => conn.udp(b"first"),
        };
        self.opens(conn, &first, &[]);
    }

    /// Opens a connection and answers it; the environment's next sequence number is
    /// 1001, the remote's 5001.
    pub fn establish(&mut self, conn: &Conn) {
        self.open(conn);
        let answer = conn.tcp_back(self, "SA", 5_000, 1_001, b"");
        self.replies(conn, &answer, &[]);
        self.forwards(conn, &conn.tcp("A", 1_001, 5_001, b""), &[]);
        assert_eq!(self.phase(conn), Some(Phase::TcpEstablished));
    }

    // Looking.

    /// The slot of a flow, if it is open.
    pub fn slot(&self, conn: &Conn) -> Option<&Slot> {
        let flow = *self.machine.flows().get(&self.key(conn))?;
        Some(&self.machine.seen().slots[flow.slot as usize])
    }

    /// The phase of a flow, if it is open.
    pub fn phase(&self, conn: &Conn) -> Option<Phase> {
        self.slot(conn).map(|slot| slot.state().phase())
    }

    /// The port and the address by which the VPC sees a flow.
    pub fn outside(&self, conn: &Conn) -> ([u8; 4], u16) {
        let slot = self.slot(conn).expect("the flow is open");
        (ENI[usize::from(slot.eni())], slot.outside_port().number())
    }

    /// The key of a flow of the environment as it is now.
    pub fn key(&self, conn: &Conn) -> FlowKey {
        FlowKey::new(
            conn.environment as u16,
            conn.protocol,
            self.world.environments[conn.environment].generation,
            addr(conn.remote),
            Port::new(conn.inside_port),
            Port::new(conn.remote_port),
        )
    }

    fn next_id(&self, conn: &Conn) -> u16 {
        let eni = match self.slot(conn) {
            Some(slot) => usize::from(slot.eni()),
            None => conn.default_eni(),
        };
        // The counter is put on the wire as it stands in memory.
        u16::from_be(self.machine.seen().eni_states[eni].ip_id.load() as u16)
    }

    /// What a packet of the environment must look like in the VPC. `id` is the
    /// identification of a packet that may be fragmented.
    pub fn outward(&self, conn: &Conn, packet: &Built, id: u16) -> Built {
        let (address, port) = self.outside(conn);
        let mut packet = packet.clone();
        let uplink = usize::from(conn.environment == 2);
        packet.from = UPLINK_MAC[uplink];
        packet.to = conn.next_hop_mac();
        packet.ip.source = address;
        packet.ip.time_to_live -= 1;
        if !packet.ip.dont_fragment || packet.ip.is_fragmenting_payload() {
            packet.ip.identification = id;
        }
        match &mut packet.body {
            Body::Tcp(header, _) => header.source_port = port,
            Body::Udp(ports, _) => ports.source = port,
            Body::Icmp(..) | Body::Raw(_) => {}
        }
        complete(&mut packet);
        packet
    }

    /// What a packet from the VPC must look like to the environment.
    pub fn inward(&self, conn: &Conn, packet: &Built) -> Built {
        let mut packet = packet.clone();
        packet.from = GATEWAY_MAC;
        packet.to = INSIDE_MAC;
        packet.ip.destination = INSIDE;
        packet.ip.time_to_live -= 1;
        match &mut packet.body {
            Body::Tcp(header, _) => header.destination_port = conn.inside_port,
            Body::Udp(ports, _) => ports.destination = conn.inside_port,
            Body::Icmp(..) | Body::Raw(_) => {}
        }
        complete(&mut packet);
        packet
    }

    // Counting.

    fn snapshot(&self) -> Snapshot {
        let seen = self.machine.seen();
        let mut counters = BTreeMap::new();
        for (DropKey { owner, reason }, count) in self.machine.drops() {
            let reason = DropReason::from_number(reason).expect("a known reason");
            counters.insert(Counter::Drop(owner, reason), count as i64);
        }
        for (stat, _) in Stat::ALL {
            counters.insert(Counter::Stat(stat), self.machine.stat(stat) as i64);
        }
        for index in 0..ENVIRONMENTS as usize {
            let flows = seen.environment_states[index].flows.load();
            counters.insert(Counter::Flows(index), flows as i64);
        }
        for index in 0..ENIS as usize {
            let state = &seen.eni_states[index];
            counters.insert(Counter::Connections(index), state.connections.load() as i64);
            counters.insert(Counter::Id(index), state.ip_id.load() as i64);
        }
        for (index, pool) in seen.pools.iter().enumerate() {
            counters.insert(Counter::Used(index), pool.used.load() as i64);
        }
        let mut stamps = BTreeMap::new();
        let mut sums = [0; 4];
        for (index, slot) in seen.slots.iter().enumerate() {
            let state = slot.state();
            if !state.is_open() {
                continue;
            }
            let packets = [slot.forward_packets.load(), slot.reply_packets.load()];
            let last = [slot.forward_last.load(), slot.reply_last.load()];
            stamps.insert((index as u32, state.epoch()), Stamps { packets, last });
            sums[0] += packets[0] as i64;
            sums[1] += slot.forward_bytes.load() as i64;
            sums[2] += packets[1] as i64;
            sums[3] += slot.reply_bytes.load() as i64;
        }
        let names = [
            Counter::ForwardPackets,
            Counter::ForwardBytes,
            Counter::ReplyPackets,
            Counter::ReplyBytes,
        ];
        counters.extend(names.into_iter().zip(sums));
        Snapshot { counters, stamps }
    }

    /// Takes what was told, checks what must always hold, and says what moved.
    fn settle(&mut self) -> BTreeMap<Counter, i64> {
        let told = self.machine.told();
        self.events.extend(told.events);
        self.records.extend(told.records);
        self.handed.extend(told.handed);
        let after = self.snapshot();
        let mut moved = BTreeMap::new();
        for (counter, value) in &after.counters {
            let by = value - self.before.counters.get(counter).unwrap_or(&0);
            if by != 0 {
                moved.insert(*counter, by);
            }
        }
        let now = self.machine.now();
        for (flow, stamps) in &after.stamps {
            let Some(before) = self.before.stamps.get(flow) else {
                continue;
            };
            for direction in 0..2 {
                let counted = stamps.packets[direction] != before.packets[direction];
                let age = now.since(crate::time::Tick(stamps.last[direction]));
                let refreshed = stamps.last[direction] != before.last[direction];
                assert!(counted || !refreshed, "a stamp moved without a packet");
                assert!(
                    !counted || age < 16,
                    "a packet left a stamp {age} ticks old"
                );
            }
        }
        self.before = after;
        let faults = audit::faults(
            &self.machine.seen(),
            &self.world.environments,
            &self.machine.flows(),
            self.unlinked,
        );
        assert!(faults.is_empty(), "{faults:#?}");
        moved
    }

    /// The frames so far, for Wireshark.
    fn write_capture(&self) -> std::io::Result<std::path::PathBuf> {
        let name: String = self
            .name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let path = std::env::temp_dir().join(format!("packet-table-{name}.pcap"));
        let words: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1];
        let mut file: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let frames = self.log.iter().flat_map(|step| [&step.input, &step.output]);
        for (second, frame) in frames.enumerate() {
            let len = frame.len() as u32;
            for word in [second as u32, 0, len, len] {
                file.extend(word.to_ne_bytes());
            }
            file.extend(frame);
        }
        std::fs::write(&path, file)?;
        Ok(path)
    }
}

/// On failure, prints the whole state and leaves a capture behind.
impl Drop for Run<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        eprintln!(
            "case `{}` failed after {} frames",
            self.name,
            self.log.len()
        );
        if let Some(last) = self.log.last() {
            eprintln!("last frame: {:?} {:02x?}", last.link, last.input);
            eprintln!("{:?}: {:02x?}", last.action, last.output);
            eprintln!("moved: {:?}", last.moved);
        }
        let nonzero: Vec<_> = self.before.counters.iter().filter(|c| *c.1 != 0).collect();
        eprintln!("counters: {nonzero:#?}");
        for (key, flow) in self.machine.flows().into_iter().take(8) {
            let slot = &self.machine.seen().slots[flow.slot as usize];
            eprintln!("{key:?} -> {flow:?}: {slot:?}");
        }
        match self.write_capture() {
            Ok(path) => eprintln!("frames in and out: {}", path.display()),
            Err(error) => eprintln!("no capture: {error}"),
        }
    }
}

fn assert_frame(found: &[u8], expected: &[u8]) {
    let differ = found.iter().zip(expected).position(|(a, b)| a != b);
    assert!(
        found == expected,
        "frames differ from byte {differ:?} on:\n   found {found:02x?}\nexpected {expected:02x?}"
    );
}

/// Bytes of the IPv4 packet in a frame.
fn bytes_of(frame: &[u8]) -> i64 {
    i64::from(u16::from_be_bytes([frame[16], frame[17]]))
}

/// A half-made checksum is completed on its way.
fn complete(packet: &mut Built) {
    if packet.sum == Sum::HalfMade {
        packet.sum = Sum::Right;
    }
}

/// The identification that a packet takes if it may be fragmented.
fn id_move(conn: &Conn, packet: &Built, run: &Run<'_>) -> Vec<(Counter, i64)> {
    let eni = run
        .slot(conn)
        .map_or(conn.default_eni(), |slot| usize::from(slot.eni()));
    let takes = !packet.ip.dont_fragment || packet.ip.is_fragmenting_payload();
    let later = packet.ip.fragment_offset.value() != 0;
    Vec::from_iter((takes && !later).then_some((Counter::Id(eni), 1)))
}

/// A flow as the environment sees it.
#[derive(Clone, Copy, Debug)]
pub struct Conn {
    /// Whose.
    pub environment: usize,
    /// TCP or UDP.
    pub protocol: u8,
    /// Source port of the environment.
    pub inside_port: u16,
    /// The other end.
    pub remote: [u8; 4],
    /// Its port.
    pub remote_port: u16,
}

impl Conn {
    /// A TCP connection to the usual server.
    pub const fn new_tcp(environment: usize, inside_port: u16) -> Self {
        Self {
            environment,
            protocol: TCP,
            inside_port,
            remote: if environment == 2 {
                OTHER_SERVER
            } else {
                SERVER
            },
            remote_port: 443,
        }
    }

    /// A UDP flow to the usual server.
    pub const fn new_udp(environment: usize, inside_port: u16) -> Self {
        let tcp = Self::new_tcp(environment, inside_port);
        Self {
            protocol: UDP,
            remote_port: 53,
            ..tcp
        }
    }

    /// To another address.
    pub const fn to(self, remote: [u8; 4]) -> Self {
        Self { remote, ..self }
    }

    /// The ENI that its group prefers.
    pub const fn default_eni(&self) -> usize {
        if self.environment == 2 { 2 } else { 0 }
    }

    /// The link of the environment.
    pub const fn link(&self) -> In {
        In::Environment(self.environment)
    }

    /// The uplink it leaves by.
    pub const fn uplink(&self) -> In {
        In::Uplink(if self.environment == 2 { 1 } else { 0 })
    }

    /// Whom drops of the environment's packets are counted for.
    pub const fn owner(&self) -> Owner {
        Owner::environment(self.environment as u32)
    }

    fn next_hop_mac(&self) -> [u8; 6] {
        match self.remote {
            SERVER => SERVER_MAC,
            OTHER_SERVER => OTHER_SERVER_MAC,
            _ => ROUTER_MAC,
        }
    }

    /// A packet of the environment's without a body.
    pub fn out(&self) -> Built {
        Built::new(INSIDE_MAC, GATEWAY_MAC, INSIDE, self.remote)
    }

    /// A packet of the remote's without a body.
    pub fn back(&self, run: &Run<'_>) -> Built {
        let uplink = UPLINK_MAC[usize::from(self.environment == 2)];
        Built::new(
            self.next_hop_mac(),
            uplink,
            self.remote,
            run.outside(self).0,
        )
    }

    /// A segment of the environment's.
    pub fn tcp(&self, flags: &str, sequence: u32, ack: u32, data: &[u8]) -> Built {
        self.out().tcp(self.header(flags, sequence, ack), data)
    }

    /// Its TCP header.
    pub fn header(&self, flags: &str, sequence: u32, ack: u32) -> TcpHeader {
        segment(self.inside_port, self.remote_port, flags, sequence, ack)
    }

    /// A segment of the remote's.
    pub fn tcp_back(
        &self,
        run: &Run<'_>,
        flags: &str,
        sequence: u32,
        ack: u32,
        data: &[u8],
    ) -> Built {
        self.back(run)
            .tcp(self.header_back(run, flags, sequence, ack), data)
    }

    /// Its TCP header.
    pub fn header_back(&self, run: &Run<'_>, flags: &str, sequence: u32, ack: u32) -> TcpHeader {
        segment(self.remote_port, run.outside(self).1, flags, sequence, ack)
    }

    /// A datagram of the environment's.
    pub fn udp(&self, data: &[u8]) -> Built {
        self.out().udp(self.inside_port, self.remote_port, data)
    }

    /// A datagram of the remote's.
    pub fn udp_back(&self, run: &Run<'_>, data: &[u8]) -> Built {
        self.back(run)
            .udp(self.remote_port, run.outside(self).1, data)
    }
}
