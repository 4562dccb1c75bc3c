//! The loaded kernel programs as a machine for the packet table: each frame is one
//! program test run, the tables are real maps.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
    ptr::NonNull,
};

use aya::{
    Ebpf, EbpfLoader, Pod, TestRun as _,
    maps::{Array, DevMap, HashMap as HashTable, Map, MapData, PerCpuArray, PerCpuValues, RingBuf},
    programs::{
        RawTracePoint, RawTracePointRunOptions, SchedClassifier, TestRunOptions, TestRunResult, Xdp,
    },
    util::nr_cpus,
};
use nix::{
    sys::mman::{MapFlags, ProtFlags, mmap, munmap},
    time::{ClockId, clock_gettime},
};
use vpc_common::{
    atomic::Shared64,
    audit::Seen,
    drop::DropReason,
    expiry::SweepOptions,
    layout::*,
    packet_table::{
        Action, BLOCKS, ENIS, ENVIRONMENTS, Handed, In, Machine, NEXT_HOPS, Ran, Told, UPLINKS,
        World, fits_a_tc_run,
    },
    time::Tick,
    verdict::Awaited,
};
use vpc_user::dataplane::skb_layout;

use crate::netns::Namespace;

const FRAGMENTS: u32 = 4_096;
const DROPS: u32 = 4_096;
const POLICY_WORDS: u32 = 1 << 20;
const REFUSALS: u32 = 64;
const SLOTS: u32 = BLOCKS * BLOCK_PORTS;
const BUCKETS: u32 = (SLOTS / 2).next_power_of_two();
/// Bytes of `struct xdp_md`.
const XDP_CONTEXT: usize = 24;
/// Bytes of `struct __sk_buff`, and where its `ifindex` is.
const SKB_CONTEXT: usize = 192;
const SKB_IFINDEX: usize = 40;

/// Which of the two sets of programs is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// Before the kernel has made anything of a frame.
    Xdp,
    /// Behind that.
    Tc,
}

/// An array map that the kernel writes, mapped.
struct Mapped<T> {
    base: NonNull<T>,
    len: usize,
    // Keeps the map.
    _map: MapData,
}

impl<T> Mapped<T> {
    fn new(ebpf: &mut Ebpf, table: &str, len: u32) -> Self {
        let Some(Map::Array(map)) = ebpf.take_map(table) else {
            panic!("{table} is an array of the object");
        };
        let len = len as usize;
        let bytes = NonZeroUsize::new(len * size_of::<T>()).expect("a table is not empty");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps
        // nothing; the kernel refuses a length beyond the table.
        let base = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, map.fd(), 0) };
        Self {
            base: base
                .unwrap_or_else(|error| panic!("map {table}: {error}"))
                .cast(),
            len,
            _map: map,
        }
    }

    fn values(&self) -> &[T] {
        // SAFETY: `new` mapped that many values at a page boundary. They consist of
        // atomic words, and no program runs but by this process.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    fn clear(&mut self) {
        // SAFETY: as for `values`; zero is a value of every word of them.
        unsafe { self.base.as_ptr().write_bytes(0, self.len) };
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: the range is the one that `new` mapped, and no slice outlives it.
        let _ = unsafe { munmap(self.base.cast(), self.len * size_of::<T>()) };
    }
}

/// The kernel's machine.
pub struct Kernel {
    hook: Hook,
    ebpf: Ebpf,
    interfaces: Vec<u32>,
    environments: Array<MapData, Environment>,
    uplinks: Array<MapData, Uplink>,
    groups: Array<MapData, Group>,
    enis: Array<MapData, Eni>,
    policies: Mapped<Shared64>,
    policy_words: Mapped<Shared64>,
    refusals: HashTable<MapData, RefusalKey, [u64; 3]>,
    links: HashTable<MapData, u32, Link>,
    eni_by_address: HashTable<MapData, EniKey, EniRef>,
    next_hop_by_address: HashTable<MapData, NextHopKey, u32>,
    flow_hash: Array<MapData, FlowHash>,
    buckets: Mapped<Bucket>,
    fragments: HashTable<MapData, FragmentKey, Fragment>,
    drops: HashTable<MapData, DropKey, u64>,
    stats: PerCpuArray<MapData, u64>,
    sweep_result: Array<MapData, SweepResult>,
    events: RingBuf<MapData>,
    punts: RingBuf<MapData>,
    records: RingBuf<MapData>,
    environment_states: Mapped<EnvironmentState>,
    eni_states: Mapped<EniState>,
    pools: Mapped<Pool>,
    slab: Mapped<Slab>,
    blocks: Mapped<Block>,
    slots: Mapped<Slot>,
    next_hops: Mapped<NextHop>,
}

/// A typed handle of a map of the object.
fn take<T: TryFrom<Map, Error = aya::maps::MapError>>(ebpf: &mut Ebpf, table: &str) -> T {
    let map = ebpf
        .take_map(table)
        .unwrap_or_else(|| panic!("no map {table}"));
    T::try_from(map).unwrap_or_else(|error| panic!("{table}: {error}"))
}

/// Interfaces for the tables to name.
fn make_interfaces(namespace: &Namespace) -> Vec<u32> {
    let index = |name: &str| nix::net::if_::if_nametoindex(name).expect("the interface is there");
    let make = |number: usize| {
        let (one, other) = (format!("table{number}"), format!("elbat{number}"));
        namespace.ip(&["link", "add", &one, "type", "veth", "peer", "name", &other]);
        [index(&one), index(&other)]
    };
    (0..In::ALL.len().div_ceil(2)).flat_map(make).collect()
}

/// Lets a closure work with the loaded programs, on a thread inside a namespace.
pub fn with_kernel(hook: Hook, work: impl FnOnce(&mut Kernel) + Send) {
    let namespace = Namespace::new("table");
    // A fuzzer's process ends without another word.
    namespace.hide();
    namespace.run(|| work(&mut Kernel::load(hook, &namespace)));
}

impl Kernel {
    /// Loads the programs; on a thread inside the namespace, as is every later use.
    fn load(hook: Hook, namespace: &Namespace) -> Self {
        let interfaces = make_interfaces(namespace);
        let skb_layout = skb_layout().expect("the kernel describes its packets");
        let mut loader = EbpfLoader::new();
        loader.override_global(program::SKB_LAYOUT, &skb_layout, true);
        for (table, entries) in [
            (name::LINK_BY_IFINDEX, 16),
            (name::ENVIRONMENTS, ENVIRONMENTS),
            (name::ENVIRONMENT_STATES, ENVIRONMENTS),
            (name::UPLINKS, UPLINKS),
            (name::GROUPS, ENIS),
            (name::ENIS, ENIS),
            (name::POLICIES, ENIS),
            (name::POLICY_WORDS, POLICY_WORDS),
            (name::REFUSALS, REFUSALS),
            (name::ENI_STATES, ENIS),
            (name::ENI_BY_ADDRESS, 2 * ENIS),
            (name::POOLS, ENIS * POOLS_PER_ENI),
            (name::BLOCKS, BLOCKS),
            (name::SLOTS, SLOTS),
            (name::FLOW_BY_TUPLE, BUCKETS),
            (name::FRAGMENTS, FRAGMENTS),
            (name::NEXT_HOP_BY_ADDRESS, NEXT_HOPS),
            (name::NEXT_HOPS, NEXT_HOPS),
            (name::DROPS, DROPS),
            (name::ENVIRONMENT_PORTS, ENVIRONMENTS),
            (name::UPLINK_PORTS, UPLINKS),
            (name::TC_ENVIRONMENT_PORTS, ENVIRONMENTS),
            (name::TC_UPLINK_PORTS, UPLINKS),
        ] {
            loader.map_max_entries(table, entries);
        }
        let mut ebpf = loader.load(vpc_user::OBJECT).expect("load the object");
        for name in [program::FROM_ENVIRONMENT, program::FROM_UPLINK] {
            xdp(&mut ebpf, name)
                .load()
                .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
        for name in [program::TC_FROM_ENVIRONMENT, program::TC_FROM_UPLINK] {
            tc(&mut ebpf, name)
                .load()
                .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
        sweeper(&mut ebpf).load().expect("load the sweep");
        let mut kernel = Self {
            hook,
            interfaces,
            environments: take(&mut ebpf, name::ENVIRONMENTS),
            uplinks: take(&mut ebpf, name::UPLINKS),
            groups: take(&mut ebpf, name::GROUPS),
            enis: take(&mut ebpf, name::ENIS),
            policies: Mapped::new(&mut ebpf, name::POLICIES, ENIS),
            policy_words: Mapped::new(&mut ebpf, name::POLICY_WORDS, POLICY_WORDS),
            refusals: take(&mut ebpf, name::REFUSALS),
            links: take(&mut ebpf, name::LINK_BY_IFINDEX),
            eni_by_address: take(&mut ebpf, name::ENI_BY_ADDRESS),
            next_hop_by_address: take(&mut ebpf, name::NEXT_HOP_BY_ADDRESS),
            flow_hash: take(&mut ebpf, name::FLOW_HASH),
            buckets: Mapped::new(&mut ebpf, name::FLOW_BY_TUPLE, BUCKETS),
            fragments: take(&mut ebpf, name::FRAGMENTS),
            drops: take(&mut ebpf, name::DROPS),
            stats: take(&mut ebpf, name::STATS),
            sweep_result: take(&mut ebpf, name::SWEEP_RESULT),
            events: take(&mut ebpf, name::EVENTS),
            punts: take(&mut ebpf, name::PUNTS),
            records: take(&mut ebpf, name::FLOW_RECORDS),
            environment_states: Mapped::new(&mut ebpf, name::ENVIRONMENT_STATES, ENVIRONMENTS),
            eni_states: Mapped::new(&mut ebpf, name::ENI_STATES, ENIS),
            pools: Mapped::new(&mut ebpf, name::POOLS, ENIS * POOLS_PER_ENI),
            slab: Mapped::new(&mut ebpf, name::SLAB, 1),
            blocks: Mapped::new(&mut ebpf, name::BLOCKS, BLOCKS),
            slots: Mapped::new(&mut ebpf, name::SLOTS, SLOTS),
            next_hops: Mapped::new(&mut ebpf, name::NEXT_HOPS, NEXT_HOPS),
            ebpf,
        };
        kernel.set_ports();
        kernel
    }

    fn run_xdp(&mut self, link: In, frame: &[u8], out: &mut [u8]) -> TestRunResult {
        let mut context = [0; XDP_CONTEXT];
        context[4..8].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
        context[12..16].copy_from_slice(&self.ifindex(link).to_ne_bytes());
        let name = match link {
            In::Uplink(_) => program::FROM_UPLINK,
            In::Environment(_) | In::Stranger => program::FROM_ENVIRONMENT,
        };
        let options = run_options(frame, out, &context);
        let result = xdp(&mut self.ebpf, name).test_run(options);
        result.expect("run the program")
    }

    fn run_tc(&mut self, link: In, frame: &[u8], out: &mut [u8]) -> TestRunResult {
        let mut context = [0; SKB_CONTEXT];
        let ifindex = self.ifindex(link).to_ne_bytes();
        context[SKB_IFINDEX..SKB_IFINDEX + 4].copy_from_slice(&ifindex);
        let name = match link {
            In::Uplink(_) => program::TC_FROM_UPLINK,
            In::Environment(_) | In::Stranger => program::TC_FROM_ENVIRONMENT,
        };
        let options = run_options(frame, out, &context);
        let result = tc(&mut self.ebpf, name).test_run(options);
        result.expect("run the program")
    }

    /// Lets frames leave by every interface.
    fn set_ports(&mut self) {
        for (table, ports) in [
            (name::ENVIRONMENT_PORTS, 0..ENVIRONMENTS),
            (name::UPLINK_PORTS, 0..UPLINKS),
            (name::TC_ENVIRONMENT_PORTS, 0..ENVIRONMENTS),
            (name::TC_UPLINK_PORTS, 0..UPLINKS),
        ] {
            let mut map: DevMap<MapData> = take(&mut self.ebpf, table);
            for index in ports {
                let link = match table {
                    name::UPLINK_PORTS | name::TC_UPLINK_PORTS => In::Uplink(index as usize),
                    _ => In::Environment(index as usize),
                };
                map.set(index, self.ifindex(link), None, 0)
                    .expect("fill a table of ports");
            }
            // The programs hold the map.
        }
    }
}

fn run_options<'r>(frame: &'r [u8], out: &'r mut [u8], context: &'r [u8]) -> TestRunOptions<'r> {
    TestRunOptions {
        data_in: Some(frame),
        data_out: Some(out),
        ctx_in: Some(context),
        ..TestRunOptions::default()
    }
}

fn xdp<'e>(ebpf: &'e mut Ebpf, name: &str) -> &'e mut Xdp {
    let program = ebpf
        .program_mut(name)
        .unwrap_or_else(|| panic!("no program {name}"));
    program.try_into().expect("an XDP program")
}

fn tc<'e>(ebpf: &'e mut Ebpf, name: &str) -> &'e mut SchedClassifier {
    let program = ebpf
        .program_mut(name)
        .unwrap_or_else(|| panic!("no program {name}"));
    program.try_into().expect("a TC program")
}

fn sweeper(ebpf: &mut Ebpf) -> &mut RawTracePoint {
    let program = ebpf.program_mut(program::SWEEP).expect("the sweep");
    program.try_into().expect("a raw tracepoint program")
}

/// Empties a table.
fn empty<K: Pod, V: Pod>(table: &mut HashTable<MapData, K, V>) {
    let keys: Vec<K> = table
        .keys()
        .collect::<Result<_, _>>()
        .expect("read the keys");
    for key in keys {
        table.remove(&key).expect("remove an entry");
    }
}

/// Makes a table hold these entries and no others.
fn replace<K: Pod, V: Pod>(table: &mut HashTable<MapData, K, V>, entries: Vec<(K, V)>) {
    empty(table);
    for (key, value) in entries {
        table.insert(key, value, 0).expect("insert an entry");
    }
}

fn fill<T: Pod>(table: &mut Array<MapData, T>, values: &[T]) {
    for (index, value) in values.iter().enumerate() {
        table.set(index as u32, value, 0).expect("write an entry");
    }
}

fn store(words: &[Shared64], values: &[u64]) {
    for (word, value) in words.iter().zip(values) {
        word.store(*value);
    }
}

/// Takes everything out of a ring.
fn drain<T>(ring: &mut RingBuf<MapData>, read: impl Fn(&[u8]) -> T) -> Vec<T> {
    let mut taken = Vec::new();
    while let Some(item) = ring.next() {
        taken.push(read(&item));
    }
    taken
}

fn plain<T: Pod>(bytes: &[u8]) -> T {
    assert!(bytes.len() >= size_of::<T>());
    // SAFETY: long enough as just checked; a `Pod` is valid for every bit pattern.
    unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
}

fn handed(bytes: &[u8]) -> Handed {
    assert!(bytes.len() >= size_of::<Punt>());
    // SAFETY: long enough as just checked, and integers without padding.
    let punt = unsafe { bytes.as_ptr().cast::<Punt>().read_unaligned() };
    let awaited = match punt.kind {
        Punt::NEXT_HOP => Awaited::NextHop(punt.next_hop, punt.source),
        Punt::FRAGMENT => Awaited::Fragment(punt.fragment),
        kind => panic!("unknown kind {kind}"),
    };
    Handed {
        owner: punt.owner,
        awaited,
        frame: punt.frame[..punt.len as usize].to_vec(),
    }
}

impl Machine for Kernel {
    fn ifindex(&self, link: In) -> u32 {
        let number = In::ALL.iter().position(|other| *other == link);
        self.interfaces[number.expect("one of all")]
    }

    fn clear(&mut self) {
        self.environment_states.clear();
        self.eni_states.clear();
        self.pools.clear();
        self.slab.clear();
        self.blocks.clear();
        self.slots.clear();
        self.next_hops.clear();
        self.buckets.clear();
        let hash = FlowHash {
            multipliers: std::array::from_fn(|i| {
                (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
            }),
            mask: BUCKETS - 1,
            reserved: 0,
        };
        self.flow_hash.set(0, hash, 0).expect("set the hash");
        empty(&mut self.fragments);
        empty(&mut self.drops);
        empty(&mut self.refusals);
        for reason in DropReason::ALL {
            let key = DropKey::new(Owner::HOST, *reason);
            self.drops.insert(key, 0, 0).expect("insert a counter");
        }
        let cpus = nr_cpus().expect("the number of CPUs");
        for (stat, _) in Stat::ALL {
            let zeros = PerCpuValues::try_from(vec![0; cpus]).expect("one a CPU");
            self.stats
                .set(stat as u32, zeros, 0)
                .expect("clear a counter");
        }
        self.told();
    }

    fn configure(&mut self, world: &World) {
        fill(&mut self.environments, &world.environments);
        fill(&mut self.uplinks, &world.uplinks);
        fill(&mut self.groups, &world.groups);
        fill(&mut self.enis, &world.enis);
        let (words, places) = world.policies();
        store(self.policy_words.values(), &words);
        let in_force = places.iter().zip(world.generations);
        let in_force: Vec<_> = in_force
            .map(|(place, generation)| place | generation << 32)
            .collect();
        store(self.policies.values(), &in_force);
        replace(&mut self.links, world.links());
        replace(&mut self.eni_by_address, world.eni_keys());
        let neighbours = world.next_hops.iter().map(|(index, key, _)| (*key, *index));
        replace(&mut self.next_hop_by_address, neighbours.collect());
    }

    fn run(&mut self, link: In, frame: &[u8]) -> Ran {
        let mut out = vec![0; 4_096];
        let result = match self.hook {
            Hook::Xdp => self.run_xdp(link, frame, &mut out),
            Hook::Tc => self.run_tc(link, frame, &mut out),
        };
        out.truncate(result.data_size_out as usize);
        let action = match (self.hook, result.return_value as i32) {
            (Hook::Xdp, 1) | (Hook::Tc, 2) => Action::Drop,
            (Hook::Xdp, 2) | (Hook::Tc, -1) => Action::Pass,
            (Hook::Xdp, 4) | (Hook::Tc, 7) => Action::Redirect,
            other => panic!("the program returned {other:?}"),
        };
        Ran {
            action,
            frame: out,
            port: None,
        }
    }

    fn takes(&self, frame: &[u8]) -> bool {
        match self.hook {
            Hook::Xdp => frame.len() >= 14,
            Hook::Tc => fits_a_tc_run(frame),
        }
    }

    fn seen(&self) -> Seen<'_> {
        Seen {
            environment_states: self.environment_states.values(),
            eni_states: self.eni_states.values(),
            pools: self.pools.values(),
            slab: &self.slab.values()[0],
            blocks: self.blocks.values(),
            slots: self.slots.values(),
            next_hops: self.next_hops.values(),
        }
    }

    fn flows(&self) -> HashMap<FlowKey, FlowRef> {
        let words = self
            .buckets
            .values()
            .iter()
            .flat_map(|bucket| &bucket.entries);
        let entries = words.map(|word| word.load()).filter(|word| *word != 0);
        entries
            .map(|word| {
                let flow = FlowRef {
                    slot: (word & 0xff_ffff) as u32 - 1,
                    epoch: (word >> 32) as u32,
                };
                let slot = &self.slots.values()[flow.slot as usize];
                (slot.flow_key(slot.state().protocol()), flow)
            })
            .collect()
    }

    fn age_fragments(&mut self, ticks: u32) {
        let notes: Result<Vec<_>, _> = self.fragments.iter().collect();
        for (key, mut fragment) in notes.expect("read the fragments") {
            fragment.created = fragment.created.wrapping_sub(ticks);
            self.fragments
                .insert(key, fragment, 0)
                .expect("write a fragment");
        }
    }

    fn drops(&self) -> BTreeMap<DropKey, u64> {
        let drops: Result<Vec<_>, _> = self.drops.iter().collect();
        let mut drops = drops.expect("read the drops");
        drops.retain(|(_, count)| *count != 0);
        drops.into_iter().collect()
    }

    fn stat(&self, stat: Stat) -> u64 {
        let values = self.stats.get(&(stat as u32), 0).expect("read a counter");
        values.iter().sum()
    }

    fn told(&mut self) -> Told {
        Told {
            events: drain(&mut self.events, plain),
            records: drain(&mut self.records, plain),
            handed: drain(&mut self.punts, handed),
        }
    }

    fn sweep(&mut self, options: SweepOptions) -> SweepResult {
        let mut arguments = RawTracePointRunOptions::new();
        arguments.args[..4].copy_from_slice(&[now_ns(), 0, u64::from(BLOCKS), options.0]);
        sweeper(&mut self.ebpf)
            .test_run(arguments)
            .expect("run the sweep");
        self.sweep_result.get(&0, 0).expect("read the result")
    }

    fn now(&self) -> Tick {
        Tick::from_ns(now_ns())
    }
}

/// The kernel's coarse monotonic clock.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).expect("read the clock");
    now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned()
}
