//! The hook of an attached environment: changing it while packets flow, and keeping
//! its flags true.
//!
//! The TC program is always there, so a change only adds XDP in front of it or takes
//! that away: no packet is without a program. The flag that lets other links redirect
//! frames into this one is set last and cleared first.

use vpc_common::layout::{Environment, Link};

use super::{
    Dataplane,
    environments::WriteError,
    hook::{self, Choice, Known},
    mirror::Attached,
    netlink::Interface,
    peer, port,
    programs::LinkKind,
    request::AttachError,
};
use crate::model::{EnvironmentInfo, Hook, HookWish, ObjectName};

const KIND: LinkKind = LinkKind::Environment;

impl Dataplane {
    /// Changes where an environment's packets are handled. All or nothing.
    pub fn set_hook(
        &mut self,
        name: &ObjectName,
        wish: HookWish,
        netns: Option<&str>,
    ) -> Result<EnvironmentInfo, AttachError> {
        let index = self
            .environments
            .by_name(name.as_str())
            .ok_or_else(|| AttachError::Unknown { name: name.clone() })?;
        self.change_hook(index, wish, netns)?;
        Ok(self.environment_info(index))
    }

    fn change_hook(
        &mut self,
        index: u32,
        wish: HookWish,
        netns: Option<&str>,
    ) -> Result<(), AttachError> {
        let Some(mut attached) = self.environments.get(index).cloned() else {
            return Ok(());
        };
        let ifindex = attached.value.ifindex;
        let interface = port::at(&mut self.netlink, ifindex, &attached.interface)?;
        let known = Known {
            ours: attached.hook() == Hook::Xdp,
            refused: None,
        };
        let Choice { hook, why } = hook::choose(wish, &interface, known)?;
        let wants = Environment::WANTS_XDP | Environment::WANTS_TC;
        attached.value.flags = attached.value.flags & !wants | hook::environment_flags(wish);
        attached.why = why;
        match (attached.hook(), hook) {
            (Hook::Tc, Hook::Xdp) => self.raise_hook(index, &mut attached, &interface, netns)?,
            (Hook::Xdp, Hook::Tc) => self.lower_hook(index, &mut attached)?,
            (Hook::Xdp, Hook::Xdp) | (Hook::Tc, Hook::Tc) => {
                let written = self.tables.environments.set(index, attached.value, 0);
                written.map_err(|error| failure(&attached, error))?;
            }
        }
        self.environments.replace(index, attached);
        Ok(())
    }

    /// Puts XDP in front, and says so last. Whatever fails, TC goes on alone.
    pub(super) fn raise_hook(
        &mut self,
        index: u32,
        attached: &mut Attached,
        interface: &Interface,
        netns: Option<&str>,
    ) -> Result<(), AttachError> {
        attached.peer = self.put_xdp_in_front((KIND, index), interface, netns)?;
        attached.value.flags |= Environment::XDP;
        if let Err(error) = self.tables.environments.set(index, attached.value, 0) {
            let failed = failure(attached, error);
            if let Err(error) = self.lower_hook(index, attached) {
                tracing::warn!(environment = attached.name, %error, "XDP stays in front for now");
            }
            return Err(failed);
        }
        Ok(())
    }

    /// Takes XDP away from the front, after saying so.
    fn lower_hook(&mut self, index: u32, attached: &mut Attached) -> Result<(), AttachError> {
        attached.value.flags &= !Environment::XDP;
        self.write_lowered(index, attached)
            .map_err(|error| failure(attached, error))?;
        attached.peer = None;
        Ok(())
    }

    fn write_lowered(&mut self, index: u32, attached: &Attached) -> Result<(), WriteError> {
        self.tables.environments.set(index, attached.value, 0)?;
        self.take_xdp_away((KIND, index), attached.peer.as_ref())
    }

    /// An interface changed: it may have another name, and its far end may be in another
    /// namespace now.
    pub fn interface_changed(&mut self, ifindex: u32) {
        let Some(index) = self.environments.by_ifindex(ifindex) else {
            return;
        };
        if !self.is_there(KIND, index) {
            // It is another that has the number now.
            return;
        }
        let Ok(Some(interface)) = self.netlink.by_index(ifindex) else {
            return;
        };
        let Some(mut attached) = self.environments.get(index).cloned() else {
            return;
        };
        let moved = attached.peer_netns_id != interface.peer_netns_id;
        if !moved && attached.interface == interface.name {
            return;
        }
        if attached.interface != interface.name {
            tracing::info!(
                environment = attached.name,
                from = attached.interface,
                to = interface.name,
                "its interface has another name"
            );
            attached.interface.clone_from(&interface.name);
        }
        if moved {
            self.look_at_peer(index, &mut attached, &interface, true);
        }
        self.environments.replace(index, attached);
    }

    /// Brings the flag that TC may deliver to the far end up to date. `otherwise` is
    /// what it is if that cannot be seen.
    fn look_at_peer(
        &mut self,
        index: u32,
        attached: &mut Attached,
        interface: &Interface,
        otherwise: bool,
    ) {
        let reaches = peer::reaches(&mut self.netlink, interface, None, otherwise);
        let before = attached.value.flags;
        attached.value.flags = match reaches.unwrap_or(false) {
            true => before | Environment::PEER,
            false => before & !Environment::PEER,
        };
        attached.peer_netns_id = interface.peer_netns_id;
        if attached.value.flags != before
            && let Err(error) = self.tables.environments.set(index, attached.value, 0)
        {
            tracing::warn!(environment = attached.name, %error, "its far end moved unnoticed");
        }
    }

    /// Brings an adopted environment's hook and flags in line with what runs on its
    /// interface and with what was asked for: an agent may have died in the middle of
    /// a change, and far ends may have moved since.
    pub(super) fn settle(&mut self, index: u32, runs_xdp: bool) {
        let Some(mut attached) = self.environments.get(index).cloned() else {
            return;
        };
        let ifindex = attached.value.ifindex;
        let Ok(Some(interface)) = self.netlink.by_index(ifindex) else {
            return;
        };
        let is_whole = runs_xdp == attached.value.has_xdp();
        // Also one whose far end was noted, and nothing else done.
        let is_whole = is_whole && (runs_xdp || attached.peer.is_none());
        if !is_whole && let Err(error) = self.lower_hook(index, &mut attached) {
            tracing::warn!(environment = attached.name, %error, "half a change stays for now");
        }
        let otherwise = attached.value.flags & Environment::PEER != 0;
        self.look_at_peer(index, &mut attached, &interface, otherwise);
        let wish = attached.hook_wanted();
        self.environments.replace(index, attached);
        if let Err(error) = self.change_hook(index, wish, None) {
            tracing::warn!(index, %error, "an environment keeps another hook than it is to have");
        }
    }

    /// Whether the tables lead from an environment's interface to it.
    pub(super) fn is_served(&self, index: u32) -> bool {
        let link = Link {
            kind: Link::ENVIRONMENT,
            index,
        };
        self.environments
            .get(index)
            .is_some_and(|attached| self.mirror.links.get(&attached.value.ifindex) == Some(&link))
    }
}

fn failure(attached: &Attached, error: impl Into<WriteError>) -> AttachError {
    AttachError::Table {
        name: attached.name.clone(),
        source: Box::new(error.into()),
    }
}
