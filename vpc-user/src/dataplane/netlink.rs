//! Questions to rtnetlink about interfaces and namespaces, changes of them, and the
//! subscription to their changes.
//!
//! Blocking on purpose: the data plane has a thread of its own, and what looks
//! into another namespace must run on a thread that can be moved there.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd},
};

use rtnetlink::{
    packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        link::{
            InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkLayerType,
            LinkMessage, LinkXdp, XdpAttached,
        },
        nsid::{NsidAttribute, NsidMessage},
    },
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};
use vpc_common::addr::Mac;

use super::features::{FeatureQuestions, XdpFeatures};

/// What kind of interface it is, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InterfaceKind {
    /// One end of a veth pair.
    Veth,
    /// A tap: what microVMs have.
    Tap,
    /// A NIC, of hardware or of a hypervisor.
    Nic,
    /// Any other Ethernet interface, made of others or of nothing: a bridge, a VLAN,
    /// a VXLAN, a bond.
    Virtual,
    /// What carries no Ethernet frames.
    NotEthernet,
}

/// An interface as the kernel describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its number.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: InterfaceKind,
    /// Its MAC; unknown if it has none.
    pub mac: Mac,
    /// IP MTU, bytes.
    pub mtu: u32,
    /// The interface it is a pair with or on top of.
    pub peer_ifindex: Option<u32>,
    /// The namespace of that interface, if it is another, by this one's number.
    pub peer_netns_id: Option<i32>,
    /// Id of the XDP program on it; 0 = a program without one id.
    pub xdp: Option<u32>,
    /// What its driver can do with XDP; `None` if the kernel does not tell.
    pub xdp_features: Option<XdpFeatures>,
}

/// An interface, and what its owner made of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// As the data plane sees it; what XDP can do there is not asked for.
    pub interface: Interface,
    /// What people or tools call it besides; empty if they do not.
    pub alias: String,
    /// Set up, whether or not it carries anything.
    pub is_up: bool,
}

impl From<&LinkMessage> for Link {
    fn from(message: &LinkMessage) -> Self {
        let alias = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::IfAlias(alias) => Some(alias.clone()),
                _ => None,
            });
        Self {
            interface: describe(message),
            alias: alias.unwrap_or_default(),
            is_up: message.header.flags.contains(LinkFlags::Up),
        }
    }
}

/// A blocking socket of rtnetlink, in the namespace of the thread that opened it, wherever it
/// is used.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    features: Option<FeatureQuestions>,
}

impl Netlink {
    /// Opens the socket.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
            features: None,
        })
    }

    /// The interface of that name.
    pub fn by_name(&mut self, name: &str) -> io::Result<Option<Interface>> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        self.interface(message)
    }

    /// The interface of that number.
    pub fn by_index(&mut self, ifindex: u32) -> io::Result<Option<Interface>> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        self.interface(message)
    }

    /// The same in whatever namespace the socket is; what XDP can do there is not asked for.
    pub fn far(&mut self, ifindex: u32) -> io::Result<Option<Interface>> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        Ok(self.look_up(message)?.as_ref().map(describe))
    }

    /// The same in the namespace that this one has given a number to.
    pub fn far_in(&mut self, netns: i32, ifindex: u32) -> io::Result<Option<Interface>> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        message.attributes.push(LinkAttribute::IfNetnsId(netns));
        Ok(self.look_up(message)?.as_ref().map(describe))
    }

    /// The number that this namespace has given to another one.
    pub fn netns_id(&mut self, netns: BorrowedFd<'_>) -> io::Result<Option<i32>> {
        let mut message = NsidMessage::default();
        message
            .attributes
            .push(NsidAttribute::Fd(netns.as_raw_fd() as u32));
        let answer = self.ask(RouteNetlinkMessage::GetNsId(message))?;
        let RouteNetlinkMessage::NewNsId(message) = answer else {
            return Ok(None);
        };
        Ok(message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                NsidAttribute::Id(id) if *id >= 0 => Some(*id),
                _ => None,
            }))
    }

    /// The interface of that name, and what its owner made of it.
    pub fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        Ok(self.look_up(message)?.as_ref().map(Link::from))
    }

    /// Every interface.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let answers = self.list(RouteNetlinkMessage::GetLink(message))?;
        let links = answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(message) => Some(Link::from(message)),
            _ => None,
        });
        Ok(links.collect())
    }

    fn interface(&mut self, message: LinkMessage) -> io::Result<Option<Interface>> {
        let Some(message) = self.look_up(message)? else {
            return Ok(None);
        };
        let interface = describe(&message);
        let xdp_features = self.xdp_features(interface.ifindex);
        Ok(Some(Interface {
            xdp_features,
            ..interface
        }))
    }

    fn look_up(&mut self, mut message: LinkMessage) -> io::Result<Option<LinkMessage>> {
        message
            .attributes
            .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        match self.ask(RouteNetlinkMessage::GetLink(message)) {
            Ok(RouteNetlinkMessage::NewLink(message)) => Ok(Some(message)),
            Ok(_) => Ok(None),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn xdp_features(&mut self, ifindex: u32) -> Option<XdpFeatures> {
        if self.features.is_none() {
            self.features = FeatureQuestions::open().ok().flatten();
        }
        self.features.as_mut()?.of(ifindex)
    }

    /// Has something changed, with `flags` besides those of every change.
    pub fn change(&mut self, change: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(change, NLM_F_ACK | flags)?;
        match self.receive()? {
            NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
            NetlinkPayload::Error(error) => Err(error.to_io()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Everything of a kind. What this release cannot read is left out.
    pub fn list(&mut self, question: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.send(question, NLM_F_DUMP)?;
        let mut found = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            for message in messages(&bytes) {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(message) => found.push(message),
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => return Err(io::ErrorKind::InvalidData.into()),
                }
            }
        }
    }

    fn ask(&mut self, question: RouteNetlinkMessage) -> io::Result<RouteNetlinkMessage> {
        self.send(question, 0)?;
        match self.receive()? {
            NetlinkPayload::InnerMessage(message) => Ok(message),
            NetlinkPayload::Error(error) => Err(error.to_io()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// The one answer to what was sent last.
    fn receive(&mut self) -> io::Result<NetlinkPayload<RouteNetlinkMessage>> {
        loop {
            let (answer, _) = self.socket.recv_from_full()?;
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            if answer.header.sequence_number == self.sequence {
                return Ok(answer.payload);
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl From<Netlink> for OwnedFd {
    fn from(netlink: Netlink) -> Self {
        // SAFETY: the socket gives its descriptor up.
        unsafe { Self::from_raw_fd(netlink.socket.into_raw_fd()) }
    }
}

/// Of a socket that was opened as [`Netlink::open`] does it.
impl From<OwnedFd> for Netlink {
    fn from(socket: OwnedFd) -> Self {
        Self {
            // SAFETY: the descriptor is given to it.
            socket: unsafe { Socket::from_raw_fd(socket.into_raw_fd()) },
            sequence: 0,
            features: None,
        }
    }
}

/// The messages of a datagram, without those that cannot be read.
fn messages(
    mut bytes: &[u8],
) -> impl Iterator<Item = NetlinkMessage<RouteNetlinkMessage>> + use<'_> {
    let pieces = std::iter::from_fn(move || {
        let length: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
        let length = (u32::from_ne_bytes(length) as usize).next_multiple_of(4);
        let (piece, rest) = bytes.split_at(length.clamp(4, bytes.len()));
        bytes = rest;
        Some(piece)
    });
    pieces.filter_map(|piece| NetlinkMessage::deserialize(piece).ok())
}

fn is_absence(error: &io::Error) -> bool {
    // ERANGE and EINVAL: a name longer than any interface's.
    matches!(
        error.raw_os_error(),
        Some(libc::ENODEV | libc::ENOENT | libc::ERANGE | libc::EINVAL | libc::ENXIO)
    )
}

fn describe(message: &LinkMessage) -> Interface {
    let mut interface = Interface {
        ifindex: message.header.index,
        name: String::new(),
        kind: kind(&[], message.header.link_layer_type),
        mac: Mac::UNKNOWN,
        mtu: 0,
        peer_ifindex: None,
        peer_netns_id: None,
        xdp: None,
        xdp_features: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            LinkAttribute::Address(octets) => {
                interface.mac = <[u8; 6]>::try_from(&octets[..]).map_or(Mac::UNKNOWN, Mac::new);
            }
            LinkAttribute::Link(ifindex) if *ifindex != 0 => {
                interface.peer_ifindex = Some(*ifindex);
            }
            LinkAttribute::LinkNetNsId(id) if *id >= 0 => interface.peer_netns_id = Some(*id),
            LinkAttribute::Xdp(xdp) => interface.xdp = xdp_program(xdp),
            LinkAttribute::LinkInfo(infos) => {
                interface.kind = kind(infos, message.header.link_layer_type);
            }
            _ => {}
        }
    }
    interface
}

/// What is not made by a driver of the kernel's own, by its name, is a NIC.
fn kind(infos: &[LinkInfo], layer: LinkLayerType) -> InterfaceKind {
    if layer != LinkLayerType::Ether {
        return InterfaceKind::NotEthernet;
    }
    let made_by = infos.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    });
    match made_by {
        None => InterfaceKind::Nic,
        Some(InfoKind::Veth) => InterfaceKind::Veth,
        Some(InfoKind::Tun) => InterfaceKind::Tap,
        Some(_) => InterfaceKind::Virtual,
    }
}

fn xdp_program(attributes: &[LinkXdp]) -> Option<u32> {
    let mut attached = false;
    let mut program = 0;
    for attribute in attributes {
        match attribute {
            LinkXdp::Attached(how) => attached = *how != XdpAttached::None,
            LinkXdp::ProgId(id) => program = *id,
            _ => {}
        }
    }
    attached.then_some(program)
}

/// A change of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkChange {
    /// It appeared or changed.
    Changed(u32),
    /// It is gone from this namespace.
    Gone(u32),
    /// It lost a filter, or the qdisc that held them.
    FilterGone(u32),
    /// Some changes were lost: look at everything.
    Missed,
}

/// What a [`LinkMonitor`] is told of.
const GROUPS: u32 = (libc::RTMGRP_LINK | libc::RTMGRP_TC) as u32;

/// And of these of them: nobody is woken for the filters that the agent makes itself.
const TOLD: [u16; 4] = [
    libc::RTM_NEWLINK,
    libc::RTM_DELLINK,
    libc::RTM_DELQDISC,
    libc::RTM_DELTFILTER,
];

/// Waits for changes of interfaces and their filters.
pub struct LinkMonitor(Socket);

impl LinkMonitor {
    /// Subscribes in the namespace of this thread.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        keep(&socket, &TOLD)?;
        socket.bind(&SocketAddr::new(0, GROUPS))?;
        Ok(Self(socket))
    }

    /// Blocks until something changed.
    pub fn next(&self) -> io::Result<Vec<LinkChange>> {
        match self.0.recv_from_full() {
            Ok((bytes, _)) => Ok(link_changes(&bytes)),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                Ok(vec![LinkChange::Missed])
            }
            Err(error) => Err(error),
        }
    }
}

/// Has the kernel drop every notification but those of some types, by a classic BPF program
/// on the socket.
fn keep(socket: &Socket, types: &[u16]) -> io::Result<()> {
    let statement = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    // The type is in the host's byte order, and the program loads in the network's.
    let load = statement(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 4, 0, 0);
    let mut program = vec![load];
    for (at, kind) in types.iter().enumerate() {
        let over = (types.len() - at) as u8;
        let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        program.push(statement(equal, u32::from(kind.to_be()), over, 0));
    }
    let end = |bytes| statement(libc::BPF_RET | libc::BPF_K, bytes, 0, 0);
    program.extend([end(0), end(u32::MAX)]);
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, which is there until the end of the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as u32,
        )
    };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Reads type and interface of each message, which is at the same place in those of
/// interfaces and of filters, and nothing else: ten thousand environments send such
/// messages and few of them matter.
fn link_changes(mut bytes: &[u8]) -> Vec<LinkChange> {
    let word = |bytes: &[u8], at: usize| -> Option<u32> {
        bytes
            .get(at..at + 4)?
            .try_into()
            .ok()
            .map(u32::from_ne_bytes)
    };
    let mut changes = Vec::new();
    while let (Some(len), Some(kind), Some(ifindex)) =
        (word(bytes, 0), word(bytes, 4), word(bytes, 20))
    {
        match (kind & 0xffff) as u16 {
            libc::RTM_NEWLINK => changes.push(LinkChange::Changed(ifindex)),
            libc::RTM_DELLINK => changes.push(LinkChange::Gone(ifindex)),
            libc::RTM_DELTFILTER | libc::RTM_DELQDISC => {
                changes.push(LinkChange::FilterGone(ifindex));
            }
            _ => {}
        }
        let next = (len as usize).next_multiple_of(4);
        if next < 24 || next >= bytes.len() {
            break;
        }
        bytes = &bytes[next..];
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, ifindex: u32) -> Vec<u8> {
        let mut bytes = vec![0; 32];
        bytes[..4].copy_from_slice(&32_u32.to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[20..24].copy_from_slice(&ifindex.to_ne_bytes());
        bytes
    }

    #[test]
    fn several_changes_in_one_datagram_are_all_seen() {
        let bytes = [message(libc::RTM_NEWLINK, 7), message(libc::RTM_DELLINK, 8)].concat();
        assert_eq!(
            link_changes(&bytes),
            [LinkChange::Changed(7), LinkChange::Gone(8)]
        );
    }

    #[test]
    fn a_length_of_nonsense_ends_the_reading() {
        let mut bytes = message(libc::RTM_DELLINK, 8);
        bytes[..4].copy_from_slice(&3_u32.to_ne_bytes());
        assert_eq!(link_changes(&bytes), [LinkChange::Gone(8)]);
        assert_eq!(link_changes(&bytes[..10]), []);
    }

    #[test]
    fn the_loopback_interface_is_found_by_name_and_number() {
        let mut netlink = Netlink::open().expect("a netlink socket needs no privilege");
        let by_name = netlink
            .by_name("lo")
            .expect("answered")
            .expect("every namespace has it");
        assert_eq!(by_name.kind, InterfaceKind::NotEthernet);
        let by_index = netlink.by_index(by_name.ifindex).expect("answered");
        assert_eq!(by_index, Some(by_name));
        assert_eq!(netlink.by_name("no-such-if0").expect("answered"), None);
        assert_eq!(
            netlink
                .by_name("much-too-long-for-an-interface")
                .expect("answered"),
            None
        );
    }

    #[test]
    fn the_loopback_interface_is_among_all_interfaces() {
        let mut netlink = Netlink::open().expect("a netlink socket needs no privilege");
        let one = netlink.link("lo").expect("answered").expect("found");
        let all = netlink.links().expect("answered");
        let found = all
            .iter()
            .find(|link| link.interface.ifindex == one.interface.ifindex);
        assert_eq!(found, Some(&one));
        assert_eq!(netlink.link("no-such-if0").expect("answered"), None);
    }

    #[test]
    fn a_datagram_ends_wherever_its_lengths_lead() {
        let done = |length: u32| {
            let mut bytes = vec![0; 20];
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            bytes[4] = libc::NLMSG_DONE as u8;
            bytes
        };
        assert_eq!(messages(&[done(20), done(20)].concat()).count(), 2);
        assert_eq!(messages(&[done(20), done(2_000)].concat()).count(), 1);
        for length in [0, 3, 19, u32::MAX] {
            assert_eq!(messages(&done(length)[..18]).count(), 0, "{length}");
        }
        assert_eq!(messages(&[1, 2, 3]).count(), 0);
    }
}
