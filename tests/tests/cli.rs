//! The command line against a running agent.

use std::process::Output;

use nix::sys::signal::Signal;
use tests::{
    agent,
    echo::{udp_exchange, udp_socket},
    plan::Plan,
    topology::{GATEWAY, INSIDE},
    world::{ECHO, World},
};
use vpc_user::model::{DropInfo, EnvironmentInfo, FlowInfo, StatusInfo};

fn vpc(world: &World, arguments: &[&str]) -> Output {
    agent::command(&world.socket(), arguments)
}

fn json<T: serde::de::DeserializeOwned>(world: &World, arguments: &[&str]) -> T {
    let output = vpc(world, arguments);
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "vpc {arguments:?}: {errors}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("vpc {arguments:?}: {error}: {out}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn attach<'a>(world: &'a World, index: usize, more: &[&'a str]) -> Output {
    let environment = &world.environments()[index];
    let (address, gateway) = (INSIDE.to_string(), GATEWAY.to_string());
    let mut arguments = vec!["attach", &environment.name];
    arguments.extend(["--interface", &environment.interface, "--group", "blue"]);
    arguments.extend(["--address", &address, "--gateway", &gateway]);
    arguments.extend(["--netns", environment.netns.name()]);
    arguments.extend(more);
    vpc(world, &arguments)
}

#[test]
fn an_environment_is_attached_listed_and_detached_by_command() {
    let mut world = World::build(Plan::blue(2));
    world.start_agent();
    let output = attach(&world, 0, &["--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let info: EnvironmentInfo = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((info.name.as_str(), info.address), ("blue-0", INSIDE));
    assert!(attach(&world, 1, &[]).status.success());
    let seen = world
        .env(0)
        .run(|| udp_exchange(&udp_socket(ECHO)?, b"hello"))
        .expect("echo");

    let listed: Vec<EnvironmentInfo> = json(&world, &["ls", "--json"]);
    assert_eq!(listed, world.list());
    let flows: Vec<FlowInfo> = json(&world, &["flows", "--json"]);
    assert_eq!(flows.len(), 1);
    assert_eq!(flows[0].outside, std::net::SocketAddr::V4(seen.peer));
    let status: StatusInfo = json(&world, &["status", "--json"]);
    assert_eq!((status.environments, status.flows), (2, 1));
    let _: Vec<DropInfo> = json(&world, &["drops", "--json"]);

    for command in ["ls", "flows", "drops", "status"] {
        let output = vpc(&world, &[command]);
        assert!(
            output.status.success(),
            "vpc {command}: {}",
            text(&output.stderr)
        );
    }
    assert!(text(&vpc(&world, &["flows"]).stdout).contains(&seen.peer.to_string()));
    assert!(vpc(&world, &["detach", "blue-0"]).status.success());
    assert_eq!(world.list().len(), 1);
}

#[test]
fn a_refusal_is_one_sentence_and_an_exit_code() {
    let mut world = World::build(Plan::blue(1));
    world.start_agent();
    assert!(attach(&world, 0, &[]).status.success());
    let again = attach(&world, 0, &[]);
    assert!(!again.status.success());
    let sentence = text(&again.stderr);
    assert!(
        sentence.contains("env0") && sentence.trim().lines().count() == 1,
        "{sentence}"
    );
    let nobody = vpc(&world, &["detach", "nobody"]);
    assert!(!nobody.status.success());
    assert!(
        text(&nobody.stderr).contains("nobody"),
        "{}",
        text(&nobody.stderr)
    );
    let nowhere = agent::command(&world.pins(), &["ls"]);
    assert!(!nowhere.status.success(), "no agent listens there");
}

#[test]
fn teardown_removes_a_data_path_whose_agent_is_gone() {
    let mut world = World::start(Plan::blue(1));
    let config = world.config();
    let arguments = ["teardown", "--config", &config.to_string_lossy()];
    let output = vpc(&world, &arguments);
    assert!(!output.status.success(), "not while the agent runs");
    world
        .env(0)
        .run(|| udp_exchange(&udp_socket(ECHO)?, b"hello"))
        .expect("echo");
    assert!(world.stop_agent(Signal::SIGTERM).success());
    let output = vpc(&world, &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let left = std::fs::read_dir(world.pins()).map_or(0, |entries| entries.count());
    assert_eq!(left, 0);
    world.start_agent();
    assert!(!world.status().adopted);
}
