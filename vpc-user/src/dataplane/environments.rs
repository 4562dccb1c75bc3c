//! Attaching and detaching environments: all or nothing, in force before the
//! first packet, and never a scan of a table.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::atomic::Ordering};

use aya::maps::{MapError, xdp::XdpMapError};
use vpc_common::{
    addr::Mac,
    drop::DropReason,
    layout::{DropKey, Environment, Link, NameKey, Owner},
};

use super::{
    Dataplane, clock,
    hook::{self, Known},
    mirror::{Attached, ENVIRONMENT_PEER},
    names,
    netlink::Interface,
    peer::{self, PreparedPeer},
    port::{self, PortError},
    programs::{LinkKind, ProgramsError},
    request::{AttachError, check_request, entry},
    tables::absent_is_fine,
};
use crate::model::{AttachRequest, EnvironmentInfo, Hook, HookWish, ObjectName};

/// What goes wrong while the tables are written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Map(#[from] MapError),
    #[error(transparent)]
    Ports(#[from] XdpMapError),
    #[error(transparent)]
    Programs(#[from] ProgramsError),
}

/// An attachment that nothing speaks against.
pub struct Attachment {
    index: u32,
    attached: Attached,
    mac: Mac,
    interface: Interface,
    hook: Hook,
    netns: Option<String>,
}

impl Dataplane {
    /// Attaches an environment.
    pub fn attach(&mut self, request: &AttachRequest) -> Result<EnvironmentInfo, AttachError> {
        let attachment = self.prepare(request)?;
        self.finish(attachment)
    }

    /// Everything that can be said against an attachment, and nothing changed yet.
    pub fn prepare(&mut self, request: &AttachRequest) -> Result<Attachment, AttachError> {
        let mac = check_request(request)?;
        if let Some(index) = self.environments.by_name(request.name.as_str()) {
            let interface = self
                .environments
                .get(index)
                .map(|found| found.interface.clone());
            let interface = interface.unwrap_or_default();
            return Err(AttachError::NameTaken {
                name: request.name.clone(),
                interface,
            });
        }
        let group = self.mirror.group(request.group.as_str()).ok_or_else(|| {
            let interface = request.interface.clone();
            AttachError::UnknownGroup {
                group: request.group.clone(),
                interface,
            }
        })?;
        let interface = port::find(&mut self.netlink, &request.interface)?;
        // Word that the number's last interface is gone may still be on its way.
        if let Some(index) = self.environments.by_ifindex(interface.ifindex) {
            self.give_up_if_dead(LinkKind::Environment, index);
        }
        if let Some(holder) = self.holder(interface.ifindex) {
            return Err(AttachError::InterfaceTaken {
                interface: interface.name,
                holder,
            });
        }
        port::check(&interface, LinkKind::Environment)?;
        let choice = hook::choose(request.hook, &interface, Known::default())?;
        let netns = request.netns.as_deref();
        let reaches = peer::reaches(&mut self.netlink, &interface, netns, true);
        let mut flags = hook::environment_flags(request.hook);
        if reaches.map_err(PortError::from)? {
            flags |= Environment::PEER;
        }
        let (index, generation) = self.environments.free_index().ok_or_else(|| {
            let interface = request.interface.clone();
            AttachError::Full {
                interface,
                limit: self.limits.environments,
            }
        })?;
        let generation = generation.wrapping_add(1).max(1);
        Ok(Attachment {
            index,
            attached: Attached {
                name: request.name.to_string(),
                interface: interface.name.clone(),
                value: entry(request, &interface, group, generation, flags),
                peer: None,
                peer_netns_id: interface.peer_netns_id,
                why: choice.why,
            },
            mac,
            interface,
            hook: choice.hook,
            netns: request.netns.clone(),
        })
    }

    /// Attaches what was prepared, with nothing else done in between.
    pub fn finish(&mut self, attachment: Attachment) -> Result<EnvironmentInfo, AttachError> {
        let Attachment {
            index,
            mut attached,
            mac,
            interface,
            hook,
            netns,
        } = attachment;
        let gone = self.departures.let_go(index, || self.policies.wait());
        gone.map_err(|source| AttachError::Programs {
            interface: interface.name.clone(),
            source,
        })?;
        // Known before its first packet.
        self.enter_environment(index, &attached);
        let mut installed = self.install(index, &attached, mac, &interface);
        if installed.is_ok() && hook == Hook::Xdp {
            installed = self.raise_hook(index, &mut attached, &interface, netns.as_deref());
        }
        if let Err(error) = installed {
            self.undo(index, &attached);
            return Err(error);
        }
        let members = &mut self.mirror.members;
        *members.entry(attached.value.group).or_default() += 1;
        let link = Link {
            kind: Link::ENVIRONMENT,
            index,
        };
        self.mirror.links.insert(interface.ifindex, link);
        self.environments.insert(index, attached);
        self.counters.attached.one();
        Ok(self.environment_info(index))
    }

    fn holder(&self, ifindex: u32) -> Option<String> {
        let link = self.mirror.links.get(&ifindex)?;
        if link.kind == Link::UPLINK {
            let uplink = self.mirror.uplinks.get(&link.index);
            return Some(format!(
                "uplink {}",
                uplink.map_or("?", |uplink| &uplink.name)
            ));
        }
        let index = self.environments.by_ifindex(ifindex)?;
        self.environments.get(index).map(|found| found.name.clone())
    }

    /// Everything the program will look up, then the program: that of TC, which is on
    /// every link.
    fn install(
        &mut self,
        index: u32,
        attached: &Attached,
        mac: Mac,
        interface: &Interface,
    ) -> Result<(), AttachError> {
        self.write(index, attached, mac)
            .map_err(|error| AttachError::Table {
                name: attached.name.clone(),
                source: Box::new(error),
            })?;
        Ok(port::attach(
            &mut self.programs,
            LinkKind::Environment,
            index,
            Hook::Tc,
            interface,
        )?)
    }

    fn write(&mut self, index: u32, attached: &Attached, mac: Mac) -> Result<(), WriteError> {
        if attached.value.generation > 1 {
            // Late replies to the index's last environment were counted for it.
            self.take_drops(index, &attached.name)?;
        }
        let tables = &mut self.tables;
        let name = NameKey {
            kind: NameKey::ENVIRONMENT,
            index,
        };
        tables
            .names
            .insert(name, names::encode(&attached.name), 0)?;
        // Old flows of this index, if any are left, know by their generation that
        // this count is not theirs.
        let state = &tables.shared.environment_states[index as usize];
        state.flows.store(0);
        state.mac.store(mac.to_word());
        state.next_flow_ns.store(0);
        state.refused_replies.store(0);
        tables
            .environment_ports
            .set(index, attached.value.ifindex)?;
        tables.environments.set(index, attached.value, 0)?;
        let link = Link {
            kind: Link::ENVIRONMENT,
            index,
        };
        tables.links.insert(attached.value.ifindex, link, 0)?;
        Ok(())
    }

    /// Takes back what [`Dataplane::install`] may have done.
    fn undo(&mut self, index: u32, attached: &Attached) {
        if let Err(error) = self.erase(index, attached) {
            self.counters.steps_failed.one();
            tracing::warn!(environment = attached.name, %error, "an attach was not undone in full");
        }
        // The index counts as used, so that its next generation is a new one.
        self.directory.environment_gone(index, clock::now_tick());
        self.environments.insert(index, attached.clone());
        self.environments
            .remove(index, attached.value.generation.wrapping_add(1));
    }

    /// Detaches an environment; returns its last state.
    pub fn detach(&mut self, name: &ObjectName) -> Result<EnvironmentInfo, AttachError> {
        let index = self
            .environments
            .by_name(name.as_str())
            .ok_or_else(|| AttachError::Unknown { name: name.clone() })?;
        let info = self.detach_index(index)?;
        self.counters.detached.one();
        Ok(info)
    }

    /// Detaches an environment that nothing serves any more, and says why.
    pub(super) fn lose(&mut self, index: u32, why: &str) {
        match self.detach_index(index) {
            Ok(info) => {
                self.counters.environments_lost.one();
                self.lost.push(info.name.clone());
                tracing::warn!(
                    environment = info.name,
                    interface = info.interface,
                    "{why}: the environment was detached"
                );
            }
            Err(error) => tracing::warn!(%error, "{why}, but the environment stays for now"),
        }
    }

    pub(super) fn detach_index(&mut self, index: u32) -> Result<EnvironmentInfo, AttachError> {
        let info = self.environment_info(index);
        let attached = self.environments.get(index).cloned();
        let Some(attached) = attached else {
            return Ok(info);
        };
        self.erase(index, &attached)
            .map_err(|error| AttachError::Table {
                name: attached.name.clone(),
                source: Box::new(error),
            })?;
        self.environments
            .remove(index, attached.value.generation.wrapping_add(1));
        self.directory.environment_gone(index, clock::now_tick());
        self.mirror.links.remove(&attached.value.ifindex);
        self.purge.store(true, Ordering::Release);
        if let Some(members) = self.mirror.members.get_mut(&attached.value.group) {
            *members = members.saturating_sub(1);
        }
        Ok(info)
    }

    /// Undoes an attachment, complete or not: the interface is nobody's first, so
    /// that everything after it fails closed.
    fn erase(&mut self, index: u32, attached: &Attached) -> Result<(), WriteError> {
        let tables = &mut self.tables;
        absent_is_fine(tables.links.remove(&attached.value.ifindex))?;
        let generation = attached.value.generation.wrapping_add(1);
        let gone = Environment {
            generation,
            ifindex: 0,
            flags: 0,
            ..attached.value
        };
        tables.environments.set(index, gone, 0)?;
        self.departures.note(index);
        self.clear_index(index, &attached.name, attached.peer.as_ref())
    }

    /// Takes away what is left of an environment that is nobody's any more; its names last,
    /// by which whoever comes after a crash knows that something is left.
    fn clear_index(
        &mut self,
        index: u32,
        name: &str,
        peer: Option<&PreparedPeer>,
    ) -> Result<(), WriteError> {
        self.tables.environment_ports.set(index, 0)?;
        for hook in [Hook::Xdp, Hook::Tc] {
            self.programs.detach(LinkKind::Environment, index, hook)?;
        }
        self.take_drops(index, name)?;
        self.give_peer_back((LinkKind::Environment, index), peer)?;
        let kind = NameKey::ENVIRONMENT;
        absent_is_fine(self.tables.names.remove(&NameKey { kind, index }))?;
        Ok(())
    }

    /// Takes away what an agent left that died while it attached or detached.
    pub(super) fn clear_left(&mut self) -> Result<(), WriteError> {
        let mut left: BTreeMap<u32, (String, Option<PreparedPeer>)> = BTreeMap::new();
        for entry in self.tables.names.iter() {
            let (NameKey { kind, index }, name) = entry?;
            let is_of_one = [NameKey::ENVIRONMENT, ENVIRONMENT_PEER].contains(&kind);
            if !is_of_one || self.environments.get(index).is_some() {
                continue;
            }
            let (known, peer) = left.entry(index).or_default();
            match kind {
                ENVIRONMENT_PEER => *peer = Some(PreparedPeer::decode(&name)),
                _ => *known = names::text(&name),
            }
        }
        for (index, (name, peer)) in left {
            self.clear_index(index, &name, peer.as_ref())?;
            tracing::warn!(environment = name, index, "it was left by half: cleared");
        }
        Ok(())
    }

    /// Removes the drop counters of an index, so that the next environment starts
    /// from nothing; the last values go to the log.
    fn take_drops(&mut self, index: u32, name: &str) -> Result<(), MapError> {
        for reason in DropReason::ALL {
            let key = DropKey::new(Owner::environment(index), *reason);
            if let Ok(packets) = self.tables.drops.get(&key, 0) {
                let reason = reason.label();
                tracing::info!(
                    environment = name,
                    reason,
                    packets,
                    "dropped until detached"
                );
                absent_is_fine(self.tables.drops.remove(&key))?;
            }
        }
        Ok(())
    }

    /// What a listing says of an environment.
    pub(super) fn environment_info(&self, index: u32) -> EnvironmentInfo {
        let Some(attached) = self.environments.get(index) else {
            return nobody(index);
        };
        let (value, state) = (
            &attached.value,
            &self.tables.shared.environment_states[index as usize],
        );
        let mac = Mac::from_word(state.mac.load());
        let group = self.mirror.groups.get(&value.group);
        EnvironmentInfo {
            name: attached.name.clone(),
            index,
            generation: value.generation,
            interface: attached.interface.clone(),
            ifindex: value.ifindex,
            hook: attached.hook(),
            hook_wanted: attached.hook_wanted(),
            hook_why: attached.why.to_string(),
            group: group.map_or_else(|| value.group.to_string(), |group| group.name.clone()),
            address: value.address.v4().octets().into(),
            gateway: value.gateway.v4().octets().into(),
            mac: (mac != Mac::UNKNOWN).then(|| mac.to_string()),
            flows: state.flows.load(),
            flow_quota: value.flow_quota,
            refused_replies: state.refused_replies.load(),
        }
    }
}

fn nobody(index: u32) -> EnvironmentInfo {
    EnvironmentInfo {
        name: index.to_string(),
        index,
        generation: 0,
        interface: String::new(),
        ifindex: 0,
        hook: Hook::Tc,
        hook_wanted: HookWish::Auto,
        hook_why: String::new(),
        group: String::new(),
        address: Ipv4Addr::UNSPECIFIED,
        gateway: Ipv4Addr::UNSPECIFIED,
        mac: None,
        flows: 0,
        flow_quota: 0,
        refused_replies: 0,
    }
}
