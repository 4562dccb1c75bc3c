use std::collections::BTreeMap;

use super::*;

fn text(print: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    print(&mut out).expect("written");
    String::from_utf8(out).expect("text")
}

fn environment(name: &str, flows: u64) -> EnvironmentInfo {
    EnvironmentInfo {
        name: name.into(),
        index: 0,
        generation: 1,
        interface: "tap0".into(),
        ifindex: 7,
        hook: Hook::Tc,
        hook_wanted: HookWish::Auto,
        hook_why: "a tap".into(),
        group: "blue".into(),
        address: [172, 16, 0, 2].into(),
        gateway: [172, 16, 0, 1].into(),
        mac: None,
        flows,
        flow_quota: 16_384,
        refused_replies: 0,
    }
}

fn flow(slot: u32, bytes: u64, packets: u64, age_secs: f64) -> FlowInfo {
    FlowInfo {
        environment: format!("fn-{slot}"),
        function: None,
        protocol: "tcp".into(),
        inside: ([172, 16, 0, 2], 40_000).into(),
        outside: ([10, 0, 0, 10], 1_024).into(),
        remote: ([10, 0, 0, 80], 443).into(),
        state: "established".into(),
        forward_packets: packets,
        forward_bytes: bytes,
        reply_packets: 1,
        reply_bytes: 52,
        age_secs,
        idle_secs: 0.25,
        slot,
        epoch: 1,
    }
}

fn counter(kind: &str, owner: &str, reason: &str, packets: u64) -> DropInfo {
    DropInfo {
        owner_kind: kind.into(),
        owner: owner.into(),
        reason: reason.into(),
        packets,
        description: "Why.".into(),
    }
}

fn eni(index: u32, connections: u64) -> EniInfo {
    EniInfo {
        name: format!("blue-{index}"),
        index,
        group: "blue".into(),
        uplink: "blue".into(),
        address: [10, 0, 0, 10 + index as u8].into(),
        connections,
        connection_limit: 65_000,
        tcp_ports: connections,
        udp_ports: 0,
        blocks: 4,
        high_water: connections >= 52_000,
        refused: BTreeMap::from([("nacl_in".into(), 2), ("sg_egress".into(), 5)]),
    }
}

fn agent() -> StatusInfo {
    StatusInfo {
        version: "0.1.0".into(),
        layout: 1,
        pid: 42,
        uptime_secs: 184.0,
        adopted: true,
        uplinks: vec![UplinkInfo {
            name: "blue".into(),
            interface: "eth1".into(),
            ifindex: 3,
            mac: "02:00:00:00:00:01".into(),
            mtu: 1_500,
            shared: false,
            hook: Hook::Xdp,
            hook_wanted: HookWish::Xdp,
            hook_why: "asked for".into(),
            neighbours: 2,
        }],
        enis: vec![eni(1, 0), eni(0, 52_000)],
        environments: 2,
        flows: 3,
        flow_capacity: 1_048_576,
        policy_words: 38,
        policy_word_capacity: 2_097_152,
        counters: BTreeMap::from([("punts".into(), 1), ("flows_opened".into(), 9)]),
    }
}

#[test]
fn environments_are_listed_by_name() {
    let listed = [
        environment("b", 3),
        EnvironmentInfo {
            mac: Some("02:00:00:00:00:09".into()),
            ..environment("a", 10)
        },
    ];
    assert_eq!(
        text(|out| environments(out, &listed)),
        "\
ENVIRONMENT  INTERFACE  HOOK       GROUP  ADDRESS     GATEWAY     MAC                FLOWS  QUOTA
a            tap0       tc (auto)  blue   172.16.0.2  172.16.0.1  02:00:00:00:00:09     10  16384
b            tap0       tc (auto)  blue   172.16.0.2  172.16.0.1  not seen yet           3  16384
tc (auto): a tap.
"
    );
}

#[test]
fn flows_are_listed_with_both_tuples() {
    assert_eq!(
        text(|out| flows(out, &[flow(1, 1_536, 3, 75.0)], FlowOrder::Bytes)),
        "\
ENVIRONMENT  PROTO  INSIDE            OUTSIDE         REMOTE         STATE        PACKETS OUT  BYTES OUT  PACKETS IN  BYTES IN     AGE  IDLE
fn-1         tcp    172.16.0.2:40000  10.0.0.10:1024  10.0.0.80:443  established            3    1.5 KiB           1      52 B  1m 15s  0.2s
"
    );
}

#[test]
fn flows_sort_by_what_is_asked_and_then_by_slot() {
    let listed = [
        flow(3, 10, 2, 1.0),
        flow(2, 10, 3, 2.0),
        flow(1, 20, 1, 2.0),
    ];
    let slots = |order| {
        sorted_flows(&listed, order)
            .iter()
            .map(|f| f.slot)
            .collect::<Vec<_>>()
    };
    assert_eq!(slots(FlowOrder::Bytes), [1, 2, 3]);
    assert_eq!(slots(FlowOrder::Packets), [2, 3, 1]);
    assert_eq!(slots(FlowOrder::Age), [1, 2, 3]);
}

#[test]
fn drops_show_the_greatest_first_and_no_zero() {
    let listed = [
        counter("host", "", "no_route", 2),
        counter("eni", "blue-0", "unsolicited", 30),
        counter("uplink", "blue", "not_an_eni", 0),
    ];
    assert_eq!(
        text(|out| drops(out, &listed)),
        "\
OWNER       REASON       PACKETS  MEANING
eni blue-0  unsolicited       30  Why.
host        no_route           2  Why.
"
    );
}

#[test]
fn empty_listings_are_a_sentence() {
    assert_eq!(
        text(|out| environments(out, &[])),
        "No environment is attached: `vpc attach` attaches one.\n"
    );
    assert_eq!(
        text(|out| flows(out, &[], FlowOrder::Age)),
        "No flow is open.\n"
    );
    let zero = [counter("host", "", "no_route", 0)];
    assert_eq!(text(|out| drops(out, &zero)), "No packet was dropped.\n");
}

#[test]
fn status_shows_uplinks_enis_and_counters() {
    assert_eq!(
        text(|out| status(out, &agent())),
        "\
vpc 0.1.0 · pid 42 · up 3m 04s · layout 1, tables adopted · 2 environments · 3 of 1048576 flows · 38 of 2097152 policy words

UPLINK  INTERFACE  HOOK  MAC                 MTU  USE        NEIGHBOURS
blue    eth1       xdp   02:00:00:00:00:01  1500  dedicated           2

ENI     GROUP  UPLINK  ADDRESS    FILL                    CONNECTIONS  LIMIT  TCP PORTS  UDP PORTS  BLOCKS  REFUSED
blue-0  blue   blue    10.0.0.10  [########--]  80% high        52000  65000      52000          0       4        7
blue-1  blue   blue    10.0.0.11  [----------]   0%                 0  65000          0          0       4        7

COUNTER       VALUE
flows_opened      9
punts             1
"
    );
}

#[test]
fn a_hook_is_shown_with_what_was_asked_for() {
    let shown = |hook, hook_wanted| {
        let info = EnvironmentInfo {
            hook,
            hook_wanted,
            hook_why: "the far end is out of reach".into(),
            ..environment("a", 0)
        };
        text(|out| hook_line(out, &info))
    };
    assert_eq!(
        shown(Hook::Tc, HookWish::Auto),
        "a is handled by tc (auto): the far end is out of reach.\n"
    );
    assert!(shown(Hook::Xdp, HookWish::Xdp).starts_with("a is handled by xdp: "));
    assert!(shown(Hook::Tc, HookWish::Xdp).starts_with("a is handled by tc (not xdp): "));
}

#[test]
fn json_has_raw_numbers() {
    let listed = [flow(1, 1_536, 3, 75.0)];
    let value: serde_json::Value =
        serde_json::from_str(&text(|out| json(out, &listed))).expect("JSON");
    assert_eq!(value[0]["forward_bytes"], 1_536);
    assert_eq!(value[0]["outside"], "10.0.0.10:1024");
}

#[test]
fn control_characters_never_reach_the_terminal() {
    let listed = [EnvironmentInfo {
        interface: "tap\x1b[2J\n".into(),
        ..environment("a", 0)
    }];
    let printed = text(|out| environments(out, &listed));
    assert!(
        printed.contains("tap?[2J?") && !printed.contains('\x1b'),
        "{printed}"
    );
}

fn snapshot(environments: u64, flows: u32) -> Snapshot {
    Snapshot {
        status: agent(),
        environments: (0..environments)
            .map(|n| environment(&format!("fn-{n}"), n))
            .collect(),
        flows: (0..flows)
            .map(|slot| flow(slot, u64::from(slot), 1, 1.0))
            .collect(),
        drops: vec![
            counter("host", "", "no_route", 50),
            counter("eni", "blue-0", "unsolicited", 3),
        ],
    }
}

#[test]
fn the_screen_shows_everything_when_there_is_room() {
    let now = snapshot(1, 1);
    let mut before = now.clone();
    before.drops.pop();
    let size = Size {
        width: 60,
        height: 40,
    };
    assert_eq!(
        text(|out| screen(out, &now, Some(&before), size)),
        "\
vpc 0.1.0 · pid 42 · up 3m 04s · layout 1, tables adopted ·

ENI     GROUP  UPLINK  ADDRESS    FILL                    CO
blue-0  blue   blue    10.0.0.10  [########--]  80% high
blue-1  blue   blue    10.0.0.11  [----------]   0%

ENVIRONMENT  INTERFACE  HOOK       GROUP  ADDRESS     GATEWA
fn-0         tap0       tc (auto)  blue   172.16.0.2  172.16

ENVIRONMENT  PROTO  INSIDE            OUTSIDE         REMOTE
fn-0         tcp    172.16.0.2:40000  10.0.0.10:1024  10.0.0

DROPPED FOR  REASON       PACKETS  NEW  MEANING
eni blue-0   unsolicited        3   +3  Why.
host         no_route          50       Why.
"
    );
}

#[test]
fn the_screen_never_exceeds_its_size_and_says_what_it_leaves_out() {
    let now = snapshot(5_000, 20_000);
    for height in 0..60 {
        let printed = text(|out| screen(out, &now, None, Size { width: 80, height }));
        assert!(printed.lines().count() <= height, "{height}: {printed}");
        assert!(printed.lines().all(|line| line.chars().count() <= 80));
    }
    let printed = text(|out| {
        screen(
            out,
            &now,
            None,
            Size {
                width: 80,
                height: 24,
            },
        )
    });
    assert_eq!(printed.lines().count(), 24, "{printed}");
    // The busiest come first.
    assert!(
        printed.contains("\nfn-19999 ") && printed.contains("\nfn-4999 "),
        "{printed}"
    );
    assert!(printed.contains("more\n"), "{printed}");
    assert!(printed.contains("unsolicited"), "{printed}");
}

fn refusal(environment: &str, direction: RefusalDirection, packets: u64) -> RefusalInfo {
    RefusalInfo {
        environment: environment.into(),
        eni: "blue-0".into(),
        eni_address: [10, 0, 0, 10].into(),
        direction,
        protocol: "tcp".into(),
        local_port: 40_000,
        remote: ([10, 0, 3, 7], 443).into(),
        reason: "sg_egress".into(),
        packets,
        bytes: 60 * packets,
        age_secs: 70.0,
        idle_secs: 0.5,
    }
}

#[test]
fn refusals_say_which_way_the_packets_went_most_first() {
    let listed = [
        refusal("fn-1", RefusalDirection::Out, 3),
        refusal("fn-2", RefusalDirection::In, 40),
    ];
    let expected = "\
ENVIRONMENT  ENI     WAY  PROTO  LOCAL            REMOTE        REASON     PACKETS    BYTES   FIRST  LAST
fn-2         blue-0  in   tcp    10.0.0.10:40000  10.0.3.7:443  sg_egress       40  2.3 KiB  1m 10s  0.5s
fn-1         blue-0  out  tcp    port 40000       10.0.3.7:443  sg_egress        3    180 B  1m 10s  0.5s
";
    assert_eq!(text(|out| refusals(out, &listed)), expected);
    assert_eq!(
        text(|out| refusals(out, &[])),
        "Rules and routes refused nothing lately.\n"
    );
}

#[test]
fn a_reload_reads_as_sentences() {
    let problems = ["uplink blue: there is no interface eth1".to_owned()];
    assert_eq!(
        text(|out| reloaded(out, 1, &problems)),
        "The configuration is in force: 1 step.\n\
         Not applied: uplink blue: there is no interface eth1.\n"
    );
}
