//! Never a bad checksum, whatever the sender left to its hardware.

use std::time::Duration;

use tests::{
    echo::{udp_exchange, udp_socket},
    frame::Frame,
    http,
    plan::Plan,
    tap::Tap,
    world::{ECHO, HTTP, World, outbound},
};
use vpc_user::model::HookWish;

fn assert_right(frames: &[Frame], at_least: usize) {
    let whole = frames
        .iter()
        .filter(|frame| frame.packet().is_some() && !frame.partial)
        .count();
    assert!(
        whole >= at_least,
        "{whole} of {} frames could be checked",
        frames.len()
    );
    for frame in frames {
        assert_eq!(frame.checksum_error(), None);
    }
}

#[test]
fn half_made_checksums_are_completed_in_both_directions() {
    // XDP completes them, because what it forwards cannot carry the note.
    let plan = Plan::blue(2).with_hooks(HookWish::Xdp, HookWish::Xdp);
    let world = World::start(plan);
    // Offloads are as the kernel set them: nothing here switched any off.
    let outside = Tap::open(world.tenant(0)).record();
    let inside = Tap::open(world.env(0)).record();
    world.env(0).run(|| {
        let socket = udp_socket(ECHO).expect("socket");
        for len in 0..200 {
            let payload: Vec<u8> = (0..len).map(|n| (n * 37) as u8).collect();
            assert_eq!(
                udp_exchange(&socket, &payload).expect("echo").payload,
                payload
            );
        }
        for _ in 0..20 {
            http::whoami(HTTP).expect("fetch");
        }
        for len in [0, 1, 2, 99, 1_459, 1_460, 1_461, 70_001] {
            assert_eq!(http::upload(HTTP, len).expect("upload").0, len);
            assert_eq!(http::download(HTTP, len).expect("download").0, len);
        }
    });
    assert_right(&outside.stop(), 250);
    assert_right(&inside.stop(), 250);
    for namespace in [world.tenant(0), world.env(0)] {
        assert_eq!(namespace.counter("Tcp", "InCsumErrors"), 0);
        assert_eq!(namespace.counter("Udp", "InCsumErrors"), 0);
        assert_eq!(namespace.counter("Icmp", "InCsumErrors"), 0);
    }
    assert!(
        world.status().counters["checksums_completed"] > 0,
        "offload was on"
    );
}

#[test]
fn a_udp_checksum_of_zero_stays_zero() {
    let world = World::start(Plan::blue(1));
    let outside = Tap::open(world.tenant(0));
    let mut frame = outbound(4_000, 9_995).udp(b"no checksum");
    frame[40..42].fill(0);
    Tap::open(world.env(0)).send(&frame);
    let bytes = outside.expect("datagram", |frame| {
        frame.packet().filter(|packet| packet.udp().is_some())?;
        Some(frame.bytes.clone())
    });
    assert_eq!(bytes[40..42], [0, 0]);
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    let world = World::start(Plan::blue(1));
    let outside = Tap::open(world.tenant(0));
    let inside = Tap::open(world.env(0));
    for n in 1..=50_u16 {
        let mut frame = outbound(4_000, 9_995).udp(&n.to_be_bytes());
        let wrong = u16::from_be_bytes([frame[40], frame[41]]).wrapping_add(n);
        frame[40..42].copy_from_slice(&wrong.to_be_bytes());
        if (Frame {
            bytes: frame.clone(),
            partial: false,
            segment: 0,
        })
        .checksum_error()
        .is_none()
        {
            continue;
        }
        inside.send(&frame);
    }
    let frames = outside.collect(Duration::from_secs(1));
    let udp = |frame: &&Frame| frame.packet().is_some_and(|packet| packet.udp().is_some());
    let blessed = frames
        .iter()
        .filter(udp)
        .filter(|frame| frame.checksum_error().is_none())
        .count();
    assert!(
        frames.iter().filter(udp).count() >= 40,
        "they are carried: the receiver judges"
    );
    assert_eq!(blessed, 0, "a broken packet must not be made to look whole");
}

#[test]
fn every_datagram_on_the_way_to_a_checksum_of_zero_is_sent_as_ffff() {
    let world = World::start(Plan::blue(1));
    let outside = Tap::open(world.tenant(0)).record();
    // All 65,536 sums come by within this many consecutive payload words.
    let inside = Tap::open(world.env(0));
    for word in 0..=u16::MAX {
        inside.send(&outbound(4_001, 9_995).udp(&word.to_be_bytes()));
        if word % 128 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let frames = outside.stop();
    let udp: Vec<_> = frames
        .iter()
        .filter(|frame| frame.packet().is_some_and(|packet| packet.udp().is_some()))
        .collect();
    assert!(udp.len() > 50_000, "{} arrived", udp.len());
    for frame in udp {
        assert_eq!(frame.checksum_error(), None);
        assert_ne!(
            frame.bytes[40..42],
            [0, 0],
            "zero would mean that there is none"
        );
    }
}
