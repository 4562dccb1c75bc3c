//! XDP in front of the TC program of a link: how it gets there, and away again.
//!
//! Frames that are redirected into a veth are lost unless its far end is ready for them. So
//! that is made ready first. It is noted before it is touched, and the note is the last to
//! go: whoever comes after a crash knows by it what is to be given back.

use vpc_common::layout::NameKey;

use super::{
    Dataplane,
    environments::WriteError,
    netlink::Interface,
    peer::{self, PreparedPeer},
    port::{self, PortError},
    programs::LinkKind,
    tables::absent_is_fine,
};
use crate::model::Hook;

impl Dataplane {
    /// Prepares a veth's far end, attaches the program, and looks whether frames that are
    /// redirected into the interface leave it. Whatever fails, nothing is left of it.
    pub(super) fn put_xdp_in_front(
        &mut self,
        (kind, index): (LinkKind, u32),
        interface: &Interface,
        netns: Option<&str>,
    ) -> Result<Option<PreparedPeer>, PortError> {
        let peer = peer::unready(&mut self.netlink, interface, netns)?;
        if let Some(peer) = &peer {
            let names = &mut self.tables.names;
            let noted = names.insert(note_key(kind, index), peer.encode(), 0);
            noted.map_err(|source| PortError::Note {
                interface: interface.name.clone(),
                source,
            })?;
        }
        let put = self.make_ready_and_attach((kind, index), interface, peer.as_ref());
        if let Err(refused) = put {
            if let Err(error) = self.take_xdp_away((kind, index), peer.as_ref()) {
                tracing::warn!(interface = interface.name, %error, "XDP stays in front for now");
            }
            return Err(refused);
        }
        Ok(peer)
    }

    fn make_ready_and_attach(
        &mut self,
        (kind, index): (LinkKind, u32),
        interface: &Interface,
        peer: Option<&PreparedPeer>,
    ) -> Result<(), PortError> {
        if let Some(peer) = peer {
            peer.prepare(&interface.name)?;
        }
        port::attach(&mut self.programs, kind, index, Hook::Xdp, interface)?;
        let now = port::at(&mut self.netlink, interface.ifindex, &interface.name)?;
        match now.xdp_features {
            Some(can) if !can.takes_redirected() => Err(PortError::NoRedirect {
                interface: interface.name.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Takes the program away, gives the far end back, and forgets it.
    pub(super) fn take_xdp_away(
        &mut self,
        (kind, index): (LinkKind, u32),
        peer: Option<&PreparedPeer>,
    ) -> Result<(), WriteError> {
        self.programs.detach(kind, index, Hook::Xdp)?;
        self.give_peer_back((kind, index), peer)
    }

    /// Gives the far end of a link back that runs no XDP any more, and forgets it.
    pub(super) fn give_peer_back(
        &mut self,
        (kind, index): (LinkKind, u32),
        peer: Option<&PreparedPeer>,
    ) -> Result<(), WriteError> {
        if let Some(peer) = peer {
            peer::give_back(peer);
            absent_is_fine(self.tables.names.remove(&note_key(kind, index)))?;
        }
        Ok(())
    }
}

/// Where the far end of a link is noted.
const fn note_key(kind: LinkKind, index: u32) -> NameKey {
    let kind = match kind {
        LinkKind::Environment => NameKey::ENVIRONMENT_PEER,
        LinkKind::Uplink => NameKey::UPLINK_PEER,
    };
    NameKey { kind, index }
}
