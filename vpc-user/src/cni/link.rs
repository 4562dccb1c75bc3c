//! Links, addresses and routes: what the kernel is told, and what is read back.
//!
//! Inside, the address is alone in its prefix (/32). The gateway is reached by a route of
//! its own, on the link, and everything else by the gateway, whatever the two are: the
//! data path answers for the gateway, and nothing else is on the link.

use std::{io, net::Ipv4Addr, os::fd::AsRawFd as _, os::fd::BorrowedFd};

use rtnetlink::{
    packet_core::{NLM_F_CREATE, NLM_F_EXCL},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        address::{AddressAttribute, AddressMessage, AddressScope},
        link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
        route::{
            RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
            RouteType,
        },
    },
};

use crate::dataplane::netlink::Netlink;

/// Makes a veth pair with its far end in another namespace. Both ends are down.
pub(super) fn make_veth(
    netlink: &mut Netlink,
    near: &str,
    far: (&str, BorrowedFd<'_>),
    mtu: Option<u32>,
) -> io::Result<()> {
    let mut peer = end(far.0, mtu);
    peer.attributes
        .push(LinkAttribute::NetNsFd(far.1.as_raw_fd()));
    let mut pair = end(near, mtu);
    pair.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    netlink.change(
        RouteNetlinkMessage::NewLink(pair),
        NLM_F_CREATE | NLM_F_EXCL,
    )
}

fn end(name: &str, mtu: Option<u32>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message
        .attributes
        .push(LinkAttribute::IfName(name.to_owned()));
    message.attributes.extend(mtu.map(LinkAttribute::Mtu));
    message
}

/// Sets an interface up; with an alias or an MTU, if any.
pub(super) fn set_up(
    netlink: &mut Netlink,
    ifindex: u32,
    alias: Option<&str>,
    mtu: Option<u32>,
) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    let alias = alias.map(|alias| LinkAttribute::IfAlias(alias.to_owned()));
    message.attributes.extend(alias);
    message.attributes.extend(mtu.map(LinkAttribute::Mtu));
    netlink.change(RouteNetlinkMessage::SetLink(message), 0)
}

/// Removes an interface. One that is gone needs nothing.
pub(super) fn remove(netlink: &mut Netlink, ifindex: u32) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    match netlink.change(RouteNetlinkMessage::DelLink(message), 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        removed => removed,
    }
}

/// Gives an interface of this thread's namespace, which is up, its address and routes.
pub(super) fn configure(
    netlink: &mut Netlink,
    ifindex: u32,
    address: Ipv4Addr,
    gateway: Ipv4Addr,
) -> io::Result<()> {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = 32;
    message.header.scope = AddressScope::Universe;
    message.header.index = ifindex;
    message.attributes = vec![
        AddressAttribute::Local(address.into()),
        AddressAttribute::Address(address.into()),
    ];
    let create = NLM_F_CREATE | NLM_F_EXCL;
    netlink.change(RouteNetlinkMessage::NewAddress(message), create)?;
    for route in [Route::to_gateway(gateway), Route::by_gateway(gateway)] {
        netlink.change(
            RouteNetlinkMessage::NewRoute(route.message(ifindex)),
            create,
        )?;
    }
    Ok(())
}

/// A route of the main table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Route {
    /// Where to.
    pub(super) destination: Ipv4Addr,
    /// Length of its prefix.
    pub(super) prefix_len: u8,
    /// By whom; `None`: it is on the link.
    pub(super) gateway: Option<Ipv4Addr>,
}

impl Route {
    /// To the gateway, which is on the link.
    pub(super) const fn to_gateway(gateway: Ipv4Addr) -> Self {
        Self {
            destination: gateway,
            prefix_len: 32,
            gateway: None,
        }
    }

    /// To everywhere.
    pub(super) const fn by_gateway(gateway: Ipv4Addr) -> Self {
        Self {
            destination: Ipv4Addr::UNSPECIFIED,
            prefix_len: 0,
            gateway: Some(gateway),
        }
    }

    fn message(self, ifindex: u32) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = self.prefix_len;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Boot;
        message.header.kind = RouteType::Unicast;
        message.header.scope = match self.gateway {
            None => RouteScope::Link,
            Some(_) => RouteScope::Universe,
        };
        let gateway = self
            .gateway
            .map(RouteAddress::Inet)
            .map(RouteAttribute::Gateway);
        message.attributes.push(RouteAttribute::Oif(ifindex));
        message.attributes.extend(gateway);
        if self.prefix_len > 0 {
            let destination = RouteAddress::Inet(self.destination);
            message
                .attributes
                .push(RouteAttribute::Destination(destination));
        }
        message
    }

    /// What a message says of a route by an interface.
    fn of(message: &RouteMessage, ifindex: u32) -> Option<Self> {
        let mut route = Self {
            destination: Ipv4Addr::UNSPECIFIED,
            prefix_len: message.header.destination_prefix_length,
            gateway: None,
        };
        let mut is_by_interface = false;
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(by) => is_by_interface = *by == ifindex,
                RouteAttribute::Destination(RouteAddress::Inet(to)) => route.destination = *to,
                RouteAttribute::Gateway(RouteAddress::Inet(by)) => route.gateway = Some(*by),
                _ => {}
            }
        }
        let is_main = message.header.table == RouteHeader::RT_TABLE_MAIN;
        (is_by_interface && is_main).then_some(route)
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.destination, self.prefix_len)?;
        match self.gateway {
            None => write!(f, " on the link"),
            Some(gateway) => write!(f, " by {gateway}"),
        }
    }
}

/// The IPv4 addresses of an interface, with the lengths of their prefixes.
pub(super) fn addresses(netlink: &mut Netlink, ifindex: u32) -> io::Result<Vec<(Ipv4Addr, u8)>> {
    let mut question = AddressMessage::default();
    question.header.family = AddressFamily::Inet;
    let answers = netlink.list(RouteNetlinkMessage::GetAddress(question))?;
    let found = answers.iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewAddress(one) if one.header.index == ifindex => {
            let local = one.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(std::net::IpAddr::V4(address)) => Some(*address),
                _ => None,
            });
            Some((local?, one.header.prefix_len))
        }
        _ => None,
    });
    Ok(found.collect())
}

/// The IPv4 routes by an interface.
pub(super) fn routes(netlink: &mut Netlink, ifindex: u32) -> io::Result<Vec<Route>> {
    let mut question = RouteMessage::default();
    question.header.address_family = AddressFamily::Inet;
    let answers = netlink.list(RouteNetlinkMessage::GetRoute(question))?;
    let found = answers.iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewRoute(one) => Route::of(one, ifindex),
        _ => None,
    });
    Ok(found.collect())
}
