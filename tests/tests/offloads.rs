//! What a stack leaves to a device, through TC: super-packets stay whole and count
//! as what they become, half-made checksums stay half made where a device follows,
//! and nobody uses either to change a packet after it was checked.

use std::{
    net::UdpSocket,
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use tests::{
    content::expected_digest,
    echo::{udp_exchange, udp_socket},
    frame::Frame,
    http,
    plan::Plan,
    tap::Tap,
    wait::{PATIENCE, eventually},
    world::{ECHO, HTTP, World, outbound},
};
use vpc_common::drop::DropReason;
use vpc_user::model::{FlowInfo, HookWish};

/// Ethernet and IPv4 header.
const L4: u16 = 34;

fn tc(plan: Plan) -> World {
    World::start(plan.with_hooks(HookWish::Tc, HookWish::Tc))
}

/// Packets and bytes of IP that these frames are on a wire, and whether one of them
/// is a super-packet.
fn on_wire<'f>(frames: impl Iterator<Item = &'f Frame>) -> (u64, u64, bool) {
    let (mut packets, mut bytes, mut super_packets) = (0, 0, false);
    for frame in frames {
        let len = u64::from(u16::from_be_bytes([frame.bytes[16], frame.bytes[17]]));
        let l4 = 14 + usize::from(frame.bytes[14] & 15) * 4;
        let transport = match frame.bytes[23] {
            6 => usize::from(frame.bytes[l4 + 12] >> 4) * 4,
            _ => 8,
        };
        let headers = (l4 - 14 + transport) as u64;
        let payload = len - headers;
        let segments = match u64::from(frame.segment) {
            0 => 1,
            size => payload.div_ceil(size).max(1),
        };
        super_packets |= segments > 1;
        packets += segments;
        bytes += payload + segments * headers;
    }
    (packets, bytes, super_packets)
}

fn is_tcp_to(frame: &Frame, port: u16) -> bool {
    let to_port = || frame.packet()?.tcp().map(|tcp| tcp.destination_port);
    to_port() == Some(port)
}

/// The only flow of a protocol.
fn flow(world: &World, protocol: &str) -> FlowInfo {
    let mut flows = world.flows();
    flows.retain(|flow| flow.protocol == protocol);
    assert_eq!(flows.len(), 1, "{flows:?}");
    flows.remove(0)
}

#[test]
fn bulk_tcp_stays_whole_and_is_counted_as_its_segments() {
    const LEN: u64 = 8 << 20;
    let world = tc(Plan::blue(1));
    let (outside, inside) = (
        Tap::open(world.tenant(0)).record(),
        Tap::open(world.env(0)).record(),
    );
    // Up on one connection, down on another.
    let (up, down) = world.env(0).run(|| {
        (
            http::upload(HTTP, LEN).expect("upload"),
            http::download(HTTP, LEN).expect("download"),
        )
    });
    let digest = expected_digest(LEN);
    assert_eq!(up, (LEN, digest.clone()));
    assert_eq!(down, (LEN, digest));
    let (outside, inside) = (outside.stop(), inside.stop());
    let mut counted = (0, 0, 0, 0);
    for flow in world.flows() {
        counted.0 += flow.forward_packets;
        counted.1 += flow.forward_bytes;
        counted.2 += flow.reply_packets;
        counted.3 += flow.reply_bytes;
    }
    let forward = on_wire(outside.iter().filter(|frame| is_tcp_to(frame, HTTP.port())));
    let is_tcp = |frame: &&Frame| frame.packet().is_some_and(|packet| packet.tcp().is_some());
    let reply = on_wire(inside.iter().filter(is_tcp));
    assert!(forward.2, "no super-packet went up");
    assert!(reply.2, "no super-packet came down");
    assert_eq!((counted.0, counted.1), (forward.0, forward.1), "forward");
    assert_eq!((counted.2, counted.3), (reply.0, reply.1), "reply");
    for namespace in [world.tenant(0), world.env(0)] {
        assert_eq!(namespace.counter("Tcp", "InCsumErrors"), 0);
    }
    assert_eq!(
        world.status().counters["checksums_completed"],
        0,
        "left to the device"
    );
}

/// Lets the socket send super-packets of datagrams of `size` bytes.
fn segment(socket: &UdpSocket, size: u16) {
    set_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, i32::from(size));
}

fn set_option(socket: &UdpSocket, level: i32, option: i32, value: i32) {
    // SAFETY: the options used here are ints and `value` lives across the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as u32,
        )
    };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_burst_of_datagrams_in_one_packet_is_counted_as_datagrams() {
    let world = tc(Plan::blue(1));
    let socket = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
    udp_exchange(&socket, b"first").expect("echo");
    let before = flow(&world, "udp");
    segment(&socket, 1_000);
    socket.send(&[7; 9_500]).expect("ten datagrams");
    let ten = || flow(&world, "udp").reply_packets == before.reply_packets + 10;
    assert!(eventually(PATIENCE, ten), "{:?}", flow(&world, "udp"));
    let after = flow(&world, "udp");
    assert_eq!(after.forward_packets, before.forward_packets + 10);
    assert_eq!(
        after.forward_bytes,
        before.forward_bytes + 9_500 + 10 * 28,
        "each with headers of its own"
    );
}

#[test]
fn the_mtu_is_held_against_segments() {
    let world = tc(Plan::blue(1).with_tenant(|tenant| tenant.mtu = 1_400));
    let socket = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
    udp_exchange(&socket, b"first").expect("echo");
    // 1,372 bytes of data are a packet of 1,400.
    segment(&socket, 1_372);
    socket.send(&[7; 13_720]).expect("ten datagrams that fit");
    let before = flow(&world, "udp").forward_packets;
    assert_eq!(before, 11);
    let drops = world.drop_totals();
    segment(&socket, 1_373);
    socket.send(&[7; 13_730]).expect("ten that do not");
    world.assert_dropped(&drops, &[(DropReason::FragmentationNeeded, 1)]);
    assert_eq!(flow(&world, "udp").forward_packets, before);
    // TCP was told the MSS, and its super-packets pass.
    let (len, digest) = world
        .env(0)
        .run(|| http::upload(HTTP, 4 << 20))
        .expect("upload");
    assert_eq!((len, digest), (4 << 20, expected_digest(4 << 20)));
}

/// Turns the checksum of a UDP frame into what a stack leaves to a device.
fn half_made(mut frame: Vec<u8>) -> Vec<u8> {
    let length = u32::from(u16::from_be_bytes([frame[38], frame[39]]));
    let words = frame[26..34].chunks(2);
    let words = words.map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum = 17 + length + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[40..42].copy_from_slice(&(sum as u16).to_be_bytes());
    frame
}

#[test]
fn a_marked_checksum_arrives_right_or_marked() {
    let world = tc(Plan::blue(1));
    let (outside, inside) = (Tap::open(world.tenant(0)), Tap::open(world.env(0)));
    // The first one waits with the agent, and comes back complete.
    for len in (0..64).chain([255, 256, 1_000, 1_471, 1_472]) {
        let payload: Vec<u8> = (0..len).map(|n: usize| (n * 89 + 3) as u8).collect();
        let frame = half_made(outbound(4_000, 9_994).udp(&payload));
        inside.send_partial(&frame, L4, 6);
        let arrived = outside.expect("datagram", |frame| {
            frame.packet()?.udp().filter(|udp| udp.1 == 9_994)?;
            Some(frame.clone())
        });
        let packet = arrived.packet().expect("as just seen");
        assert_eq!(packet.udp().expect("as just seen").2, payload);
        if arrived.partial {
            // The pseudo-header's sum of the new addresses.
            let again = half_made(arrived.bytes.clone());
            assert_eq!(arrived.bytes, again, "{len} bytes");
        } else {
            assert_eq!(arrived.checksum_error(), None, "{len} bytes");
        }
    }
}

#[test]
fn a_guest_that_has_a_device_write_over_its_packet_sends_nothing() {
    let world = tc(Plan::blue(1));
    let (outside, inside) = (Tap::open(world.tenant(0)), Tap::open(world.env(0)));
    let frame = outbound(4_000, 9_994).udp(&[0x55; 64]);
    // The flow is open and the neighbour known.
    inside.send(&frame);
    outside.expect("datagram", |frame| frame.packet()?.udp().map(drop));
    let before = world.drop_totals();
    let mut sent = 0;
    // Over the addresses, the ports, the length, the data; and with a sum that
    // starts elsewhere.
    for (start, offset) in [
        (L4, 0),
        (L4, 2),
        (L4, 4),
        (L4, 8),
        (26, 0),
        (26, 14),
        (L4 + 2, 4),
    ] {
        inside.send_partial(&frame, start, offset);
        sent += 1;
    }
    world.assert_dropped(&before, &[(DropReason::ChecksumMisplaced, sent)]);
    let seen = outside.collect(Duration::from_millis(200));
    let udp = |frame: &&Frame| frame.packet().is_some_and(|packet| packet.udp().is_some());
    assert_eq!(seen.iter().filter(udp).count(), 0);
}

#[test]
fn errors_about_marked_packets_are_understood() {
    let world = tc(Plan::blue(1));
    let inside = Tap::open(world.env(0));
    // The environment's own stack leaves the checksum to the device.
    let socket = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
    socket.set_ttl(1).expect("set the TTL");
    // An error that may pass is told only to who asks for it.
    set_option(&socket, libc::SOL_IP, libc::IP_RECVERR, 1);
    socket.send(b"no further").expect("send");
    let seen = inside.expect("time exceeded", |frame| {
        (frame.packet()?.icmp()? == (11, 0)).then(|| frame.clone())
    });
    assert!(seen.partial || seen.checksum_error().is_none(), "{seen:?}");
    let end = Instant::now() + PATIENCE;
    let refused = loop {
        if let Some(error) = socket.take_error().expect("ask") {
            break error.raw_os_error();
        }
        assert!(Instant::now() < end, "the socket never learnt");
    };
    assert_eq!(refused, Some(libc::EHOSTUNREACH));
    assert_eq!(world.env(0).counter("Icmp", "InCsumErrors"), 0);
}
