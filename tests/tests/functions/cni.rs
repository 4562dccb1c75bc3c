//! A container that a runtime attaches with the plugin, to a function of a real agent.

use std::{
    io::Write as _,
    process::{Output, Stdio},
};

use serde_json::{Value, json};
use tests::{
    agent,
    echo::{udp_exchange, udp_socket},
    functions::{Functions, network, tenant},
    netns::Namespace,
    topology::RESOURCE,
    world::ECHO,
};

fn plugin(functions: &Functions, pod: &Namespace, verb: &str, function: &str) -> Output {
    let config = json!({
        "cniVersion": "1.1.0",
        "name": "blue",
        "type": "vpc-cni",
        "socket": functions.world.socket(),
        "function": function,
    });
    let mut child = functions
        .world
        .host()
        .command(agent::cni_binary())
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", "c1")
        .env("CNI_IFNAME", "eth0")
        .env("CNI_NETNS", pod.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the plugin");
    let mut stdin = child.stdin.take().expect("piped");
    stdin
        .write_all(config.to_string().as_bytes())
        .expect("written");
    drop(stdin);
    child.wait_with_output().expect("the plugin ends")
}

#[test]
fn a_container_that_is_added_reaches_the_vpc_of_its_function() {
    let functions = Functions::start(&["blue"], 0, "");
    let pod = Namespace::new("pod");
    functions.apply(&network("blue"));
    let refused = plugin(&functions, &pod, "ADD", "blue");
    assert!(!refused.status.success());
    let error: Value = serde_json::from_slice(&refused.stdout).expect("an error in JSON");
    assert!(
        error.to_string().contains("ResourceNotFoundException"),
        "{error}"
    );
    functions.apply(&tenant("blue"));
    functions.await_active("blue");
    let added = plugin(&functions, &pod, "ADD", "blue");
    let told = String::from_utf8_lossy(&added.stdout);
    assert!(added.status.success(), "{told}");
    let socket = pod
        .run(|| udp_socket((RESOURCE, ECHO.port())))
        .expect("socket");
    let seen = udp_exchange(&socket, b"who am I?").expect("an answer");
    assert_eq!(*seen.peer.ip(), functions.enis()[0].0);
    assert_eq!(functions.get("environment").len(), 1);
    assert!(plugin(&functions, &pod, "DEL", "blue").status.success());
    assert_eq!(functions.get("environment"), []);
    assert_eq!(functions.world.list(), []);
}
