//! `[[security_group]]`, and which groups an interface carries.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::{
    Checked, Scope, Table, prefixes,
    quotas::{Quota, within},
    traffic::Words,
    vpcs::default_name,
};
use crate::{
    config::{
        Problem,
        error::{Place, one_of},
        raw_network::{RawRule, RawSecurityGroup},
    },
    model::{ObjectName, Peer, SecurityGroup, SecurityRule, Traffic},
};

/// Of the security group that a VPC's interfaces carry unless told otherwise.
const DEFAULT: &str = "-default";

/// The groups without their rules, which may refer to any of them.
pub(super) fn groups(scope: &Scope, raw: &[RawSecurityGroup]) -> Checked<Table<SecurityGroup>> {
    let mut groups = Table::default();
    for (index, raw) in raw.iter().enumerate() {
        let name = groups.name(index, &raw.name)?;
        let place = Place::named("security_group", &raw.name);
        let group = SecurityGroup {
            name: name.clone(),
            vpc: scope.vpcs.find(&place, "vpc", &raw.vpc)?.name.clone(),
            ingress: Vec::new(),
            egress: Vec::new(),
        };
        groups.push(&name, group);
    }
    scope.add_defaults(&mut groups, DEFAULT, |name, vpc| SecurityGroup {
        ingress: vec![all(Peer::Group(name.clone()))],
        egress: vec![all(Peer::Cidr(Ipv4Net::default()))],
        name,
        vpc,
    })?;
    let quota = ("security_groups", scope.quotas.security_groups);
    let count = groups.items().len() as u64;
    within(quota, count, "security groups", "the file")?;
    Ok(groups)
}

fn all(peer: Peer) -> SecurityRule {
    SecurityRule {
        traffic: Traffic::All,
        peer,
    }
}

/// The rules of the groups that the file declares.
pub(super) fn fill(scope: &mut Scope, raw: &[RawSecurityGroup]) -> Checked<()> {
    let mut filled = Vec::with_capacity(raw.len());
    for raw in raw {
        let place = Place::named("security_group", &raw.name);
        let egress = match &raw.egress {
            Some(raw) => rules(scope, &place, "egress", raw)?,
            None => vec![all(Peer::Cidr(Ipv4Net::default()))],
        };
        filled.push((rules(scope, &place, "ingress", &raw.ingress)?, egress));
    }
    for (group, (ingress, egress)) in scope.security_groups.items_mut().iter_mut().zip(filled) {
        group.ingress = ingress;
        group.egress = egress;
    }
    Ok(())
}

fn rules(
    scope: &Scope,
    place: &Place,
    direction: &'static str,
    raw: &[RawRule],
) -> Checked<Vec<SecurityRule>> {
    let mut rules = Vec::with_capacity(raw.len());
    let mut seen = BTreeSet::new();
    for (index, raw) in raw.iter().enumerate() {
        let place = place.inside(format_args!("{direction} number {}", index + 1));
        let traffic = Words {
            protocol: &raw.protocol,
            ports: raw.ports.as_deref(),
            icmp: raw.icmp.as_deref(),
        }
        .traffic(&place)?;
        let (key, text, peer) = peer(scope, &place, raw)?;
        let rule = format!("{traffic} and {}", peer_words(&peer));
        if !seen.insert(rule.clone()) {
            return Err(place.refuse(key, text, Problem::RuleTwice { direction, rule }));
        }
        rules.push(SecurityRule { traffic, peer });
    }
    let quota = (
        "rules_per_security_group",
        scope.quotas.rules_per_security_group,
    );
    within(quota, weight(scope, &rules), counted(direction), place)?;
    Ok(rules)
}

/// The other end of a rule, with its key and its text.
fn peer<'a>(
    scope: &Scope,
    place: &Place,
    raw: &'a RawRule,
) -> Checked<(&'static str, &'a str, Peer)> {
    let choice = "cidr, security_group and prefix_list";
    let keys = [
        ("cidr", raw.cidr.as_deref()),
        ("security_group", raw.security_group.as_deref()),
        ("prefix_list", raw.prefix_list.as_deref()),
    ];
    let (key, text) = one_of(place, choice, &keys)?;
    let peer = match key {
        "security_group" => {
            let group = scope.security_groups.find(place, key, text)?;
            Peer::Group(group.name.clone())
        }
        "prefix_list" => {
            let list = scope.prefix_lists.find(place, key, text)?;
            Peer::PrefixList(list.name.clone())
        }
        _ => Peer::Cidr(prefixes::prefix(place, key, text)?),
    };
    Ok((key, text, peer))
}

fn peer_words(peer: &Peer) -> String {
    match peer {
        Peer::Cidr(prefix) => prefix.to_string(),
        Peer::Group(name) => format!("security_group {:?}", name.as_str()),
        Peer::PrefixList(name) => format!("prefix_list {:?}", name.as_str()),
    }
}

fn counted(direction: &str) -> &'static str {
    match direction {
        "ingress" => "ingress rules (a prefix list counts its max_entries)",
        _ => "egress rules (a prefix list counts its max_entries)",
    }
}

/// What rules count for: a prefix list as much as it may come to hold.
fn weight(scope: &Scope, rules: &[SecurityRule]) -> u64 {
    let weight = |rule: &SecurityRule| match &rule.peer {
        Peer::PrefixList(list) => {
            let list = scope.prefix_lists.get(list.as_str());
            list.map_or(1, |list| list.max_entries.into())
        }
        Peer::Cidr(_) | Peer::Group(_) => 1,
    };
    rules.iter().map(weight).sum()
}

/// The security groups of an interface or of a group's ENIs, sorted: those named, or
/// the default one of its VPC.
pub(in crate::config) fn carried_groups(
    scope: &Scope,
    place: &Place,
    vpc: &ObjectName,
    raw: Option<&[String]>,
) -> Checked<Vec<ObjectName>> {
    let key = "security_groups";
    let mut names = BTreeSet::new();
    match raw {
        None => {
            names.insert(default_name(vpc, DEFAULT)?);
        }
        Some([]) => return Err(place.refuse_plain(key, "[]", Problem::NoSecurityGroup)),
        Some(texts) => {
            for text in texts {
                let group = scope.security_groups.find_in(vpc, place, key, text)?;
                if !names.insert(group.name.clone()) {
                    return Err(place.refuse(key, text, Problem::SecurityGroupTwice));
                }
            }
        }
    }
    let quotas = &scope.quotas;
    let per_interface: Quota = (
        "security_groups_per_interface",
        quotas.security_groups_per_interface,
    );
    within(per_interface, names.len() as u64, "security groups", place)?;
    let rules = ("rules_per_interface", quotas.rules_per_interface);
    let carried: Vec<_> = names
        .iter()
        .filter_map(|name| scope.security_groups.get(name.as_str()))
        .collect();
    let sum = |of: fn(&SecurityGroup) -> &[SecurityRule]| {
        carried.iter().map(|group| weight(scope, of(group))).sum()
    };
    within(
        rules,
        sum(|group| &group.ingress),
        counted("ingress"),
        place,
    )?;
    within(rules, sum(|group| &group.egress), counted("egress"), place)?;
    Ok(names.into_iter().collect())
}
