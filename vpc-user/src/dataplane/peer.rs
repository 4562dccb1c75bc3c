//! The far end of a veth. A frame that XDP redirects into a veth is lost unless
//! the far end takes frames in its poll loop, which it does with a program of its
//! own or with receive offload (GRO) on. GRO is the gentle way: it is switched on
//! here, remembered, and switched off again when the veth is given back.

use std::{io, os::unix::ffi::OsStrExt as _, path::Path};

use vpc_common::layout::{NAME_LEN, Name};

use super::{
    ethtool,
    netlink::{Interface, InterfaceKind, Netlink},
    netns::{self, Netns},
};

/// Why a far end cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The namespace cannot be opened.
    #[error(
        "the namespace {given:?} cannot be opened ({source}): give a name under /run/netns or a \
         path to the namespace of {interface}'s far end"
    )]
    Namespace {
        /// The interface.
        interface: String,
        /// What was given.
        given: String,
        /// Why.
        source: io::Error,
    },
    /// It is another namespace.
    #[error(
        "the far end of {interface} is not in the namespace {given:?}: name the namespace that \
         holds it"
    )]
    NotThere {
        /// The interface.
        interface: String,
        /// What was given.
        given: String,
    },
    /// The namespace is none of the named ones.
    #[error(
        "the far end of {interface} has neither an XDP program nor GRO, so every frame that XDP \
         sends into it would be lost, and its namespace is none of those in /run/netns: name it \
         with `netns`, run `ethtool -K <far end> gro on` there, or ask for the hook tc"
    )]
    NotReachable {
        /// The interface.
        interface: String,
    },
    /// The kernel refused.
    #[error(
        "GRO cannot be switched on at the far end of {interface} ({source}): run \
         `ethtool -K <far end> gro on` in its namespace"
    )]
    Refused {
        /// The interface.
        interface: String,
        /// Why.
        source: io::Error,
    },
}

/// A far end whose GRO is switched on here, and off again when the veth is given back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PreparedPeer {
    /// Its number in its namespace.
    pub ifindex: u32,
    /// Number of the end in the agent's namespace, which tells whether the far end
    /// is still the same one.
    pub own: u32,
    /// Inode of its namespace; 0 = the agent's own.
    pub netns: u64,
    /// A path by which the namespace was reached; may be empty or stale.
    pub path: String,
}

impl PreparedPeer {
    const HEAD: usize = 16;

    /// In the form in which it survives the agent, among the names.
    pub fn encode(&self) -> Name {
        let mut name = [0; NAME_LEN];
        name[..4].copy_from_slice(&self.ifindex.to_ne_bytes());
        name[4..8].copy_from_slice(&self.own.to_ne_bytes());
        name[8..Self::HEAD].copy_from_slice(&self.netns.to_ne_bytes());
        let path = self.path.as_bytes();
        if path.len() <= NAME_LEN - Self::HEAD {
            name[Self::HEAD..Self::HEAD + path.len()].copy_from_slice(path);
        }
        name
    }

    /// The inverse of [`PreparedPeer::encode`].
    pub fn decode(name: &Name) -> Self {
        let word = |at: usize| [name[at], name[at + 1], name[at + 2], name[at + 3]];
        let mut netns = [0; 8];
        netns.copy_from_slice(&name[8..Self::HEAD]);
        Self {
            ifindex: u32::from_ne_bytes(word(0)),
            own: u32::from_ne_bytes(word(4)),
            netns: u64::from_ne_bytes(netns),
            path: super::names::text(&name[Self::HEAD..]),
        }
    }

    /// Switches GRO on. `interface` is what the near end is called.
    pub fn prepare(&self, interface: &str) -> Result<(), PeerError> {
        let is_on = self.switch_gro(true).and_then(|is_there| match is_there {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ENODEV)),
        });
        is_on.map_err(|source| PeerError::Refused {
            interface: interface.to_owned(),
            source,
        })
    }

    /// Switches GRO off again. A far end that is gone needs nothing.
    pub fn restore(&self) -> io::Result<()> {
        self.switch_gro(false).map(drop)
    }

    /// Whether the far end is still there.
    fn switch_gro(&self, on: bool) -> io::Result<bool> {
        let switch = |mut netlink: Netlink| match netlink.far(self.ifindex)? {
            Some(peer) if peer.peer_ifindex == Some(self.own) => {
                ethtool::set_gro(&netlink, &peer.name, on).map(|()| true)
            }
            _ => Ok(false),
        };
        if self.netns == 0 {
            return switch(Netlink::open()?);
        }
        let is_it = |netns: &Netns| netns.inode().is_ok_and(|inode| inode == self.netns);
        let remembered = Some(&self.path).filter(|path| !path.is_empty());
        let found = remembered
            .and_then(|path| Netns::open(path).ok())
            .filter(&is_it)
            .or_else(|| netns::named().find(is_it));
        found.map_or(Ok(false), |netns| switch(netns.netlink()?))
    }
}

/// The far end of `interface`, if GRO has to be switched on there for it to take redirected
/// frames. `None` if there is nothing to do, and to undo later: no veth, or a far end that
/// is ready.
pub fn unready(
    netlink: &mut Netlink,
    interface: &Interface,
    given: Option<&str>,
) -> Result<Option<PreparedPeer>, PeerError> {
    let (InterfaceKind::Veth, Some(ifindex)) = (interface.kind, interface.peer_ifindex) else {
        return Ok(None);
    };
    let name = interface.name.clone();
    let refused = |source| PeerError::Refused {
        interface: name.clone(),
        source,
    };
    let own = interface.ifindex;
    let Some(netns_id) = interface.peer_netns_id else {
        let is_ready = is_ready(netlink, ifindex, own).map_err(refused)?;
        return Ok((!is_ready).then_some(PreparedPeer {
            ifindex,
            own,
            netns: 0,
            path: String::new(),
        }));
    };
    if given.is_none() && takes_redirected(interface) == Some(true) {
        return Ok(None);
    }
    let netns = find(netlink, interface, netns_id, given)?;
    let is_ready = netns
        .netlink()
        .and_then(|mut there| is_ready(&mut there, ifindex, own));
    if is_ready.map_err(refused)? {
        return Ok(None);
    }
    Ok(Some(PreparedPeer {
        ifindex,
        own,
        netns: netns.inode().map_err(refused)?,
        path: path_text(&netns.path),
    }))
}

/// Whether TC may deliver straight to the far end of `interface`: it is in another
/// namespace, and no XDP program of its own would be passed by. `otherwise` is the
/// answer if that cannot be seen.
pub fn reaches(
    netlink: &mut Netlink,
    interface: &Interface,
    given: Option<&str>,
    otherwise: bool,
) -> Result<bool, PeerError> {
    let (InterfaceKind::Veth, Some(netns_id)) = (interface.kind, interface.peer_netns_id) else {
        return Ok(false);
    };
    // Neither GRO nor a program, so there is nothing to look for.
    if given.is_none() && takes_redirected(interface) == Some(false) {
        return Ok(true);
    }
    match find(netlink, interface, netns_id, given) {
        Err(PeerError::NotReachable { .. }) => return Ok(otherwise),
        found => found?,
    };
    // Nobody has to go there to look.
    let ifindex = interface.peer_ifindex.unwrap_or_default();
    Ok(match netlink.far_in(netns_id, ifindex) {
        Ok(Some(far)) => far.xdp.is_none(),
        _ => otherwise,
    })
}

/// Whether the far end takes frames that are redirected into `interface`, by what the
/// kernel says of this end (Linux 6.3).
fn takes_redirected(interface: &Interface) -> Option<bool> {
    interface
        .xdp_features
        .map(|features| features.takes_redirected())
}

fn find(
    netlink: &mut Netlink,
    interface: &Interface,
    netns_id: i32,
    given: Option<&str>,
) -> Result<Netns, PeerError> {
    let name = &interface.name;
    let Some(given) = given else {
        let found = netns::named()
            .find(|netns| matches!(netns.id(netlink), Ok(Some(id)) if id == netns_id));
        return found.ok_or_else(|| PeerError::NotReachable {
            interface: name.clone(),
        });
    };
    let netns = Netns::open(given).map_err(|source| PeerError::Namespace {
        interface: name.clone(),
        given: given.to_owned(),
        source,
    })?;
    match netns.id(netlink) {
        Ok(Some(id)) if id == netns_id => Ok(netns),
        _ => Err(PeerError::NotThere {
            interface: name.clone(),
            given: given.to_owned(),
        }),
    }
}

/// Whether interface `ifindex` of the socket's namespace, the other end of which is `own`,
/// takes redirected frames.
fn is_ready(netlink: &mut Netlink, ifindex: u32, own: u32) -> io::Result<bool> {
    let peer = netlink.far(ifindex)?;
    let Some(peer) = peer.filter(|peer| peer.peer_ifindex == Some(own)) else {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    };
    Ok(peer.xdp.is_some() || ethtool::gro(&netlink, &peer.name)?)
}

fn path_text(path: &Path) -> String {
    String::from_utf8(path.as_os_str().as_bytes().to_vec()).unwrap_or_default()
}

/// [`PreparedPeer::restore`], the failure of which is no reason to keep anything.
pub fn give_back(peer: &PreparedPeer) {
    if let Err(error) = peer.restore() {
        tracing::warn!(%error, ?peer, "the far end's GRO was not switched off again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_peer_survives_the_trip_through_a_name() {
        let peer = PreparedPeer {
            ifindex: 9,
            own: 8,
            netns: 4_026_531_840,
            path: "/run/netns/blue".to_owned(),
        };
        assert_eq!(PreparedPeer::decode(&peer.encode()), peer);
    }

    #[test]
    fn a_path_too_long_to_remember_is_left_out() {
        let peer = PreparedPeer {
            ifindex: 9,
            own: 8,
            netns: 3,
            path: "/x".repeat(40),
        };
        assert_eq!(PreparedPeer::decode(&peer.encode()).path, "");
    }
}
