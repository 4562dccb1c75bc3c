//! What goes wrong around the agent, and what is promised then: interfaces that go, tables
//! that somebody changes, a disk that is full, a clock that jumps.

mod clock;
mod links;
mod store;
mod tables;
mod uplinks;

use std::net::TcpStream;

use nix::{
    net::if_::if_nametoindex,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::{
    echo::tcp_exchange,
    http,
    netns::Namespace,
    topology::{INTERFACE, Station, mac_text},
    wait::{PATIENCE, eventually},
    world::{ECHO, HTTP, World},
};

fn index_of(namespace: &Namespace, interface: &str) -> u32 {
    let index = namespace.run(|| if_nametoindex(interface));
    index.unwrap_or_else(|error| panic!("{interface}: {error}"))
}

/// Joins a station to the host by an interface of this number.
fn connect_as(station: Station, host: &Namespace, interface: &str, far: &Namespace, index: u32) {
    host.ip_batch(&format!(
        "link add name {interface} index {index} mtu 1500 type veth peer name {INTERFACE} mtu 1500 \
         netns {}\nlink set {interface} up\n",
        far.path().display()
    ));
    let mac = mac_text(station.mac);
    far.ip_batch(&format!(
        "link set {INTERFACE} address {mac} up\naddr add {}/{} dev {INTERFACE}\n",
        station.address, station.prefix_len
    ));
    if let Some(gateway) = station.gateway {
        far.ip_batch(&format!("route add default via {gateway}\n"));
    }
}

/// An agent that sees and does nothing, until this is dropped.
struct Frozen(Pid);

impl Frozen {
    fn new(world: &World) -> Self {
        let pid = Pid::from_raw(world.status().pid.cast_signed());
        kill(pid, Signal::SIGSTOP).expect("stop the agent");
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // It ends with the world if not by this.
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

/// A connection of an environment to the echo, in use.
fn connect(world: &World, environment: usize) -> TcpStream {
    let env = world.env(environment);
    let mut stream = env.run(|| http::connect(ECHO)).expect("connect");
    tcp_exchange(&mut stream, b"hello").expect("echo");
    stream
}

fn fetches(world: &World, environment: usize) {
    let env = world.env(environment);
    let seen = env.run(|| http::whoami(HTTP)).expect("fetch");
    let tenant = &world.tenants()[world.environments()[environment].tenant];
    assert_eq!(seen.tenant, tenant.name);
}

/// Names of the files in the folder of links.
fn pins(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.pins().join("links")).expect("the folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn await_detached(world: &World, name: &str) {
    let is_gone = || world.list().iter().all(|it| it.name != name);
    assert!(eventually(PATIENCE, is_gone), "{:?}", world.list());
}

fn counter(world: &World, name: &str) -> u64 {
    world.status().counters[name]
}
