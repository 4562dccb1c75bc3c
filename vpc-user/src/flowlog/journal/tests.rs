//! Whoever is killed, and wherever: everything is told of once.

use std::{
    collections::HashMap,
    fs::OpenOptions,
    io::Write as _,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use tempfile::TempDir;
use vpc_common::{
    addr::{Addr, Port, V4},
    drop::DropReason,
    layout::{FlowKey, FlowRecord, RefusalKey},
    time::Tick,
};

use super::*;
use crate::{
    dataplane::{Batch, RefusalRecord},
    flowlog::{Directory, FlowDirection, FlowId, Interval, Place},
};

const REMOTE: Addr = Addr::from_v4(V4::new([10, 0, 3, 7]));
const START: u64 = 1_700_000_000;
const RING: &str = "boot:7";

/// A record of environment 5 on ENI 2.
fn told(inside_port: u16, forward_packets: u32, reply_packets: u32) -> FlowRecord {
    FlowRecord {
        state: 0,
        forward_bytes: u64::from(forward_packets) * 100,
        reply_bytes: u64::from(reply_packets) * 1_000,
        forward_packets,
        reply_packets,
        key: FlowKey::new(5, 17, 9, REMOTE, Port::new(inside_port), Port::new(53)),
        eni: 2,
        outside_port: Port::new(40_000 + inside_port),
        created: 100,
        last: 200,
        ended: 0,
        tcp_flags: 0x0212,
        flags: 0,
    }
}

fn refusal_key(port: u16) -> RefusalKey {
    RefusalKey {
        remote: REMOTE,
        owners: 5 << 16 | 2,
        ports: u32::from(Port::new(port).to_wire()) << 16 | u32::from(Port::new(53).to_wire()),
        protocol: 17,
        reason: DropReason::SgEgress as u32,
    }
}

fn directory() -> Directory {
    let directory = Directory::default();
    directory.set_place(Place {
        interface_id: "eni-2".to_owned(),
        address: Ipv4Addr::new(10, 0, 1, 10),
        ..Place::unknown()
    });
    directory.eni(2, "eni-2", Ipv4Addr::new(10, 0, 1, 10), Tick(1));
    directory.set_function(
        "vm-5",
        "arn:aws:lambda:us-east-1:123456789010:function:orders:7",
    );
    directory.environment(5, 9, "vm-5", Ipv4Addr::new(169, 254, 0, 2), Tick(1));
    directory
}

/// The kernel, as far as the journal sees it, and who writes the journal.
struct Host {
    dir: TempDir,
    journal: Option<Journal>,
    directory: Directory,
    now: u64,
    /// Records, and how many of them the kernel may forget.
    ring: Vec<FlowRecord>,
    released: usize,
    refusals: HashMap<RefusalKey, [u64; 3]>,
    tick: u32,
    /// Packets and bytes that crossed or were refused.
    crossed: HashMap<(u16, FlowDirection, bool), (u64, u64)>,
}

/// Where in a deed the agent is killed.
#[derive(Clone, Copy, Debug)]
enum Kill {
    Never,
    /// Some bytes of the block are written.
    InWrite(usize),
    AfterWrite,
}

#[derive(Clone, Debug)]
enum Deed {
    Carry(u16, u32, u32),
    Refuse(u16, u64),
    Drain(Kill),
    Refusals(Kill, bool),
    Roll(u64),
    ReadOnly,
}

impl Host {
    fn new() -> Self {
        let mut host = Self {
            dir: TempDir::new().unwrap(),
            journal: None,
            directory: directory(),
            now: START,
            ring: Vec::new(),
            released: 0,
            refusals: HashMap::new(),
            tick: 100,
            crossed: HashMap::new(),
        };
        host.start();
        host
    }

    fn start(&mut self) {
        let mut journal = Journal::open(self.dir.path(), Period::new(60), self.now).unwrap();
        // A position is the number of a record here.
        self.released = self.released.max(journal.resume(RING) as usize);
        let present: Vec<_> = self.records();
        journal.only_told(&present).unwrap();
        self.journal = Some(journal);
    }

    fn records(&self) -> Vec<RefusalRecord> {
        let entries = self.refusals.iter();
        entries
            .map(|(key, counted)| RefusalRecord::new(*key, *counted))
            .collect()
    }

    fn count(&mut self, flow: (u16, FlowDirection, bool), packets: u64, bytes: u64) {
        let crossed = self.crossed.entry(flow).or_default();
        *crossed = (crossed.0 + packets, crossed.1 + bytes);
    }

    fn do_(&mut self, deed: &Deed) {
        match *deed {
            Deed::Carry(port, forward, reply) => {
                let record = told(port, forward, reply);
                self.ring.push(record);
                for (direction, packets, bytes) in [
                    (FlowDirection::Egress, forward, record.forward_bytes),
                    (FlowDirection::Ingress, reply, record.reply_bytes),
                ] {
                    self.count((port, direction, false), packets.into(), bytes);
                }
            }
            Deed::Refuse(port, packets) => {
                self.tick += 1;
                let fresh = [0, 0, self.tick.into()];
                let entry = self.refusals.entry(refusal_key(port)).or_insert(fresh);
                entry[0] += packets;
                entry[1] += packets * 60;
                self.count((port, FlowDirection::Egress, true), packets, packets * 60);
            }
            Deed::Drain(kill) => self.drain(kill),
            Deed::Refusals(kill, take) => self.drain_refusals(kill, take),
            Deed::Roll(seconds) => {
                self.now += seconds;
                let journal = self.journal.as_mut().unwrap();
                if journal.is_due(self.now) {
                    let directory = self.directory.clone();
                    directory
                        .read(|names| {
                            journal.roll(self.now, names.enis().map(|(_, place)| (place, 0)))
                        })
                        .unwrap();
                }
            }
            Deed::ReadOnly => {
                // A disk that takes nothing: what was to be kept is not, and is asked for
                // again.
                let journal = self.journal.as_mut().unwrap();
                let good = journal.swap_file_for_one_that_is_read_only();
                let batch = &self.ring[self.released..];
                let position = self.ring.len() as u64;
                let took = self
                    .directory
                    .read(|names| journal.flows(batch, (0, 0), names, position));
                assert!(took.is_err());
                journal.swap_back(good);
            }
        }
    }

    /// Leaves the file as it is after a part of what was written since.
    fn kill(&mut self, kill: Kill, before: u64) {
        let journal = self.journal.take().unwrap();
        let path = path(self.dir.path(), journal.number());
        drop(journal);
        if let Kill::InWrite(bytes) = kill {
            let len = path.metadata().unwrap().len();
            let written = (len - before) as usize;
            let kept = before + (bytes % written.max(1)) as u64;
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(kept).unwrap();
        }
        self.start();
    }

    fn len(&self) -> u64 {
        let number = self.journal.as_ref().unwrap().number();
        path(self.dir.path(), number).metadata().unwrap().len()
    }

    fn drain(&mut self, kill: Kill) {
        let before = self.len();
        let batch = Batch {
            records: self.ring[self.released..].to_vec(),
            malformed: 0,
            position: self.ring.len() as u64,
        };
        let journal = self.journal.as_mut().unwrap();
        self.directory
            .read(|names| journal.flows(&batch.records, (0, 0), names, batch.position))
            .unwrap();
        match kill {
            Kill::Never => self.released = self.ring.len(),
            kill => self.kill(kill, before),
        }
    }

    fn drain_refusals(&mut self, kill: Kill, take: bool) {
        let before = self.len();
        let records = self.records();
        let journal = self.journal.as_mut().unwrap();
        self.directory
            .read(|names| journal.refusals(&records, 0, names))
            .unwrap();
        if let Kill::InWrite(_) = kill {
            return self.kill(kill, before);
        }
        if take {
            self.refusals.clear();
        }
        if let Kill::AfterWrite = kill {
            return self.kill(kill, before);
        }
        if take {
            let keys: Vec<_> = records.iter().map(|record| record.key).collect();
            self.journal.as_mut().unwrap().taken(&keys).unwrap();
        }
    }

    /// What all files say.
    fn recorded(&self) -> HashMap<(u16, FlowDirection, bool), (u64, u64)> {
        let numbers = list(self.dir.path()).unwrap();
        let files: Vec<PathBuf> = numbers.iter().map(|n| path(self.dir.path(), *n)).collect();
        let interval = Interval::open(files).unwrap();
        let mut recorded = HashMap::new();
        let mut parts = 0;
        for part in 0..interval.part_count() {
            for (id, delta) in interval.part(part).unwrap() {
                let record = interval.record(&id, &delta).unwrap();
                assert_eq!(record.place.interface_id, "eni-2");
                let flow: FlowId = id;
                let key = (flow.inside_port, flow.direction, flow.reason != 0);
                assert!(recorded.insert(key, (delta.packets, delta.bytes)).is_none());
                parts += 1;
            }
        }
        assert_eq!(parts, recorded.len());
        recorded
    }
}

fn kill() -> impl Strategy<Value = Kill> {
    prop_oneof![
        3 => Just(Kill::Never),
        1 => (0..4_000_usize).prop_map(Kill::InWrite),
        1 => Just(Kill::AfterWrite),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (1..4_u16, 0..5_u32, 0..5_u32).prop_map(|(port, f, r)| Deed::Carry(port, f, r)),
        3 => (1..4_u16, 1..9_u64).prop_map(|(port, packets)| Deed::Refuse(port, packets)),
        2 => kill().prop_map(Deed::Drain),
        2 => (kill(), any::<bool>()).prop_map(|(kill, take)| Deed::Refusals(kill, take)),
        1 => (0..90_u64).prop_map(Deed::Roll),
        1 => Just(Deed::ReadOnly),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whenever_the_agent_is_killed_everything_is_told_of_once(
        deeds in prop::collection::vec(deed(), 1..60),
    ) {
        let mut host = Host::new();
        for deed in &deeds {
            host.do_(deed);
        }
        host.drain(Kill::Never);
        host.drain_refusals(Kill::Never, true);
        let mut crossed = host.crossed.clone();
        crossed.retain(|_, (packets, _)| *packets != 0);
        prop_assert_eq!(host.recorded(), crossed);
    }
}

#[test]
fn another_ring_is_read_from_its_beginning() {
    let mut host = Host::new();
    host.do_(&Deed::Carry(1, 1, 1));
    host.drain(Kill::Never);
    let journal = host.journal.as_mut().unwrap();
    assert_eq!(journal.resume(RING), 1);
    assert_eq!(journal.resume("another boot:7"), 0);
}

#[test]
fn a_damaged_journal_is_left_and_another_begun() {
    let mut host = Host::new();
    host.do_(&Deed::Carry(1, 3, 0));
    host.drain(Kill::Never);
    let journal = host.journal.take().unwrap();
    let path = path(host.dir.path(), journal.number());
    drop(journal);
    // A block whose checksum is right, and that says nothing.
    let mut block = Vec::new();
    block::begin(&mut block);
    block.extend_from_slice(b"?");
    block::complete(&mut block);
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&block).unwrap();
    host.start();
    let journal = host.journal.as_mut().unwrap();
    assert_eq!((journal.number(), journal.resume(RING)), (2, 1));
}

#[test]
fn a_file_of_another_kind_is_none() {
    let dir = TempDir::new().unwrap();
    for name in ["x.journal", "7", ".journal", "0000000000000007.journal.tmp"] {
        std::fs::write(dir.path().join(name), b"nonsense").unwrap();
    }
    assert_eq!(list(dir.path()).unwrap(), Vec::<u64>::new());
    assert!(matches!(
        read(Path::new("/nonexistent/1.journal"), |_| {}),
        Err(JournalError::Io { .. })
    ));
}

#[test]
fn bytes_that_are_no_block_end_a_file() {
    let dir = TempDir::new().unwrap();
    for (number, bytes) in (0..).zip([&b""[..], b"abc", &[0; 64], &[0xff; 64]]) {
        let path = path(dir.path(), number);
        std::fs::write(&path, bytes).unwrap();
        let found = read(&path, |_| panic!("an entry")).unwrap();
        assert_eq!((found.good, found.len), (0, bytes.len() as u64));
    }
}

#[test]
fn more_than_fits_into_a_block_is_told_of_once() {
    const MANY: u32 = 40_000;
    let mut host = Host::new();
    let records = |packets: u64| -> Vec<RefusalRecord> {
        let key = |number: u32| RefusalKey {
            remote: Addr::from_v4(V4::new(number.to_be_bytes())),
            ..refusal_key(9)
        };
        let entry = |number| RefusalRecord::new(key(number), [packets, packets * 60, 7]);
        (0..MANY).map(entry).collect()
    };
    let tell = |host: &mut Host, packets| {
        let records = records(packets);
        let journal = host.journal.as_mut().unwrap();
        host.directory
            .read(|names| journal.refusals(&records, 0, names))
            .unwrap();
    };
    tell(&mut host, 2);
    host.do_(&Deed::Roll(60));
    drop(host.journal.take());
    let mut journal = Journal::open(host.dir.path(), Period::new(60), host.now).unwrap();
    journal.resume(RING);
    host.journal = Some(journal);
    tell(&mut host, 5);
    let numbers = list(host.dir.path()).unwrap();
    let mut packets = 0;
    for number in numbers {
        let found = read(&path(host.dir.path(), number), |entry| {
            if let Entry::Refusal(entry) = entry {
                packets += entry.packets;
            }
        });
        assert!(!found.unwrap().is_cut());
    }
    assert_eq!(packets, u64::from(MANY) * 5);
}
