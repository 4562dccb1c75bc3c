//! The rig: veth pairs, the data path configured by the agent's own code, and the
//! bench programs over its pinned maps.
//!
//! ```text
//! g0 ── g1 [from_environment] ─▶ u0 ── u1 [sink]       ours, in XDP
//! t0 ── t1 [tc_from_environment] ─▶ u0 ── u1 [sink]    ours, in TC
//! r0 ── r1 [redirect]         ─▶ u0 ── u1 [sink]       bare redirect
//! n0 ── n1  kernel, nft masquerade ─▶ m0 ── m1 dropped at the ingress hook
//! x1: an environment of its own, on a group with one full ENI
//! ```

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::Command,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, DevMap, HashMap, MapData, PerCpuArray},
    programs::{RawTracePoint, Xdp, XdpMode},
};
use vpc_common::{
    addr::{Addr, Mac},
    layout::{Limits, NextHopKey, SweepResult, name, program},
    state::Timeouts,
};
use vpc_user::{
    dataplane::{Dataplane, skb_layout},
    flowlog::Directory,
    model::{
        AttachRequest, Config, FlowInfo, GroupConfig, HookWish, Network, ObjectName, TcAttachment,
        UplinkConfig,
    },
};

/// Address of the environments.
pub const INSIDE: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 2);
/// Where our packets go.
pub const RESOURCE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// Where the kernel's packets go.
pub const KERNEL_RESOURCE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 100);
/// Neighbours of the ENIs whose MACs are known, from [`RESOURCE`] on.
pub const RESOURCES: u8 = 8;
const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);
const RESOURCE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x64];
/// As `vpc-ebpf/src/bench.rs` has it.
const UPLINK_MAC: &str = "02:00:00:00:00:02";
/// Receiver of the kernel's frames.
pub const KERNEL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x31];

/// The kernel's `Setting` of the bench programs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Flow numbers are drawn from `0..=mask`; all ones = count up.
    pub mask: u32,
    /// Flags of TCP packets.
    pub tcp_flags: u32,
    /// The next number when counting up.
    pub next: u64,
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
    /// IPv4 header checksum, as in memory.
    pub checksum: u32,
    /// Protocol.
    pub protocol: u32,
    /// Receiver and sender.
    pub macs: [[u8; 6]; 2],
    /// The pool that `bench_claim` claims from.
    pub pool: u32,
    /// Not 0: packets go to the destinations that were set.
    pub spread: u32,
    /// Zero.
    pub reserved: u32,
}

/// The kernel's `Destination`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Destination {
    /// Address.
    pub address: [u8; 4],
    /// Port, wire order.
    pub port: u16,
    /// IPv4 header checksum.
    pub checksum: u16,
}

/// The kernel's `ReplyTuple`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplyTuple {
    /// ENI address.
    pub address: [u8; 4],
    /// Remote and outside port, wire order.
    pub ports: [u16; 2],
    /// IPv4 header checksum.
    pub checksum: u16,
    /// Where it comes from.
    pub remote: [u8; 4],
    /// Zero.
    pub reserved: u16,
}

// SAFETY: `repr(C)`, no padding, every bit pattern a value.
unsafe impl aya::Pod for Setting {}
// SAFETY: as above.
unsafe impl aya::Pod for Destination {}
// SAFETY: as above.
unsafe impl aya::Pod for ReplyTuple {}

/// Everything the bench runs on.
pub struct Rig {
    dataplane: Option<Dataplane>,
    /// Two groups without VPC: `roomy` and `full`.
    pub config: Config,
    pin_dir: PathBuf,
    /// The bench programs.
    pub bench: Ebpf,
    /// Blocks of the slab.
    pub blocks: u32,
    next: u64,
}

fn sh(line: &str) {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a command line is not empty");
    let status = Command::new(program).args(words).status();
    assert!(
        status.as_ref().is_ok_and(|status| status.success()),
        "{line}: {status:?}"
    );
}

fn ifindex(interface: &str) -> u32 {
    nix::net::if_::if_nametoindex(interface).expect("the rig made the interface")
}

/// One of [`RESOURCES`].
pub fn resource(number: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(RESOURCE) + u32::from(number))
}

/// A name.
pub fn object_name(name: &str) -> ObjectName {
    ObjectName::new(name).expect("a constant that is a name")
}

impl Rig {
    /// Sets everything up.
    pub fn new() -> Self {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace");
        let cpu = {
            let mut set = nix::sched::CpuSet::new();
            set.set(0).expect("there is a CPU 0");
            nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)
        };
        cpu.expect("one CPU for all");
        make_links();
        make_masquerade();
        let pin_dir = crate::leavings::bench_pins(std::process::id());
        let limits = Limits::DEFAULT;
        let config = config(&pin_dir);
        let mut dataplane =
            Dataplane::open(&pin_dir, &limits, TcAttachment::Auto, Directory::default())
                .expect("the data plane opens");
        dataplane.apply(&config);
        for (name, interface, group, hook) in [
            ("ours", "g1", "roomy", HookWish::Xdp),
            ("tc", "t1", "roomy", HookWish::Tc),
            ("refused", "x1", "full", HookWish::Xdp),
        ] {
            let request = attachment(name, interface, group, hook);
            dataplane.attach(&request).expect("the link attaches");
        }
        resolve_next_hops(&pin_dir);
        let bench = load(&pin_dir);
        let mut rig = Self {
            dataplane: Some(dataplane),
            config,
            pin_dir,
            bench,
            blocks: limits.blocks,
            next: 0,
        };
        rig.attach_helpers();
        rig
    }

    /// What the agent does with a configuration.
    pub fn apply(&mut self, config: &Config) {
        let dataplane = self.dataplane.as_mut().expect("the rig is up");
        let applied = dataplane.apply(config);
        let obstacles: Vec<String> = applied.obstacles().collect();
        assert!(applied.is_complete(), "{obstacles:?}");
    }

    fn attach_helpers(&mut self) {
        for (program, interface) in [("bench_sink", "u1"), ("bench_redirect", "r1")] {
            let program: &mut Xdp = self.xdp(program);
            program
                .attach(interface, XdpMode::Driver)
                .expect("the helper attaches");
        }
    }

    /// A bench program.
    pub fn xdp(&mut self, name: &str) -> &mut Xdp {
        let program = self
            .bench
            .program_mut(name)
            .expect("the object has the program");
        program.try_into().expect("it is an XDP program")
    }

    /// Live flows, by the agent's own listing.
    pub fn flows(&self) -> Vec<FlowInfo> {
        self.dataplane
            .as_ref()
            .map(|dataplane| dataplane.live_flows().list())
            .unwrap_or_default()
    }

    /// Packets dropped for a reason.
    pub fn drops(&self, reason: &str) -> u64 {
        let drops = self.dataplane.as_ref().expect("the rig is up").drops();
        let drops = drops.expect("the counters can be read");
        drops
            .iter()
            .filter(|drop| drop.reason == reason)
            .map(|drop| drop.packets)
            .sum()
    }

    /// Says what the next packets are.
    pub fn set(&mut self, setting: Setting) {
        let map = self
            .bench
            .map_mut("SETTING")
            .expect("the object has the map");
        let mut map: Array<_, Setting> = map.try_into().expect("it is an array");
        map.set(0, setting, 0).expect("the map takes it");
    }

    /// Says what the replies are.
    pub fn set_replies(&mut self, tuples: &[ReplyTuple]) {
        let map = self
            .bench
            .map_mut("REPLY_TUPLES")
            .expect("the object has the map");
        let mut map: Array<_, ReplyTuple> = map.try_into().expect("it is an array");
        for (number, tuple) in (0..).zip(tuples) {
            map.set(number, *tuple, 0).expect("the map takes it");
        }
    }

    /// Says where packets go if the setting has them spread.
    pub fn set_destinations(&mut self, destinations: &[Destination]) {
        let map = self
            .bench
            .map_mut("DESTINATIONS")
            .expect("the object has the map");
        let mut map: Array<_, Destination> = map.try_into().expect("it is an array");
        for (number, destination) in (0..).zip(destinations) {
            map.set(number, *destination, 0).expect("the map takes it");
        }
    }

    /// Says where generated frames go in.
    pub fn generate_into(&mut self, interface: &str) {
        let map = self
            .bench
            .map_mut("GENERATOR")
            .expect("the object has the map");
        let mut map: DevMap<_> = map.try_into().expect("it is a device map");
        map.set(0, ifindex(interface), None, 0)
            .expect("the map takes it");
    }

    /// Frames that reached the sink on `u1`.
    pub fn sunk(&self) -> u64 {
        let map = self.bench.map("SUNK").expect("the object has the map");
        let map: PerCpuArray<_, u64> = map.try_into().expect("it is an array");
        map.get(&0, 0).expect("it has an entry").iter().sum()
    }

    /// Frames that reached `m1`.
    pub fn sunk_by_kernel() -> u64 {
        let path = "/sys/class/net/m1/statistics/rx_packets";
        // sysfs shows the namespace it was mounted in, so ask by netlink.
        let output = Command::new("ip")
            .args(["-j", "-s", "link", "show", "m1"])
            .output();
        let output = output.unwrap_or_else(|error| panic!("{path}: {error}"));
        let links: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("ip prints JSON");
        links[0]["stats64"]["rx"]["packets"]
            .as_u64()
            .expect("a counter")
    }

    /// Interface that test runs of the roomy environment arrive on.
    pub fn environment() -> u32 {
        ifindex("g1")
    }

    /// Interface of the environment whose group is full.
    pub fn refused() -> u32 {
        ifindex("x1")
    }

    /// Interface of the uplink.
    pub fn uplink() -> u32 {
        ifindex("u0")
    }

    /// A flow number that was never used, with `count` more behind it.
    pub fn fresh(&mut self, count: u64) -> u64 {
        let first = self.next;
        self.next += count;
        first
    }

    /// Sweeps all blocks as if `ahead_ns` had passed; what it did.
    pub fn sweep(&mut self, ahead_ns: u64) -> SweepResult {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_COARSE);
        let now = now.expect("the kernel has the clock");
        let now = now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64 + ahead_ns;
        let blocks = self.blocks;
        let program = self
            .bench
            .program_mut("bench_sweep")
            .expect("the object has the program");
        let program: &RawTracePoint = (&*program).try_into().expect("it is a raw tracepoint");
        crate::bench::test_run::call(program, &[now, 0, u64::from(blocks), 0]);
        let map = self
            .bench
            .map(name::SWEEP_RESULT)
            .expect("the object has the map");
        let map: Array<_, SweepResult> = map.try_into().expect("it is an array");
        map.get(&0, 0).expect("it has an entry")
    }

    /// Ends every flow; the rings are emptied, since nobody else reads them.
    pub fn end_all_flows(&mut self) {
        for _ in 0..64 {
            self.drain_records();
            self.sweep(1_000_000_000_000_000);
            if self.flows().is_empty() {
                return;
            }
        }
        panic!("flows are left after every one was swept");
    }

    fn drain_records(&mut self) {
        let map = self
            .bench
            .map_mut(name::FLOW_RECORDS)
            .expect("the object has the map");
        let mut ring: aya::maps::RingBuf<_> = map.try_into().expect("it is a ring");
        while ring.next().is_some() {}
    }

    /// Verified instructions of the programs of the product.
    pub fn verified_instructions(&self) -> BTreeMap<String, u32> {
        let mut verified = BTreeMap::new();
        let own = ["from_environmen", "from_uplink", "sweep", "count_drop"];
        for program in aya::programs::loaded_programs().flatten() {
            let Some(name) = program.name_as_str().filter(|name| own.contains(name)) else {
                continue;
            };
            if let Some(instructions) = program.verified_instruction_count() {
                verified.insert(name.replace("environmen", "environment"), instructions);
            }
        }
        verified
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let torn_down = self.dataplane.take().map(Dataplane::teardown);
        if let Some(Err(error)) = torn_down {
            eprintln!("{error}");
        }
        let _ = fs::remove_dir_all(&self.pin_dir);
    }
}

fn make_links() {
    sh("ip link set lo up");
    for (near, far) in [
        ("g0", "g1"),
        ("t0", "t1"),
        ("u0", "u1"),
        ("r0", "r1"),
        ("n0", "n1"),
        ("m0", "m1"),
        ("x0", "x1"),
    ] {
        sh(&format!("ip link add {near} type veth peer name {far}"));
        for end in [near, far] {
            sh(&format!("sysctl -qw net.ipv6.conf.{end}.disable_ipv6=1"));
        }
    }
    sh(&format!("ip link set u0 address {UPLINK_MAC}"));
    sh("ip link set n1 address 02:00:00:00:00:31");
    for end in [
        "g0", "g1", "t0", "t1", "u0", "u1", "r0", "r1", "n0", "n1", "m0", "m1", "x0", "x1",
    ] {
        sh(&format!("ip link set {end} up"));
    }
}

/// The kernel's way: forwarding and masquerade, as a user would set them up. What is
/// no XDP program's takes redirected frames by GRO, and the far end drops at the earliest
/// hook, so that the kernel pays for no more than it must.
fn make_masquerade() {
    sh("sysctl -qw net.ipv4.ip_forward=1");
    sh("sysctl -qw net.ipv4.conf.all.rp_filter=0");
    sh("sysctl -qw net.ipv4.conf.n1.rp_filter=0");
    for end in ["n1", "t1"] {
        sh(&format!("ethtool -K {end} gro on"));
    }
    sh(&format!("ip addr add {GATEWAY}/24 dev n1"));
    sh("ip addr add 10.1.0.10/24 dev m0");
    sh(&format!(
        "ip neigh add {KERNEL_RESOURCE} lladdr 02:00:00:00:00:64 dev m0 nud permanent"
    ));
    sh(&format!(
        "ip neigh add {INSIDE} lladdr 02:00:00:00:00:22 dev n1 nud permanent"
    ));
    sh("nft add table ip bench");
    sh("nft add chain ip bench post { type nat hook postrouting priority srcnat ; }");
    sh("nft add rule ip bench post oif m0 masquerade");
    sh("nft add table netdev bench");
    sh(
        "nft add chain netdev bench end { type filter hook ingress device m1 priority 0 ; policy drop ; }",
    );
}

fn config(pin_dir: &std::path::Path) -> Config {
    let group = |name: &str, addresses: &[u8]| GroupConfig {
        name: object_name(name),
        uplink: object_name("uplink"),
        subnet_name: None,
        security_groups: Vec::new(),
        subnet: Ipv4Addr::new(10, 0, 0, 0),
        prefix_len: 24,
        router: None,
        enis: addresses
            .iter()
            .map(|last| Ipv4Addr::new(10, 0, 0, *last).into())
            .collect(),
        timeouts: Timeouts::AWS,
        connections: 65_000,
    };
    Config {
        pin_dir: pin_dir.into(),
        socket: PathBuf::from("/run/unused"),
        limits: Limits::DEFAULT,
        tc: TcAttachment::Auto,
        uplinks: vec![UplinkConfig {
            name: object_name("uplink"),
            interface: "u0".into(),
            shared: false,
            hook: HookWish::Xdp,
            peer_netns: None,
        }],
        groups: vec![group("roomy", &[10, 11]), group("full", &[12])],
        network: Network::default(),
        control: None,
        flow_logs: None,
    }
}

fn attachment(name: &str, interface: &str, group: &str, hook: HookWish) -> AttachRequest {
    AttachRequest {
        name: object_name(name),
        interface: interface.into(),
        group: object_name(group),
        address: INSIDE,
        gateway: GATEWAY,
        mac: Some("02:00:00:00:00:22".into()),
        netns: None,
        hook,
        flow_quota: 10_000_000,
        flow_rate: 0,
        flow_burst: 0,
    }
}

/// What the agent's punt worker does when neighbours answer.
fn resolve_next_hops(pin_dir: &std::path::Path) {
    let open = |name: &str| {
        MapData::from_pin(pin_dir.join("maps").join(name)).expect("the table is pinned")
    };
    let hops = aya::maps::Map::Array(open(name::NEXT_HOPS));
    let mut hops: Array<_, [u64; 2]> = hops.try_into().expect("it is an array");
    let mac = Mac::new(RESOURCE_MAC).to_word();
    let index = aya::maps::Map::HashMap(open(name::NEXT_HOP_BY_ADDRESS));
    let mut index: HashMap<_, NextHopKey, u32> = index.try_into().expect("it is a hash");
    for number in 0..RESOURCES {
        let place = u32::from(number) + 1;
        hops.set(place, [mac, 0], 0).expect("the map takes it");
        let key = NextHopKey {
            uplink: 0,
            address: Addr::from(IpAddr::V4(resource(number))),
        };
        index.insert(key, place, 0).expect("the map takes it");
    }
}

fn load(pin_dir: &std::path::Path) -> Ebpf {
    let skb_layout = skb_layout().expect("the kernel describes its packets");
    let mut loader = EbpfLoader::new();
    // Not every build of the bench has programs that need it.
    loader.override_global(program::SKB_LAYOUT, &skb_layout, false);
    let maps = pin_dir.join("maps");
    let pinned: Vec<(String, PathBuf)> = fs::read_dir(&maps)
        .expect("the folder of pins")
        .flatten()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect();
    for (name, path) in &pinned {
        loader.map_pin_path(name.as_str(), path.as_path());
    }
    let mut bench = loader
        .load(vpc_user::BENCH_OBJECT)
        .expect("the bench object loads");
    for (name, program) in bench.programs_mut() {
        let loaded = match program {
            aya::programs::Program::Xdp(program) => program.load(),
            aya::programs::Program::RawTracePoint(program) => program.load(),
            _ => panic!("{name}: a program of another kind"),
        };
        loaded.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    bench
}
