//! An uplink with a smaller MTU than the environments believe in.

use std::{net::UdpSocket, os::fd::AsRawFd as _};

use tests::{
    content::expected_digest,
    echo::{udp_exchange, udp_socket},
    http,
    plan::Plan,
    tap::Tap,
    wait::{PATIENCE, eventually},
    world::{ECHO, HTTP, World},
};
use vpc_common::drop::DropReason;

const MTU: u32 = 1_400;
/// IPv4 and UDP header.
const UDP_HEADERS: usize = 28;

fn narrow() -> World {
    World::start(Plan::blue(1).with_tenant(|tenant| tenant.mtu = MTU))
}

fn ip_option(socket: &UdpSocket, option: i32, set: Option<i32>) -> i32 {
    let mut value = set.unwrap_or_default();
    let mut len = size_of::<i32>() as u32;
    let fd = socket.as_raw_fd();
    let pointer = (&raw mut value).cast();
    // SAFETY: the options used here are ints and `value` lives across the call.
    let outcome = unsafe {
        match set {
            Some(_) => libc::setsockopt(fd, libc::IPPROTO_IP, option, pointer, len),
            None => libc::getsockopt(fd, libc::IPPROTO_IP, option, pointer, &raw mut len),
        }
    };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    value
}

#[test]
fn a_datagram_that_may_not_be_fragmented_is_answered_with_the_mtu() {
    let world = narrow();
    let before = world.drop_totals();
    let socket = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
    ip_option(&socket, libc::IP_MTU_DISCOVER, Some(libc::IP_PMTUDISC_DO));
    let too_long = vec![7; 1_500 - UDP_HEADERS];
    socket
        .send(&too_long)
        .expect("the environment's own MTU has room");
    world.assert_dropped(&before, &[(DropReason::FragmentationNeeded, 1)]);
    let told = || ip_option(&socket, libc::IP_MTU, None) == MTU.cast_signed();
    assert!(
        eventually(PATIENCE, told),
        "path MTU {}",
        ip_option(&socket, libc::IP_MTU, None)
    );
    let _ = socket.take_error();
    let error = socket.send(&too_long).expect_err("too long for the path");
    assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    // The echo's first line has to fit as well.
    let fits = vec![7; MTU as usize - UDP_HEADERS - 64];
    assert_eq!(udp_exchange(&socket, &fits).expect("echo").payload, fits);
}

#[test]
fn the_segment_size_is_clamped_to_the_uplink_and_bulk_passes_both_ways() {
    const LEN: u64 = 5_000_000;
    let world = narrow();
    let tap = Tap::open(world.tenant(0));
    let expected = (LEN, expected_digest(LEN));
    assert_eq!(
        world
            .env(0)
            .run(|| http::download(HTTP, LEN))
            .expect("download"),
        expected
    );
    let size = tap.expect("SYN", |frame| {
        let packet = frame.packet()?;
        packet.tcp().filter(|tcp| tcp.syn)?;
        assert_eq!(frame.checksum_error(), None);
        packet.mss()
    });
    assert_eq!(u32::from(size), MTU - 40);
    assert_eq!(
        world
            .env(0)
            .run(|| http::upload(HTTP, LEN))
            .expect("upload"),
        expected
    );
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
}

#[test]
fn a_segment_size_that_fits_is_left_alone() {
    let world = World::start(Plan::blue(1));
    let tap = Tap::open(world.tenant(0));
    tests::wait::find(PATIENCE, || world.env(0).run(|| http::whoami(HTTP)).ok()).expect("fetch");
    let packet = tap.expect("SYN", |frame| {
        frame.packet().filter(|packet| packet.mss().is_some())
    });
    assert_eq!(packet.mss(), Some(1_460));
}
