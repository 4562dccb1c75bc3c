//! Uplinks that are no veth: bridges, VLANs and VXLANs have no native XDP, and TC
//! serves them.

use tests::{
    content::expected_digest,
    echo::{udp_exchange, udp_socket},
    http,
    netns::Namespace,
    plan::Plan,
    topology::Medium,
    world::{ECHO, HTTP, World},
};
use vpc_user::model::{Hook, HookWish};

const BULK: u64 = 3_000_001;

/// An uplink over a medium, and environments at either hook.
fn carries_everything(medium: Medium) {
    let mut plan = Plan::blue(2).with_tenant(|tenant| {
        (tenant.medium, tenant.hook) = (medium, HookWish::Auto);
    });
    plan.environments[0].hook = HookWish::Xdp;
    plan.environments[1].hook = HookWish::Tc;
    let world = World::start(plan);
    let uplink = world.status().uplinks.remove(0);
    assert_eq!(
        (uplink.hook, uplink.hook_wanted),
        (Hook::Tc, HookWish::Auto)
    );
    assert_eq!(
        uplink.hook_why,
        "an interface made of others has no native XDP"
    );
    let content = (BULK, expected_digest(BULK));
    for index in 0..2 {
        world.env(index).run(|| {
            assert_eq!(http::upload(HTTP, BULK).expect("upload"), content);
            assert_eq!(http::download(HTTP, BULK).expect("download"), content);
            let socket = udp_socket(ECHO).expect("socket");
            for len in [0, 1_400, 4_000] {
                let payload = vec![7; len];
                let seen = udp_exchange(&socket, &payload).expect("echo");
                assert_eq!(seen.payload, payload);
            }
        });
    }
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
}

#[test]
fn an_uplink_may_be_a_bridge() {
    carries_everything(Medium::Bridge);
}

#[test]
fn an_uplink_may_be_a_vxlan() {
    carries_everything(Medium::Vxlan);
}

#[test]
fn an_uplink_may_be_a_vlan() {
    if Namespace::new("try").knows("vlan") {
        carries_everything(Medium::Vlan);
    } else {
        eprintln!("this kernel has no VLANs: not tested");
    }
}

#[test]
fn an_uplink_without_native_xdp_is_refused_if_xdp_is_asked_for() {
    let plan = Plan::blue(0).with_tenant(|tenant| {
        (tenant.medium, tenant.hook) = (Medium::Bridge, HookWish::Xdp);
    });
    let world = World::build(plan);
    let status = world.spawn_agent(&[]).wait_end();
    assert_eq!(status.code(), Some(1));
    let log = world.log_tail(20);
    let sentence = "vpc: uplink blue: up-blue does not support native XDP: ask for the hook tc, or \
                    use an interface whose driver does (veth, tap, most NICs; not a bridge or VLAN)";
    assert!(log.ends_with(sentence), "{log}");
    assert!(!world.pins().join("maps").exists(), "nothing is left of it");
}

#[test]
fn an_uplink_carries_ethernet_or_is_refused() {
    let world = World::build(Plan::blue(0));
    let config = std::fs::read_to_string(world.config()).expect("the configuration");
    let config = config.replace("\"up-blue\"", "\"lo\"");
    std::fs::write(world.config(), config).expect("write the configuration");
    let status = world.spawn_agent(&[]).wait_end();
    assert_eq!(status.code(), Some(1));
    let log = world.log_tail(20);
    let sentence = "vpc: uplink blue: lo carries no Ethernet frames: name an interface that does \
                    (a NIC, a VLAN, a bridge, a VXLAN, a veth)";
    assert!(log.ends_with(sentence), "{log}");
}
