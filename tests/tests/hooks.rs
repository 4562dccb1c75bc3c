//! The hook of a link: what the agent chooses, every mix of hooks, changes while
//! packets flow, and what is refused.

use std::{
    io::ErrorKind,
    net::{TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use tests::{
    content::expected_digest,
    echo::{tcp_exchange, udp_exchange, udp_socket},
    http,
    netns::Namespace,
    plan::Plan,
    sequence::{self, Arrived},
    topology::{GATEWAY, INSIDE, INTERFACE, RESOURCE, SUBNET},
    wait::PATIENCE,
    world::{ECHO, HTTP, World},
};
use vpc_user::model::{EnvironmentInfo, Hook, HookWish, ObjectName, TcAttachment, UplinkInfo};

const BOTH: [HookWish; 2] = [HookWish::Xdp, HookWish::Tc];
const CLOSED_PORT: u16 = 9_998;
const BULK: u64 = 3_000_001;
/// Between one change and the next.
const MOMENT: Duration = Duration::from_millis(150);

fn environment(world: &World, name: &str) -> EnvironmentInfo {
    let listed = world.list().into_iter().find(|info| info.name == name);
    listed.unwrap_or_else(|| panic!("{name} is attached"))
}

fn uplink(world: &World, name: &str) -> UplinkInfo {
    let uplinks = world.status().uplinks.into_iter();
    let mut found = uplinks.filter(|info| info.name == name);
    found
        .next()
        .unwrap_or_else(|| panic!("{name} is an uplink"))
}

fn hook_of(wish: HookWish) -> Hook {
    match wish {
        HookWish::Xdp => Hook::Xdp,
        HookWish::Auto | HookWish::Tc => Hook::Tc,
    }
}

/// Bulk both ways, datagrams, fragments both ways, and an ICMP error back.
fn everything_passes(namespace: &Namespace) {
    let content = (BULK, expected_digest(BULK));
    namespace.run(|| {
        assert_eq!(http::upload(HTTP, BULK).expect("upload"), content);
        assert_eq!(http::download(HTTP, BULK).expect("download"), content);
        let socket = udp_socket(ECHO).expect("socket");
        for len in [0, 1, 1_400, 4_000, 20_000] {
            let payload = vec![len as u8; len];
            let seen = udp_exchange(&socket, &payload).expect("echo");
            assert_eq!(seen.payload, payload);
        }
        let nobody = udp_socket((RESOURCE, CLOSED_PORT)).expect("socket");
        nobody.set_read_timeout(Some(PATIENCE)).expect("timeout");
        nobody.send(b"anyone?").expect("send");
        let error = nobody.recv(&mut [0; 16]).expect_err("nobody answers");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

/// What was learnt of the gateway's MAC is forgotten, and asked for anew.
fn the_gateway_answers(namespace: &Namespace) {
    namespace.ip(&["neigh", "flush", "dev", INTERFACE]);
    namespace.run(|| http::whoami(HTTP).expect("fetch after a new ARP request"));
}

fn nothing_was_dropped(world: &World) {
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
    for tenant in world.tenants() {
        assert_eq!(tenant.netns.counter("Tcp", "InCsumErrors"), 0);
        assert_eq!(tenant.netns.counter("Udp", "InCsumErrors"), 0);
    }
    for environment in world.environments() {
        assert_eq!(environment.netns.counter("Tcp", "InCsumErrors"), 0);
        assert_eq!(environment.netns.counter("Udp", "InCsumErrors"), 0);
    }
}

#[test]
fn a_veth_whose_far_end_nobody_can_name_works_as_it_is() {
    let mut world = World::start(Plan::blue(1));
    let mut plan = Plan::blue(1).environments.remove(0);
    plan.name = "container".to_owned();
    let index = world.add_environment(&plan);
    world.env(index).hide();
    let mut request = world.attach_request(index);
    (request.netns, request.hook) = (None, HookWish::Auto);
    let info = world.attach(request.clone()).expect("attach");
    assert_eq!((info.hook, info.hook_wanted), (Hook::Tc, HookWish::Auto));
    assert_eq!(
        info.hook_why,
        "a veth hands over whole segments, which XDP would have it cut first"
    );
    everything_passes(world.env(index));
    nothing_was_dropped(&world);
    assert!(
        !world.env(index).gro(INTERFACE),
        "nobody touched its far end"
    );
    let refusal = world
        .set_hook("container", HookWish::Xdp)
        .expect_err("out of reach");
    assert_eq!(
        refusal,
        "the far end of env1 has neither an XDP program nor GRO, so every frame that XDP sends \
         into it would be lost, and its namespace is none of those in /run/netns: name it with \
         `netns`, run `ethtool -K <far end> gro on` there, or ask for the hook tc"
    );
    assert_eq!(environment(&world, "container").hook, Hook::Tc);
    // With that remedy it is ready, wherever it is.
    world
        .env(index)
        .says("ethtool", &["-K", INTERFACE, "gro", "on"]);
    world.set_hook("container", HookWish::Xdp).expect("ready");
    everything_passes(world.env(index));
    world.detach("container").expect("detach");
    assert!(world.env(index).gro(INTERFACE), "what was on stays on");
    request.hook = HookWish::Xdp;
    world.attach(request).expect("attach with a hook");
    everything_passes(world.env(index));
}

#[test]
fn every_mix_of_hooks_carries_everything_both_ways() {
    let mut plan = Plan::new(&["red", "blue"], 2);
    for (tenant, hook) in plan.tenants.iter_mut().zip(BOTH) {
        tenant.hook = hook;
    }
    for (index, environment) in plan.environments.iter_mut().enumerate() {
        environment.hook = BOTH[index % 2];
    }
    let world = World::start(plan);
    for (index, found) in world.environments().iter().enumerate() {
        let info = environment(&world, &found.name);
        assert_eq!(info.hook, hook_of(BOTH[index % 2]));
        assert_eq!(info.hook_why, "asked for");
        everything_passes(world.env(index));
        the_gateway_answers(world.env(index));
    }
    for (tenant, hook) in world.tenants().iter().zip(BOTH) {
        assert_eq!(uplink(&world, &tenant.name).hook, hook_of(hook));
    }
    nothing_was_dropped(&world);
}

/// Connections, and datagrams both ways, of an environment.
struct Traffic {
    streams: Vec<TcpStream>,
    inside: UdpSocket,
    outside: UdpSocket,
}

impl Traffic {
    fn start(world: &World) -> Self {
        const PORT: u16 = 9_996;
        let outside = world.tenant(0).run(|| UdpSocket::bind((RESOURCE, PORT)));
        let outside = outside.expect("bind");
        let (streams, inside) = world.env(0).run(|| {
            let connect = |_| http::connect(ECHO).expect("connect");
            let inside = udp_socket((RESOURCE, PORT)).expect("socket");
            ((0..4).map(connect).collect(), inside)
        });
        inside.send(b"who I am").expect("send");
        let (_, peer) = outside.recv_from(&mut [0; 16]).expect("the first one");
        outside.connect(peer).expect("connect");
        Self {
            streams,
            inside,
            outside,
        }
    }

    /// Lets it flow while `change` works; what became of the datagrams out and back.
    fn flow_while(&mut self, change: impl FnOnce()) -> [Arrived; 2] {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let (stop, inside, outside) = (&stop, &self.inside, &self.outside);
            let out = scope.spawn(move || sequence::run(inside, outside, stop));
            let back = scope.spawn(move || sequence::run(outside, inside, stop));
            for stream in &mut self.streams {
                scope.spawn(move || {
                    let mut round = 0_usize;
                    while !stop.load(Ordering::Relaxed) {
                        let payload = vec![round as u8; 200 + round * 977 % 60_000];
                        tcp_exchange(stream, &payload).expect("no connection breaks");
                        round += 1;
                    }
                });
            }
            change();
            stop.store(true, Ordering::Relaxed);
            let join = |thread: thread::ScopedJoinHandle<'_, Arrived>| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            [join(out), join(back)]
        })
    }
}

fn assert_all_arrived(arrived: &[Arrived; 2]) {
    for (way, arrived) in ["out", "back"].iter().zip(arrived) {
        eprintln!(
            "{way}: {} sent, {} missing",
            arrived.sent,
            arrived.missing.len()
        );
        assert!(arrived.missing.is_empty(), "{way}: {:?}", arrived.missing);
    }
}

fn outsides(world: &World) -> Vec<(u32, u32, std::net::SocketAddr)> {
    let flows = world.flows().into_iter();
    let mut outsides: Vec<_> = flows
        .map(|flow| (flow.slot, flow.epoch, flow.outside))
        .collect();
    outsides.sort();
    outsides
}

#[test]
fn an_environments_hook_changes_back_and_forth_under_traffic() {
    for uplink in BOTH {
        let world = World::start(Plan::blue(1).with_hooks(uplink, HookWish::Tc));
        changes_under_traffic(world, |world, hook| {
            let info = world.set_hook("blue-0", hook).expect("set the hook");
            assert_eq!((info.hook, info.hook_wanted), (hook_of(hook), hook));
            let far_end_is_ready = world.env(0).gro(INTERFACE);
            assert_eq!(far_end_is_ready, hook == HookWish::Xdp);
        });
    }
}

fn changes_under_traffic(mut world: World, mut change: impl FnMut(&mut World, HookWish)) {
    let mut traffic = Traffic::start(&world);
    let before = outsides(&world);
    let arrived = traffic.flow_while(|| {
        for round in 0..6 {
            thread::sleep(MOMENT);
            change(&mut world, BOTH[round % 2]);
        }
        thread::sleep(MOMENT);
    });
    assert_eq!(outsides(&world), before, "every flow kept its outside port");
    nothing_was_dropped(&world);
    assert_all_arrived(&arrived);
}

/// The uplink's hook is the configuration's affair, read by the next agent.
fn set_uplink_hook(world: &mut World, hook: HookWish, signal: Signal) {
    world.plan_mut().tenants[0].hook = hook;
    world.write_config();
    world.stop_agent(signal);
    world.start_agent();
    let info = uplink(world, "blue");
    assert_eq!((info.hook, info.hook_wanted), (hook_of(hook), hook));
}

#[test]
fn an_uplinks_hook_changes_back_and_forth_under_traffic() {
    for environment in BOTH {
        let world = World::start(Plan::blue(1).with_hooks(HookWish::Tc, environment));
        changes_under_traffic(world, |world, hook| {
            set_uplink_hook(world, hook, Signal::SIGKILL);
            let far_end_is_ready = world.tenant(0).gro(INTERFACE);
            assert_eq!(far_end_is_ready, hook == HookWish::Xdp);
        });
    }
}

#[test]
fn what_was_asked_for_survives_the_agent() {
    let mut world = World::start(Plan::blue(3));
    let wishes = [HookWish::Auto, HookWish::Xdp, HookWish::Tc];
    for (index, wish) in wishes.into_iter().enumerate() {
        world
            .set_hook(&format!("blue-{index}"), wish)
            .expect("set the hook");
    }
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        world.stop_agent(signal);
        world.start_agent();
        for (index, wish) in wishes.into_iter().enumerate() {
            let info = environment(&world, &format!("blue-{index}"));
            assert_eq!((info.hook, info.hook_wanted), (hook_of(wish), wish));
            everything_passes(world.env(index));
        }
    }
    assert!(world.env(1).gro(INTERFACE), "its far end is still prepared");
    world
        .set_hook("blue-1", HookWish::Tc)
        .expect("set the hook");
    assert!(!world.env(1).gro(INTERFACE), "the new agent knows of it");
    nothing_was_dropped(&world);
}

#[test]
fn a_far_end_is_followed_from_namespace_to_namespace() {
    let world = World::start(Plan::blue(1));
    let (host, other) = (world.host(), Namespace::new("other"));
    host.ip(&[
        "link", "add", "near0", "type", "veth", "peer", "name", "far0",
    ]);
    host.ip(&["link", "set", "near0", "up"]);
    let settle = |namespace: &Namespace| {
        namespace.ip_batch(&format!(
            "addr add {INSIDE}/24 dev far0\nlink set far0 up\nroute add {SUBNET} via {GATEWAY}\n"
        ));
    };
    settle(host);
    let mut request = world.attach_request(0);
    request.name = ObjectName::new("wanderer").expect("a name");
    (request.interface, request.netns) = ("near0".to_owned(), None);
    world.attach(request).expect("attach");
    // TC delivers straight to a far end only where the kernel lets it.
    let arrives = |namespace: &Namespace| {
        let fetched = || namespace.run(|| http::whoami(HTTP)).is_ok();
        assert!(tests::wait::eventually(PATIENCE, fetched));
        namespace.run(|| {
            let content = (BULK, expected_digest(BULK));
            assert_eq!(http::download(HTTP, BULK).expect("download"), content);
        });
    };
    arrives(host);
    let path = other.path();
    host.ip(&["link", "set", "far0", "netns", &path.display().to_string()]);
    settle(&other);
    arrives(&other);
    other.ip(&[
        "link",
        "set",
        "far0",
        "netns",
        &host.path().display().to_string(),
    ]);
    settle(host);
    arrives(host);
}

#[test]
fn what_cannot_be_is_refused_in_one_sentence_and_changes_nothing() {
    let mut world = World::start(Plan::blue(1));
    let index = world.add_environment(&Plan::blue(1).environments[0]);
    let host = world.host();
    host.ip(&["link", "add", "br0", "type", "bridge"]);
    let far = world.env(index).path();
    host.ip_batch(&format!(
        "link add jumbo0 mtu 9000 type veth peer name jumbo1 mtu 9000 netns {}\nlink set jumbo0 up",
        far.display()
    ));
    let refused = |interface: &str, hook| {
        let before = world.list();
        let mut request = world.attach_request(index);
        request.name = ObjectName::new("other").expect("a name");
        (request.interface, request.hook) = (interface.to_owned(), hook);
        let sentence = world.attach(request).expect_err("refused");
        assert_eq!(world.list(), before);
        sentence
    };
    assert_eq!(
        refused("br0", HookWish::Auto),
        "br0 is neither a veth nor a tap: attach the host end of a veth pair, or the microVM's tap"
    );
    assert_eq!(
        refused("jumbo0", HookWish::Xdp),
        "jumbo0 has MTU 9000 and native XDP carries at most 3498: run \
         `ip link set dev jumbo0 mtu 3498`, or ask for the hook tc"
    );
    assert_eq!(
        world.set_hook("ghost", HookWish::Tc).expect_err("refused"),
        "ghost is not attached: see `vpc ls` for what is"
    );
    let mut request = world.attach_request(index);
    request.name = ObjectName::new("jumbo").expect("a name");
    request.interface = "jumbo0".to_owned();
    assert_eq!(world.attach(request).expect("attach").hook, Hook::Tc);
    assert_eq!(
        world.set_hook("jumbo", HookWish::Xdp).expect_err("refused"),
        "jumbo0 has MTU 9000 and native XDP carries at most 3498: run \
         `ip link set dev jumbo0 mtu 3498`, or ask for the hook tc"
    );
    everything_passes(world.env(0));
}

/// TC programs that run on an interface: filters, and TCX links.
fn tc_programs(world: &World, interface: &str) -> (usize, usize) {
    let host = world.host();
    (host.filters(interface).len(), host.tcx(interface).len())
}

#[test]
fn left_to_the_agent_environments_have_filters_and_uplinks_tcx_links() {
    let world = World::start(Plan::blue(1));
    assert_eq!(tc_programs(&world, "env0"), (1, 0));
    assert_eq!(tc_programs(&world, "up-blue"), (0, 1));
    everything_passes(world.env(0));
}

#[test]
fn a_detached_environment_leaves_nothing_on_its_interface() {
    for (tc, attached) in [
        (TcAttachment::Auto, (1, 0)),
        (TcAttachment::Filter, (1, 0)),
        (TcAttachment::Tcx, (0, 1)),
    ] {
        let mut plan = Plan::blue(1);
        plan.tc = tc;
        let world = World::start(plan);
        for hook in BOTH {
            leaves_nothing(&world, hook, attached);
        }
    }
}

fn leaves_nothing(world: &World, hook: HookWish, attached: (usize, usize)) {
    let has_xdp = || {
        let shown = world.host().says("ip", &["link", "show", "dev", "env0"]);
        shown.contains("xdp")
    };
    let pins = || {
        let names = std::fs::read_dir(world.pins().join("links")).expect("the folder");
        let names = names.flatten().map(|name| name.file_name());
        let of_environments = names.filter(|name| name.to_string_lossy().starts_with("env"));
        of_environments.count()
    };
    world.set_hook("blue-0", hook).expect("set the hook");
    let xdp = hook == HookWish::Xdp;
    assert_eq!((tc_programs(world, "env0"), has_xdp()), (attached, xdp));
    assert_eq!(pins(), 1 + usize::from(xdp));
    assert_eq!(world.env(0).gro(INTERFACE), xdp);
    world.detach("blue-0").expect("detach");
    assert_eq!((tc_programs(world, "env0"), has_xdp()), ((0, 0), false));
    assert_eq!(pins(), 0);
    assert!(!world.env(0).gro(INTERFACE));
    world.attach(world.attach_request(0)).expect("attach again");
}
