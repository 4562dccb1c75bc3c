use std::net::Ipv4Addr;

use vpc_common::{layout::Limits, state::Timeouts};

use super::*;
use crate::model::{
    AclEntry, LocalDelivery, Network, NetworkAcl, NetworkInterface, Peer, Peering, PrefixList,
    RouteTable, SecurityGroup, SecurityRule, Subnet, TcAttachment, Traffic, Vpc,
};

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn group(own: &str, last: u8, security_group: &str) -> GroupConfig {
    GroupConfig {
        name: name(own),
        uplink: name("up"),
        subnet_name: Some(name("subnet")),
        security_groups: vec![name(security_group)],
        subnet: Ipv4Addr::new(10, 0, 0, 0),
        prefix_len: 24,
        router: None,
        enis: vec![Ipv4Addr::new(10, 0, 0, last).into()],
        timeouts: Timeouts::AWS,
        connections: 65_000,
    }
}

fn security_group(own: &str, peer: Peer) -> SecurityGroup {
    SecurityGroup {
        name: name(own),
        vpc: name("vpc"),
        ingress: Vec::new(),
        egress: vec![SecurityRule {
            traffic: Traffic::Tcp(443..=443),
            peer,
        }],
    }
}

fn vpc(own: &str) -> Vpc {
    Vpc {
        name: name(own),
        cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        uplink: name("up"),
        local: LocalDelivery::OnLink,
    }
}

fn interface(own: &str, last: u8) -> NetworkInterface {
    NetworkInterface {
        name: name(own),
        subnet: name("subnet"),
        address: Ipv4Addr::new(10, 0, 0, last),
        security_groups: vec![name("database")],
    }
}

/// Two groups: rules of one refer to the members of a group, the other's to a list.
fn example() -> Config {
    Config {
        pin_dir: "/sys/fs/bpf/vpc".into(),
        socket: "/run/vpc.sock".into(),
        limits: Limits::DEFAULT,
        tc: TcAttachment::Auto,
        uplinks: Vec::new(),
        groups: vec![group("web", 10, "web"), group("log", 11, "log")],
        control: None,
        flow_logs: None,
        network: Network {
            vpcs: vec![vpc("vpc")],
            prefix_lists: vec![PrefixList {
                name: name("logs"),
                max_entries: 10,
                entries: vec!["192.0.2.0/24".parse().unwrap()],
            }],
            security_groups: vec![
                security_group("web", Peer::Group(name("database"))),
                security_group("log", Peer::PrefixList(name("logs"))),
                security_group("database", Peer::Cidr("0.0.0.0/0".parse().unwrap())),
            ],
            network_acls: vec![NetworkAcl {
                name: name("acl"),
                vpc: name("vpc"),
                ingress: Vec::new(),
                egress: Vec::new(),
            }],
            route_tables: vec![RouteTable {
                name: name("main"),
                vpc: name("vpc"),
                routes: Vec::new(),
            }],
            subnets: vec![Subnet {
                name: name("subnet"),
                vpc: name("vpc"),
                cidr: "10.0.0.0/24".parse().unwrap(),
                router: None,
                route_table: name("main"),
                network_acl: name("acl"),
            }],
            interfaces: vec![interface("db-1", 77), interface("db-2", 78)],
            ..Network::default()
        },
    }
}

fn compile(images: &mut Images, config: &Config) {
    images.begin(config);
    let groups: Vec<&GroupConfig> = config.groups.iter().collect();
    let uplinks = BTreeMap::from([("up".to_owned(), 0)]);
    let errors = images.compile(&groups, &uplinks);
    assert!(errors.is_empty(), "{errors:?}");
}

/// What may be edited, and the groups whose policies it concerns.
/// What is changed, how, and which groups it concerns.
type Edit = (&'static str, fn(&mut Config), &'static [&'static str]);

fn edits() -> Vec<Edit> {
    let denial = |config: &mut Config| {
        config.network.network_acls[0].egress.push(AclEntry {
            number: 1,
            allow: false,
            traffic: Traffic::All,
            cidr: "0.0.0.0/0".parse().unwrap(),
        });
    };
    vec![
        ("nothing", |_| {}, &[]),
        (
            "a rule",
            |config| config.network.security_groups[0].egress[0].traffic = Traffic::All,
            &["web"],
        ),
        (
            "a member moves",
            |config| config.network.interfaces[1].address = Ipv4Addr::new(10, 0, 0, 99),
            &["web"],
        ),
        (
            "members change places",
            |config| config.network.interfaces.reverse(),
            &[],
        ),
        (
            "a group goes ahead of the others",
            |config| config.network.security_groups.rotate_right(1),
            &[],
        ),
        (
            "a list grows",
            |config| {
                let entries = &mut config.network.prefix_lists[0].entries;
                entries.push("198.51.100.0/24".parse().unwrap());
            },
            &["log"],
        ),
        (
            "a rule of a group that is elsewhere by now",
            |config| config.network.security_groups[2].egress.clear(),
            &["log"],
        ),
        (
            "a member less",
            |config| drop(config.network.interfaces.pop()),
            &["web"],
        ),
        ("an ACL", denial, &["log", "web"]),
        (
            "a group of ENIs more",
            |config| config.groups.insert(0, group("new", 12, "database")),
            &["new", "web"],
        ),
        (
            "a group of ENIs less",
            |config| drop(config.groups.remove(1)),
            &[],
        ),
        (
            "a peering",
            |config| {
                config.network.vpcs.push(vpc("other"));
                config.network.peerings.push(Peering {
                    name: name("peering"),
                    vpcs: [name("vpc"), name("other")],
                    routers: [None, None],
                });
            },
            &["log", "new"],
        ),
    ]
}

#[test]
fn after_every_edit_the_images_are_those_of_the_configuration() {
    let mut config = example();
    let mut images = Images::default();
    compile(&mut images, &config);
    for (what, edit, concerned) in edits() {
        let before = config.clone();
        edit(&mut config);
        let affected = policy::affected(&before, &config);
        let affected: Vec<&str> = affected.iter().map(ObjectName::as_str).collect();
        for group in concerned {
            assert!(affected.contains(group), "{what}: {affected:?}");
        }
        compile(&mut images, &config);
        let mut fresh = Images::default();
        compile(&mut fresh, &config);
        assert_eq!(images.compiled.len(), config.groups.len(), "{what}");
        for group in &config.groups {
            let (kept, new) = (images.of(&group.name), fresh.of(&group.name));
            let (kept, new) = (kept.unwrap(), new.unwrap());
            assert_eq!(kept.image, new.image, "{what}: {}", group.name);
            assert_eq!(kept.source, new.source, "{what}: {}", group.name);
        }
        let kept = images.config.as_ref().unwrap();
        assert_eq!(kept.groups, config.groups, "{what}");
        assert_eq!(kept.network, config.network, "{what}");
    }
}

#[test]
fn an_edit_concerns_as_few_groups_as_it_may() {
    let mut config = example();
    for (what, edit, concerned) in edits() {
        let before = config.clone();
        edit(&mut config);
        let affected = policy::affected(&before, &config);
        let affected: Vec<&str> = affected.iter().map(ObjectName::as_str).collect();
        assert_eq!(affected, concerned, "{what}");
    }
}
