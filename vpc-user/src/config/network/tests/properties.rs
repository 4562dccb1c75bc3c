//! Any network that is valid survives the trip through text, and no text panics.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use vpc_common::{layout::Limits, state::Timeouts};

use super::{GOOD, name, prefix};
use crate::{
    config::{parse, render},
    model::{
        AclEntry, Config, Destination, GroupConfig, HookWish, LocalDelivery, Network, NetworkAcl,
        NetworkInterface, ObjectName, Peer, Peering, PrefixList, Quotas, Route, RouteTable,
        SecurityGroup, SecurityRule, Subnet, Target, TcAttachment, Traffic, UplinkConfig, Vpc,
    },
};

/// Numbers that a configuration is made of, again from the beginning when they end.
/// They shrink to zeros, and so does what is made of them.
struct Dice {
    numbers: Vec<u16>,
    thrown: usize,
}

impl Dice {
    fn throw(&mut self, sides: u16) -> u16 {
        let number = self.numbers[self.thrown % self.numbers.len()];
        self.thrown += 1;
        number % sides
    }

    fn some<T>(&mut self, most: u16, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.throw(most + 1)).map(|_| make(self)).collect()
    }

    fn heads(&mut self) -> bool {
        self.throw(2) == 1
    }

    fn octet(&mut self) -> u8 {
        self.throw(256) as u8
    }

    fn quota(&mut self) -> u32 {
        (1_000 + self.throw(9_001)).into()
    }

    fn ports(&mut self) -> std::ops::RangeInclusive<u16> {
        let (one, other) = (self.throw(u16::MAX), self.throw(u16::MAX));
        one.min(other)..=one.max(other)
    }

    fn traffic(&mut self) -> Traffic {
        match self.throw(8) {
            0 => Traffic::All,
            1 => Traffic::Tcp(self.ports()),
            2 => Traffic::Udp(self.ports()),
            3 => Traffic::Tcp(0..=u16::MAX),
            4 => Traffic::Icmp(None, None),
            5 => Traffic::Icmp(Some(self.octet()), None),
            6 => Traffic::Icmp(Some(self.octet()), Some(self.octet())),
            _ => Traffic::Other(18 + self.throw(238) as u8),
        }
    }

    fn prefix(&mut self) -> ipnet::Ipv4Net {
        let address = Ipv4Addr::new(self.octet(), self.octet(), self.octet(), self.octet());
        let length = self.throw(33) as u8;
        ipnet::Ipv4Net::new_assert(address, length).trunc()
    }

    fn rules(&mut self) -> Vec<SecurityRule> {
        let mut rules = Vec::new();
        for rule in self.some(5, Self::rule) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        rules
    }

    fn rule(&mut self) -> SecurityRule {
        let peer = match self.throw(3) {
            0 => Peer::Cidr(self.prefix()),
            // Of either VPC, whichever the group is of.
            1 => Peer::Group(name(
                ["vpc-0-default", "vpc-1-default"][self.throw(2) as usize],
            )),
            _ => Peer::PrefixList(name("list")),
        };
        SecurityRule {
            traffic: self.traffic(),
            peer,
        }
    }

    fn entries(&mut self) -> Vec<AclEntry> {
        let mut number = 0;
        self.some(5, |dice| {
            number += 1 + dice.throw(6_000);
            AclEntry {
                number,
                allow: dice.heads(),
                traffic: dice.traffic(),
                cidr: dice.prefix(),
            }
        })
    }

    fn quotas(&mut self) -> Quotas {
        Quotas {
            security_groups_per_interface: self.quota(),
            rules_per_security_group: self.quota(),
            rules_per_interface: self.quota(),
            security_groups: self.quota(),
            network_acls_per_vpc: self.quota(),
            entries_per_network_acl: self.quota(),
            route_tables_per_vpc: self.quota(),
            routes_per_table: self.quota(),
            subnets_per_vpc: self.quota(),
            cidrs_per_vpc: self.quota(),
            prefix_lists: self.quota(),
            entries_per_prefix_list: self.quota(),
        }
    }
}

/// VPC 0 or 1, with two subnets, an interface and a group of ENIs in each.
struct Tenant(u8);

impl Tenant {
    fn own(&self, suffix: &str) -> ObjectName {
        name(&format!("vpc-{}{suffix}", self.0))
    }

    fn add(&self, dice: &mut Dice, config: &mut Config) {
        let local = match dice.heads() {
            true => LocalDelivery::OnLink,
            false => LocalDelivery::Router,
        };
        let second = dice
            .heads()
            .then(|| prefix(&format!("10.{}.128.0/20", 100 + self.0)));
        let first = prefix(&format!("10.{}.0.0/16", self.0));
        let network = &mut config.network;
        network.vpcs.push(Vpc {
            name: self.own(""),
            cidrs: [first].into_iter().chain(second).collect(),
            uplink: self.own("-uplink"),
            local,
        });
        for suffix in ["-default", "-other"] {
            network.security_groups.push(SecurityGroup {
                name: self.own(suffix),
                vpc: self.own(""),
                ingress: dice.rules(),
                egress: dice.rules(),
            });
            network.network_acls.push(NetworkAcl {
                name: self.own(suffix),
                vpc: self.own(""),
                ingress: dice.entries(),
                egress: dice.entries(),
            });
        }
        for suffix in ["-other", "-main"] {
            network.route_tables.push(RouteTable {
                name: self.own(suffix),
                vpc: self.own(""),
                routes: self.routes(dice),
            });
        }
        for index in 0..2 {
            self.add_subnet(dice, config, index, local);
        }
    }

    fn routes(&self, dice: &mut Dice) -> Vec<Route> {
        let mut third = 0;
        let mut routes = dice.some(4, |dice| {
            third += 1;
            let destination = prefix(&format!("172.{}.{third}.0/24", dice.octet()));
            Route {
                destination: Destination::Cidr(destination),
                target: match dice.throw(3) {
                    0 => Target::Blackhole,
                    1 => Target::Peering(name("peering")),
                    _ => Target::Interface(self.own("-interface-0")),
                },
            }
        });
        if dice.heads() {
            routes.push(Route {
                destination: Destination::Cidr(prefix(&format!("10.{}.1.0/24", self.0))),
                target: Target::Interface(self.own("-interface-0")),
            });
        }
        if dice.heads() {
            routes.push(Route {
                destination: Destination::PrefixList(name("list")),
                target: Target::Peering(name("peering")),
            });
        }
        routes
    }

    fn add_subnet(&self, dice: &mut Dice, config: &mut Config, index: u8, local: LocalDelivery) {
        let address = |host| Ipv4Addr::new(10, self.0, index, host);
        let needs_router = local == LocalDelivery::Router;
        let router = (needs_router || dice.heads()).then(|| address(1 + dice.throw(3) as u8));
        let pick = |dice: &mut Dice, words: [&str; 2]| self.own(words[usize::from(dice.heads())]);
        let subnet = Subnet {
            name: self.own(&format!("-subnet-{index}")),
            vpc: self.own(""),
            cidr: prefix(&format!("10.{}.{index}.0/24", self.0)),
            router,
            route_table: pick(dice, ["-main", "-other"]),
            network_acl: pick(dice, ["-default", "-other"]),
        };
        config.network.interfaces.push(NetworkInterface {
            name: self.own(&format!("-interface-{index}")),
            subnet: subnet.name.clone(),
            address: address(4 + dice.throw(10) as u8),
            security_groups: vec![pick(dice, ["-default", "-other"])],
        });
        let hosts = 0..=dice.throw(16) as u8;
        config.groups.push(GroupConfig {
            name: self.own(&format!("-group-{index}")),
            uplink: self.own("-uplink"),
            subnet_name: Some(subnet.name.clone()),
            security_groups: match dice.throw(3) {
                0 => vec![self.own("-default")],
                1 => vec![self.own("-other")],
                _ => vec![self.own("-default"), self.own("-other")],
            },
            subnet: subnet.cidr.addr(),
            prefix_len: subnet.cidr.prefix_len(),
            router,
            enis: hosts
                .take(16)
                .map(|host| address(20 + host).into())
                .collect(),
            timeouts: Timeouts::AWS,
            connections: 65_000,
        });
        config.network.subnets.push(subnet);
    }
}

/// A group in a prefix of the first VPC's uplink.
fn plain_group(dice: &mut Dice) -> GroupConfig {
    GroupConfig {
        name: name("plain"),
        uplink: name("vpc-0-uplink"),
        subnet_name: None,
        security_groups: Vec::new(),
        subnet: Ipv4Addr::new(192, 168, 0, 0),
        prefix_len: 24,
        router: dice.heads().then_some(Ipv4Addr::new(192, 168, 0, 1)),
        enis: vec![Ipv4Addr::new(192, 168, 0, 2).into()],
        timeouts: Timeouts::RFC,
        connections: 1,
    }
}

fn config(numbers: Vec<u16>) -> Config {
    let mut dice = Dice { numbers, thrown: 0 };
    let dice = &mut dice;
    let uplink = |index| UplinkConfig {
        name: name(&format!("vpc-{index}-uplink")),
        interface: format!("eth{index}"),
        shared: false,
        hook: HookWish::Auto,
        peer_netns: None,
    };
    let mut config = Config {
        pin_dir: "/sys/fs/bpf/test".into(),
        socket: "/run/test.sock".into(),
        limits: Limits::DEFAULT,
        tc: TcAttachment::Auto,
        uplinks: (0..2).map(uplink).collect(),
        groups: Vec::new(),
        control: None,
        flow_logs: None,
        network: Network {
            quotas: dice.quotas(),
            ..Network::default()
        },
    };
    let mut third = 0;
    let entries = dice.some(20, |dice| {
        third += 1;
        prefix(&format!("172.{}.{third}.0/24", dice.octet()))
    });
    config.network.prefix_lists.push(PrefixList {
        name: name("list"),
        max_entries: u32::from(dice.throw(80)) + 20,
        entries,
    });
    Tenant(0).add(dice, &mut config);
    Tenant(1).add(dice, &mut config);
    let mut router = |vpc| dice.heads().then_some(Ipv4Addr::new(10, vpc, 0, 1));
    config.network.peerings.push(Peering {
        name: name("peering"),
        vpcs: [name("vpc-1"), name("vpc-0")],
        routers: [router(1), router(0)],
    });
    if dice.heads() {
        config.groups.push(plain_group(dice));
    }
    config
}

/// A place of a text between two characters, near a byte.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

proptest! {
    #[test]
    fn a_valid_network_survives_the_trip_through_text(
        numbers in prop::collection::vec(any::<u16>(), 1..400)
    ) {
        let config = config(numbers);
        let text = render(&config).expect("renders");
        match parse(&text) {
            Ok(parsed) => prop_assert_eq!(parsed, config, "{}", text),
            Err(error) => prop_assert!(false, "{error}\n{text}"),
        }
    }

    #[test]
    fn a_damaged_network_never_panics(
        at in 0..GOOD.len(),
        length in 0usize..12,
        with in "\\PC{0,3}|\"[a-z0-9./-]{0,9}\"|[0-9/.-]{1,6}",
    ) {
        let (from, to) = (boundary(GOOD, at), boundary(GOOD, at + length));
        let _ = parse(&format!("{}{with}{}", &GOOD[..from], &GOOD[to..]));
    }

    #[test]
    fn a_network_with_lines_missing_and_moved_never_panics(
        moves in prop::collection::vec((0usize..100, 0usize..100), 1..4)
    ) {
        let mut lines: Vec<_> = GOOD.lines().collect();
        for (from, to) in moves {
            let line = lines.remove(from % lines.len());
            if to % 3 > 0 {
                lines.insert(to % lines.len(), line);
            }
        }
        let _ = parse(&lines.join("\n"));
    }
}
