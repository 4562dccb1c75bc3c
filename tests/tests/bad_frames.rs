//! Frames that should not be: each ends with its own reason and nothing else moves.

use std::{net::Ipv4Addr, time::Duration};

use etherparse::IpNumber;
use tests::{
    echo::{udp_exchange, udp_socket},
    frame::{Ends, Frame},
    plan::Plan,
    tap::Tap,
    topology::GATEWAY,
    wait::PATIENCE,
    world::{ECHO, World, outbound},
};
use vpc_common::{
    drop::DropReason::{self, *},
    state::tcp_flags::ACK,
};

const IP: usize = 14;
const L4: usize = 34;

fn changed(mut frame: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
    frame[at] = value;
    frame
}

/// Changes a byte of the IPv4 header and makes its checksum right again.
fn ip_changed(frame: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
    let mut frame = changed(frame, IP + at, value);
    frame[IP + 10..IP + 12].fill(0);
    let mut sum: u32 = frame[IP..L4]
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    frame[IP + 10..IP + 12].copy_from_slice(&(!sum as u16).to_be_bytes());
    frame
}

fn to(address: Ipv4Addr) -> Ends {
    let mut ends = outbound(4_000, 80);
    ends.destination.set_ip(address);
    ends
}

fn from(address: Ipv4Addr) -> Ends {
    let mut ends = outbound(4_000, 80);
    ends.source.set_ip(address);
    ends
}

fn tagged(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0x00, 0x00, 0x07], &frame[12..]].concat()
}

/// What an environment may try, and why it ends.
fn from_an_environment() -> Vec<(&'static str, Vec<u8>, DropReason)> {
    let (udp, tcp) = (
        outbound(4_000, 80).udp(b"payload"),
        outbound(4_000, 80).tcp(ACK, 1, 1, b""),
    );
    let ends = outbound(4_000, 80);
    let short_arp = ends.arp_request()[..30].to_vec();
    vec![
        ("VLAN tag", tagged(&udp), VlanTagged),
        (
            "IPv6",
            [&udp[..12], &[0x86, 0xdd], &[0x60; 40][..]].concat(),
            EthertypeUnsupported,
        ),
        ("an ARP packet cut short", short_arp, FrameTruncated),
        (
            "half an IPv4 header",
            udp[..IP + 10].to_vec(),
            Ipv4Malformed,
        ),
        (
            "IP version 5",
            ip_changed(udp.clone(), 0, 0x55),
            Ipv4Malformed,
        ),
        (
            "a header of 16 bytes",
            ip_changed(udp.clone(), 0, 0x44),
            Ipv4Malformed,
        ),
        (
            "a total length beyond the frame",
            ip_changed(udp.clone(), 3, 200),
            Ipv4Malformed,
        ),
        (
            "a total length below the header",
            ip_changed(udp.clone(), 3, 19),
            Ipv4Malformed,
        ),
        (
            "a wrong header checksum",
            changed(udp.clone(), IP + 10, !udp[IP + 10]),
            Ipv4Checksum,
        ),
        (
            "another's address",
            from([172, 16, 0, 99].into()).udp(b"spoof"),
            SourceSpoofed,
        ),
        (
            "the gateway's address",
            from(GATEWAY).udp(b"spoof"),
            SourceSpoofed,
        ),
        (
            "no address",
            from(Ipv4Addr::UNSPECIFIED).udp(b"spoof"),
            SourceSpoofed,
        ),
        (
            "multicast",
            to([224, 0, 0, 5].into()).udp(b"all"),
            DestinationNotUnicast,
        ),
        (
            "broadcast",
            to(Ipv4Addr::BROADCAST).udp(b"all"),
            DestinationNotUnicast,
        ),
        (
            "loopback",
            to(Ipv4Addr::LOCALHOST).udp(b"self"),
            DestinationNotUnicast,
        ),
        ("UDP to the gateway", to(GATEWAY).udp(b"hello"), ToGateway),
        (
            "TCP to the gateway",
            to(GATEWAY).tcp(2, 1, 0, b""),
            ToGateway,
        ),
        (
            "SCTP",
            ends.fragment(IpNumber::SCTP, 1, 0, false, &[0; 32]),
            ProtocolUnsupported,
        ),
        (
            "four bytes of UDP",
            ends.fragment(IpNumber::UDP, 1, 0, false, &[0; 4]),
            L4Truncated,
        ),
        (
            "ten bytes of TCP",
            ends.fragment(IpNumber::TCP, 1, 0, false, &[0; 10]),
            L4Truncated,
        ),
        (
            "a UDP length beyond the packet",
            changed(udp.clone(), L4 + 5, 99),
            L4Malformed,
        ),
        (
            "a UDP length below its header",
            changed(udp.clone(), L4 + 5, 7),
            L4Malformed,
        ),
        (
            "a TCP header of 16 bytes",
            changed(tcp.clone(), L4 + 12, 0x40),
            L4Malformed,
        ),
        (
            "a TCP header beyond the packet",
            changed(tcp.clone(), L4 + 12, 0xf0),
            L4Malformed,
        ),
        (
            "source port zero",
            outbound(0, 80).udp(b"zero"),
            L4Malformed,
        ),
        (
            "destination port zero",
            outbound(4_000, 0).udp(b"zero"),
            L4Malformed,
        ),
        ("a segment of no connection", tcp, TcpMidStream),
        ("a ping", ends.icmp(8, 0, [0; 4], b"ping"), IcmpQuery),
    ]
}

#[test]
fn a_bad_frame_of_an_environment_ends_with_its_own_reason() {
    let world = World::start(Plan::blue(1));
    let (inside, outside) = (Tap::open(world.env(0)), Tap::open(world.tenant(0)));
    for (what, frame, reason) in from_an_environment() {
        eprintln!("{what}: {}", reason.label());
        let before = world.drop_totals();
        inside.send(&frame);
        world.assert_dropped(&before, &[(reason, 1)]);
    }
    let crossed = outside.collect(Duration::from_millis(100));
    assert!(
        crossed.iter().all(|frame| frame.packet().is_none()),
        "{crossed:?}"
    );
    assert!(world.flows().is_empty(), "{:?}", world.flows());
}

#[test]
fn a_bad_frame_on_an_uplink_ends_with_its_own_reason() {
    let world = World::start(Plan::blue(1));
    let socket = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
    let seen = udp_exchange(&socket, b"open").expect("echo");
    let (inside, outside) = (Tap::open(world.env(0)), Tap::open(world.tenant(0)));
    let reply = world.inbound(0, ECHO.port(), seen.peer.port());
    let good = reply.udp(b"payload");
    let elsewhere = Ends {
        destination_mac: [2, 9, 9, 9, 9, 9],
        ..reply
    };
    let mut not_an_eni = reply;
    not_an_eni.destination.set_ip([10, 0, 0, 200].into());
    let table = [
        ("another station's frame", elsewhere.udp(b"x"), NotForLink),
        ("no ENI's address", not_an_eni.udp(b"x"), NotAnEni),
        (
            "an unknown port",
            world.inbound(0, 7, 50_001).udp(b"x"),
            Unsolicited,
        ),
        (
            "a wrong header checksum",
            changed(good.clone(), IP + 10, !good[IP + 10]),
            Ipv4Checksum,
        ),
        (
            "a header of 16 bytes",
            ip_changed(good.clone(), 0, 0x44),
            Ipv4Malformed,
        ),
        (
            "a UDP length beyond the packet",
            changed(good.clone(), L4 + 5, 99),
            L4Malformed,
        ),
        (
            "SCTP",
            reply.fragment(IpNumber::SCTP, 1, 0, false, &[0; 32]),
            ProtocolUnsupported,
        ),
        (
            "a time to live of one",
            reply.udp_with(b"x", |ip| ip.time_to_live = 1),
            TtlExpired,
        ),
    ];
    for (what, frame, reason) in table {
        eprintln!("{what}: {}", reason.label());
        let before = world.drop_totals();
        outside.send(&frame);
        world.assert_dropped(&before, &[(reason, 1)]);
    }
    let crossed = inside.collect(Duration::from_millis(100));
    assert!(
        crossed.iter().all(|frame| frame.packet().is_none()),
        "{crossed:?}"
    );
}

#[test]
fn ip_options_are_carried() {
    let world = World::start(Plan::blue(1));
    let (inside, outside) = (Tap::open(world.env(0)), Tap::open(world.tenant(0)));
    let options = [1, 1, 1, 1, 1, 1, 1, 0];
    inside.send(&outbound(4_000, ECHO.port()).udp_with(b"options", |ip| {
        ip.options = etherparse::Ipv4Options::try_from(&options[..]).expect("eight bytes");
    }));
    let (frame, packet): (Frame, _) = outside.expect("datagram", |frame| {
        let packet = frame.packet().filter(|packet| packet.udp().is_some())?;
        Some((frame.clone(), packet))
    });
    assert_eq!(frame.checksum_error(), None);
    assert_eq!(packet.ip.options.as_slice(), options);
    let echo = inside.find(PATIENCE, |frame| {
        frame.packet().filter(|p| p.udp().is_some())
    });
    assert!(echo.is_some(), "the echo comes back");
}

#[test]
fn an_attached_environment_without_a_mac_is_heard_first() {
    let world = World::start(Plan::blue(1));
    // Nothing but a UDP datagram: its MAC is learnt from that very frame.
    let tap = Tap::open(world.env(0));
    tap.send(&outbound(4_000, ECHO.port()).udp(b"first"));
    tap.expect("echo", |frame| {
        frame.packet().filter(|packet| packet.udp().is_some())
    });
    let listed = world.list().pop().expect("one environment");
    assert_eq!(
        listed.mac,
        Some(tests::topology::mac_text(tests::topology::INSIDE_MAC))
    );
}
