//! Rules in force, whatever becomes of the file and of the agent.

use std::path::Path;

use aya::maps::{Array, HashMap, Map, MapData};
use nix::sys::signal::Signal;
use tests::{
    echo::{tcp_exchange, udp_socket},
    tap::Tap,
    topology::RESOURCE,
    vpc::{ASK, FAR, FARTHER, Rules, Vpc, asks, gets_nothing},
    world::outbound,
};
use vpc_common::{
    drop::DropReason,
    layout::{Stat, name},
};

/// FAR may be asked, nobody else.
const ONLY_FAR: &str = "{ protocol = \"all\", cidr = \"10.0.1.100/32\" }";

fn only_far() -> Rules {
    Rules::with(|rules| rules.egress = Some(ONLY_FAR.to_owned()))
}

#[test]
fn a_bad_file_is_refused_in_one_sentence_and_the_rules_stay_in_force() {
    let mut vpc = Vpc::start(only_far());
    let mut stream = vpc.connect_to_echo(FAR);
    let good = vpc.world.config_text();
    let file = vpc.world.config().display().to_string();
    let mut before = vpc.world.drop_totals();
    let everything = "{ protocol = \"all\", cidr = \"0.0.0.0/0\" }";
    let open = good.replace(ONLY_FAR, everything);
    for (bad, expected) in [
        (
            open.replace(
                "cidr = \"0.0.0.0/0\" }]\n\n[[network",
                "cidr = \"0.0.0.1/0\" }]\n\n[[network",
            ),
            "security_group \"app\"",
        ),
        (
            open.replace(
                everything,
                "{ protocol = \"tcp\", ports = \"90-80\", cidr = \"0.0.0.0/0\" }",
            ),
            "\"90-80\"",
        ),
        (
            open.replace(
                everything,
                "{ protocol = \"all\", security_group = \"ghost\" }",
            ),
            "\"ghost\"",
        ),
        (open.replace("number = 100", "number = 32767"), "32767"),
        (open.replace("[[vpc]]", "[[vpc]"), "line "),
        (
            open.replace("\nenis = 256", "\nenis = 8"),
            "limits: enis = 8",
        ),
        (
            open.replace("pin_dir = \"", "pin_dir = \"/sys/fs/bpf/other"),
            "pin_dir = ",
        ),
        (
            open.replace("socket = \"", "socket = \"/run/other"),
            "socket = ",
        ),
    ] {
        assert_ne!(bad, open, "{expected}");
        let sentence = vpc.world.reload_text(&bad).expect_err(expected);
        assert!(
            sentence.starts_with(&file) && sentence.contains(expected) && !sentence.contains('\n'),
            "{sentence}"
        );
        tcp_exchange(&mut stream, b"as before").expect("echo");
    }
    vpc.asks_not(FARTHER);
    vpc.world
        .assert_dropped(&before, &[(DropReason::SgEgress, 1)]);
    before = vpc.world.drop_totals();
    vpc.put(|rules| rules.egress = Some(everything.to_owned()));
    vpc.ask(FARTHER);
    vpc.world.assert_dropped(&before, &[]);
}

#[test]
fn a_reload_without_a_change_changes_nothing() {
    let mut vpc = Vpc::start(only_far());
    let before = in_force(&vpc);
    assert_eq!(vpc.put(|_| {}).steps, 0);
    assert_eq!(in_force(&vpc), before);
    // Nor does one whose rules mean the same.
    let same = "{ protocol = \"all\", cidr = \"10.0.1.100/32\" }, \
                { protocol = \"tcp\", ports = \"443\", cidr = \"10.0.1.100/32\" }";
    assert_eq!(
        vpc.put(|rules| rules.egress = Some(same.to_owned())).steps,
        0
    );
    assert_eq!(in_force(&vpc), before);
}

fn pin<M: TryFrom<Map>>(vpc: &Vpc, kind: fn(MapData) -> Map, name: &str) -> M
where
    M::Error: std::fmt::Debug,
{
    let path = find_pin(&vpc.world.pins(), name).expect("the table is pinned");
    let data = MapData::from_pin(path).expect("open the pin");
    M::try_from(kind(data)).expect("a table of that kind")
}

fn find_pin(folder: &Path, name: &str) -> Option<std::path::PathBuf> {
    let paths = std::fs::read_dir(folder).ok()?.flatten();
    paths.map(|entry| entry.path()).find_map(|path| {
        if path.is_dir() {
            return find_pin(&path, name);
        }
        path.file_name()
            .is_some_and(|file| file == name)
            .then_some(path)
    })
}

fn in_force(vpc: &Vpc) -> Vec<u64> {
    let table: Array<MapData, u64> = pin(vpc, Map::Array, name::POLICIES);
    table.iter().map(|value| value.expect("read")).collect()
}

#[test]
fn rules_hold_without_an_agent_and_the_next_one_adopts_them_as_they_are() {
    let mut vpc = Vpc::start(only_far());
    let mut stream = vpc.connect_to_echo(FAR);
    let socket = vpc.socket(FAR);
    let seen = asks(&socket);
    let (before, drops) = (in_force(&vpc), vpc.world.drop_totals());
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        vpc.world.stop_agent(signal);
        tcp_exchange(&mut stream, &[4; 20_000]).expect("an open connection goes on");
        asks(&socket);
        let new = vpc.ask(FAR);
        assert_eq!(new.peer.ip(), seen.peer.ip(), "a new flow is judged");
        vpc.asks_not(FARTHER);
        vpc.world.start_agent();
        assert!(vpc.world.status().adopted);
        assert_eq!(in_force(&vpc), before, "no flow is judged anew");
        assert_eq!(vpc.put(|_| {}).steps, 0, "everything was as it is to be");
        assert_eq!(asks(&socket).peer, seen.peer);
        tcp_exchange(&mut stream, &[5; 20_000]).expect("and on");
    }
    vpc.world
        .assert_dropped(&drops, &[(DropReason::SgEgress, 2)]);
    // A file that changed meanwhile is taken by the next agent.
    vpc.world.stop_agent(Signal::SIGKILL);
    vpc.rules.acl_out = String::new();
    vpc.world.plan_mut().network = vpc.rules.text();
    vpc.world.write_config();
    asks(&socket);
    vpc.world.start_agent();
    gets_nothing(&socket);
    assert_ne!(in_force(&vpc), before);
    let moved = [(DropReason::SgEgress, 2), (DropReason::NaclOut, 1)];
    vpc.world.assert_dropped(&drops, &moved);
}

#[test]
fn a_flood_of_refused_tuples_is_counted_and_grows_nothing() {
    const ROOM: u32 = 16;
    const FLOOD: u16 = 1_000;
    let vpc = Vpc::start_as(only_far(), |plan| plan.refusals = Some(ROOM));
    let overflowed = || {
        let label = Stat::ALL[Stat::RefusalsOverflowed as usize].1;
        vpc.world.status().counters[label]
    };
    let remembered = || {
        let table: HashMap<MapData, [u8; 32], [u8; 24]> = pin(&vpc, Map::HashMap, name::REFUSALS);
        table.keys().count()
    };
    let socket = vpc.socket(FAR);
    asks(&socket);
    assert_eq!((overflowed(), remembered()), (0, 0));
    let before = vpc.world.drop_totals();
    let tap = Tap::open(vpc.world.env(0));
    for port in 1..=FLOOD {
        tap.send(&outbound(40_000, port).udp(b"flood"));
    }
    vpc.world
        .assert_dropped(&before, &[(DropReason::SgEgress, FLOOD.into())]);
    assert_eq!(remembered(), ROOM as usize);
    assert_eq!(overflowed(), u64::from(FLOOD) - u64::from(ROOM));
    // One that is remembered still finds its place.
    tap.send(&outbound(40_000, 1).udp(b"again"));
    vpc.world
        .assert_dropped(&before, &[(DropReason::SgEgress, u64::from(FLOOD) + 1)]);
    assert_eq!(overflowed(), u64::from(FLOOD) - u64::from(ROOM));
    assert_eq!(vpc.world.flows().len(), 1, "nothing but the flow to {FAR}");
    asks(&socket);
    let resource = vpc.world.env(0).run(|| udp_socket((RESOURCE, ASK)));
    gets_nothing(&resource.expect("socket"));
}
