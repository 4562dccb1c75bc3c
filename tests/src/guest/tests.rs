use crate::{
    content::expected_digest,
    plan::{Plan, uplink_interface},
    topology::{GATEWAY, INSIDE},
    world::{HTTP, World},
};

use super::*;

const TAP: &str = "tap0";
const LEN: u64 = 20_000_000;

/// The harness alone: the host routes between tap and tenant as the kernel does it.
#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "guests are x86-64 machines")]
fn a_guest_behind_a_plain_router_sends_and_gets_segments_longer_than_the_mtu() {
    let world = World::build(Plan::blue(0));
    let (host, station) = (world.host(), Station::environment());
    Guest::make_tap(host, TAP, &station);
    host.write_sysctl("net/ipv4/ip_forward", "1");
    host.ip_batch(&format!(
        "addr add {GATEWAY}/24 dev {TAP}\naddr add 10.0.0.1/24 dev {}\n",
        uplink_interface("blue")
    ));
    let back = format!("{INSIDE}/32");
    world
        .tenant(0)
        .ip(&["route", "add", &back, "via", "10.0.0.1"]);
    let mut guest = Guest::boot(host, TAP, &station);
    assert_eq!(guest.offloads(), Offloads::ALL);
    assert_eq!(guest.download(HTTP, LEN), (LEN, expected_digest(LEN)));
    let [sent, arrived] = guest.upload(HTTP, LEN);
    assert_eq!(sent, arrived);
    for (packets, bytes) in [host.received(TAP), host.transmitted(TAP)] {
        assert!(
            bytes > LEN && bytes / packets > 1514,
            "{bytes} in {packets}"
        );
    }
}
