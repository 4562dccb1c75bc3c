//! ARP on both sides, and the first packet towards an unknown neighbour.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use etherparse::ArpOperation;
use tests::{
    frame::Ends,
    http,
    plan::Plan,
    tap::Tap,
    topology::{GATEWAY, GATEWAY_MAC, INSIDE, NOBODY, RESOURCE, RESOURCE_MAC, eni, mac_of},
    world::{ECHO, HTTP, World, outbound},
};
use vpc_common::drop::DropReason;

const QUIET: Duration = Duration::from_millis(300);

fn ask(ends: Ends, target: Ipv4Addr) -> Vec<u8> {
    Ends {
        destination: SocketAddrV4::new(target, 0),
        ..ends
    }
    .arp_request()
}

fn answer(tap: &Tap, target: Ipv4Addr, time: Duration) -> Option<[u8; 6]> {
    tap.find(time, |frame| {
        let arp = frame.arp()?;
        let wanted = arp.operation == ArpOperation::REPLY && arp.sender_ipv4 == target.octets();
        wanted.then_some(arp.sender_mac)
    })
}

#[test]
fn the_gateway_has_the_virtual_mac_for_every_clone() {
    let world = World::start(Plan::blue(2));
    for index in 0..2 {
        let tap = Tap::open(world.env(index));
        tap.send(&ask(outbound(0, 0), GATEWAY));
        assert_eq!(
            answer(&tap, GATEWAY, tests::wait::PATIENCE),
            Some(GATEWAY_MAC)
        );
        for silent in [RESOURCE, INSIDE, NOBODY] {
            tap.send(&ask(outbound(0, 0), silent));
            assert_eq!(answer(&tap, silent, QUIET), None, "{silent}");
        }
    }
    assert!(world.drop_count(DropReason::ArpIgnored) >= 6);
}

#[test]
fn enis_are_answered_for_on_their_uplink_and_nothing_else_is() {
    let world = World::start(Plan::blue(1).with_tenant(|tenant| tenant.enis = 2));
    let uplink = mac_of(world.host(), "up-blue");
    let tap = Tap::open(world.tenant(0));
    for index in 0..2 {
        tap.send(&ask(world.inbound(0, 0, 0), eni(index)));
        assert_eq!(
            answer(&tap, eni(index), tests::wait::PATIENCE),
            Some(uplink)
        );
    }
    for silent in [NOBODY, eni(2), INSIDE] {
        tap.send(&ask(world.inbound(0, 0, 0), silent));
        assert_eq!(answer(&tap, silent, QUIET), None, "{silent}");
    }
}

#[test]
fn an_eni_that_comes_up_announces_itself() {
    let mut world = World::build(Plan::blue(0));
    let tap = Tap::open(world.tenant(0));
    world.start_agent();
    let arp = tap.expect("gratuitous ARP", |frame| {
        frame
            .arp()
            .filter(|arp| arp.sender_ipv4 == eni(0).octets() && arp.target_ipv4 == eni(0).octets())
    });
    assert_eq!(arp.sender_mac, mac_of(world.host(), "up-blue"));
}

#[test]
fn the_first_packet_to_an_unknown_neighbour_is_not_lost() {
    let world = World::start(Plan::new(&["blue", "green"], 1));
    for index in 0..2 {
        world.env(index).run(|| http::whoami(HTTP)).expect("fetch");
        // A SYN that got lost would have been sent again after a second.
        assert_eq!(world.env(index).counter("Tcp", "RetransSegs"), 0);
    }
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
}

#[test]
fn a_neighbour_that_never_answers_is_given_up_and_counted() {
    let world = World::start(Plan::blue(1));
    let before = world.drop_totals();
    let mut ends = outbound(4_000, 80);
    ends.destination.set_ip(NOBODY);
    Tap::open(world.env(0)).send(&ends.udp(b"anyone?"));
    world.assert_dropped(&before, &[(DropReason::NextHopUnresolved, 1)]);
    // Others are not held up by it.
    world.env(0).run(|| http::whoami(HTTP)).expect("fetch");
}

#[test]
fn a_neighbour_that_changes_its_mac_is_found_again() {
    const NEW_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x65];
    let world = World::start(Plan::blue(1));
    let socket = world
        .env(0)
        .run(|| tests::echo::udp_socket(ECHO))
        .expect("socket");
    let seen = tests::echo::udp_exchange(&socket, b"before").expect("echo");
    assert_ne!(NEW_MAC, RESOURCE_MAC);
    let mac = tests::topology::mac_text(NEW_MAC);
    world
        .tenant(0)
        .ip(&["link", "set", "eth0", "address", &mac]);
    let announcement = Ends {
        source_mac: NEW_MAC,
        source: SocketAddrV4::new(RESOURCE, 0),
        ..world.inbound(0, 0, 0)
    };
    Tap::open(world.tenant(0)).send(&ask(announcement, eni(0)));
    let back = tests::wait::find(tests::wait::PATIENCE, || {
        tests::echo::udp_exchange(&socket, b"after").ok()
    });
    assert_eq!(
        back.expect("echo").peer,
        seen.peer,
        "the flow knows nothing of MACs"
    );
}
