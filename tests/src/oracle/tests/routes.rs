//! Route tables.

use super::*;

fn via(uplink: &str, address: &str) -> Result<(String, Ipv4Addr), Refusal> {
    Ok((uplink.to_owned(), ip(address)))
}

fn to_interface() -> Target {
    Target::Interface(name("db"))
}

fn to_peer() -> Target {
    Target::Peering(name("red-green"))
}

#[test]
fn the_own_subnet_is_on_the_link() {
    assert_eq!(hop(&world(), "10.0.1.77"), via("up-red", "10.0.1.77"));
}

#[test]
fn every_block_of_the_vpc_has_a_local_route() {
    let config = world();
    assert_eq!(hop(&config, "10.0.2.20"), via("up-red", "10.0.1.1"));
    assert_eq!(hop(&config, "10.1.255.255"), via("up-red", "10.0.1.1"));
    assert_eq!(hop(&config, "10.2.0.0"), Err(Refusal::NoRoute));
    let by = oracle(&config).route(ip("10.1.0.0")).by;
    assert_eq!(by, By::Local(net("10.1.0.0/16")));
}

#[test]
fn a_vpc_whose_addresses_are_all_neighbours_needs_no_router() {
    let mut config = world();
    config.network.vpcs[0].local = LocalDelivery::OnLink;
    assert_eq!(hop(&config, "10.1.0.9"), via("up-red", "10.1.0.9"));
}

#[test]
fn other_subnets_are_out_of_reach_without_a_router() {
    let mut config = world();
    config.network.subnets[0].router = None;
    assert_eq!(hop(&config, "10.0.2.20"), Err(Refusal::Blackhole));
    assert_eq!(hop(&config, "10.0.1.20"), via("up-red", "10.0.1.20"));
}

#[test]
fn what_no_route_matches_is_dropped() {
    assert_eq!(hop(&world(), "8.8.8.8"), Err(Refusal::NoRoute));
}

#[test]
fn the_longest_prefix_decides() {
    let mut config = world();
    *red_routes(&mut config) = vec![
        route("0.0.0.0/0", to_interface()),
        route("203.0.113.0/24", Target::Blackhole),
        route("203.0.113.128/25", to_interface()),
    ];
    assert_eq!(hop(&config, "8.8.8.8"), via("up-red", "10.0.1.1"));
    assert_eq!(hop(&config, "203.0.113.127"), Err(Refusal::Blackhole));
    assert_eq!(hop(&config, "203.0.113.128"), via("up-red", "10.0.1.1"));
}

#[test]
fn the_local_route_is_longer_than_the_default_route() {
    let mut config = world();
    *red_routes(&mut config) = vec![route("0.0.0.0/0", Target::Blackhole)];
    assert_eq!(hop(&config, "10.0.2.20"), via("up-red", "10.0.1.1"));
    assert_eq!(hop(&config, "11.0.0.0"), Err(Refusal::Blackhole));
}

#[test]
fn a_whole_subnet_may_be_routed_by_an_interface() {
    let mut config = world();
    config.network.interfaces[0] = interface("near", "db", "10.0.1.50", &["red-db"]);
    *red_routes(&mut config) = vec![route("10.0.2.0/24", to_interface())];
    assert_eq!(hop(&config, "10.0.2.20"), via("up-red", "10.0.1.50"));
    assert_eq!(hop(&config, "10.0.3.20"), via("up-red", "10.0.1.1"));
}

#[test]
fn a_static_route_goes_before_a_prefix_list_of_equal_length() {
    let mut config = world();
    *red_routes(&mut config) = vec![
        Route {
            destination: Destination::PrefixList(name("offices")),
            target: Target::Blackhole,
        },
        route("203.0.113.0/24", to_interface()),
    ];
    assert_eq!(hop(&config, "203.0.113.9"), via("up-red", "10.0.1.1"));
    assert_eq!(hop(&config, "198.51.100.7"), Err(Refusal::Blackhole));
    let by = oracle(&config).route(ip("198.51.100.7")).by;
    let expected = By::PrefixList {
        index: 0,
        list: name("offices"),
        prefix: net("198.51.100.7/32"),
    };
    assert_eq!(by, expected);
}

#[test]
fn a_longer_prefix_of_a_list_goes_before_a_static_route() {
    let mut config = world();
    *red_routes(&mut config) = vec![
        route("203.0.0.0/16", to_interface()),
        Route {
            destination: Destination::PrefixList(name("offices")),
            target: Target::Blackhole,
        },
    ];
    assert_eq!(hop(&config, "203.0.113.9"), Err(Refusal::Blackhole));
}

#[test]
fn a_static_route_for_a_block_of_the_vpc_replaces_its_local_target() {
    let mut config = world();
    config.network.vpcs[0].cidrs = vec![net("10.0.1.0/24"), net("10.0.2.0/24")];
    config.network.interfaces[0] = interface("near", "db", "10.0.1.50", &["red-db"]);
    *red_routes(&mut config) = vec![route("10.0.2.0/24", to_interface())];
    assert_eq!(hop(&config, "10.0.2.20"), via("up-red", "10.0.1.50"));
}

#[test]
fn the_reserved_range_is_never_forwarded() {
    let mut config = world();
    *red_routes(&mut config) = vec![route("169.254.0.0/16", to_interface())];
    let edges = [
        "169.254.167.255",
        "169.254.168.0",
        "169.254.171.255",
        "169.254.172.0",
    ];
    let forwarded = edges.map(|address| hop(&config, address).is_ok());
    assert_eq!(forwarded, [true, false, false, true]);
}

#[test]
fn peering_leads_out_by_the_other_vpcs_uplink() {
    let mut config = world();
    *red_routes(&mut config) = vec![route("172.16.0.0/16", to_peer())];
    assert_eq!(hop(&config, "172.16.1.20"), via("up-green", "172.16.0.1"));
    config.network.peerings[0].routers = [None, None];
    assert_eq!(hop(&config, "172.16.1.20"), via("up-green", "172.16.1.20"));
    // Whichever of the two is named first.
    config.network.peerings[0].vpcs.reverse();
    config.network.peerings[0].routers = [Some(ip("172.16.0.9")), Some(ip("10.0.0.9"))];
    assert_eq!(hop(&config, "172.16.1.20"), via("up-green", "172.16.0.9"));
}

#[test]
fn peering_without_a_route_leads_nowhere() {
    assert_eq!(hop(&world(), "172.16.1.20"), Err(Refusal::NoRoute));
}

#[test]
fn peering_leads_to_the_other_vpc_and_not_through_it() {
    let mut config = world();
    *red_routes(&mut config) = vec![route("0.0.0.0/0", to_peer())];
    assert_eq!(hop(&config, "172.16.1.20"), via("up-green", "172.16.0.1"));
    assert_eq!(hop(&config, "172.17.0.0"), Err(Refusal::NoRoute));
}

#[test]
fn the_table_of_the_source_subnet_is_looked_up() {
    let mut config = world();
    config.network.route_tables.push(RouteTable {
        name: name("far-table"),
        routes: vec![route("8.8.8.0/24", Target::Blackhole)],
        ..table("red")
    });
    config.network.subnets[1].route_table = name("far-table");
    assert_eq!(hop(&config, "8.8.8.8"), Err(Refusal::NoRoute));
    config.network.subnets[0].route_table = name("far-table");
    assert_eq!(hop(&config, "8.8.8.8"), Err(Refusal::Blackhole));
}
