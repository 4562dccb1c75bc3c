use std::net::Ipv4Addr;

use vpc_common::{addr::Mac, state::Timeouts};

use super::*;
use crate::{
    dataplane::{features::XdpFeatures, images::Images, mirror::Named},
    model::{Network, ObjectName, TcAttachment},
};

const LIMITS: Limits = Limits {
    environments: 4,
    uplinks: 2,
    enis: 4,
    next_hops: 4,
    blocks: 4,
    fragments: 4,
    policy_words: 4_096,
    refusals: 4,
};

fn object(name: &str) -> ObjectName {
    ObjectName::new(name).expect("a good name")
}

fn config(addresses: &[[u8; 4]]) -> Config {
    Config {
        pin_dir: "/sys/fs/bpf/vpc".into(),
        socket: "/run/vpc.sock".into(),
        limits: LIMITS,
        tc: TcAttachment::Auto,
        uplinks: vec![UplinkConfig {
            name: object("blue"),
            interface: "up0".to_owned(),
            shared: false,
            hook: HookWish::Auto,
            peer_netns: None,
        }],
        groups: vec![GroupConfig {
            name: object("web"),
            uplink: object("blue"),
            subnet_name: None,
            security_groups: Vec::new(),
            subnet: Ipv4Addr::new(10, 0, 0, 0),
            prefix_len: 24,
            router: None,
            enis: addresses
                .iter()
                .map(|octets| Ipv4Addr::from(*octets).into())
                .collect(),
            timeouts: Timeouts::AWS,
            connections: 65_000,
        }],
        network: Network::default(),
        control: None,
        flow_logs: None,
    }
}

fn interface(ifindex: u32) -> Interface {
    Interface {
        ifindex,
        name: "up0".to_owned(),
        kind: InterfaceKind::Veth,
        mac: Mac::new([2, 0, 0, 0, 0, 9]),
        mtu: 1_500,
        peer_ifindex: None,
        peer_netns_id: None,
        xdp: None,
        xdp_features: None,
    }
}

/// A host whose tables do what the plans say.
struct Host {
    mirror: Mirror,
    interfaces: BTreeMap<String, Interface>,
    busy: BTreeSet<u32>,
}

impl Host {
    fn new() -> Self {
        let mirror = Mirror {
            generations: vec![0; 4],
            ..Default::default()
        };
        let interfaces = BTreeMap::from([("up0".to_owned(), interface(7))]);
        Self {
            mirror,
            interfaces,
            busy: BTreeSet::new(),
        }
    }

    fn plan(&self, config: &Config) -> Plan {
        let (mirror, interfaces, busy) = (&self.mirror, &self.interfaces, &self.busy);
        plan(
            config,
            &Observed {
                mirror,
                interfaces,
                busy,
                limits: &LIMITS,
            },
            &mut Images::default(),
            Scope::Everything,
        )
    }

    fn apply(&mut self, config: &Config) -> Plan {
        let plan = self.plan(config);
        for step in &plan.steps {
            crate::dataplane::note::note(&mut self.mirror, step);
        }
        plan
    }
}

fn position(plan: &Plan, wanted: impl Fn(&Step) -> bool) -> usize {
    plan.steps
        .iter()
        .position(wanted)
        .expect("the plan has this step")
}

#[test]
fn a_second_pass_finds_nothing_to_do() {
    let (mut host, config) = (Host::new(), config(&[[10, 0, 0, 10], [10, 0, 0, 11]]));
    let first = host.apply(&config);
    assert_eq!(first.problems, []);
    assert!(first.steps.len() > 8, "{first}");
    assert_eq!(host.plan(&config), Plan::default());
}

#[test]
fn what_is_referred_to_is_written_first_and_the_program_attached_last() {
    let plan = Host::new().plan(&config(&[[10, 0, 0, 10]]));
    let order = [
        position(&plan, |step| matches!(step, Step::SetUplink(..))),
        position(&plan, |step| matches!(step, Step::SetLink(..))),
        position(&plan, |step| matches!(step, Step::SetEni(..))),
        position(&plan, |step| matches!(step, Step::LeasePorts(_))),
        position(&plan, |step| matches!(step, Step::BumpGeneration(_))),
        position(&plan, |step| matches!(step, Step::SetAddress(..))),
        position(&plan, |step| matches!(step, Step::SetGroup(..))),
        position(&plan, |step| matches!(step, Step::AttachUplink { .. })),
        position(&plan, |step| matches!(step, Step::Announce(_))),
    ];
    assert!(order.is_sorted(), "{plan}");
    assert_eq!(order[8], plan.steps.len() - 1);
}

#[test]
fn an_eni_leaves_its_group_first_and_its_address_when_it_is_idle() {
    let mut host = Host::new();
    host.apply(&config(&[[10, 0, 0, 10], [10, 0, 0, 11]]));
    let smaller = config(&[[10, 0, 0, 11]]);
    host.busy.insert(0);
    let first = host.apply(&smaller);
    assert!(
        !first
            .steps
            .iter()
            .any(|step| matches!(step, Step::ClearEni(_))),
        "{first}"
    );
    assert_eq!(
        members(&host.mirror.groups[&0].value),
        [1],
        "the other keeps its index"
    );
    assert_eq!(host.plan(&smaller), Plan::default(), "flows still use it");
    host.busy.clear();
    let second = host.apply(&smaller);
    assert!(
        matches!(
            second.steps[..],
            [Step::RemoveAddress(_), Step::ClearEni(0)]
        ),
        "{second}"
    );
    assert_eq!(host.plan(&smaller), Plan::default());
}

#[test]
fn a_changed_eni_is_judged_again_and_keeps_its_ports() {
    let mut host = Host::new();
    host.apply(&config(&[[10, 0, 0, 10]]));
    let generation = host.mirror.generations[0];
    let mut changed = config(&[[10, 0, 0, 10]]);
    changed.groups[0].connections = 100;
    let plan = host.apply(&changed);
    assert!(matches!(
        plan.steps[..],
        [
            Step::SetEni(0, _),
            Step::LeasePorts(0),
            Step::BumpGeneration(0)
        ]
    ));
    assert_eq!(host.mirror.generations[0], generation + 1);
    assert_eq!(host.mirror.enis[&0].value.high_water, 80);
}

#[test]
fn an_eni_on_its_way_out_goes_by_the_rules_of_its_group() {
    let mut host = Host::new();
    host.apply(&config(&[[10, 0, 0, 10], [10, 0, 0, 11]]));
    host.busy.insert(1);
    let mut smaller = config(&[[10, 0, 0, 10]]);
    host.apply(&smaller);
    assert_eq!(host.plan(&smaller), Plan::default(), "flows still use it");
    smaller.groups[0].router = Some(Ipv4Addr::new(10, 0, 0, 1));
    let plan = host.apply(&smaller);
    let set =
        |eni| move |step: &Step| matches!(step, Step::SetPolicy { enis, .. } if *enis == [eni]);
    assert!(
        plan.steps.iter().any(set(0)) && plan.steps.iter().any(set(1)),
        "{plan}"
    );
    assert_eq!(host.plan(&smaller), Plan::default());
}

#[test]
fn an_interface_made_anew_keeps_the_index_of_its_uplink() {
    let (mut host, config) = (Host::new(), config(&[[10, 0, 0, 10]]));
    host.apply(&config);
    host.interfaces.insert("up0".to_owned(), interface(8));
    let plan = host.apply(&config);
    let order = [
        position(&plan, |step| *step == Step::RemoveLink(7)),
        position(
            &plan,
            |step| matches!(step, Step::SetUplink(0, uplink) if uplink.ifindex == 8),
        ),
        position(&plan, |step| matches!(step, Step::SetLink(8, _))),
        position(&plan, |step| {
            matches!(step, Step::AttachUplink { index: 0, .. })
        }),
    ];
    assert!(order.is_sorted(), "{plan}");
    assert_eq!(
        plan.steps.last(),
        Some(&Step::Announce(0)),
        "its MAC is another"
    );
    assert_eq!(host.plan(&config), Plan::default());
}

#[test]
fn a_missing_interface_is_a_problem_with_a_remedy_and_changes_nothing() {
    let (mut host, config) = (Host::new(), config(&[[10, 0, 0, 10]]));
    host.interfaces.clear();
    let plan = host.plan(&config);
    assert!(plan.steps.is_empty(), "{plan}");
    assert_eq!(
        plan.problems[0].to_string(),
        "uplink blue: there is no interface up0: create it or correct the configuration"
    );
    assert!(matches!(plan.problems[1], Problem::NoUplink { .. }));
}

#[test]
fn an_uplink_whose_interface_went_away_keeps_its_enis() {
    let (mut host, config) = (Host::new(), config(&[[10, 0, 0, 10]]));
    host.apply(&config);
    host.interfaces.clear();
    let plan = host.plan(&config);
    assert!(plan.steps.is_empty(), "{plan}");
    assert!(matches!(plan.problems[..], [Problem::NoInterface { .. }]));
}

fn set_hook(plan: &Plan) -> Vec<(Hook, bool)> {
    let hooks = plan.steps.iter().filter_map(|step| match step {
        Step::SetHook { hook, chosen, .. } => Some((*hook, *chosen)),
        _ => None,
    });
    hooks.collect()
}

/// A host whose uplink is a NIC with native XDP.
fn nic_host() -> Host {
    let mut host = Host::new();
    let nic = Interface {
        kind: InterfaceKind::Nic,
        xdp_features: Some(XdpFeatures::NATIVE),
        ..interface(7)
    };
    host.interfaces.insert("up0".to_owned(), nic);
    host
}

#[test]
fn xdp_comes_in_front_of_a_program_that_runs_and_its_flag_with_it() {
    let (mut host, mut config) = (nic_host(), config(&[[10, 0, 0, 10]]));
    let plan = host.apply(&config);
    let order = [
        position(
            &plan,
            |step| matches!(step, Step::SetUplink(_, uplink) if !uplink.has_xdp()),
        ),
        position(&plan, |step| matches!(step, Step::AttachUplink { .. })),
        position(&plan, |step| matches!(step, Step::SetHook { .. })),
    ];
    assert!(order.is_sorted(), "{plan}");
    assert_eq!(set_hook(&plan), [(Hook::Xdp, true)]);
    assert!(host.mirror.uplinks[&0].value.has_xdp());
    assert_eq!(host.plan(&config), Plan::default());
    config.uplinks[0].hook = HookWish::Tc;
    let plan = host.apply(&config);
    assert_eq!(set_hook(&plan), [(Hook::Tc, false)]);
    assert!(!host.mirror.uplinks[&0].value.has_xdp());
    assert_eq!(host.plan(&config), Plan::default());
}

#[test]
fn what_the_agent_tried_in_vain_is_not_tried_again() {
    let (mut host, config) = (nic_host(), config(&[[10, 0, 0, 10]]));
    let refusal = "too many queues".to_owned();
    host.mirror.xdp_refusals.insert(7, refusal);
    assert_eq!(set_hook(&host.apply(&config)), []);
    assert_eq!(host.plan(&config), Plan::default());
}

#[test]
fn an_uplink_that_cannot_have_its_hook_keeps_the_one_it_has() {
    let (mut host, mut config) = (Host::new(), config(&[[10, 0, 0, 10]]));
    let jumbo = Interface {
        mtu: 9_000,
        ..interface(7)
    };
    host.interfaces.insert("up0".to_owned(), jumbo);
    host.apply(&config);
    config.uplinks[0].hook = HookWish::Xdp;
    let plan = host.apply(&config);
    assert_eq!(set_hook(&plan), []);
    assert_eq!(
        plan.problems[0].to_string(),
        "uplink blue: up0 has MTU 9000 and native XDP carries at most 3498: run \
         `ip link set dev up0 mtu 3498`, or ask for the hook tc"
    );
    assert!(host.mirror.attached_uplinks.contains(&0));
}

#[test]
fn an_uplink_carries_ethernet() {
    let mut host = Host::new();
    let tunnel = Interface {
        kind: InterfaceKind::NotEthernet,
        ..interface(7)
    };
    host.interfaces.insert("up0".to_owned(), tunnel);
    let plan = host.plan(&config(&[[10, 0, 0, 10]]));
    assert!(plan.steps.is_empty(), "{plan}");
    assert!(matches!(plan.problems[0], Problem::Port { .. }), "{plan}");
}

#[test]
fn an_emptied_configuration_leaves_nothing_behind() {
    let mut host = Host::new();
    host.apply(&config(&[[10, 0, 0, 10]]));
    let mut empty = config(&[]);
    empty.uplinks.clear();
    empty.groups.clear();
    host.mirror.members.insert(0, 1);
    host.apply(&empty);
    host.apply(&empty);
    assert_eq!(
        host.mirror.groups.len(),
        1,
        "an environment still belongs to it"
    );
    host.mirror.members.clear();
    host.apply(&empty);
    host.apply(&empty);
    assert_eq!(host.plan(&empty), Plan::default());
    assert!(host.mirror.uplinks.is_empty() && host.mirror.enis.is_empty());
    assert!(host.mirror.links.is_empty() && host.mirror.eni_by_address.is_empty());
    assert!(host.mirror.groups.is_empty() && host.mirror.attached_uplinks.is_empty());
}

#[test]
fn one_address_on_one_uplink_belongs_to_one_eni() {
    let mut twice = config(&[[10, 0, 0, 10]]);
    twice.groups.push(GroupConfig {
        name: object("db"),
        ..twice.groups[0].clone()
    });
    let plan = Host::new().plan(&twice);
    let [Problem::AddressTaken { eni, .. }] = &plan.problems[..] else {
        panic!("{plan}")
    };
    assert_eq!(eni, "web-0");
}

#[test]
fn a_full_table_is_a_problem_that_names_the_limit() {
    let five: Vec<[u8; 4]> = (0..5).map(|last| [10, 0, 0, 10 + last]).collect();
    let plan = Host::new().plan(&config(&five));
    assert!(
        plan.problems[0]
            .to_string()
            .contains("all 4 enis are in use"),
        "{plan}"
    );
}

#[test]
fn an_environments_interface_is_not_taken_for_an_uplink() {
    let mut host = Host::new();
    host.mirror.links.insert(
        7,
        Link {
            kind: Link::ENVIRONMENT,
            index: 0,
        },
    );
    let plan = host.plan(&config(&[[10, 0, 0, 10]]));
    assert!(
        matches!(plan.problems[0], Problem::IsEnvironment { .. }),
        "{plan}"
    );
}

#[test]
fn names_are_kept_for_what_is_kept() {
    let (mut host, config) = (Host::new(), config(&[[10, 0, 0, 10]]));
    host.apply(&config);
    assert_eq!(host.mirror.enis[&0].name, "web-0");
    let Named { name, .. } = &host.mirror.uplinks[&0];
    assert_eq!(name, "blue");
}
