//! ICMP errors cross in both directions with what they quote; echo does not.

use std::{
    io::ErrorKind,
    net::{SocketAddrV4, UdpSocket},
    time::Duration,
};

use tests::{
    echo::{udp_exchange, udp_socket},
    frame::{Body, Ends},
    plan::Plan,
    tap::Tap,
    topology::{GATEWAY, GATEWAY_MAC, INSIDE, INSIDE_MAC, RESOURCE, eni},
    wait::PATIENCE,
    world::{ECHO, World, outbound},
};
use vpc_common::drop::DropReason;

const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const PORT_UNREACHABLE: u8 = 3;
const ECHO_REQUEST: u8 = 8;
const TIME_EXCEEDED: u8 = 11;
const CLOSED_PORT: u16 = 9_998;
/// Where the quoted packet has its source address.
const QUOTED_SOURCE: std::ops::Range<usize> = 12..16;

#[test]
fn a_closed_port_of_the_resource_is_refused_in_the_environment() {
    let world = World::start(Plan::blue(1));
    let tap = Tap::open(world.env(0));
    let (error, port) = world.env(0).run(|| {
        let socket = udp_socket((RESOURCE, CLOSED_PORT)).expect("socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        socket.send(b"anyone?").expect("send");
        let error = socket.recv(&mut [0; 16]).expect_err("nobody answers");
        (error, socket.local_addr().expect("address").port())
    });
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let (from, quoted) = tap.expect("ICMP error", |frame| {
        let packet = frame.packet()?;
        assert_eq!(frame.checksum_error(), None);
        match &packet.body {
            Body::Icmp(UNREACHABLE, PORT_UNREACHABLE, _, quoted) => {
                Some((packet.source(), quoted.clone()))
            }
            _ => None,
        }
    });
    assert_eq!(from, RESOURCE);
    assert_eq!(
        quoted[QUOTED_SOURCE],
        INSIDE.octets(),
        "the quoted packet is the one it sent"
    );
    assert_eq!(quoted[20..22], port.to_be_bytes());
}

#[test]
fn an_error_of_the_environment_reaches_the_resource() {
    let world = World::start(Plan::blue(1));
    let resource = world
        .tenant(0)
        .run(|| UdpSocket::bind((RESOURCE, 9_997)))
        .expect("bind");
    resource.set_read_timeout(Some(PATIENCE)).expect("timeout");
    world.env(0).run(|| {
        let socket = udp_socket((RESOURCE, 9_997)).expect("socket");
        socket.send(b"hello").expect("send");
    });
    let (_, peer) = resource.recv_from(&mut [0; 16]).expect("datagram");
    assert_eq!(peer.ip(), eni(0));
    resource.connect(peer).expect("connect");
    resource
        .send(b"too late: the socket is closed")
        .expect("send");
    let error = resource.recv(&mut [0; 16]).expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn an_error_about_no_flow_is_dropped_and_one_about_a_flow_does_not_end_it() {
    let world = World::start(Plan::blue(1));
    let socket = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
    let seen = udp_exchange(&socket, b"open").expect("echo");
    let before = world.drop_totals();
    let tap = Tap::open(world.tenant(0));
    let back = world.inbound(0, ECHO.port(), seen.peer.port());
    let forth = |port| {
        let ends = Ends {
            source: SocketAddrV4::new(eni(0), port),
            destination: ECHO,
            ..back
        };
        ends.udp(b"")[14..42].to_vec()
    };
    tap.send(&back.icmp(
        UNREACHABLE,
        PORT_UNREACHABLE,
        [0; 4],
        &forth(seen.peer.port() ^ 1),
    ));
    world.assert_dropped(&before, &[(DropReason::IcmpUnmatched, 1)]);
    tap.send(&back.icmp(UNREACHABLE, PORT_UNREACHABLE, [0; 4], &[0x45; 12]));
    world.assert_dropped(
        &before,
        &[
            (DropReason::IcmpUnmatched, 1),
            (DropReason::IcmpMalformed, 1),
        ],
    );
    let flow = world.flows().pop().expect("the flow");
    tap.send(&back.icmp(
        UNREACHABLE,
        PORT_UNREACHABLE,
        [0; 4],
        &forth(seen.peer.port()),
    ));
    let error = socket.recv(&mut [0; 16]).expect_err("the error arrives");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let after = world.flows().pop().expect("the flow lives on");
    assert_eq!(
        (after.slot, after.epoch, after.state),
        (flow.slot, flow.epoch, flow.state)
    );
    assert_eq!(
        udp_exchange(&socket, b"again").expect("echo").peer,
        seen.peer
    );
}

#[test]
fn the_gateway_tells_when_the_time_to_live_runs_out() {
    let world = World::start(Plan::blue(1));
    let tap = Tap::open(world.env(0));
    let before = world.drop_totals();
    tap.send(&outbound(4_000, 33_434).udp_with(b"hop", |ip| ip.time_to_live = 1));
    let (packet, quoted) = tap.expect("time exceeded", |frame| {
        let packet = frame.packet()?;
        assert_eq!(frame.checksum_error(), None);
        match packet.body.clone() {
            Body::Icmp(TIME_EXCEEDED, 0, _, quoted) => Some((packet, quoted)),
            _ => None,
        }
    });
    assert_eq!((packet.source(), packet.destination()), (GATEWAY, INSIDE));
    assert_eq!(
        (packet.source_mac, packet.destination_mac),
        (GATEWAY_MAC, INSIDE_MAC)
    );
    assert_eq!(quoted[QUOTED_SOURCE], INSIDE.octets());
    world.assert_dropped(&before, &[(DropReason::TtlExpired, 1)]);
    assert!(
        world.flows().is_empty(),
        "a packet that goes nowhere opens no flow"
    );
}

#[test]
fn the_time_to_live_falls_by_one_each_way() {
    let world = World::start(Plan::blue(1));
    let (inside, outside) = (Tap::open(world.env(0)), Tap::open(world.tenant(0)));
    inside.send(&outbound(4_000, ECHO.port()).udp_with(b"x", |ip| ip.time_to_live = 33));
    let out = outside.expect("datagram", |frame| {
        frame.packet().filter(|p| p.udp().is_some())
    });
    assert_eq!(out.ip.time_to_live, 32);
    let back = inside.expect("echo", |frame| frame.packet().filter(|p| p.udp().is_some()));
    assert_eq!(back.ip.time_to_live, 63);
}

#[test]
fn the_gateway_answers_a_ping_and_the_resource_is_not_pinged() {
    let world = World::start(Plan::blue(1));
    let (inside, outside) = (Tap::open(world.env(0)), Tap::open(world.tenant(0)));
    let before = world.drop_totals();
    let mut ends = outbound(0, 0);
    ends.destination.set_ip(GATEWAY);
    inside.send(&ends.icmp(ECHO_REQUEST, 0, [0, 9, 0, 1], b"are you there?"));
    let body = inside.expect("echo reply", |frame| {
        let packet = frame.packet().filter(|packet| packet.source() == GATEWAY)?;
        assert_eq!(frame.checksum_error(), None);
        Some(packet.body)
    });
    assert!(
        matches!(&body, Body::Icmp(ECHO_REPLY, 0, [0, 9, 0, 1], data) if data == b"are you there?"),
        "{body:?}"
    );
    world.assert_dropped(&before, &[]);
    inside.send(&outbound(0, 0).icmp(ECHO_REQUEST, 0, [0, 9, 0, 2], b"and you?"));
    world.assert_dropped(&before, &[(DropReason::IcmpQuery, 1)]);
    outside.send(
        &world
            .inbound(0, 0, 0)
            .icmp(ECHO_REQUEST, 0, [0, 9, 0, 3], b"and you?"),
    );
    world.assert_dropped(
        &before,
        &[(DropReason::IcmpQuery, 1), (DropReason::Unsolicited, 1)],
    );
    let crossed = outside.collect(Duration::from_millis(100));
    assert!(
        crossed.iter().all(|frame| frame.packet().is_none()),
        "{crossed:?}"
    );
}
