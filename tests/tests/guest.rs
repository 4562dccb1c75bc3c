//! A virtual machine as an environment: a virtio card on a tap, offloads on, beside
//! a namespace with the same address and MAC.

use std::{panic::resume_unwind, thread, time::Instant};

use tests::{
    content::expected_digest,
    guest::{Guest, Offloads},
    http::{self, Seen},
    netns::Namespace,
    plan::Plan,
    topology::{INSIDE, Station, eni},
    world::{HTTP, World},
};
use vpc_common::drop::DropReason;
use vpc_user::model::{HookWish, ObjectName};

const TAP: &str = "tap0";
const GUEST: &str = "vm";
const LEN: u64 = 40_000_000;

/// A world with an environment in a namespace and a guest that is its clone, every
/// link by the same hook.
fn with_guest(hook: HookWish) -> (World, Guest) {
    let world = World::start(Plan::blue(1).with_hooks(hook, hook));
    let station = Station::environment();
    Guest::make_tap(world.host(), TAP, &station);
    let mut request = world.attach_request(0);
    request.name = ObjectName::new(GUEST).expect("a name");
    request.interface = TAP.to_owned();
    request.netns = None;
    world
        .attach(request)
        .unwrap_or_else(|error| panic!("{error}"));
    let guest = Guest::boot(world.host(), TAP, &station);
    (world, guest)
}

/// The tenant sees the guest by the ENI, and the listing knows whose flow it is.
fn assert_known(world: &World, guest: &mut Guest) {
    let seen = guest.run(&format!("wget -q -O - http://{HTTP}/"));
    let seen: Seen = seen.parse().expect("what the server saw");
    assert_eq!((seen.tenant.as_str(), *seen.peer.ip()), ("blue", eni(0)));
    let flows = world.flows();
    let known = flows.iter().any(|flow| {
        flow.environment == GUEST && flow.inside.ip() == INSIDE && flow.outside == seen.peer.into()
    });
    assert!(known, "no flow of {GUEST} by {}: {flows:?}", seen.peer);
}

/// The guest gets and sends data while its clone does.
fn exchange(world: &World, guest: &mut Guest, upload: u64) {
    thread::scope(|scope| {
        let guest = scope.spawn(|| transfer(guest, upload));
        let mut turns = 0;
        while turns == 0 || !guest.is_finished() {
            talk(world.env(0));
            turns += 1;
        }
        eprintln!("meanwhile the clone was served {turns} times");
        if let Err(panic) = guest.join() {
            resume_unwind(panic);
        }
    });
    let wrong = guest.run("awk '/^Tcp:/ { last = $NF } END { print last }' /proc/net/snmp");
    assert_eq!(wrong, "0", "segments with a wrong checksum in the guest");
    assert_eq!(world.tenant(0).counter("Tcp", "InCsumErrors"), 0);
}

fn transfer(guest: &mut Guest, upload: u64) {
    let started = Instant::now();
    let arrived = guest.download(HTTP, LEN);
    eprintln!("{LEN} bytes to the guest: {:?}", started.elapsed());
    assert_eq!(arrived, (LEN, expected_digest(LEN)));
    let started = Instant::now();
    let [sent, arrived] = guest.upload(HTTP, upload);
    eprintln!("{upload} bytes from the guest: {:?}", started.elapsed());
    assert_eq!((sent.0, &sent), (upload, &arrived));
}

/// Downloads and uploads as a namespace.
fn talk(environment: &Namespace) {
    const PIECE: u64 = 1_000_000;
    let expected = (PIECE, expected_digest(PIECE));
    let down = environment.run(|| http::download(HTTP, PIECE));
    assert_eq!(down.expect("download"), expected);
    let up = environment.run(|| http::upload(HTTP, PIECE));
    assert_eq!(up.expect("upload"), expected);
}

/// The agent chooses TC for a tap by itself.
#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "guests are x86-64 machines")]
fn a_guests_segments_longer_than_the_mtu_pass_whole_both_ways() {
    let (world, mut guest) = with_guest(HookWish::Auto);
    assert_eq!(guest.offloads(), Offloads::ALL);
    assert_known(&world, &mut guest);
    exchange(&world, &mut guest, LEN);
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
    let host = world.host();
    for (packets, bytes) in [host.received(TAP), host.transmitted(TAP)] {
        assert!(
            bytes > LEN && bytes / packets > 1514,
            "{bytes} in {packets}"
        );
    }
}

/// Native XDP drops segments that are longer than the MTU. What the guest gets
/// through are retransmissions of single packets: right, and very slow.
#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "guests are x86-64 machines")]
fn a_guest_by_xdp_is_served_beside_its_clone() {
    let (world, mut guest) = with_guest(HookWish::Xdp);
    assert_eq!(guest.offloads(), Offloads::ALL);
    assert_known(&world, &mut guest);
    exchange(&world, &mut guest, 300_000);
    let mut drops = world.drop_totals();
    drops.remove(DropReason::FragmentationNeeded.label());
    assert!(drops.is_empty(), "{drops:?}");
}
