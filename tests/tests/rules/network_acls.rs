//! What passes the boundary of the environment's subnet, in both directions.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddrV4, UdpSocket},
};

use tests::{
    echo::{tcp_exchange, udp_socket},
    frame::Ends,
    tap::Tap,
    topology::{RESOURCE, eni},
    vpc::{ASK, EVERYTHING, FAR, FARTHER, Rules, SHORT, Vpc, asks, gets_nothing},
    wait::{PATIENCE, eventually},
    world::ECHO,
};
use vpc_common::drop::DropReason;

fn entry(number: u16, action: &str, rest: &str) -> String {
    format!("{{ number = {number}, action = \"{action}\", {rest} }}")
}

/// Entries that deny something and allow the rest.
fn all_but(rest: &str) -> String {
    format!("{}, {EVERYTHING}", entry(90, "deny", rest))
}

const TO_FAR: &str = "protocol = \"all\", cidr = \"10.0.1.100/32\"";
const TCP_REPLIES: &str = "protocol = \"tcp\", ports = \"1024-65535\", cidr = \"0.0.0.0/0\"";
const UDP_REPLIES: &str = "protocol = \"udp\", ports = \"1024-65535\", cidr = \"0.0.0.0/0\"";

#[test]
fn a_denied_connection_is_cut_on_its_next_packet_and_goes_on_when_allowed_again() {
    let mut vpc = Vpc::start(Rules::default());
    let mut stream = vpc.connect_to_echo(FAR);
    let mut other = vpc.connect_to_echo(FARTHER);
    let socket = vpc.socket(FAR);
    let seen = asks(&socket);
    let before = vpc.world.drop_totals();
    vpc.put(|rules| rules.acl_out = all_but(TO_FAR));
    for count in 1..=2 {
        gets_nothing(&socket);
        vpc.world
            .assert_dropped(&before, &[(DropReason::NaclOut, count)]);
    }
    stream.set_read_timeout(Some(SHORT)).expect("timeout");
    stream.write_all(b"wait!").expect("write");
    let mut answer = [0; 5];
    let error = stream.read_exact(&mut answer).expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    tcp_exchange(&mut other, &[1; 20_000]).expect("another host is not meant");
    vpc.put(|rules| rules.acl_out = EVERYTHING.to_owned());
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream.read_exact(&mut answer).expect("it goes on");
    assert_eq!(&answer, b"wait!");
    assert_eq!(asks(&socket).peer, seen.peer);
    vpc.world
        .assert_only_dropped(&before, &[DropReason::NaclOut]);
}

#[test]
fn replies_need_the_ephemeral_ports_in_and_are_refused_on_the_eni_without_them() {
    let mut vpc = Vpc::start(Rules::with(|rules| {
        rules.acl_in = entry(100, "allow", TCP_REPLIES);
    }));
    let socket = vpc.socket(FAR);
    let mut stream = vpc.connect_to_echo(FAR);
    let resource = Tap::open(vpc.world.tenant(0));
    let before = vpc.world.drop_totals();
    gets_nothing(&socket);
    resource.expect("the request", |frame| {
        let packet = frame.packet()?;
        (packet.destination() == FAR && packet.udp()?.1 == ASK).then_some(())
    });
    vpc.world
        .assert_dropped(&before, &[(DropReason::NaclIn, 1)]);
    let drops = vpc.world.drops();
    let refused = drops
        .iter()
        .find(|drop| drop.reason == DropReason::NaclIn.label())
        .expect("counted");
    assert_eq!(
        (refused.owner_kind.as_str(), refused.owner.as_str()),
        ("eni", "blue-0")
    );
    tcp_exchange(&mut stream, &[2; 20_000]).expect("TCP has its ports");
    // The same flow, once its replies may enter.
    vpc.put(|rules| {
        rules.acl_in = format!("{}, {}", rules.acl_in, entry(110, "allow", UDP_REPLIES));
    });
    asks(&socket);
    vpc.put(|rules| rules.acl_in = entry(110, "allow", UDP_REPLIES));
    vpc.connects_not(FAR, ECHO.port());
    asks(&socket);
    vpc.world
        .assert_only_dropped(&before, &[DropReason::NaclIn]);
}

#[test]
fn replies_of_an_open_connection_are_refused_by_an_entry_and_pass_without_it() {
    let mut vpc = Vpc::start(Rules::default());
    let socket = vpc.socket(FAR);
    let seen = asks(&socket);
    let before = vpc.world.drop_totals();
    let back = vpc.world.inbound(0, ASK, seen.peer.port());
    let source = SocketAddrV4::new(FAR, ASK);
    let reply = Ends { source, ..back }.udp(b"blue 0.0.0.0:0\nlate");
    let tap = Tap::open(vpc.world.tenant(0));
    // No packet of the environment comes between the change and the reply.
    vpc.put(|rules| rules.acl_in = all_but(TO_FAR));
    tap.send(&reply);
    vpc.world
        .assert_dropped(&before, &[(DropReason::NaclIn, 1)]);
    vpc.put(|rules| rules.acl_in = EVERYTHING.to_owned());
    tap.send(&reply);
    let mut buffer = [0; 64];
    let len = socket.recv(&mut buffer).expect("it passes");
    assert!(buffer[..len].ends_with(b"late"));
    vpc.world
        .assert_dropped(&before, &[(DropReason::NaclIn, 1)]);
}

#[test]
fn fragmentation_needed_comes_in_only_by_an_entry_for_it() {
    const UNREACHABLE: u8 = 3;
    const FRAGMENTATION_NEEDED: u8 = 4;
    let both = [
        entry(100, "allow", TCP_REPLIES),
        entry(110, "allow", UDP_REPLIES),
    ]
    .join(", ");
    let mut vpc = Vpc::start(Rules::with(|rules| rules.acl_in.clone_from(&both)));
    let socket = vpc.socket(FAR);
    let seen = asks(&socket);
    let outside = SocketAddrV4::new(eni(0), seen.peer.port());
    let back = Ends {
        source: SocketAddrV4::new(FAR, 0),
        ..vpc.world.inbound(0, 0, 0)
    };
    let forth = Ends {
        source: outside,
        destination: SocketAddrV4::new(FAR, ASK),
        ..back
    };
    let quoted = &forth.udp(&[0; 1_400])[14..14 + 28];
    let error = back.icmp(UNREACHABLE, FRAGMENTATION_NEEDED, [0, 0, 4, 0], quoted);
    let (tap, inside) = (Tap::open(vpc.world.tenant(0)), Tap::open(vpc.world.env(0)));
    let before = vpc.world.drop_totals();
    tap.send(&error);
    vpc.world
        .assert_dropped(&before, &[(DropReason::NaclIn, 1)]);
    let kind = "protocol = \"icmp\", icmp = \"3/4\", cidr = \"10.0.1.0/24\"";
    vpc.put(|rules| rules.acl_in = format!("{both}, {}", entry(120, "allow", kind)));
    socket.send(&[0; 1_400]).expect("no limit is known yet");
    tap.send(&error);
    inside.expect("the error", |frame| {
        let icmp = frame.packet()?.icmp()?;
        (icmp == (UNREACHABLE, FRAGMENTATION_NEEDED)).then_some(())
    });
    let other = back.icmp(UNREACHABLE, 1, [0; 4], quoted);
    tap.send(&other);
    vpc.world
        .assert_dropped(&before, &[(DropReason::NaclIn, 2)]);
    let too_long = || {
        socket
            .send(&[0; 1_400])
            .map_err(|error| error.raw_os_error())
    };
    let learnt = || too_long() == Err(Some(libc::EMSGSIZE));
    assert!(
        eventually(PATIENCE, learnt),
        "the environment knows the path's MTU of 1024: {:?}",
        too_long()
    );
}

#[test]
fn errors_of_the_environment_leave_only_by_an_entry_for_them() {
    let udp = entry(
        100,
        "allow",
        "protocol = \"udp\", ports = \"0-65535\", cidr = \"0.0.0.0/0\"",
    );
    let mut vpc = Vpc::start(Rules::with(|rules| rules.acl_out.clone_from(&udp)));
    let host = vpc.world.tenant(0).run(|| UdpSocket::bind((FAR, 9_997)));
    let host = host.expect("bind");
    host.set_read_timeout(Some(PATIENCE)).expect("timeout");
    vpc.world.env(0).run(|| {
        let socket = udp_socket((FAR, 9_997)).expect("socket");
        socket.send(b"hello").expect("send");
    });
    let (_, peer) = host.recv_from(&mut [0; 16]).expect("a datagram");
    host.connect(peer).expect("connect");
    let before = vpc.world.drop_totals();
    host.send(b"the socket is closed").expect("send");
    vpc.world
        .assert_dropped(&before, &[(DropReason::NaclOut, 1)]);
    let icmp = entry(
        110,
        "allow",
        "protocol = \"icmp\", icmp = \"3\", cidr = \"10.0.1.0/24\"",
    );
    vpc.put(|rules| rules.acl_out = format!("{udp}, {icmp}"));
    host.send(b"still closed").expect("send");
    let error = host.recv(&mut [0; 16]).expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    vpc.world
        .assert_dropped(&before, &[(DropReason::NaclOut, 1)]);
}

#[test]
fn an_acl_is_not_asked_inside_the_subnet() {
    let vpc = Vpc::start(Rules::with(|rules| {
        rules.acl_out = String::new();
        rules.acl_in = String::new();
    }));
    let before = vpc.world.drop_totals();
    vpc.connect_to_echo(RESOURCE);
    vpc.ask(RESOURCE);
    vpc.world.assert_dropped(&before, &[]);
    vpc.connects_not(FAR, ECHO.port());
    vpc.asks_not(FAR);
    vpc.world
        .assert_dropped(&before, &[(DropReason::NaclOut, 2)]);
}

#[test]
fn the_entry_with_the_lowest_number_decides_and_security_groups_go_before() {
    let udp = "protocol = \"udp\", ports = \"53\", cidr = \"10.0.1.0/24\"";
    let host = "protocol = \"udp\", ports = \"53\", cidr = \"10.0.1.100/32\"";
    let mut vpc = Vpc::start(Rules::with(|rules| {
        // Out of order in the file.
        rules.acl_out = format!("{EVERYTHING}, {}", entry(90, "deny", udp));
    }));
    let before = vpc.world.drop_totals();
    vpc.asks_not(FAR);
    vpc.connect_to_echo(FAR);
    vpc.world
        .assert_dropped(&before, &[(DropReason::NaclOut, 1)]);
    vpc.put(|rules| rules.acl_out = format!("{}, {}", rules.acl_out, entry(89, "allow", host)));
    vpc.ask(FAR);
    vpc.asks_not(FARTHER);
    vpc.world
        .assert_dropped(&before, &[(DropReason::NaclOut, 2)]);
    vpc.put(|rules| rules.acl_out = rules.acl_out.replace("number = 89", "number = 91"));
    vpc.asks_not(FAR);
    vpc.put(|rules| rules.egress = Some(String::new()));
    vpc.asks_not(FAR);
    let moved = [(DropReason::NaclOut, 3), (DropReason::SgEgress, 1)];
    vpc.world.assert_dropped(&before, &moved);
}
