//! From a declaration to packets, and back to nothing.

use std::io::{ErrorKind, Read as _, Write as _};

use aya::maps::{Array, HashMap, Map, MapData};
use nix::sys::signal::Signal;
use serde_json::json;
use tests::{
    burst,
    echo::{tcp_exchange, udp_exchange, udp_socket},
    functions::{Functions, network, tenant},
    http,
    topology::RESOURCE,
    wait::{PATIENCE, eventually},
    world::ECHO,
};
use vpc_common::layout::{Eni, Link, name};
use vpc_user::model::{Request, Response};

/// The address that a new flow of an environment leaves by.
fn leaves_by(functions: &Functions, environment: usize) -> std::net::Ipv4Addr {
    let env = functions.world.env(environment);
    let socket = env
        .run(|| udp_socket((RESOURCE, ECHO.port())))
        .expect("socket");
    *udp_exchange(&socket, b"who am I?")
        .expect("an answer")
        .peer
        .ip()
}

#[test]
fn a_function_is_active_once_its_eni_takes_flows_and_its_environment_leaves_by_it() {
    let functions = Functions::start(&["blue"], 1, "");
    let steps = functions.apply(&tenant("blue"));
    assert!(
        steps.iter().any(|step| step.object == "function blue"),
        "{steps:?}"
    );
    functions.await_active("blue");
    let enis = functions.enis();
    let [(address, eni)] = enis.as_slice() else {
        panic!("{enis:?}")
    };
    assert_eq!(eni.resource["Status"], "in-use");
    functions.attach(0, "blue");
    assert_eq!(leaves_by(&functions, 0), *address);
    let env = functions.world.env(0);
    let mut stream = env
        .run(|| http::connect((RESOURCE, ECHO.port())))
        .expect("connect");
    tcp_exchange(&mut stream, b"hello").expect("echo");
    let usage = functions.eni(&eni.id);
    assert_eq!(usage.connections, 2);
    assert_eq!(usage.flows[0].flows, 2);
    assert_eq!(usage.usage.environments.len(), 1);
    assert_eq!(usage.usage.functions.len(), 1);
    let to = format!("{RESOURCE}:{}/udp", ECHO.port());
    let request = json!({ "environment": "blue-0", "to": to });
    let request = serde_json::from_value(request).expect("a request");
    let Response::Explanation(told) = functions.world.request(&Request::Explain(request)) else {
        panic!("an explanation was expected")
    };
    let function = told.function.expect("it runs one");
    assert!(function.ends_with(":function:blue:$LATEST"), "{function}");
    assert_eq!(told.verdict, "allowed");
    assert_eq!(
        functions.apply(&tenant("blue")),
        [],
        "the second time nothing changes"
    );
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill_and_connections_go_on() {
    let mut functions = Functions::attached("");
    let mut stream = {
        let env = functions.world.env(0);
        env.run(|| http::connect((RESOURCE, ECHO.port())))
            .expect("connect")
    };
    tcp_exchange(&mut stream, b"before").expect("echo");
    let before = (functions.get("interface"), functions.get("environment"));
    functions.world.stop_agent(Signal::SIGKILL);
    tcp_exchange(&mut stream, b"without an agent").expect("echo");
    functions.world.start_agent();
    assert_eq!(
        (functions.get("interface"), functions.get("environment")),
        before
    );
    assert_eq!(functions.function("blue")["State"], "Active");
    tcp_exchange(&mut stream, b"after").expect("echo");
    assert_eq!(functions.apply(&tenant("blue")), []);
}

#[test]
fn nothing_is_attached_to_a_function_that_cannot_be_invoked() {
    let functions = Functions::start(&["blue"], 1, "");
    functions.apply(&network("blue"));
    let unknown = functions.try_attach(0, "blue").expect_err("there is none");
    assert!(
        unknown.starts_with("ResourceNotFoundException"),
        "{unknown}"
    );
    // Without an uplink nothing can be programmed, and nothing is.
    let vpc = functions.one("vpc", "blue").id;
    let detach = json!({ "VpcId": vpc, "Uplink": { "Value": null } });
    functions
        .call("ec2", "ModifyVpcAttribute", detach)
        .expect("done");
    let ids = |kind: &str, name: &str| functions.one(kind, name).id;
    let created = functions.call(
        "lambda",
        "CreateFunction",
        json!({
            "FunctionName": "blue",
            "Role": ids("role", "blue"),
            "VpcConfig": {
                "SubnetIds": [ids("subnet", "blue-a")],
                "SecurityGroupIds": [ids("security-group", "blue-web")],
            },
        }),
    );
    assert_eq!(created.expect("created")["State"], "Pending");
    let pending = functions.try_attach(0, "blue").expect_err("it is pending");
    assert!(
        pending.starts_with("ResourceConflictException"),
        "{pending}"
    );
    assert!(pending.contains("Pending"), "{pending}");
    assert_eq!(functions.world.list(), []);
    // Its uplink is back.
    let attach = json!({ "VpcId": vpc, "Uplink": { "Value": "blue" } });
    functions
        .call("ec2", "ModifyVpcAttribute", attach)
        .expect("done");
    functions.await_active("blue");
    functions.attach(0, "blue");
    leaves_by(&functions, 0);
}

/// The record is on its way to the disk when the kernel refuses.
#[test]
fn an_attach_that_the_kernel_refuses_leaves_nothing() {
    let functions = Functions::start(&["blue"], 1, "");
    functions.apply(&tenant("blue"));
    functions.await_active("blue");
    let tc = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        functions.world.host().says("tc", &words);
    };
    tc("qdisc add dev env0 clsact");
    tc("filter add dev env0 ingress prio 1 protocol all u32 match u32 0 0 classid 1:1");
    let refused = functions.try_attach(0, "blue").expect_err("refused");
    assert!(refused.contains("a filter of another kind"), "{refused}");
    assert_eq!(functions.get("environment").len(), 0);
    assert!(functions.world.list().is_empty());
    tc("qdisc del dev env0 clsact");
    functions.attach(0, "blue");
    leaves_by(&functions, 0);
    assert_eq!(functions.get("environment").len(), 1);
}

#[test]
fn an_update_keeps_open_flows_on_the_old_eni_and_the_old_eni_goes_with_them() {
    let functions = Functions::attached("");
    let env = functions.world.env(0);
    let mut stream = env
        .run(|| http::connect((RESOURCE, ECHO.port())))
        .expect("connect");
    tcp_exchange(&mut stream, b"before").expect("echo");
    let old = functions.enis()[0].clone();
    functions.apply(&tenant("blue").replace("[\"blue-a\"]", "[\"blue-b\"]"));
    functions.await_active("blue");
    let new = leaves_by(&functions, 0);
    assert_ne!(new, old.0);
    assert_eq!(new.octets()[2], 1, "it is in the other subnet");
    tcp_exchange(&mut stream, b"on the old one").expect("echo");
    let waiting = functions.eni(&old.1.id);
    assert_eq!(waiting.connections, 1);
    assert!(waiting.usage.waits_for.is_some(), "{waiting:?}");
    drop(stream);
    let is_gone = || {
        functions
            .enis()
            .iter()
            .all(|(address, _)| *address != old.0)
    };
    assert!(
        eventually(PATIENCE * 6, is_gone),
        "{:?}",
        functions.eni(&old.1.id)
    );
}

#[test]
fn a_move_to_another_vpc_resets_what_was_open_in_the_old_one() {
    let functions = Functions::start(&["blue", "red"], 1, "");
    functions.apply(&format!("{}{}", tenant("blue"), network("red")));
    functions.await_active("blue");
    functions.attach(0, "blue");
    let env = functions.world.env(0);
    let mut stream = env
        .run(|| http::connect((RESOURCE, ECHO.port())))
        .expect("connect");
    tcp_exchange(&mut stream, b"in blue").expect("echo");
    let moved = tenant("blue").replace("[\"blue-a\"]", "[\"red-a\"]");
    let moved = moved.replace("[\"blue-web\"]", "[\"red-web\"]");
    functions.apply(&format!("{moved}{}", network("red")));
    functions.await_active("blue");
    let reset = stream
        .write_all(b"still there?")
        .and_then(|()| stream.read_exact(&mut [0; 1]));
    let error = reset.expect_err("it is of the old VPC");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let env = functions.world.env(0);
    let socket = env
        .run(|| udp_socket((RESOURCE, ECHO.port())))
        .expect("socket");
    let seen = udp_exchange(&socket, b"who are you?").expect("an answer");
    assert_eq!(seen.tenant, "red");
}

#[test]
fn an_eni_that_is_nearly_full_gets_company_before_anybody_is_refused() {
    let functions = Functions::attached("connections_per_eni = 40\n");
    let env = functions.world.env(0);
    let open = || {
        env.run(|| udp_socket((RESOURCE, ECHO.port())))
            .expect("socket")
    };
    let mut sockets = Vec::new();
    for count in 1..=100 {
        let socket = open();
        udp_exchange(&socket, b"hello").expect("an answer");
        sockets.push(socket);
        // A burst of eight finds the room that is kept for it.
        if count % 8 == 0 {
            let active = || {
                let enis = functions.enis();
                let active = enis
                    .iter()
                    .filter(|(_, eni)| eni.resource["Status"] == "in-use");
                active.count() * 40 > count + 8
            };
            assert!(
                eventually(PATIENCE, active),
                "{count}: {:?}",
                functions.enis()
            );
        }
    }
    let refused = functions
        .world
        .drop_count(vpc_common::drop::DropReason::PortsExhausted);
    assert_eq!(refused, 0);
    assert!(functions.enis().len() >= 3);
}

/// 52,000 connections are 80 % of an ENI's, and the room above them is gone in a quarter of
/// a second.
#[test]
fn a_burst_of_50_000_connections_a_second_is_not_refused() {
    const FLOWS: usize = 100_000;
    let functions = burst::world(FLOWS);
    leaves_by(&functions, 0);
    let took = burst::open(&functions, FLOWS, 50_000);
    let status = functions.world.status();
    eprintln!("{FLOWS} in {took:?}");
    assert!(
        functions.world.drop_totals().is_empty(),
        "{:?}",
        functions.world.drop_totals()
    );
    assert_eq!(status.flows, FLOWS as u64 + 1);
    let connections: Vec<u64> = status.enis.iter().map(|eni| eni.connections).collect();
    assert_eq!(connections.iter().sum::<u64>(), FLOWS as u64 + 1);
    assert!(connections.len() >= 2, "{connections:?}");
}

#[test]
fn a_deleted_function_leaves_no_eni_and_its_network_can_go() {
    let functions = Functions::attached("");
    leaves_by(&functions, 0);
    functions.world.detach("blue-0").expect("detached");
    functions
        .call(
            "lambda",
            "DeleteFunction",
            json!({ "FunctionName": "blue" }),
        )
        .expect("deleted");
    assert!(
        eventually(PATIENCE * 6, || functions.enis().is_empty()),
        "{:?}",
        functions.enis()
    );
    let steps = functions.try_apply("", true).expect("everything goes");
    assert!(steps.iter().all(|step| step.verb == "delete"), "{steps:?}");
    assert_eq!(functions.get("vpc"), []);
    assert_eq!(functions.get("subnet"), []);
    let status = functions.world.status();
    assert_eq!(status.enis, []);
}

#[test]
fn what_somebody_else_changes_in_the_tables_is_put_back() {
    let functions = Functions::attached("");
    leaves_by(&functions, 0);
    let open = |table: &str| {
        let path = functions.world.pins().join("maps").join(table);
        MapData::from_pin(path).expect("pinned")
    };
    let links = Map::HashMap(open(name::LINK_BY_IFINDEX));
    let mut links: HashMap<_, u32, Link> = links.try_into().expect("a hash");
    let known: Vec<u32> = links.keys().collect::<Result<_, _>>().expect("keys");
    for ifindex in &known {
        links.remove(ifindex).expect("removed");
    }
    let enis = Map::Array(open(name::ENIS));
    let mut enis: Array<_, Eni> = enis.try_into().expect("an array");
    let before = enis.get(&0, 0).expect("an ENI");
    let changed = Eni {
        connection_limit: 1,
        ..before
    };
    enis.set(0, changed, 0).expect("set");
    functions.world.reload().expect("a full pass");
    leaves_by(&functions, 0);
    assert_eq!(enis.get(&0, 0).expect("an ENI"), before);
    let edits = functions.world.status().counters["agent_foreign_edits"];
    assert_eq!(edits, known.len() as u64 + 1);
    // And nothing is to be done any more.
    functions.world.reload().expect("a full pass");
    assert_eq!(
        functions.world.status().counters["agent_foreign_edits"],
        edits
    );
}

#[test]
fn flows_of_functions_end_by_the_timeouts_of_the_file() {
    let functions = Functions::attached("timeouts = { udp_new = 1, udp_stream = 1 }\n");
    leaves_by(&functions, 0);
    // Two minutes were it for the profile alone, and nothing else ends it.
    let ended = || functions.world.flows().is_empty();
    assert!(
        eventually(PATIENCE / 2, ended),
        "{:?}",
        functions.world.flows()
    );
}
