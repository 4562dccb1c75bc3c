//! The links, and a host for each kind of way.
//!
//! ```text
//!            ┌─ in-1 ─ host of forwarding ─ up-1 ─┐
//!  client ───┼─ in-2 ─ host of masquerade ─ up-2 ─┼─── server
//!            └─ in-3 … host with an agent … up-3 ─┘
//! ```
//!
//! Client and server are one namespace each. The hosts are namespaces apart,
//! because connection tracking, once nftables needs it, meets every packet of its
//! namespace.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use nix::sys::socket::{
    setsockopt,
    sockopt::{RcvBufForce, TcpCongestion},
};
use socket2::SockRef;
use vpc_user::model::{AttachRequest, HookWish, ObjectName, Request, Response};

use super::{Inner, Through, Way, cpus::Side};
use crate::{
    agent::{self, Agent},
    folder::Folder,
    netns::Namespace,
    relay::Relay,
    topology::Medium,
};

/// How long a load may stand still before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Room for the datagrams that come while the receiver pauses or waits for its CPU.
const RECEIVE_BUFFER: usize = 8 << 20;

/// MTU of every link.
const MTU: u32 = 1_500;

/// Addresses of a way: `172.16.<way>.0/24` before the host, `10.<way>.0.0/24` behind.
impl Way {
    fn client(self) -> Ipv4Addr {
        Ipv4Addr::new(172, 16, self.number, 2)
    }

    fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(172, 16, self.number, 1)
    }

    /// The host's own address on the server's subnet, or the ENI.
    fn outside(self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, 0, 10)
    }

    fn server(self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, 0, 100)
    }

    /// Whom the server sees.
    fn seen_as(self) -> Ipv4Addr {
        match self.through {
            Through::Forwarding => self.client(),
            Through::Masquerade | Through::Nat(_) => self.outside(),
        }
    }

    fn hook(self) -> HookWish {
        match self.through {
            Through::Nat(hook) => hook,
            Through::Forwarding | Through::Masquerade => HookWish::Auto,
        }
    }

    fn inner(self) -> String {
        format!("in-{}", self.number)
    }

    fn outer(self) -> String {
        format!("up-{}", self.number)
    }
}

/// Both ends of a TCP connection.
#[derive(Debug)]
pub struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Connection {
    /// One of them.
    pub const fn end(&self, side: Side) -> &TcpStream {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    /// Closing is then no matter of what was not sent yet.
    pub fn reset_when_closed(&self) {
        for end in [&self.client, &self.server] {
            let linger = SockRef::from(end).set_linger(Some(Duration::ZERO));
            linger.expect("TCP has the option");
        }
    }
}

/// Namespaces, links and the agent; nothing of it is left when it is dropped.
pub struct Bed {
    // The agent goes before its folder and its namespace.
    _agent: Agent,
    _relays: Vec<Relay>,
    _folder: Folder,
    _hosts: [Namespace; 3],
    client: Namespace,
    server: Namespace,
}

impl Bed {
    /// Sets everything up.
    pub fn new(ways: &[Way]) -> Self {
        let [forwarding, masquerade, nat] = ["forward", "nft", "nat"].map(Namespace::new);
        let (client, server) = (Namespace::new("client"), Namespace::new("server"));
        let folder = Folder::make();
        let mut relays = Vec::new();
        for way in ways {
            let host = match way.through {
                Through::Forwarding => &forwarding,
                Through::Masquerade => &masquerade,
                Through::Nat(_) => &nat,
            };
            relays.extend(link(*way, host, &client, &server));
        }
        masquerade_all(&masquerade);
        let ours = ways.iter().copied();
        let ours: Vec<Way> = ours
            .filter(|way| matches!(way.through, Through::Nat(_)))
            .collect();
        let agent = start_agent(&ours, &nat, &folder, &client, &server);
        Self {
            _agent: agent,
            _relays: relays,
            _folder: folder,
            _hosts: [forwarding, masquerade, nat],
            client,
            server,
        }
    }

    /// A new connection by a way; the server must see whom the way makes it see.
    pub fn connect(&self, way: Way) -> Connection {
        let listener = self.server.run(|| TcpListener::bind((way.server(), 0)));
        let listener = listener.expect("listen");
        let to = listener.local_addr().expect("a listener has an address");
        let client = self
            .client
            .run(|| TcpStream::connect_timeout(&to, PATIENCE));
        let client = client.unwrap_or_else(|error| panic!("{}: connect: {error}", way.label));
        let (server, from) = listener.accept().expect("a connection that stands");
        check(way, from);
        for end in [&client, &server] {
            control(end);
            end.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
            end.set_write_timeout(Some(PATIENCE))
                .expect("set a timeout");
        }
        Connection { client, server }
    }

    /// A socket of the client's that is connected to one of the server's by a way;
    /// the server must see whom the way makes it see.
    pub fn datagram_sockets(&self, way: Way) -> (UdpSocket, UdpSocket) {
        let server = self.server.run(|| UdpSocket::bind((way.server(), 0)));
        let server = server.expect("bind");
        let to = server.local_addr().expect("a socket has an address");
        let client = self.client.run(|| UdpSocket::bind((way.client(), 0)));
        let client = client.expect("bind");
        client.connect(to).expect("there is a route");
        client.send(b"first").expect("send a datagram");
        server
            .set_read_timeout(Some(PATIENCE))
            .expect("set a timeout");
        let (_, from) = server
            .recv_from(&mut [0; 8])
            .unwrap_or_else(|error| panic!("{}: no datagram: {error}", way.label));
        check(way, from);
        enlarge(&server);
        (client, server)
    }
}

fn check(way: Way, from: SocketAddr) {
    let expected = IpAddr::V4(way.seen_as());
    assert_eq!(from.ip(), expected, "{}: whom the server sees", way.label);
}

/// The kernel's own default, whatever this system's is.
fn control(stream: &TcpStream) {
    setsockopt(stream, TcpCongestion, &OsString::from("cubic")).expect("the kernel has CUBIC");
}

/// Beyond what the system allows users by default.
fn enlarge(socket: &UdpSocket) {
    setsockopt(socket, RcvBufForce, &RECEIVE_BUFFER).expect("root may have a large buffer");
}

/// Both links, as the kernel makes them; both ends of each have the same name. A host
/// that the kernel forwards on has addresses; that of an agent has none.
fn link(way: Way, host: &Namespace, client: &Namespace, server: &Namespace) -> Option<Relay> {
    let (inner, outer) = (way.inner(), way.outer());
    let (near, far) = ((host, inner.as_str()), (client, inner.as_str()));
    let relay = match way.inner {
        Inner::Veth => {
            Medium::Veth.join(MTU, 0, near, far);
            None
        }
        Inner::Tap(card) => Some(Relay::join(card, MTU, near, far)),
    };
    let number = way.number;
    way.outer
        .join(MTU, number, (host, &outer), (server, &outer));
    let (gateway, outside) = (way.gateway(), way.outside());
    client.ip_batch(&format!(
        "link set {inner} up\naddr add {}/24 dev {inner}\n\
         route add 10.{}.0.0/24 via {gateway}\n",
        way.client(),
        way.number
    ));
    server.ip_batch(&format!(
        "link set {outer} up\naddr add {}/24 dev {outer}\n",
        way.server()
    ));
    if !matches!(way.through, Through::Nat(_)) {
        host.write_sysctl("net/ipv4/ip_forward", "1");
        host.ip_batch(&format!(
            "addr add {gateway}/24 dev {inner}\naddr add {outside}/24 dev {outer}\n"
        ));
    }
    if way.through == Through::Forwarding {
        server.ip_batch(&format!("route add {}/32 via {outside}\n", way.client()));
    }
    relay
}

/// As a user would write it.
fn masquerade_all(host: &Namespace) {
    for line in [
        "add table ip bench",
        "add chain ip bench post { type nat hook postrouting priority srcnat ; }",
        "add rule ip bench post oifname \"up-*\" masquerade",
    ] {
        let status = host.command("nft").arg(line).status();
        assert!(
            status.as_ref().is_ok_and(std::process::ExitStatus::success),
            "nft {line}: {status:?}"
        );
    }
}

/// One agent, with an uplink, a group and an environment for each way.
fn start_agent(
    ways: &[Way],
    host: &Namespace,
    folder: &Folder,
    client: &Namespace,
    server: &Namespace,
) -> Agent {
    fs::write(folder.config(), config(ways, folder, server)).expect("write the configuration");
    let mut agent = Agent::spawn(host, &folder.config(), &folder.log(), &[]);
    let log = || fs::read_to_string(folder.log()).unwrap_or_default();
    if let Err(error) = agent.wait_ready(&folder.socket()) {
        panic!("{error}\n{}", log());
    }
    for way in ways {
        let request = Request::Attach(attachment(*way, client));
        match agent::request(&folder.socket(), &request) {
            Ok(Response::Environment(info)) => {
                eprintln!("{}: hook {}, {}", way.label, info.hook, info.hook_why);
            }
            other => panic!("attach {}: {other:?}\n{}", way.label, log()),
        }
    }
    agent
}

fn config(ways: &[Way], folder: &Folder, server: &Namespace) -> String {
    let (pins, socket) = (folder.pins(), folder.socket());
    let mut text = format!("pin_dir = {pins:?}\nsocket = {socket:?}\n");
    for way in ways {
        let _ = write!(
            text,
            "\n[[uplink]]\nname = {:?}\ninterface = {:?}\nhook = \"{}\"\n",
            way.label,
            way.outer(),
            way.hook()
        );
        if way.outer == Medium::Veth {
            let _ = writeln!(text, "peer_netns = {:?}", server.name());
        }
    }
    for way in ways {
        let _ = write!(
            text,
            "\n[[group]]\nname = {0:?}\nuplink = {0:?}\nsubnet = \"10.{1}.0.0/24\"\neni = [\"{2}\"]\n",
            way.label,
            way.number,
            way.outside()
        );
    }
    text
}

fn attachment(way: Way, client: &Namespace) -> AttachRequest {
    let name = ObjectName::new(way.label).expect("labels are names");
    AttachRequest {
        name: name.clone(),
        interface: way.inner(),
        group: name,
        address: way.client(),
        gateway: way.gateway(),
        mac: None,
        netns: (way.inner == Inner::Veth).then(|| client.name().to_owned()),
        hook: way.hook(),
        flow_quota: AttachRequest::default_flow_quota(),
        flow_rate: AttachRequest::default_flow_rate(),
        flow_burst: AttachRequest::default_flow_burst(),
    }
}
