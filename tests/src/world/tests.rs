use std::{net::Ipv4Addr, time::Duration};

use crate::{
    content::expected_digest,
    frame::{Body, Ends},
    http,
    tap::Tap,
    topology::{INTERFACE, NOBODY, RESOURCE_MAC, mac_of},
};

use super::*;

#[test]
fn a_world_without_an_agent_comes_up_and_is_gone_afterwards() {
    let world = World::build(Plan::new(&["blue", "green"], 1));
    let folder = world.folder.path().to_path_buf();
    for index in 0..2 {
        let text = world
            .tenant(index)
            .run(|| http::whoami(HTTP))
            .expect("local fetch");
        assert_eq!(
            (text.tenant, *text.peer.ip()),
            (world.tenants[index].name.clone(), RESOURCE)
        );
    }
    let (total, hash) = world
        .tenant(0)
        .run(|| http::download(HTTP, 70_001))
        .expect("bytes");
    assert_eq!((total, hash), (70_001, expected_digest(70_001)));
    let (total, hash) = world
        .tenant(0)
        .run(|| http::upload(HTTP, 70_001))
        .expect("upload");
    assert_eq!((total, hash), (70_001, expected_digest(70_001)));
    drop(world);
    assert!(!folder.exists());
}

#[test]
fn frames_cross_a_link_as_they_were_sent() {
    let world = World::build(Plan::blue(1));
    assert_eq!(mac_of(world.tenant(0), INTERFACE), RESOURCE_MAC);
    let host = Tap::open_on(world.host(), "up-blue", false);
    let tenant = Tap::open(world.tenant(0));
    let ends = Ends {
        source_mac: [2, 0, 0, 0, 0, 9],
        destination_mac: RESOURCE_MAC,
        source: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 999),
        destination: SocketAddrV4::new(RESOURCE, 9999),
    };
    host.send(&ends.udp(b"hello"));
    let frame = tenant.expect("datagram", |frame| {
        matches!(frame.packet()?.body, Body::Udp(999, 9999, _)).then(|| frame.clone())
    });
    assert_eq!(frame.checksum_error(), None);
    let ask = Ends {
        destination: SocketAddrV4::new(RESOURCE, 0),
        ..ends
    };
    host.send(&ask.arp_request());
    let answer = host.expect("ARP reply", |frame| frame.arp());
    assert_eq!(answer.sender_mac, RESOURCE_MAC);
    let nobody = Ends {
        destination: SocketAddrV4::new(NOBODY, 0),
        ..ends
    };
    host.send(&nobody.arp_request());
    let answer = host.find(Duration::from_millis(200), |frame| {
        frame.arp().filter(|arp| arp.sender_ipv4 == NOBODY.octets())
    });
    assert!(answer.is_none());
}
