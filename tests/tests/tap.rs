//! An environment behind a tap, as a microVM has it.

use etherparse::ArpOperation;
use tests::{
    frame::Frame,
    plan::Plan,
    tap::Tap,
    topology::{GATEWAY, GATEWAY_MAC, eni},
    tun::Tun,
    wait::PATIENCE,
    world::{ECHO, World, outbound},
};
use vpc_user::model::{HookWish, ObjectName};

const NAME: &str = "tap0";

/// A world with one environment behind a tap, a clone of the others.
fn with_tap(hook: HookWish) -> (World, Tun) {
    let world = World::start(Plan::blue(1).with_hooks(hook, hook));
    let tun = Tun::open(world.host(), NAME);
    let mut request = world.attach_request(0);
    request.name = ObjectName::new("vm").expect("a name");
    request.interface = NAME.to_owned();
    request.netns = None;
    world
        .attach(request)
        .unwrap_or_else(|error| panic!("{error}"));
    (world, tun)
}

fn a_guest_is_an_environment_like_any_other(hook: HookWish) {
    let (world, tun) = with_tap(hook);
    let mut ask = outbound(0, 0);
    ask.destination.set_ip(GATEWAY);
    tun.send(&ask.arp_request());
    let answer = tun.find(PATIENCE, |frame| {
        frame
            .arp()
            .filter(|arp| arp.operation == ArpOperation::REPLY)
    });
    assert_eq!(answer.expect("ARP reply").sender_mac, GATEWAY_MAC);
    for n in 0..100_u16 {
        tun.send(&outbound(4_000 + n, ECHO.port()).udp(b"from a guest"));
        let answer = tun.find(PATIENCE, |frame| {
            assert_eq!(frame.checksum_error(), None);
            let packet = frame.packet()?;
            let (from, to, payload) = packet.udp()?;
            (from == ECHO.port() && to == 4_000 + n).then(|| payload.to_vec())
        });
        let answer = String::from_utf8(answer.expect("echo")).expect("text");
        assert!(answer.starts_with(&format!("blue {}:", eni(0))), "{answer}");
        assert!(answer.ends_with("\nfrom a guest"), "{answer}");
    }
    let flows = world.flows();
    assert_eq!(
        flows.iter().filter(|flow| flow.environment == "vm").count(),
        100
    );
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
}

#[test]
fn a_guest_behind_a_tap_is_an_environment_like_any_other() {
    a_guest_is_an_environment_like_any_other(HookWish::Auto);
}

#[test]
fn a_guest_may_be_handled_by_xdp() {
    a_guest_is_an_environment_like_any_other(HookWish::Xdp);
}

/// Leaves only the pseudo-header's sum, as a sender does that expects its
/// hardware to add the rest.
fn half_made(mut frame: Vec<u8>) -> Vec<u8> {
    let length = u32::from(u16::from_be_bytes([frame[38], frame[39]]));
    let words = frame[26..34]
        .chunks(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let mut sum = 17 + length + words.map(u32::from).sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[40..42].copy_from_slice(&(sum as u16).to_be_bytes());
    frame
}

#[test]
fn a_half_made_checksum_of_any_length_is_completed() {
    // Without the kernel's note there is only its value to tell it by.
    let (world, tun) = with_tap(HookWish::Xdp);
    let outside = Tap::open(world.tenant(0));
    // The first one waits for the neighbour.
    for len in (0..64).chain([255, 256, 257, 1_000, 1_471, 1_472]) {
        let payload: Vec<u8> = (0..len).map(|n: usize| (n * 89 + 3) as u8).collect();
        let frame = half_made(outbound(4_000, 9_994).udp(&payload));
        let as_sent = Frame {
            bytes: frame.clone(),
            partial: false,
            segment: 0,
        };
        assert!(
            as_sent.checksum_error().is_some(),
            "{len} bytes: the sum is half made"
        );
        tun.send(&frame);
        let bytes = outside.expect("datagram", |frame| {
            let packet = frame.packet()?;
            let (_, _, arrived) = packet.udp().filter(|udp| udp.1 == 9_994)?;
            assert_eq!(arrived, payload);
            assert_eq!(frame.checksum_error(), None, "{len} bytes");
            Some(frame.bytes.clone())
        });
        assert_ne!(bytes[40..42], [0, 0], "it has a checksum");
    }
    assert!(world.status().counters["checksums_completed"] >= 64);
}
