//! What holds of every state.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use crate::control::{
    Key, Settings, State,
    ec2::{addresses, cidr_blocks::overlap, lookup::Form, routes, security_groups, shown},
    resource::*,
};

pub(super) fn hold(state: &State, settings: &Settings) {
    let dangling: Vec<_> = state.dangling().collect();
    assert!(dangling.is_empty(), "{dangling:?}");
    vpcs(state, settings);
    subnets(state, settings);
    groups(state, settings);
    acls(state, settings);
    tables(state, settings);
    lists(state, settings);
    for record in state.records() {
        let key = record.key();
        let form = Form::of(key.kind).unwrap();
        assert!(form.id.is_well_formed(&key.id), "{key}");
        assert!(shown(state, record).is_object(), "{key}");
    }
}

/// That no two are equal.
fn distinct<T: Ord + Debug>(items: impl IntoIterator<Item = T>) {
    let mut seen = BTreeSet::new();
    for item in items {
        assert!(!seen.contains(&item), "{item:?} is there twice");
        seen.insert(item);
    }
}

fn vpcs(state: &State, settings: &Settings) {
    let mut of_account = BTreeMap::new();
    for vpc in state.all::<Vpc>() {
        *of_account.entry(vpc.owner_id).or_insert(0) += 1;
        let blocks: Vec<_> = vpc.cidrs().collect();
        assert!((1..=settings.quotas.cidrs_per_vpc as usize).contains(&blocks.len()));
        for (index, block) in blocks.iter().enumerate() {
            assert_eq!(*block, block.trunc());
            assert!((16..=28).contains(&block.prefix_len()));
            let mut earlier = blocks.iter().take(index);
            assert!(!earlier.any(|other| overlap(*other, *block)));
        }
        let key = Key::of::<Vpc>(vpc.vpc_id.as_str());
        let default_groups = state.referring::<SecurityGroup>(&key);
        assert_eq!(default_groups.filter(|group| group.is_default()).count(), 1);
        let default_acls = state.referring::<NetworkAcl>(&key);
        assert_eq!(default_acls.filter(|acl| acl.is_default).count(), 1);
        let main_tables = state.referring::<RouteTable>(&key);
        assert_eq!(main_tables.filter(|table| table.is_main()).count(), 1);
        let groups = state.referring::<SecurityGroup>(&key);
        distinct(groups.map(|group| group.group_name.to_ascii_lowercase()));
        let quotas = &settings.quotas;
        let count = |count: usize, quota: u32| assert!(count <= quota as usize);
        count(
            state.referring::<Subnet>(&key).count(),
            quotas.subnets_per_vpc,
        );
        let tables = state.referring::<RouteTable>(&key).count();
        count(tables, quotas.route_tables_per_vpc);
        let acls = state.referring::<NetworkAcl>(&key).count();
        count(acls, quotas.network_acls_per_vpc);
    }
    assert!(of_account.values().all(|count| *count <= settings.vpcs));
}

fn subnets(state: &State, settings: &Settings) {
    let subnets: Vec<&Subnet> = state.all().collect();
    for (index, subnet) in subnets.iter().enumerate() {
        let vpc = state.get::<Vpc>(subnet.vpc_id.as_str()).unwrap();
        let block = subnet.cidr_block;
        assert_eq!(block, block.trunc());
        assert!((16..=28).contains(&block.prefix_len()));
        assert!(vpc.cidrs().any(|cidr| cidr.contains(&block)));
        assert!(settings.zones.contains(&subnet.availability_zone));
        let mut earlier = subnets.iter().take(index);
        assert!(
            !earlier
                .any(|other| { other.vpc_id == subnet.vpc_id && overlap(other.cidr_block, block) })
        );
        let acl = state.get::<NetworkAcl>(subnet.network_acl_id.as_str());
        assert_eq!(acl.unwrap().vpc_id, subnet.vpc_id);
        let key = Key::of::<Subnet>(subnet.subnet_id.as_str());
        assert!(state.referring::<RouteTable>(&key).count() <= 1);
        let interfaces: Vec<&Interface> = state.referring(&key).collect();
        distinct(interfaces.iter().map(|one| one.private_ip_address));
        let size = 1_usize << (32 - block.prefix_len());
        let available = addresses::available_count(state, subnet);
        assert_eq!(available, size - 5 - interfaces.len());
    }
    distinct(subnets.iter().map(|one| &one.network_acl_association_id));
}

fn groups(state: &State, settings: &Settings) {
    let mut ids = Vec::new();
    for group in state.all::<SecurityGroup>() {
        let quota = u64::from(settings.quotas.rules_per_security_group);
        for is_egress in [false, true] {
            assert!(security_groups::weight(state, group, is_egress) <= quota);
        }
        let said =
            |rule: &SecurityGroupRule| (rule.is_egress, rule.traffic.clone(), rule.peer.clone());
        distinct(group.rules.iter().map(said));
        ids.extend(group.rules.iter().map(|rule| &rule.security_group_rule_id));
        for rule in &group.rules {
            if let RulePeer::CidrIpv4(cidr) = rule.peer {
                assert_eq!(cidr, cidr.trunc());
            }
        }
        is_tagged(settings, group.tags.len());
    }
    distinct(ids);
}

fn is_tagged(settings: &Settings, count: usize) {
    assert!(count <= settings.tags_per_resource as usize);
}

fn acls(state: &State, settings: &Settings) {
    for acl in state.all::<NetworkAcl>() {
        for egress in [false, true] {
            let entries = acl.entries.iter().filter(|entry| entry.egress == egress);
            let numbers: Vec<u16> = entries.map(|entry| entry.rule_number).collect();
            assert!(numbers.len() <= settings.quotas.entries_per_network_acl as usize);
            assert!(numbers.is_sorted());
            distinct(&numbers);
            assert!(numbers.iter().all(|number| (1..=32_766).contains(number)));
        }
        is_tagged(settings, acl.tags.len());
    }
}

fn tables(state: &State, settings: &Settings) {
    let mut associations = Vec::new();
    for table in state.all::<RouteTable>() {
        let vpc = state.get::<Vpc>(table.vpc_id.as_str()).unwrap();
        assert!(routes::weight(state, table) <= u64::from(settings.quotas.routes_per_table));
        distinct(table.routes.iter().map(|route| &route.destination));
        for route in &table.routes {
            let is_middlebox = matches!(
                route.target,
                RouteTarget::NatGatewayId(_) | RouteTarget::NetworkInterfaceId(_)
            );
            for prefix in routes::prefixes(state, route) {
                assert!(
                    !"169.254.168.0/22"
                        .parse::<ipnet::Ipv4Net>()
                        .unwrap()
                        .contains(&prefix)
                );
                assert!(vpc.cidrs().all(|cidr| cidr != prefix));
                let is_inside = vpc.cidrs().any(|cidr| cidr.contains(&prefix));
                assert!(!is_inside || is_middlebox, "{route:?}");
            }
        }
        for one in &table.associations {
            let subnet = state.get::<Subnet>(one.subnet_id.as_str()).unwrap();
            assert_eq!(subnet.vpc_id, table.vpc_id);
        }
        let explicit = table.associations.iter();
        associations.extend(table.main_association_id.iter());
        associations.extend(explicit.map(|one| &one.route_table_association_id));
        is_tagged(settings, table.tags.len());
    }
    distinct(associations);
}

fn lists(state: &State, settings: &Settings) {
    for list in state.all::<PrefixList>() {
        assert!(list.max_entries <= settings.quotas.entries_per_prefix_list);
        assert!(list.entries.len() <= list.max_entries as usize);
        distinct(list.entries.iter().map(|entry| entry.cidr));
    }
}
