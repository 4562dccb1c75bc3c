//! The BPF filesystem is taken away, pins are removed, and entries of tables are changed by
//! hand.

use std::{
    fs,
    io::{Read as _, Write as _},
};

use aya::maps::{Array, DevMap, HashMap, Map, MapData};
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::Signal,
};
use tests::{
    agent,
    echo::{tcp_exchange, udp_exchange, udp_socket},
    plan::Plan,
    tap::Tap,
    vpc::SHORT,
    wait::{PATIENCE, eventually},
    world::{ECHO, World},
};
use vpc_common::{
    addr::Addr,
    drop::DropReason,
    layout::{Eni, Environment, InForce, Link, Name, NameKey, name},
};

use crate::{connect, counter, fetches, index_of, pins};

fn refused_attach(world: &World, index: usize) -> String {
    let attached = world.list();
    let refused = world.attach(world.attach_request(index));
    let sentence = refused.expect_err("the attach is refused");
    assert!(!sentence.contains('\n'), "one sentence: {sentence}");
    assert_eq!(world.list(), attached, "nothing changed");
    sentence
}

/// Two environments that are attached and one that is not.
fn world() -> World {
    let mut world = World::start(Plan::blue(2));
    let mut late = Plan::blue(1).environments.remove(0);
    late.name = "late".to_owned();
    world.add_environment(&late);
    world
}

#[test]
fn the_data_path_goes_on_without_its_bpffs_and_a_new_start_is_a_fresh_one() {
    let mut world = world();
    let mut stream = connect(&world, 0);
    let bpffs = world.pins().parent().expect("a folder").to_owned();
    let busy = umount2(&bpffs, MntFlags::empty());
    assert_eq!(busy, Err(Errno::EBUSY), "an agent keeps what it stands on");
    umount2(&bpffs, MntFlags::MNT_DETACH).expect("unmount the bpffs lazily");
    for round in 0..2 {
        let reloaded = world.reload().expect("a full pass");
        assert!(reloaded.problems.is_empty(), "{reloaded:?}");
        tcp_exchange(&mut stream, b"without pins").expect("echo");
        fetches(&world, 1);
        let sentence = refused_attach(&world, 2);
        for words in [
            "env2",
            "cannot be pinned",
            "mount it again and restart the agent",
        ] {
            assert!(sentence.contains(words), "{sentence}");
        }
        assert!(world.host().filters("env2").is_empty());
        let log = world.log_tail(usize::MAX);
        assert_eq!(log.matches("the pins are gone").count(), 1, "{log}");
        if round == 0 {
            let none = None::<&str>;
            mount(Some("bpf"), &bpffs, Some("bpf"), MsFlags::empty(), none).expect("mount");
        }
    }
    assert_eq!(counter(&world, "agent_foreign_edits"), 0);
    world.detach("blue-1").expect("detach");
    assert!(world.host().filters("env1").is_empty());
    // The last that held the old one goes: uplinks lose their programs with it.
    world.stop_agent(Signal::SIGTERM);
    let is_off = || world.host().tcx("up-blue").is_empty();
    assert!(eventually(PATIENCE, is_off));
    assert_eq!(world.host().filters("env0").len(), 1);
    world.start_agent();
    assert!(!world.status().adopted && world.list().is_empty());
    // What an environment's interface still carries is told of with what helps.
    let sentence = refused_attach(&world, 0);
    let remedy = "tc filter del dev env0 ingress prio 1";
    assert!(sentence.contains(remedy), "{sentence}");
    let words: Vec<&str> = remedy.split(' ').skip(1).collect();
    world.host().says("tc", &words);
    for index in 0..3 {
        world.attach(world.attach_request(index)).expect("attach");
        fetches(&world, index);
    }
}

#[test]
fn pins_of_links_that_somebody_removes_are_made_anew() {
    let mut world = world();
    let mut stream = connect(&world, 0);
    let links = world.pins().join("links");
    let before = pins(&world);
    for (round, pin) in before.iter().enumerate() {
        fs::remove_file(links.join(pin)).expect("remove a pin");
        world.reload().expect("a full pass");
        assert_eq!(pins(&world), before, "after {pin}");
        assert_eq!(counter(&world, "agent_filters_mended"), round as u64 + 1);
        tcp_exchange(&mut stream, pin.as_bytes()).expect("echo");
        fetches(&world, 1);
    }
    world.reload().expect("a full pass");
    assert_eq!(counter(&world, "agent_filters_mended"), 3);
    // An environment whose pin is gone is detached with its filter.
    for pin in pins(&world).iter().filter(|pin| pin.starts_with("env")) {
        fs::remove_file(links.join(pin)).expect("remove a pin");
    }
    for (name, interface) in [("blue-0", "env0"), ("blue-1", "env1")] {
        world.detach(name).expect("detach");
        assert!(world.host().filters(interface).is_empty(), "{interface}");
    }
    world.attach(world.attach_request(0)).expect("attach");
    world.stop_agent(Signal::SIGTERM);
    world.start_agent();
    assert!(world.status().adopted);
    fetches(&world, 0);
}

#[test]
fn without_pins_of_tables_the_data_path_goes_on_and_the_next_start_says_what_helps() {
    let mut world = world();
    let mut stream = connect(&world, 0);
    for pin in fs::read_dir(world.pins().join("maps")).expect("the folder") {
        fs::remove_file(pin.expect("an entry").path()).expect("remove a pin");
    }
    world.reload().expect("a full pass");
    tcp_exchange(&mut stream, b"without pins").expect("echo");
    world.attach(world.attach_request(2)).expect("attach");
    fetches(&world, 2);
    world.stop_agent(Signal::SIGTERM);
    fetches(&world, 1);
    let status = world.spawn_agent(&[]).wait_end();
    assert!(!status.success(), "{status}");
    let said = world.log_tail(3);
    let told = said.contains("holds links of programs but no complete tables");
    assert!(told && said.contains("vpc teardown"), "{said}");
    fetches(&world, 1);
    let mut teardown = world.host().command(agent::binary());
    teardown.args(["teardown", "--config"]).arg(world.config());
    let output = teardown.output().expect("run `vpc teardown`");
    assert!(output.status.success(), "{output:?}");
    world.start_agent();
    for index in 0..3 {
        world.attach(world.attach_request(index)).expect("attach");
        fetches(&world, index);
    }
}

/// Two tenants whose environments are clones, and what each must not see.
struct Tenants {
    world: World,
    streams: Vec<std::net::TcpStream>,
}

impl Tenants {
    fn new() -> Self {
        let world = World::start(Plan::new(&["blue", "red"], 1));
        let streams = (0..2).map(|index| connect(&world, index)).collect();
        Self { world, streams }
    }

    fn open(&self, table: &str) -> MapData {
        let path = self.world.pins().join("maps").join(table);
        MapData::from_pin(path).expect("pinned")
    }

    fn array<T: aya::Pod>(&self, table: &str) -> Array<MapData, T> {
        Map::Array(self.open(table)).try_into().expect("an array")
    }

    /// Traffic of both goes on, or does not, and none of it is another's; then a full pass
    /// finds this many edits, and all goes on.
    fn suffer(&mut self, what: &str, edits: u64) {
        let world = &self.world;
        let [blue, red] = [0, 1].map(|tenant| Tap::open(world.tenant(tenant)).record());
        let [own, other] = [0, 1].map(|index| Tap::open(world.env(index)).record());
        for (index, word) in ["blue's own", "red's own"].into_iter().enumerate() {
            let env = world.env(index);
            let socket = env.run(|| udp_socket(ECHO)).expect("socket");
            socket.set_read_timeout(Some(SHORT)).expect("a timeout");
            // It may be lost; and what is open goes on as soon as it can.
            let _ = udp_exchange(&socket, word.as_bytes());
            let mut stream = &self.streams[index];
            stream.write_all(word.as_bytes()).expect("send");
        }
        let before = counter(world, "agent_foreign_edits");
        world.reload().expect("a full pass");
        let found = counter(world, "agent_foreign_edits") - before;
        assert_eq!(found, edits, "{what}: {}", world.log_tail(20));
        for (index, word) in ["blue's own", "red's own"].into_iter().enumerate() {
            let mut echoed = vec![0; word.len()];
            (&self.streams[index])
                .read_exact(&mut echoed)
                .unwrap_or_else(|error| panic!("{what}: {word}: {error}"));
            assert_eq!(echoed, word.as_bytes(), "{what}");
            fetches(world, index);
        }
        for (who, frames, foreign) in [
            ("blue's resource", blue.stop(), &b"red's own"[..]),
            ("red's resource", red.stop(), b"blue's own"),
            ("blue's environment", own.stop(), b"red's own"),
            ("red's environment", other.stop(), b"blue's own"),
        ] {
            let is_foreign = |bytes: &[u8]| bytes.windows(foreign.len()).any(|it| it == foreign);
            let leaked = frames.iter().filter(|frame| is_foreign(&frame.bytes));
            assert_eq!(leaked.count(), 0, "{what}: {who} got what is another's");
        }
        world.reload().expect("a full pass");
        let after = counter(world, "agent_foreign_edits");
        assert_eq!(after, before + edits, "{what}: nothing is left to do");
    }
}

#[test]
fn entries_of_environments_that_somebody_changes_are_put_back_and_nobody_gets_anothers() {
    let mut tenants = Tenants::new();
    let mut entries = tenants.array::<Environment>(name::ENVIRONMENTS);
    let [blue, red] = [0, 1].map(|index| entries.get(&index, 0).expect("an entry"));
    let gone = Environment { ifindex: 0, ..blue };
    let poorer = Environment {
        flow_quota: 0,
        ..blue
    };
    // Nobody has a name who is not there: that is written again, too.
    for (what, value, edits) in [
        ("deleted", gone, 2),
        ("no quota", poorer, 1),
        ("the other's", red, 1),
    ] {
        entries.set(0, value, 0).expect("written");
        tenants.suffer(what, edits);
        assert_eq!(entries.get(&0, 0).expect("an entry"), blue, "{what}");
    }
    let mut names: HashMap<_, NameKey, Name> = Map::HashMap(tenants.open(name::NAMES))
        .try_into()
        .expect("a hash");
    let key = NameKey {
        kind: NameKey::ENVIRONMENT,
        index: 0,
    };
    names.remove(&key).expect("removed");
    tenants.suffer("without a name", 1);
    assert_eq!(tenants.world.list()[0].name, "blue-0");
}

#[test]
fn entries_of_links_and_ports_that_somebody_changes_are_put_back_and_nobody_gets_anothers() {
    let mut tenants = Tenants::new();
    let host = tenants.world.host();
    let [blue, red] = ["env0", "env1"].map(|interface| index_of(host, interface));
    let mut links: HashMap<_, u32, Link> = Map::HashMap(tenants.open(name::LINK_BY_IFINDEX))
        .try_into()
        .expect("a hash");
    let [of_blue, of_red] = [blue, red].map(|ifindex| links.get(&ifindex, 0).expect("a link"));
    links.remove(&blue).expect("removed");
    tenants.suffer("link deleted", 1);
    links.insert(blue, of_red, 0).expect("written");
    tenants.suffer("link to the other's", 1);
    links.insert(blue, of_blue, 0).expect("written");
    links.insert(4_000_000, of_red, 0).expect("written");
    tenants.suffer("link of nobody", 1);
    assert!(links.get(&4_000_000, 0).is_err());
    for tables in [
        &[name::TC_ENVIRONMENT_PORTS][..],
        &[name::ENVIRONMENT_PORTS],
        &[name::TC_ENVIRONMENT_PORTS, name::ENVIRONMENT_PORTS],
    ] {
        for table in tables {
            let mut ports: DevMap<_> = Map::DevMap(tenants.open(table)).try_into().expect("ports");
            ports.set(0, 0, None, 0).expect("emptied");
        }
        tenants.suffer("port emptied", 1);
        assert_eq!(tenants.world.list().len(), 2, "{tables:?}");
    }
    let dropped = tenants.world.drop_totals();
    for reason in [DropReason::LinkUnknown, DropReason::RedirectFailed] {
        assert!(dropped.contains_key(reason.label()), "{dropped:?}");
    }
}

#[test]
fn entries_of_enis_and_words_of_policies_that_somebody_changes_are_put_back() {
    let mut tenants = Tenants::new();
    let mut enis = tenants.array::<Eni>(name::ENIS);
    let [blue, red] = [0, 1].map(|index| enis.get(&index, 0).expect("an entry"));
    assert_ne!(blue.uplink, red.uplink);
    let nobody = Eni {
        address: Addr::UNSPECIFIED,
        ..blue
    };
    let full = Eni {
        connection_limit: 0,
        ..blue
    };
    for (what, value) in [("no address", nobody), ("no connections", full)] {
        enis.set(0, value, 0).expect("written");
        tenants.suffer(what, 1);
        assert_eq!(enis.get(&0, 0).expect("an entry"), blue, "{what}");
    }
    let policies = tenants.array::<u64>(name::POLICIES);
    let begins = |eni: u32| InForce(policies.get(&eni, 0).expect("a word")).begins();
    let first = begins(0).expect("a policy in force");
    let mut words = tenants.array::<u64>(name::POLICY_WORDS);
    let len = words.get(&(first - 1), 0).expect("a length") as u32;
    for value in [0, u64::MAX] {
        let first = begins(0).expect("a policy in force");
        for word in first..first + len {
            words.set(word, value, 0).expect("written");
        }
        tenants.suffer("words of a policy", 1);
    }
    let mut policies = tenants.array::<u64>(name::POLICIES);
    policies.set(0, 0, 0).expect("written");
    tenants.suffer("no policy", 1);
}
