//! Questions about a configuration: packets whose addresses and ports lie at the edges
//! of what its rules are about.

use std::{collections::BTreeSet, fmt, net::Ipv4Addr};

use ipnet::Ipv4Net;
use vpc_user::model::{Config, Destination, ObjectName, Peer, Traffic};

use super::{
    Dice,
    places::prefix,
    traffic::{CODES, ERRORS, KINDS, PORTS},
};
use crate::oracle::{Carried, broadcast, network};

/// A packet of a new connection, and the port that the ENI gives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// The group of ENIs that it leaves by.
    pub group: ObjectName,
    /// Where it is sent to.
    pub remote: Ipv4Addr,
    /// Its protocol and destination port. ICMP stands for an error about a
    /// connection, and for the same error from the remote address.
    pub carried: Carried,
    /// The ENI's port, which the reply is sent to.
    pub eni_port: u16,
    /// Type and code of an ICMP error about the connection, either way.
    pub error: (u8, u8),
}

impl Question {
    /// What the reply carries.
    pub const fn reply(&self) -> Carried {
        match self.carried {
            Carried::Tcp(_) => Carried::Tcp(self.eni_port),
            Carried::Udp(_) => Carried::Udp(self.eni_port),
            Carried::Icmp(..) | Carried::Other(_) => self.carried,
        }
    }

    /// The number of its protocol.
    pub const fn protocol(&self) -> u8 {
        match self.carried {
            Carried::Tcp(_) => 6,
            Carried::Udp(_) => 17,
            Carried::Icmp(..) => 1,
            Carried::Other(number) => number,
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            group,
            remote,
            carried,
            eni_port,
            error: (kind, code),
        } = self;
        write!(
            f,
            "{group} to {remote} {carried}, ENI port {eni_port}, error {kind}/{code}"
        )
    }
}

/// So many questions about a configuration, out of a number.
pub fn questions(config: &Config, seed: u64, count: usize) -> Vec<Question> {
    let mut dice = Dice::new(!seed);
    let addresses: Vec<Ipv4Addr> = addresses(config).into_iter().collect();
    let ports: Vec<u16> = ports(config).into_iter().collect();
    let mut question = || {
        let carried = match dice.roll(8) {
            0..=3 => Carried::Tcp(*dice.pick(&ports)),
            4..=6 => Carried::Udp(*dice.pick(&ports)),
            _ => Carried::Icmp(*dice.pick(&KINDS), *dice.pick(&CODES)),
        };
        Question {
            group: dice.pick(&config.groups).name.clone(),
            remote: *dice.pick(&addresses),
            carried,
            eni_port: match dice.roll(4) {
                0 => *dice.pick(&[1_024, 65_535]),
                _ => *dice.pick(&ports),
            },
            error: (*dice.pick(&ERRORS), *dice.pick(&CODES)),
        }
    };
    if config.groups.is_empty() {
        return Vec::new();
    }
    (0..count).map(|_| question()).collect()
}

/// The first and the last address of everything that has a prefix, and the ones beside
/// them.
fn addresses(config: &Config) -> BTreeSet<Ipv4Addr> {
    let mut addresses = BTreeSet::new();
    for prefix in prefixes(config) {
        let (first, last) = (network(prefix), broadcast(prefix));
        let edges = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
        addresses.extend(edges.map(Ipv4Addr::from));
    }
    addresses
}

fn prefixes(config: &Config) -> BTreeSet<Ipv4Net> {
    let made = &config.network;
    let mut all = BTreeSet::new();
    let host = |address: Ipv4Addr| prefix(address.into(), 32);
    let beside = |cidr: &Ipv4Net, offset: u32| prefix(network(*cidr) + offset, 32);
    for cidr in made.vpcs.iter().flat_map(|vpc| &vpc.cidrs) {
        all.extend([*cidr, beside(cidr, 2)]);
    }
    for subnet in &made.subnets {
        all.extend([
            subnet.cidr,
            beside(&subnet.cidr, 1),
            beside(&subnet.cidr, 2),
        ]);
    }
    all.extend(made.interfaces.iter().map(|i| host(i.address)));
    for group in &config.groups {
        let own = Ipv4Net::new(group.subnet, group.prefix_len).expect("a valid length");
        all.insert(own);
        all.extend(group.enis.iter().map(|eni| host(eni.address)));
    }
    for rule in made.security_groups.iter().flat_map(|g| &g.egress) {
        if let Peer::Cidr(cidr) = rule.peer {
            all.insert(cidr);
        }
    }
    all.extend(made.prefix_lists.iter().flat_map(|list| &list.entries));
    let entries = made
        .network_acls
        .iter()
        .flat_map(|acl| [&acl.ingress, &acl.egress]);
    all.extend(entries.flatten().map(|entry| entry.cidr));
    for route in made.route_tables.iter().flat_map(|table| &table.routes) {
        if let Destination::Cidr(cidr) = route.destination {
            all.insert(cidr);
        }
    }
    let services = [
        [168, 0],
        [169, 253],
        [169, 254],
        [169, 123],
        [169, 250],
        [170, 2],
    ];
    all.extend(services.map(|[c, d]| host(Ipv4Addr::new(169, 254, c, d))));
    all.insert(prefix(0xa9fe_a800, 22));
    all
}

/// The first and the last port of every range, and the ones beside them.
fn ports(config: &Config) -> BTreeSet<u16> {
    let made = &config.network;
    let mut ports = BTreeSet::from(PORTS);
    let rules = made.security_groups.iter().flat_map(|g| &g.egress);
    let entries = made
        .network_acls
        .iter()
        .flat_map(|acl| [&acl.ingress, &acl.egress]);
    let traffic = rules.map(|rule| &rule.traffic);
    for traffic in traffic.chain(entries.flatten().map(|entry| &entry.traffic)) {
        if let Traffic::Tcp(range) | Traffic::Udp(range) = traffic {
            let (first, last) = (*range.start(), *range.end());
            ports.extend([first.wrapping_sub(1), first, last, last.wrapping_add(1)]);
        }
    }
    ports
}
