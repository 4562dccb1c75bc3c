use proptest::prelude::*;

use super::*;
use crate::model::{HookWish, Network, TcAttachment};

const GOOD: &str = r#"
profile = "aws"
[[uplink]]
name = "blue"
interface = "eth1"
[[group]]
name = "blue-app"
uplink = "blue"
subnet = "10.0.0.0/24"
router = "10.0.0.1"
eni = ["10.0.0.10", "10.0.0.11"]
"#;

fn refusal(text: &str) -> String {
    parse(text).expect_err("refused").to_string()
}

/// [`GOOD`] with one line replaced.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replace(from, to)
}

#[test]
fn an_empty_file_is_a_configuration() {
    let config = parse("").expect("valid");
    assert_eq!(config.pin_dir, Path::new(DEFAULT_PIN_DIR));
    assert_eq!(config.socket, Path::new(DEFAULT_SOCKET));
    assert_eq!(config.limits, Limits::DEFAULT);
    assert!(config.uplinks.is_empty() && config.groups.is_empty());
}

#[test]
fn a_whole_file_means_what_it_says() {
    let text = format!(
        "{}\n{}",
        GOOD.replace(
            "\"aws\"",
            "\"aws\"\n[limits]\nflows = 257\nenvironments = 65535"
        ),
        r#"profile = "rfc"
connections = 10
[group.timeouts]
udp_new = 7
established = 3600
"#
    );
    let config = parse(&text).expect("valid");
    assert_eq!(
        (config.limits.blocks, config.limits.environments),
        (2, 65_535)
    );
    let group = &config.groups[0];
    assert_eq!(
        (group.subnet, group.prefix_len),
        (Ipv4Addr::new(10, 0, 0, 0), 24)
    );
    assert_eq!(group.router, Some(Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!(group.enis.len(), 2);
    assert_eq!(group.connections, 10);
    assert_eq!(
        group.timeouts.0[Phase::UdpStream as usize],
        Timeouts::RFC.0[Phase::UdpStream as usize]
    );
    assert_eq!(seconds(&group.timeouts, Phase::UdpNew), 7);
    assert_eq!(seconds(&group.timeouts, Phase::TcpEstablished), 3_600);
}

#[test]
fn groups_of_one_uplink_share_a_subnet_and_a_router() {
    let second = "\n[[group]]\nname = \"b\"\nuplink = \"blue\"\nsubnet = \"10.0.0.0/24\"\n\
                  router = \"10.0.0.1\"\neni = [\"10.0.0.12\"]\n";
    parse(&format!("{GOOD}{second}")).expect("valid");
}

#[test]
fn tenants_on_uplinks_of_their_own_may_use_the_same_addresses() {
    let green = GOOD
        .replace("profile = \"aws\"", "")
        .replace("blue", "green");
    parse(&format!("{GOOD}{}", green.replace("eth1", "eth2"))).expect("valid");
}

#[test]
fn each_refusal_names_key_value_cause_and_remedy() {
    let netns = "interface = \"eth1\"\npeer_netns = \"\"";
    let uplink = "[[uplink]]\nname = \"green\"\ninterface = \"eth1\"\n[[group]]";
    let twin = "[[uplink]]\nname = \"blue\"\ninterface = \"eth2\"\n[[group]]";
    let limits = |text: &str| with("profile = \"aws\"", &format!("[limits]\n{text}"));
    let group = |text: &str| format!("{GOOD}{text}\n");
    let enis = |text: &str| with("\"10.0.0.10\", \"10.0.0.11\"", text);
    let second = |subnet: &str, eni: &str| {
        group(&format!(
            "[[group]]\nname = \"b\"\nuplink = \"blue\"\nsubnet = {subnet:?}\neni = [{eni:?}]"
        ))
    };
    let many: Vec<_> = (10..27).map(|n| format!("\"10.0.0.{n}\"")).collect();
    let cases = [
        (
            "profle = 1".into(),
            "line 1, column 1 is not accepted: unknown field `profle`, expected one of `pin_dir`, `socket`, `profile`, `tc`, `limits`, `quotas`, `control`, `flow_logs`, `uplink`, `vpc`, `prefix_list`, `security_group`, `network_acl`, `route_table`, `subnet`, `interface`, `peering`, `group`, `dhcp_options`, `internet_gateway`, `address`, `nat_gateway`, `endpoint`, `flow_log`, `role`, `function`: correct or remove it",
        ),
        (
            "\n[[function]]\nname = \"f\"\nrole = \"r\"".into(),
            "function = [1] is made by the control plane and not by the agent's own file: hand it to `vpc apply`, of an agent with [control]",
        ),
        (
            "\n[[uplink]]\nname = \"a\"".into(),
            "line 2, column 1 is not accepted: missing field `interface`: correct or remove it",
        ),
        (
            "pin_dir = \"x\"".into(),
            "pin_dir = \"x\" is not an absolute path: begin it with '/'",
        ),
        (
            "socket = \"x\"".into(),
            "socket = \"x\" is not an absolute path: begin it with '/'",
        ),
        (
            with("aws", "azure"),
            "profile = \"azure\" is not a profile: use \"aws\" or \"rfc\"",
        ),
        (
            limits("flows = 0"),
            "limits: flows = 0 is outside 1 to 4194304: choose a number in that range",
        ),
        (
            limits("enis = 65537"),
            "limits: enis = 65537 is outside 1 to 65535: choose a number in that range",
        ),
        (
            limits("next_hops = 1"),
            "limits: next_hops = 1 is outside 2 to 65536: choose a number in that range",
        ),
        (
            limits("fragments = -1"),
            "limits: fragments = -1 is outside 1 to 1048576: choose a number in that range",
        ),
        (
            limits("enis = 1"),
            "limits: enis = 1 is less than the 2 ENIs configured: raise it to 2 at least",
        ),
        (
            with("name = \"blue\"", "name = \"Blue\""),
            "uplink number 1: name = \"Blue\" is not a name: use 1 to 63 characters of a-z, 0-9, '.', '_' and '-', starting with a letter or digit",
        ),
        (
            with("[[group]]", twin),
            "uplink number 2: name = \"blue\" is the name of another uplink too: give each uplink a name of its own",
        ),
        (
            with("[[group]]", uplink),
            "uplink \"green\": interface = \"eth1\" is the interface of uplink \"blue\" too: give each uplink an interface of its own",
        ),
        (
            with("eth1", "interface-number-1"),
            "uplink \"blue\": interface = \"interface-number-1\" is not the name of an interface: use the name `ip link` shows, 1 to 15 characters without '/', ':' and spaces",
        ),
        (
            with("interface = \"eth1\"", netns),
            "uplink \"blue\": peer_netns = \"\" names no namespace: give the name `ip netns` shows or a path, or leave the key out",
        ),
        (
            with("\"eth1\"", "\"eth1\"\nhook = \"both\""),
            "uplink \"blue\": hook = \"both\" is not a hook: use \"auto\", \"xdp\" or \"tc\"",
        ),
        (
            "tc = \"netkit\"".into(),
            "tc = \"netkit\" is no way to attach TC programs: use \"auto\", \"tcx\" or \"filter\"",
        ),
        (
            with("blue-app", "-"),
            "group number 1: name = \"-\" is not a name: use 1 to 63 characters of a-z, 0-9, '.', '_' and '-', starting with a letter or digit",
        ),
        (
            group(
                "[[group]]\nname = \"blue-app\"\nuplink = \"blue\"\nsubnet = \"10.1.0.0/24\"\neni = [\"10.1.0.4\"]",
            ),
            "group number 2: name = \"blue-app\" is the name of another group too: give each group a name of its own",
        ),
        (
            with("uplink = \"blue\"", "uplink = \"red\""),
            "group \"blue-app\": uplink = \"red\" is not the name of an uplink (there is blue): correct it or add an [[uplink]]",
        ),
        (
            with("10.0.0.0/24", "10.0.0.0"),
            "group \"blue-app\": subnet = \"10.0.0.0\" is not an IPv4 prefix: write it like \"10.0.0.0/24\"",
        ),
        (
            with("10.0.0.0/24", "10.0.0.0/31"),
            "group \"blue-app\": subnet = \"10.0.0.0/31\" has a prefix length outside /8 to /30: choose a subnet of such a size",
        ),
        (
            with("10.0.0.0/24", "10.0.0.9/24"),
            "group \"blue-app\": subnet = \"10.0.0.9/24\" has bits set beyond its prefix length: write \"10.0.0.0/24\"",
        ),
        (
            with("10.0.0.0/24", "127.0.0.0/8"),
            "group \"blue-app\": subnet = \"127.0.0.0/8\" is not a range of unicast addresses: choose a subnet of the VPC",
        ),
        (
            second("10.0.0.0/16", "10.0.9.9"),
            "group \"b\": subnet = \"10.0.0.0/16\" overlaps 10.0.0.0/24 of group \"blue-app\" on the same uplink: groups of one uplink have equal or disjoint subnets, so correct one of them",
        ),
        (
            second("10.0.0.0/24", "10.0.0.11"),
            "group \"b\": eni = \"10.0.0.11\" is an ENI of group \"blue-app\" already: give each ENI of an uplink an address that nothing else has",
        ),
        (
            second("10.0.0.0/24", "10.0.0.1"),
            "group \"b\": eni = \"10.0.0.1\" is the router of group \"blue-app\" already: give each ENI of an uplink an address that nothing else has",
        ),
        (
            with("router = \"10.0.0.1\"", "router = \"router\""),
            "group \"blue-app\": router = \"router\" is not an IPv4 address: write it like \"10.0.0.10\"",
        ),
        (
            with("router = \"10.0.0.1\"", "router = \"10.0.1.1\""),
            "group \"blue-app\": router = \"10.0.1.1\" lies outside the subnet 10.0.0.0/24: choose an address inside it",
        ),
        (
            enis("\"10.0.0.0\""),
            "group \"blue-app\": eni = \"10.0.0.0\" is the network address of 10.0.0.0/24: choose a host address of it",
        ),
        (
            enis("\"10.0.0.255\""),
            "group \"blue-app\": eni = \"10.0.0.255\" is the broadcast address of 10.0.0.0/24: choose a host address of it",
        ),
        (
            enis("\"224.0.0.5\""),
            "group \"blue-app\": eni = \"224.0.0.5\" is not a unicast address: choose a host address of the subnet 10.0.0.0/24",
        ),
        (
            enis("\"10.0.0.10\", \"10.0.0.10\""),
            "group \"blue-app\": eni = \"10.0.0.10\" is an ENI of group \"blue-app\" already: give each ENI of an uplink an address that nothing else has",
        ),
        (
            enis(""),
            "group \"blue-app\": eni = [] names no address: give the group at least one ENI",
        ),
        (
            enis(&many.join(", ")),
            "group \"blue-app\": eni = […] holds 17 addresses and a group has at most 16 ENIs: split the group",
        ),
        (
            group("profile = \"x\""),
            "group \"blue-app\": profile = \"x\" is not a profile: use \"aws\" or \"rfc\"",
        ),
        (
            group("connections = 65001"),
            "group \"blue-app\": connections = 65001 is outside 1 to 65000: choose a number in that range",
        ),
        (
            group("[group.timeouts]\nudp = 3"),
            "group \"blue-app\": timeouts.udp = 3 is not a timeout: use one of udp_new, udp_stream, syn_sent, established, fin_out, fin_in, fin_both, closed, reset",
        ),
        (
            group("[group.timeouts]\nclosed = 0"),
            "group \"blue-app\": timeouts.closed = 0 is outside 1 to 2592000: choose a number in that range",
        ),
    ];
    for (text, sentence) in cases {
        assert_eq!(refusal(&text), sentence, "of\n{text}");
    }
}

#[test]
fn a_router_that_is_an_eni_of_an_earlier_group_is_refused() {
    let second = "[[group]]\nname = \"b\"\nuplink = \"blue\"\nsubnet = \"10.0.0.0/24\"\n\
                  router = \"10.0.0.10\"\neni = [\"10.0.0.12\"]\n";
    assert_eq!(
        refusal(&format!("{GOOD}{second}")),
        "group \"b\": router = \"10.0.0.10\" is an ENI of group \"blue-app\" already: give each ENI \
         of an uplink an address that nothing else has"
    );
}

#[test]
fn a_long_socket_path_is_refused_before_it_is_bound() {
    let path = format!("/{}", "x".repeat(SOCKET_PATH_MAX));
    let sentence = refusal(&format!("socket = {path:?}"));
    assert!(
        sentence.ends_with(
            "is 108 bytes long and a socket's path is at most 107: choose a shorter one"
        ),
        "{sentence}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let sentence = load(Path::new("/nonexistent/vpc.toml"))
        .expect_err("missing")
        .to_string();
    assert!(
        sentence.starts_with("/nonexistent/vpc.toml cannot be read ("),
        "{sentence}"
    );
}

prop_compose! {
    fn timeouts()(seconds in prop::array::uniform12(1..=TIMEOUT_SECS_MAX), rfc: bool) -> Timeouts {
        let mut timeouts = if rfc { Timeouts::RFC } else { Timeouts::AWS };
        for phase in timed_phases() {
            let at = phase as usize;
            timeouts.0[at] = vpc_common::time::ticks_from_secs(seconds[at]);
        }
        timeouts
    }
}

prop_compose! {
    /// A group in 10.`index`.0.0/16 or a part of it.
    fn group(index: u8)(
        prefix_len in 16u8..=26,
        hosts in prop::collection::btree_set(2u8..=60, 1..=16),
        has_router: bool,
        connections in 1u32..=65_000,
        timeouts in timeouts(),
    ) -> GroupConfig {
        let address = |host| Ipv4Addr::new(10, index, 0, host);
        GroupConfig {
            name: ObjectName::new(format!("group-{index}")).expect("a name"),
            uplink: ObjectName::new(format!("uplink-{}", index % 3)).expect("a name"),
            subnet_name: None,
            security_groups: Vec::new(),
            subnet: address(0),
            prefix_len,
            router: has_router.then(|| address(1)),
            enis: hosts.into_iter().map(address).map(Into::into).collect(),
            timeouts,
            connections,
        }
    }
}

prop_compose! {
    fn config()(
        groups in (0u8..6).prop_flat_map(|count| (0..count).map(group).collect::<Vec<_>>()),
        shared: bool,
        hook in prop::sample::select(vec![HookWish::Auto, HookWish::Xdp, HookWish::Tc]),
        tc in prop::sample::select(
            vec![TcAttachment::Auto, TcAttachment::Tcx, TcAttachment::Filter]
        ),
        netns in prop::option::of("[a-z]{1,8}|/run/netns/[a-z]{1,8}"),
        environments in 1u32..=65_535,
        next_hops in 2u32..=32_768,
        blocks in 1u32..=16_384,
    ) -> Config {
        let uplink = |index| UplinkConfig {
            name: ObjectName::new(format!("uplink-{index}")).expect("a name"),
            interface: format!("eth{index}"),
            shared,
            hook,
            peer_netns: netns.clone(),
        };
        Config {
            pin_dir: "/sys/fs/bpf/test".into(),
            socket: "/run/test.sock".into(),
            limits: Limits { environments, next_hops, blocks, ..Limits::DEFAULT },
            tc,
            uplinks: (0..3).map(uplink).collect(),
            groups,
            network: Network::default(),
            control: None,
            flow_logs: None,
        }
    }
}

/// Every key of `[flow_logs]`.
const FLOW_LOGS: &str = r#"
[flow_logs]
dir = "/var/lib/flows"
period_secs = 30
spool_mib = 64
index_days = 7
index_mib = 512
timeout_secs = 5
endpoint = "http://127.0.0.1:5000"
[[flow_logs.bucket]]
name = "flows"
url = "s3://flows-of-mine/net"
endpoint = "https://store.example"
settings = { virtual_hosted_style_request = "false" }
[[flow_logs.stream]]
name = "flows"
url = "https://collector.example/flows"
access_key = "secret"
[[flow_logs.export]]
name = "audit"
to = "ipfix+udp://192.0.2.9:4739"
[[flow_logs.export]]
name = "files"
to = "file:///var/log/flows"
format = "${version} ${x-environment-id}"
traffic = "REJECT"
parquet = true
hive_compatible = true
per_hour = true
"#;

#[test]
fn flow_logs_survive_the_trip_through_text() {
    let config = parse(FLOW_LOGS).expect("valid");
    let text = render(&config).expect("renders");
    assert_eq!(parse(&text).expect("valid"), config, "{text}");
    let kept = config.flow_logs.expect("they are kept");
    assert_eq!(kept.spool_bytes, 64 << 20);
    assert_eq!(kept.index_age_secs, 7 * 24 * 3_600);
    // A secret is in no log.
    assert!(!format!("{kept:?}").contains("secret"));
    // Without the section, only where resources are kept.
    assert_eq!(parse(GOOD).expect("valid").flow_logs, None);
    let beside = parse("[control]\nstore = \"/srv/vpc/state.redb\"").expect("valid");
    let kept = beside.flow_logs.expect("they are kept");
    assert_eq!(kept.dir, Path::new("/srv/vpc/flow-logs"));
}

#[test]
fn what_flow_logs_cannot_be_is_refused_with_its_cause() {
    let cases = [
        (
            "period_secs = 30",
            "period_secs = 0",
            "period_secs = 0 is outside 1 to 600",
        ),
        (
            "url = \"s3://flows-of-mine/net\"",
            "url = \"ftp://x\"",
            "bucket = \"flows\" is not accepted: \"ftp://x\" is no place for objects",
        ),
        (
            "url = \"https://collector.example/flows\"",
            "url = \"nowhere\"",
            "stream = \"flows\" is not accepted: ",
        ),
        (
            "to = \"ipfix+udp://192.0.2.9:4739\"",
            "to = \"ipfix+udp://collector\"",
            "is no IPFIX collector",
        ),
        (
            "traffic = \"REJECT\"",
            "traffic = \"SOME\"",
            "write ACCEPT, REJECT or ALL",
        ),
        ("${x-environment-id}", "${x-y}", "Unknown field 'x-y'"),
        (
            "name = \"files\"",
            "name = \"audit\"",
            "is the name of another export too",
        ),
    ];
    for (from, to, part) in cases {
        assert!(FLOW_LOGS.contains(from), "{from}");
        let sentence = refusal(&FLOW_LOGS.replace(from, to));
        assert!(sentence.contains(part), "{sentence}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn text_that_looks_like_a_configuration_never_panics(
        lines in prop::collection::vec(
            "(\\[limits\\]|\\[\\[uplink\\]\\]|\\[\\[group\\]\\]|\\[group\\.timeouts\\]|\
             (name|interface|uplink|subnet|router|eni|profile|flows|connections|closed) = \
             (\"[a-z0-9./é]{0,12}\"|-?[0-9]{1,19}|\\[\"[0-9.]{0,9}\"\\]|true))",
            0..20,
        )
    ) {
        let _ = parse(&lines.join("\n"));
    }

    #[test]
    fn a_mutated_configuration_never_panics(at in 0..GOOD.len(), with in "\\PC{0,3}") {
        let _ = parse(&format!("{}{with}{}", &GOOD[..at], &GOOD[at + 1..]));
    }

    #[test]
    fn a_valid_configuration_survives_the_trip_through_text(config in config()) {
        let text = render(&config).expect("renders");
        prop_assert_eq!(parse(&text).expect("valid"), config, "{}", text);
    }
}

#[test]
fn functions_have_the_timeouts_of_the_profile_and_their_own() {
    let text = "profile = \"rfc\"\n[control]\ntimeouts = { udp_new = 7 }\n";
    let control = parse(text)
        .expect("valid")
        .control
        .expect("it is asked for");
    let mut expected = Timeouts::RFC;
    expected.0[Phase::UdpNew as usize] = vpc_common::time::ticks_from_secs(7);
    assert_eq!(control.settings.timeouts, expected);
    let sentence = refusal("[control]\ntimeouts = { udp_old = 7 }\n");
    assert!(sentence.contains("timeouts.udp_old"), "{sentence}");
}
