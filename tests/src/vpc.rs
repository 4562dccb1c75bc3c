//! A world whose tenant is a VPC: one environment behind an ENI in a subnet, hosts in
//! other subnets and beyond the VPC, and rules that change while packets flow.

use std::{
    fmt::Write as _,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket},
    time::Duration,
};

use crate::{
    echo::{UdpEcho, UdpSeen, tcp_exchange, udp_exchange, udp_socket},
    http,
    plan::Plan,
    topology::{INTERFACE, RESOURCE},
    world::{ECHO, Reloaded, World},
};

/// A host in another subnet of the VPC.
pub const FAR: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 100);
/// Its neighbour.
pub const FARTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 101);
/// A host beyond the VPC.
pub const BEYOND: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 100);
/// The interface that routes lead to, an address of the resource's.
pub const NAT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 201);
/// Every host besides the resource: around [`FAR`] for the ends of prefixes, two
/// resolvers, and more beyond the VPC.
const HOSTS: [Ipv4Addr; 10] = [
    FAR,
    FARTHER,
    Ipv4Addr::new(10, 0, 1, 99),
    Ipv4Addr::new(10, 0, 1, 103),
    Ipv4Addr::new(10, 0, 1, 104),
    Ipv4Addr::new(10, 1, 0, 2),
    Ipv4Addr::new(10, 1, 0, 3),
    BEYOND,
    Ipv4Addr::new(203, 0, 113, 200),
    Ipv4Addr::new(203, 0, 113, 201),
];
/// The port of the UDP echo of every host but the resource.
pub const ASK: u16 = 53;
/// Shorter than the first retransmission of a SYN.
pub const SHORT: Duration = Duration::from_millis(400);

/// The rules of the environment's ENI, as lists of inline tables. What is not given is
/// AWS's default.
#[derive(Clone, Debug)]
pub struct Rules {
    /// CIDR blocks of the VPC.
    pub cidrs: Vec<&'static str>,
    /// Egress rules of the security group `app`, which the ENI carries.
    pub egress: Option<String>,
    /// Entries of the network ACL `app` for what leaves.
    pub acl_out: String,
    /// Entries for what enters.
    pub acl_in: String,
    /// Routes of the table `app`.
    pub routes: String,
    /// Further objects.
    pub more: String,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            cidrs: vec!["10.0.0.0/16"],
            egress: None,
            acl_out: EVERYTHING.to_owned(),
            acl_in: EVERYTHING.to_owned(),
            routes: String::new(),
            more: String::new(),
        }
    }
}

/// An ACL entry that allows what no entry before it denies.
pub const EVERYTHING: &str =
    "{ number = 100, action = \"allow\", protocol = \"all\", cidr = \"0.0.0.0/0\" }";

impl Rules {
    /// The same with a change.
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut rules = Self::default();
        change(&mut rules);
        rules
    }

    /// As text of the configuration.
    pub fn text(&self) -> String {
        let mut text = format!(
            "\n[[vpc]]\nname = \"blue\"\ncidr = {:?}\nuplink = \"blue\"\nlocal = \"on-link\"\n\
             \n[[subnet]]\nname = \"app\"\nvpc = \"blue\"\ncidr = \"10.0.0.0/24\"\n\
             network_acl = \"app\"\nroute_table = \"app\"\n\
             \n[[subnet]]\nname = \"db\"\nvpc = \"blue\"\ncidr = \"10.0.1.0/24\"\n\
             \n[[interface]]\nname = \"nat\"\nsubnet = \"app\"\naddress = \"{NAT}\"\n\
             \n[[security_group]]\nname = \"app\"\nvpc = \"blue\"\n",
            self.cidrs
        );
        if let Some(egress) = &self.egress {
            let _ = writeln!(text, "egress = [{egress}]");
        }
        let Self {
            acl_out,
            acl_in,
            routes,
            more,
            ..
        } = self;
        let _ = write!(
            text,
            "\n[[network_acl]]\nname = \"app\"\nvpc = \"blue\"\negress = [{acl_out}]\n\
             ingress = [{acl_in}]\n\
             \n[[route_table]]\nname = \"app\"\nvpc = \"blue\"\nroute = [{routes}]\n{more}"
        );
        text
    }
}

/// The world, its rules and the servers of its hosts.
#[derive(Debug)]
pub struct Vpc {
    // Sockets go before their namespaces.
    _servers: Vec<UdpEcho>,
    /// The world.
    pub world: World,
    /// The rules that were put in force last.
    pub rules: Rules,
}

impl Vpc {
    /// Starts the world with these rules.
    pub fn start(rules: Rules) -> Self {
        Self::start_as(rules, |_| {})
    }

    /// The same with another plan.
    pub fn start_as(rules: Rules, change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = Plan::blue(1).with_tenant(|tenant| {
            tenant.subnet = Some("app".to_owned());
            tenant.security_groups = vec!["app".to_owned()];
        });
        change(&mut plan);
        plan.network = rules.text();
        let world = World::start(plan);
        let resource = world.tenant(0);
        let mut lines = format!("addr add {NAT}/32 dev {INTERFACE}\n");
        for host in HOSTS {
            let _ = writeln!(lines, "addr add {host}/32 dev {INTERFACE}");
        }
        resource.ip_batch(&lines);
        let echo = |host| UdpEcho::start_at(resource, SocketAddrV4::new(host, ASK), "blue");
        Self {
            _servers: HOSTS.map(echo).into(),
            world,
            rules,
        }
    }

    /// Puts changed rules in force.
    pub fn put(&mut self, change: impl FnOnce(&mut Rules)) -> Reloaded {
        change(&mut self.rules);
        self.world.plan_mut().network = self.rules.text();
        let reloaded = self.world.reload().expect("the rules are valid");
        assert!(reloaded.problems.is_empty(), "{reloaded:?}");
        reloaded
    }

    /// A TCP connection of the environment.
    pub fn connect(&self, host: Ipv4Addr, port: u16) -> TcpStream {
        let stream = self.world.env(0).run(|| http::connect((host, port)));
        stream.unwrap_or_else(|error| panic!("connect to {host}:{port}: {error}"))
    }

    /// A connection to a TCP echo.
    pub fn connect_to_echo(&self, host: Ipv4Addr) -> TcpStream {
        let mut stream = self.connect(host, ECHO.port());
        tcp_exchange(&mut stream, b"hello").expect("echo");
        stream
    }

    /// The environment tries to connect with one SYN, to no avail.
    pub fn connects_not(&self, host: Ipv4Addr, port: u16) {
        let to = SocketAddrV4::new(host, port).into();
        let tried = self
            .world
            .env(0)
            .run(|| TcpStream::connect_timeout(&to, SHORT));
        let error = tried.expect_err("no connection");
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{host}:{port}");
    }

    /// A UDP socket of the environment, connected to an echo.
    pub fn socket(&self, host: Ipv4Addr) -> UdpSocket {
        let port = if host == RESOURCE { ECHO.port() } else { ASK };
        let socket = self.world.env(0).run(|| udp_socket((host, port)));
        socket.expect("socket")
    }

    /// The environment asks with one datagram and is answered.
    pub fn ask(&self, host: Ipv4Addr) -> UdpSeen {
        asks(&self.socket(host))
    }

    /// The environment asks with one datagram, to no avail.
    pub fn asks_not(&self, host: Ipv4Addr) {
        gets_nothing(&self.socket(host));
    }
}

/// An exchange on a socket that was connected to an echo.
pub fn asks(socket: &UdpSocket) -> UdpSeen {
    udp_exchange(socket, b"who am I?").expect("an answer")
}

/// A datagram on a socket that was connected to an echo, which is not answered.
pub fn gets_nothing(socket: &UdpSocket) {
    let patience = socket.read_timeout().expect("a timeout");
    socket.set_read_timeout(Some(SHORT)).expect("set a timeout");
    let error = udp_exchange(socket, b"anyone?").expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    socket.set_read_timeout(patience).expect("set a timeout");
}
