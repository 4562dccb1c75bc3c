//! UDP fragments pass both ways in any order; those of TCP and ICMP do not.

use std::{
    net::{SocketAddrV4, UdpSocket},
    time::Duration,
};

use etherparse::IpNumber;
use tests::{
    echo::{udp_exchange, udp_socket},
    frame::Ends,
    plan::Plan,
    tap::Tap,
    topology::RESOURCE,
    wait::PATIENCE,
    world::{ECHO, World, outbound},
};
use vpc_common::drop::DropReason;

const LEN: usize = 4_000;
/// Where the datagram is cut, a multiple of eight.
const CUTS: [usize; 2] = [1_480, 2_960];
/// Ethernet and IPv4 header of a frame that was built.
const HEADERS: usize = 34;

fn payload() -> Vec<u8> {
    (0..LEN).map(|n| (n * 7 + n / 251) as u8).collect()
}

/// The three fragments of one datagram.
fn fragments(ends: &Ends, id: u16) -> [Vec<u8>; 3] {
    let whole = ends.udp(&payload());
    let datagram = &whole[HEADERS..];
    [
        ends.fragment(IpNumber::UDP, id, 0, true, &datagram[..CUTS[0]]),
        ends.fragment(
            IpNumber::UDP,
            id,
            CUTS[0],
            true,
            &datagram[CUTS[0]..CUTS[1]],
        ),
        ends.fragment(IpNumber::UDP, id, CUTS[1], false, &datagram[CUTS[1]..]),
    ]
}

const ORDERS: [[usize; 3]; 4] = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]];

#[test]
fn a_datagram_in_fragments_is_echoed_in_fragments() {
    let world = World::start(Plan::blue(2));
    for index in 0..2 {
        let socket = world.env(index).run(|| udp_socket(ECHO)).expect("socket");
        for _ in 0..3 {
            assert_eq!(
                udp_exchange(&socket, &payload()).expect("echo").payload,
                payload()
            );
        }
        assert_eq!(world.env(index).counter("Udp", "InCsumErrors"), 0);
    }
    assert_eq!(world.tenant(0).counter("Udp", "InCsumErrors"), 0);
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
}

#[test]
fn fragments_out_of_order_reach_the_resource() {
    const PORT: u16 = 9_999;
    let world = World::start(Plan::blue(1));
    let resource = world
        .tenant(0)
        .run(|| UdpSocket::bind((RESOURCE, PORT)))
        .expect("bind");
    resource.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let tap = Tap::open(world.env(0));
    for (n, order) in ORDERS.iter().enumerate() {
        // A port of its own each time: the flow is new as well.
        let parts = fragments(&outbound(4_000 + n as u16, PORT), 100 + n as u16);
        for index in order {
            tap.send(&parts[*index]);
        }
        let mut buffer = vec![0; 65_536];
        let len = resource
            .recv(&mut buffer)
            .unwrap_or_else(|e| panic!("order {order:?}: {e}"));
        assert!(
            buffer[..len] == payload(),
            "order {order:?}: payload differs"
        );
    }
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
}

#[test]
fn fragments_out_of_order_reach_the_environment() {
    let world = World::start(Plan::blue(1));
    let socket = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
    let seen = udp_exchange(&socket, b"open").expect("echo");
    let tap = Tap::open(world.tenant(0));
    let ends = world.inbound(0, ECHO.port(), seen.peer.port());
    for (n, order) in ORDERS.iter().enumerate() {
        let parts = fragments(&ends, 200 + n as u16);
        for index in order {
            tap.send(&parts[*index]);
        }
        let mut buffer = vec![0; 65_536];
        let len = socket
            .recv(&mut buffer)
            .unwrap_or_else(|e| panic!("order {order:?}: {e}"));
        assert!(
            buffer[..len] == payload(),
            "order {order:?}: payload differs"
        );
    }
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
}

#[test]
fn a_fragment_whose_first_never_comes_is_given_up_and_counted() {
    let world = World::start(Plan::blue(1));
    let before = world.drop_totals();
    let [_, second, third] = fragments(&outbound(4_500, ECHO.port()), 300);
    let tap = Tap::open(world.env(0));
    tap.send(&second);
    tap.send(&third);
    world.assert_dropped(&before, &[(DropReason::FragmentUnknown, 2)]);
    assert!(world.flows().is_empty(), "a later fragment opens no flow");
}

#[test]
fn fragments_of_tcp_and_icmp_are_dropped_and_counted() {
    let world = World::start(Plan::blue(1));
    let resource = Tap::open(world.tenant(0));
    let before = world.drop_totals();
    let (tap, ends) = (Tap::open(world.env(0)), outbound(4_000, 80));
    tap.send(&ends.fragment(IpNumber::TCP, 1, 0, true, &[0; 64]));
    tap.send(&ends.fragment(IpNumber::TCP, 1, 64, false, &[0; 64]));
    tap.send(&ends.fragment(IpNumber::ICMP, 2, 0, true, &[0; 64]));
    let moved = [(DropReason::TcpFragment, 2), (DropReason::IcmpFragment, 1)];
    world.assert_dropped(&before, &moved);
    let inbound = world.inbound(0, 80, 4_000);
    let source = SocketAddrV4::new(RESOURCE, 80);
    resource.send(&Ends { source, ..inbound }.fragment(IpNumber::TCP, 3, 0, true, &[0; 64]));
    world.assert_dropped(
        &before,
        &[(DropReason::TcpFragment, 3), (DropReason::IcmpFragment, 1)],
    );
    let crossed = resource.collect(Duration::from_millis(100));
    assert!(
        crossed.iter().all(|frame| frame.packet().is_none()),
        "{crossed:?}"
    );
}
