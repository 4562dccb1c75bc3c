//! What `vpc explain` says is what the packet gets.

use std::{collections::BTreeMap, net::Ipv4Addr, num::NonZeroU16};

use tests::{
    echo::udp_socket,
    plan::Plan,
    topology::RESOURCE,
    vpc::{ASK, BEYOND, FAR, FARTHER, NAT, Rules, SHORT, Vpc, asks, gets_nothing},
    world::ECHO,
};
use vpc_user::model::{
    Carried, Endpoint, ExplainRequest, Explanation, ObjectName, Request, Response, StageDecision,
};

fn explain(vpc: &Vpc, host: Ipv4Addr, port: u16, from_port: Option<u16>) -> Explanation {
    let request = ExplainRequest {
        environment: ObjectName::new("blue-0").expect("a name"),
        to: Endpoint {
            address: host,
            port: NonZeroU16::new(port).expect("a port"),
            protocol: Carried::Udp,
        },
        from_port: from_port.and_then(NonZeroU16::new),
    };
    match vpc.world.request(&Request::Explain(request)) {
        Response::Explanation(explanation) => *explanation,
        other => panic!("{other:?}"),
    }
}

/// What becomes of one datagram of a new flow: the reason it was dropped for, on either
/// way, or nothing if it was answered.
fn sent(vpc: &Vpc, host: Ipv4Addr, port: u16) -> Option<String> {
    let before = vpc.world.drop_totals();
    let socket = vpc.world.env(0).run(|| udp_socket((host, port)));
    let socket = socket.expect("socket");
    socket.set_read_timeout(Some(SHORT)).expect("set a timeout");
    socket.send(b"anyone?").expect("send");
    if socket.recv(&mut [0; 64]).is_ok() {
        return None;
    }
    let moved: BTreeMap<_, _> = vpc
        .world
        .drop_totals()
        .into_iter()
        .filter(|(reason, packets)| before.get(reason) != Some(packets))
        .collect();
    assert_eq!(moved.len(), 1, "one reason for {host}:{port}: {moved:?}");
    moved.into_keys().next()
}

/// The reason that an explanation gives, on either way.
fn said(explanation: &Explanation) -> Option<String> {
    if explanation.verdict != Explanation::ALLOWED {
        return Some(explanation.verdict.clone());
    }
    let reply = explanation
        .reply
        .as_ref()
        .expect("what is sent is answered");
    (!reply.allows).then(|| "nacl_in".to_owned())
}

const PLACES: [(Ipv4Addr, u16); 8] = [
    (RESOURCE, ECHO.port()),
    (FAR, ASK),
    (FARTHER, ASK),
    (Ipv4Addr::new(10, 0, 1, 99), ASK),
    (Ipv4Addr::new(10, 0, 1, 103), ASK),
    (BEYOND, ASK),
    (Ipv4Addr::new(203, 0, 113, 200), ASK),
    (Ipv4Addr::new(203, 0, 113, 201), ASK),
];

#[test]
fn what_is_said_of_a_new_flow_is_what_its_packet_gets() {
    let all = "{ protocol = \"all\", cidr = \"0.0.0.0/0\" }";
    let allow = tests::vpc::EVERYTHING;
    let deny = "{ number = 9, action = \"deny\", protocol = \"udp\", ports = \"53\", \
                cidr = \"10.0.1.100/31\" }";
    let by_nat = "{ destination = \"203.0.113.0/24\", interface = \"nat\" }, \
                  { destination = \"203.0.113.200/31\", blackhole = true }";
    let egresses = [
        all,
        "",
        "{ protocol = \"udp\", ports = \"53\", cidr = \"10.0.1.96/29\" }",
    ];
    let acls = [
        (allow.to_owned(), allow.to_owned()),
        (format!("{deny}, {allow}"), allow.to_owned()),
        (allow.to_owned(), format!("{deny}, {allow}")),
        (allow.to_owned(), String::new()),
    ];
    let mut vpc = Vpc::start(Rules::default());
    let mut seen: BTreeMap<Option<String>, u32> = BTreeMap::new();
    for (number, (acl_out, acl_in)) in acls.iter().enumerate() {
        for egress in egresses {
            vpc.put(|rules| {
                rules.egress = Some(egress.to_owned());
                (rules.acl_out, rules.acl_in) = (acl_out.clone(), acl_in.clone());
                rules.routes = if number % 2 == 0 { by_nat } else { "" }.to_owned();
            });
            for (host, port) in PLACES {
                let explanation = explain(&vpc, host, port, None);
                let sent = sent(&vpc, host, port);
                assert_eq!(said(&explanation), sent, "{host}:{port}: {explanation:?}");
                *seen.entry(sent).or_default() += 1;
            }
        }
    }
    let reasons: Vec<_> = seen.keys().flatten().map(String::as_str).collect();
    let all = ["blackhole", "nacl_in", "nacl_out", "no_route", "sg_egress"];
    assert_eq!(reasons, all, "{seen:?}");
    assert!(seen[&None] > 20, "{seen:?}");
    assert_ne!(NAT, RESOURCE);
    // One packet each; and the ENI knows of all of them.
    let counted: BTreeMap<_, _> = vpc.world.status().enis.remove(0).refused;
    let expected = seen
        .into_iter()
        .filter_map(|(reason, packets)| Some((reason?, packets.into())));
    assert_eq!(counted, expected.collect());
    let replies = vpc
        .world
        .list()
        .iter()
        .map(|e| e.refused_replies)
        .sum::<u64>();
    assert_eq!(counted["nacl_in"], replies);
}

#[test]
fn what_is_said_of_an_open_flow_is_what_its_next_packet_gets() {
    let mut vpc = Vpc::start(Rules::default());
    let socket = vpc.socket(FAR);
    asks(&socket);
    let port = socket.local_addr().expect("an address").port();
    let first = explain(&vpc, FAR, ASK, Some(port));
    assert_eq!((first.verdict.as_str(), first.tracked), ("allowed", true));
    let flow = first.flow.expect("it is open");
    let listed = vpc.world.flows().remove(0);
    assert_eq!((flow.slot, flow.epoch), (listed.slot, listed.epoch));
    assert_eq!(flow.outside_port, listed.outside.port());
    // Its group revokes the rule: it goes on, and a new one would not.
    vpc.put(|rules| rules.egress = Some(String::new()));
    let tracked = explain(&vpc, FAR, ASK, Some(port));
    let groups = tracked.security_groups.expect("they are asked");
    assert_eq!(groups.decision, StageDecision::Tracked);
    assert_eq!(tracked.verdict, "allowed");
    asks(&socket);
    assert_eq!(explain(&vpc, FAR, ASK, None).verdict, "sg_egress");
    // The ACL cuts it.
    vpc.put(|rules| rules.acl_out = String::new());
    assert_eq!(explain(&vpc, FAR, ASK, Some(port)).verdict, "nacl_out");
    gets_nothing(&socket);
}

#[test]
fn a_new_flow_that_finds_no_room_is_explained_as_it_is_dropped() {
    let with = |change: fn(&mut Plan)| Vpc::start_as(Rules::default(), change);
    for (vpc, reason) in [
        (
            with(|plan| plan.environments[0].flow_quota = 3),
            "environment_quota",
        ),
        (
            with(|plan| plan.tenants[0].connections = Some(3)),
            "ports_exhausted",
        ),
    ] {
        let mut sockets = Vec::new();
        for _ in 0..3 {
            assert_eq!(said(&explain(&vpc, FAR, ASK, None)), None);
            sockets.push(vpc.socket(FAR));
            asks(sockets.last().expect("a socket"));
        }
        let open = sockets[0].local_addr().expect("an address").port();
        assert_eq!(said(&explain(&vpc, FAR, ASK, Some(open))), None);
        let explanation = explain(&vpc, RESOURCE, ECHO.port(), None);
        assert_eq!(said(&explanation).as_deref(), Some(reason));
        assert_eq!(sent(&vpc, RESOURCE, ECHO.port()).as_deref(), Some(reason));
    }
}
