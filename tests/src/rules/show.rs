//! A configuration as text that a person reads, close to the configuration file.

use std::fmt::{self, Display, Write as _};

use vpc_user::model::{
    AclEntry, Config, Destination, GroupConfig, LocalDelivery, NetworkAcl, Peer, PrefixList,
    RouteTable, SecurityGroup, SecurityRule, Subnet, Target, Traffic, Vpc,
};

/// The network and the groups of a configuration.
pub fn show(config: &Config) -> String {
    let mut text = String::new();
    write_network(&mut text, config).expect("writing to a string does not fail");
    text
}

fn write_network(text: &mut String, config: &Config) -> fmt::Result {
    let made = &config.network;
    made.vpcs.iter().try_for_each(|vpc| write_vpc(text, vpc))?;
    for peering in &made.peerings {
        let (name, vpcs, routers) = (&peering.name, list(&peering.vpcs), &peering.routers);
        writeln!(
            text,
            "[[peering]] name = \"{name}\", vpcs = {vpcs}, routers = {routers:?}"
        )?;
    }
    let subnets = &mut made.subnets.iter();
    subnets.try_for_each(|subnet| write_subnet(text, subnet))?;
    for PrefixList { name, entries, .. } in &made.prefix_lists {
        let entries = list(entries);
        writeln!(
            text,
            "[[prefix_list]] name = \"{name}\", entries = {entries}"
        )?;
    }
    for interface in &made.interfaces {
        let (name, subnet, address) = (&interface.name, &interface.subnet, interface.address);
        let groups = list(&interface.security_groups);
        writeln!(
            text,
            "[[interface]] name = \"{name}\", subnet = \"{subnet}\", \
             address = \"{address}\", security_groups = {groups}"
        )?;
    }
    for SecurityGroup {
        name, vpc, egress, ..
    } in &made.security_groups
    {
        writeln!(
            text,
            "[[security_group]] name = \"{name}\", vpc = \"{vpc}\", egress = ["
        )?;
        egress.iter().try_for_each(|rule| write_rule(text, rule))?;
        writeln!(text, "]")?;
    }
    let acls = &mut made.network_acls.iter();
    acls.try_for_each(|acl| write_acl(text, acl))?;
    let tables = &mut made.route_tables.iter();
    tables.try_for_each(|table| write_table(text, table))?;
    let groups = &mut config.groups.iter();
    groups.try_for_each(|group| write_group(text, group))
}

fn write_vpc(text: &mut String, vpc: &Vpc) -> fmt::Result {
    let local = match vpc.local {
        LocalDelivery::Router => "router",
        LocalDelivery::OnLink => "on-link",
    };
    let (name, cidrs, uplink) = (&vpc.name, list(&vpc.cidrs), &vpc.uplink);
    writeln!(
        text,
        "[[vpc]] name = \"{name}\", cidr = {cidrs}, uplink = \"{uplink}\", local = \"{local}\""
    )
}

fn write_acl(text: &mut String, acl: &NetworkAcl) -> fmt::Result {
    let NetworkAcl {
        name,
        vpc,
        ingress,
        egress,
    } = acl;
    writeln!(text, "[[network_acl]] name = \"{name}\", vpc = \"{vpc}\"")?;
    for (direction, entries) in [("egress", egress), ("ingress", ingress)] {
        writeln!(text, "{direction} = [")?;
        entries
            .iter()
            .try_for_each(|entry| write_entry(text, entry))?;
        writeln!(text, "]")?;
    }
    Ok(())
}

fn write_table(text: &mut String, table: &RouteTable) -> fmt::Result {
    let RouteTable { name, vpc, routes } = table;
    writeln!(
        text,
        "[[route_table]] name = \"{name}\", vpc = \"{vpc}\", route = ["
    )?;
    for route in routes {
        let destination = match &route.destination {
            Destination::Cidr(cidr) => format!("destination = \"{cidr}\""),
            Destination::PrefixList(name) => format!("prefix_list = \"{name}\""),
        };
        let target = match &route.target {
            Target::Interface(name) => format!("interface = \"{name}\""),
            Target::Peering(name) => format!("peering = \"{name}\""),
            Target::InternetGateway(name) => format!("internet_gateway = \"{name}\""),
            Target::NatGateway(name) => format!("nat_gateway = \"{name}\""),
            Target::Blackhole => "blackhole = true".to_owned(),
        };
        writeln!(text, "  {{ {destination}, {target} }},")?;
    }
    writeln!(text, "]")
}

fn write_subnet(text: &mut String, subnet: &Subnet) -> fmt::Result {
    let Subnet {
        name,
        vpc,
        cidr,
        router,
        route_table,
        network_acl,
    } = subnet;
    let router = router
        .map(|router| format!("router = \"{router}\", "))
        .unwrap_or_default();
    writeln!(
        text,
        "[[subnet]] name = \"{name}\", vpc = \"{vpc}\", cidr = \"{cidr}\", {router}\
         route_table = \"{route_table}\", network_acl = \"{network_acl}\""
    )
}

fn write_group(text: &mut String, group: &GroupConfig) -> fmt::Result {
    let addresses: Vec<_> = group.enis.iter().map(|eni| eni.address).collect();
    let (name, addresses) = (&group.name, list(&addresses));
    let place = match (&group.subnet_name, group.router) {
        (Some(subnet), _) => {
            format!(
                "subnet = \"{subnet}\", security_groups = {}",
                list(&group.security_groups)
            )
        }
        (None, router) => format!(
            "subnet = \"{}/{}\", uplink = \"{}\", router = {router:?}",
            group.subnet, group.prefix_len, group.uplink
        ),
    };
    writeln!(
        text,
        "[[group]] name = \"{name}\", {place}, eni = {addresses}"
    )
}

fn write_rule(text: &mut String, rule: &SecurityRule) -> fmt::Result {
    let peer = match &rule.peer {
        Peer::Cidr(cidr) => format!("cidr = \"{cidr}\""),
        Peer::Group(name) => format!("security_group = \"{name}\""),
        Peer::PrefixList(name) => format!("prefix_list = \"{name}\""),
    };
    writeln!(text, "  {{ {}, {peer} }},", traffic(&rule.traffic))
}

fn write_entry(text: &mut String, entry: &AclEntry) -> fmt::Result {
    let action = if entry.allow { "allow" } else { "deny" };
    writeln!(
        text,
        "  {{ number = {}, action = \"{action}\", {}, cidr = \"{}\" }},",
        entry.number,
        traffic(&entry.traffic),
        entry.cidr
    )
}

fn traffic(traffic: &Traffic) -> String {
    match traffic {
        Traffic::All => "protocol = \"all\"".to_owned(),
        Traffic::Tcp(ports) => {
            format!(
                "protocol = \"tcp\", ports = \"{}-{}\"",
                ports.start(),
                ports.end()
            )
        }
        Traffic::Udp(ports) => {
            format!(
                "protocol = \"udp\", ports = \"{}-{}\"",
                ports.start(),
                ports.end()
            )
        }
        Traffic::Icmp(None, _) => "protocol = \"icmp\"".to_owned(),
        Traffic::Icmp(Some(kind), None) => format!("protocol = \"icmp\", icmp = \"{kind}\""),
        Traffic::Icmp(Some(kind), Some(code)) => {
            format!("protocol = \"icmp\", icmp = \"{kind}/{code}\"")
        }
        Traffic::Other(number) => format!("protocol = \"{number}\""),
    }
}

fn list(items: &[impl Display]) -> String {
    let items: Vec<_> = items.iter().map(|item| format!("\"{item}\"")).collect();
    format!("[{}]", items.join(", "))
}
