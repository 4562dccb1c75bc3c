//! Veth pairs between namespaces of the harness, and the addresses that every
//! world uses: all environments are clones with one address and one MAC, all
//! tenants have the same subnet with a resource at the same address.

use std::{fmt::Write as _, net::Ipv4Addr};

use crate::netns::Namespace;

/// Address of every environment.
pub const INSIDE: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 2);
/// The gateway that every environment sees.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);
/// MAC of every environment.
pub const INSIDE_MAC: [u8; 6] = [0x02, 0x00, 0x00, 0x00, 0x00, 0x02];
/// MAC that the programs answer with for the gateway.
pub const GATEWAY_MAC: [u8; 6] = [0x02, 0x76, 0x70, 0x63, 0x00, 0x01];
/// Subnet of every tenant.
pub const SUBNET: &str = "10.0.0.0/24";
/// The resource in every tenant.
pub const RESOURCE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// MAC of the resource.
pub const RESOURCE_MAC: [u8; 6] = [0x02, 0x00, 0x00, 0x00, 0x00, 0x64];
/// An address of the subnet that nobody holds.
pub const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 50);
/// Name of the interface inside environments and tenants.
pub const INTERFACE: &str = "eth0";

/// Address of the n-th ENI of a tenant's group.
pub const fn eni(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 10 + index)
}

/// A MAC as people write it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

/// The far end of a veth pair: an environment or a tenant.
#[derive(Clone, Copy, Debug)]
pub struct Station {
    /// Its MAC.
    pub mac: [u8; 6],
    /// Its address.
    pub address: Ipv4Addr,
    /// Length of its subnet's prefix.
    pub prefix_len: u8,
    /// Its default gateway.
    pub gateway: Option<Ipv4Addr>,
    /// MTU of both ends.
    pub mtu: u32,
}

impl Station {
    /// An environment.
    pub const fn environment() -> Self {
        Self {
            mac: INSIDE_MAC,
            address: INSIDE,
            prefix_len: 24,
            gateway: Some(GATEWAY),
            mtu: 1500,
        }
    }

    /// A tenant's resource.
    pub const fn resource(mtu: u32) -> Self {
        Self {
            mac: RESOURCE_MAC,
            address: RESOURCE,
            prefix_len: 24,
            gateway: None,
            mtu,
        }
    }

    /// Joins the station to `host`, where the near end is called `interface`.
    /// Offloads stay as the kernel sets them: the data path has to cope.
    pub fn connect(&self, host: &Namespace, interface: &str, far: &Namespace) {
        self.connect_over(Medium::Veth, host, interface, far);
    }

    /// As [`Station::connect`], over another kind of interface at both ends.
    pub fn connect_over(&self, medium: Medium, host: &Namespace, interface: &str, far: &Namespace) {
        medium.join(self.mtu, 0, (host, interface), (far, INTERFACE));
        let mut lines = format!(
            "link set {INTERFACE} address {} up\naddr add {}/{} dev {INTERFACE}\n",
            mac_text(self.mac),
            self.address,
            self.prefix_len
        );
        if let Some(gateway) = self.gateway {
            let _ = writeln!(lines, "route add default via {gateway}");
        }
        far.ip_batch(&lines);
    }
}

/// What the two ends of a link are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// A veth pair.
    Veth,
    /// A bridge, with a veth pair as its port.
    Bridge,
    /// VLAN 7 of a veth pair.
    Vlan,
    /// A VXLAN over a veth pair.
    Vxlan,
}

/// An interface that is to be: where, and what it is called.
pub type End<'a> = (&'a Namespace, &'a str);

impl Medium {
    /// Makes both ends. The near one is up. `number` is another one for each VXLAN of
    /// a namespace, at most 63.
    pub fn join(self, mtu: u32, number: u8, near: End<'_>, far: End<'_>) {
        let ((host, near), (away, far)) = (near, far);
        let pair = |near: &str, far: &str, mtu: u32| {
            host.ip_batch(&format!(
                "link add {near} mtu {mtu} type veth peer name {far} mtu {mtu} netns {}\n\
                 link set {near} up\n",
                away.path().display()
            ));
        };
        let (line, far_line) = (format!("{near}-l"), format!("{far}-l"));
        match self {
            Self::Veth => pair(near, far, mtu),
            Self::Bridge => {
                pair(&line, far, mtu);
                host.ip_batch(&format!(
                    "link add {near} mtu {mtu} type bridge\nlink set {line} master {near}\n"
                ));
            }
            Self::Vlan => {
                pair(&line, &far_line, mtu);
                host.ip_batch(&tagged(&line, near));
                away.ip_batch(&tagged(&far_line, far));
            }
            Self::Vxlan => {
                pair(&line, &far_line, mtu + 100);
                let ends = [1, 2].map(|end| format!("192.0.2.{}", 4 * number + end));
                let [ours, theirs] = ends.each_ref().map(String::as_str);
                let id = 42 + u32::from(number);
                host.ip_batch(&tunnel(id, &line, near, [ours, theirs], mtu));
                away.ip_batch(&tunnel(id, &far_line, far, [theirs, ours], mtu));
            }
        }
        host.ip(&["link", "set", near, "up"]);
    }
}

fn tagged(line: &str, name: &str) -> String {
    format!("link set {line} up\nlink add link {line} name {name} type vlan id 7\n")
}

fn tunnel(id: u32, line: &str, name: &str, [local, remote]: [&str; 2], mtu: u32) -> String {
    format!(
        "addr add {local}/30 dev {line}\nlink set {line} up\n\
         link add {name} mtu {mtu} type vxlan id {id} local {local} remote {remote} dstport 4789\n"
    )
}

/// MAC of an interface.
pub fn mac_of(namespace: &Namespace, interface: &str) -> [u8; 6] {
    let output = namespace
        .command("ip")
        .args(["-o", "link", "show", "dev", interface])
        .output()
        .expect("run `ip`");
    let text = String::from_utf8_lossy(&output.stdout);
    let mac = text
        .split_whitespace()
        .skip_while(|word| *word != "link/ether")
        .nth(1)
        .and_then(vpc_user::model::parse_mac);
    mac.unwrap_or_else(|| panic!("no MAC of {interface}: {text}"))
        .octets()
}

/// Spares ARP on a station's interface, so that every packet on the link is a flow's.
pub fn pin_neighbour(namespace: &Namespace, address: Ipv4Addr, mac: [u8; 6]) {
    let (address, mac) = (address.to_string(), mac_text(mac));
    let words = [
        "neigh",
        "replace",
        &address,
        "lladdr",
        &mac,
        "dev",
        INTERFACE,
        "nud",
        "permanent",
    ];
    namespace.ip(&words);
}
