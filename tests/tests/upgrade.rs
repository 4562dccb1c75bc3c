//! A new release takes over while everybody talks, a hundred times.

use std::{
    io::{self, BufRead as _, BufReader},
    net::{SocketAddr, TcpStream},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use tests::{
    echo::allow_many_sockets,
    netns::Namespace,
    plan::{Plan, environment_interface, uplink_interface},
    tap::{Tap, Watch},
    topology::{GATEWAY, GATEWAY_MAC, INTERFACE, RESOURCE, eni, mac_of, pin_neighbour},
    wait::{PATIENCE, eventually},
    world::World,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    runtime::Runtime,
    task::JoinHandle,
    time::sleep,
};
use vpc_user::model::HookWish;

const UPGRADES: usize = 100;
const TENANTS: [&str; 2] = ["blue", "green"];
const ENVIRONMENTS: usize = 4;
/// Connections of each environment.
const CONNECTIONS: usize = 2_500;
const PORT: u16 = 9_001;
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
/// Between two words on a connection.
const PAUSE: Duration = Duration::from_secs(2);

/// Both hooks on either side: the first tenant's uplink is served by TC and the second's by
/// XDP, and so are in each the first environment and the second.
fn plan() -> Plan {
    let mut plan = Plan::new(&TENANTS, ENVIRONMENTS / TENANTS.len());
    let hooks = [HookWish::Tc, HookWish::Xdp];
    for (tenant, hook) in plan.tenants.iter_mut().zip(hooks) {
        tenant.hook = hook;
    }
    for (environment, hook) in plan.environments.iter_mut().zip(hooks.iter().cycle()) {
        environment.hook = *hook;
    }
    plan
}

/// An echo in a tenant, ended when dropped.
struct Echo(Child);

impl Echo {
    fn start(tenant: &Namespace) -> Self {
        let mut command = tenant.command(env!("CARGO_BIN_EXE_echo"));
        command.arg(PORT.to_string()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("start the echo");
        let said = child.stdout.take().expect("its output");
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line).expect("a line");
        assert!(line.starts_with("listening"), "{line:?}");
        Self(child)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connections that talk.
struct Talk {
    stop: AtomicBool,
    words: AtomicU64,
}

impl Talk {
    /// Says something and hears it back, again and again; hands the connection back.
    async fn go_on(self: Arc<Self>, number: usize, stream: TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        let mut stream = tokio::net::TcpStream::from_std(stream)?;
        stream.set_nodelay(true)?;
        // Not all at once.
        sleep(PAUSE * number as u32 / CONNECTIONS as u32).await;
        let mut round = 0_u64;
        while !self.stop.load(Ordering::Relaxed) {
            let mut said = [number as u8; 64];
            said[..8].copy_from_slice(&round.to_be_bytes());
            stream.write_all(&said).await?;
            let mut heard = [0; 64];
            stream.read_exact(&mut heard).await?;
            if said != heard {
                return Err(io::ErrorKind::InvalidData.into());
            }
            round += 1;
            self.words.fetch_add(1, Ordering::Relaxed);
            sleep(PAUSE).await;
        }
        stream.into_std()
    }
}

/// Numbers of the programs on every link.
fn programs(host: &Namespace) -> Vec<u32> {
    let uplinks = TENANTS.map(uplink_interface).into_iter();
    let links = uplinks.chain((0..ENVIRONMENTS).map(environment_interface));
    let on = |link: String| {
        let shown = host.says("ip", &["link", "show", "dev", &link]);
        let xdp = shown.split_once("prog/xdp id ");
        let xdp = xdp.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
        [host.filters(&link), host.tcx(&link), Vec::from_iter(xdp)].concat()
    };
    links.flat_map(on).collect()
}

/// Packets that the environments and the resources sent, and that they received.
fn crossed(world: &World) -> [[u64; 2]; 2] {
    let sum = |namespaces: &[&Namespace]| {
        let sent = namespaces.iter().map(|one| one.transmitted(INTERFACE).0);
        let received = namespaces.iter().map(|one| one.received(INTERFACE).0);
        [sent.sum(), received.sum()]
    };
    let environments: Vec<_> = (0..ENVIRONMENTS).map(|index| world.env(index)).collect();
    let tenants: Vec<_> = world.tenants().iter().map(|one| &one.netns).collect();
    [sum(&environments), sum(&tenants)]
}

/// Everybody who has a TCP stack.
fn stations(world: &World) -> impl Iterator<Item = &Namespace> {
    let environments = world.environments().iter().map(|one| &one.netns);
    let tenants = world.tenants().iter().map(|one| &one.netns);
    tenants.chain(environments)
}

/// From here on every packet on a link is a flow's, and is one packet.
fn prepare(world: &World) {
    for (index, name) in TENANTS.into_iter().enumerate() {
        let uplink = mac_of(world.host(), &uplink_interface(name));
        pin_neighbour(world.tenant(index), eni(0), uplink);
    }
    for index in 0..ENVIRONMENTS {
        pin_neighbour(world.env(index), GATEWAY, GATEWAY_MAC);
    }
    for namespace in stations(world) {
        namespace.says("ethtool", &["-K", INTERFACE, "tso", "off"]);
    }
}

fn open(world: &World) -> Vec<TcpStream> {
    let open = |index| {
        world.env(index).run(|| {
            let connect = |_| TcpStream::connect((RESOURCE, PORT)).expect("connect");
            (0..CONNECTIONS).map(connect).collect::<Vec<_>>()
        })
    };
    (0..ENVIRONMENTS).flat_map(open).collect()
}

/// Counts the ARP packets that a tenant gets and that it sends: how the agent keeps to know
/// its neighbours.
fn watch_arp(tenant: &Namespace) -> Watch<[u64; 2]> {
    let tap = Tap::open_on(tenant, INTERFACE, true);
    tap.watch([0; 2], |_, [came, left], frame| {
        if frame.bytes.get(12..14) != Some(&ETHERTYPE_ARP) {
            return;
        }
        let arp = frame.arp().expect("an ARP packet");
        let count = if arp.sender_ipv4 == RESOURCE.octets() {
            left
        } else {
            came
        };
        *count += 1;
    })
}

/// Packets that were sent, that flows carried and that were received, out and back.
fn books(world: &World, before: [[u64; 2]; 2], arp: [[u64; 2]; 2]) -> [[u64; 3]; 2] {
    let after = crossed(world);
    let [[sent, received], [answered, asked]] =
        [0, 1].map(|side| [0, 1].map(|way| after[side][way] - before[side][way]));
    let [arp_asked, arp_answered] = [0, 1].map(|way| arp[0][way] + arp[1][way]);
    let flows = world.flows();
    let forward = flows.iter().map(|flow| flow.forward_packets).sum();
    let reply = flows.iter().map(|flow| flow.reply_packets).sum();
    [
        [sent, forward, asked - arp_asked],
        [answered - arp_answered, reply, received],
    ]
}

/// Outside addresses by slot and epoch: who a flow is.
fn flows(world: &World) -> Vec<(u32, u32, SocketAddr)> {
    let flows = world.flows().into_iter();
    let mut flows: Vec<_> = flows
        .map(|flow| (flow.slot, flow.epoch, flow.outside))
        .collect();
    flows.sort_unstable();
    flows
}

/// Each release takes over from one that ended or was killed.
fn upgrade(world: &mut World, talk: &Talk) {
    let mut before = programs(world.host());
    for round in 0..UPGRADES {
        world.stop_agent([Signal::SIGTERM, Signal::SIGKILL][round % 2]);
        world.start_agent();
        assert!(world.status().adopted);
        let after = programs(world.host());
        assert_eq!(after.len(), before.len(), "one program a link");
        let kept: Vec<_> = after.iter().filter(|id| before.contains(id)).collect();
        assert!(kept.is_empty(), "programs of the old release: {kept:?}");
        before = after;
    }
    let goal = talk.words.load(Ordering::Relaxed) + 10_000;
    let goes_on = || talk.words.load(Ordering::Relaxed) >= goal;
    assert!(eventually(PATIENCE, goes_on), "everybody talks on");
}

/// Ends the talk; every connection is whole.
fn finish(
    runtime: &Runtime,
    talk: &Talk,
    tasks: Vec<JoinHandle<io::Result<TcpStream>>>,
) -> Vec<TcpStream> {
    talk.stop.store(true, Ordering::Relaxed);
    let ended = tasks.into_iter().map(|task| {
        let ended = runtime.block_on(task).expect("a task");
        ended.expect("no connection breaks")
    });
    ended.collect()
}

#[test]
fn ten_thousand_connections_see_nothing_of_a_hundred_upgrades() {
    allow_many_sockets();
    let mut world = World::start(plan());
    prepare(&world);
    let runtime = Runtime::new().expect("a runtime");
    let tenants = world.tenants().iter();
    let _echoes: Vec<_> = tenants.map(|one| Echo::start(&one.netns)).collect();
    let arp = [0, 1].map(|tenant| watch_arp(world.tenant(tenant)));
    let before = crossed(&world);
    let streams = open(&world);
    let opened = flows(&world);
    assert_eq!(opened.len(), ENVIRONMENTS * CONNECTIONS);
    let talk = Arc::new(Talk {
        stop: AtomicBool::new(false),
        words: AtomicU64::new(0),
    });
    let tasks = streams.into_iter().enumerate();
    let tasks = tasks.map(|(number, stream)| {
        runtime.spawn(Arc::clone(&talk).go_on(number % CONNECTIONS, stream))
    });
    let tasks: Vec<_> = tasks.collect();
    upgrade(&mut world, &talk);
    let streams = finish(&runtime, &talk, tasks);
    assert_eq!(flows(&world), opened, "flows keep slot, epoch and port");
    // Acknowledgements are on their way.
    let is_quiet = || {
        let seen = crossed(&world);
        thread::sleep(Duration::from_millis(500));
        seen == crossed(&world)
    };
    assert!(eventually(PATIENCE, is_quiet), "nobody sends any more");
    let [out, back] = books(&world, before, arp.map(Watch::stop));
    let words = talk.words.load(Ordering::Relaxed);
    eprintln!("{words} words on {} connections", streams.len());
    eprintln!("sent, carried and received packets: {out:?} out, {back:?} back");
    for [sent, carried, received] in [out, back] {
        assert_eq!((sent, carried), (carried, received), "not a packet is lost");
    }
    for namespace in stations(&world) {
        for name in ["OutRsts", "EstabResets", "AttemptFails", "InErrs"] {
            assert_eq!(namespace.counter("Tcp", name), 0, "{name}");
        }
    }
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
}
