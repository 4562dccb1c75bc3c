//! Attaching and detaching environments: all or nothing, in force before the
//! first packet, and never a scan of a table.

use std::{net::Ipv4Addr, sync::atomic::Ordering};

use aya::maps::{MapError, xdp::XdpMapError};
use vpc_common::{
    addr::{Addr, Mac, V4},
    drop::DropReason,
    layout::{DropKey, Environment, Link, NameKey, Owner},
};

use super::{
    Dataplane,
    cause::Cause,
    mirror::{Attached, ENVIRONMENT_PEER},
    names,
    netlink::Interface,
    peer::PreparedPeer,
    port::{self, PortError},
    programs::{Hook, ProgramsError},
    tables::absent_is_fine,
};
use crate::model::{AttachRequest, EnvironmentInfo, ObjectName, parse_mac};

/// Why an environment was not attached or detached. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The name is taken.
    #[error(
        "{name} is attached already, on interface {interface}: detach it first, or choose \
         another name"
    )]
    NameTaken {
        /// The name.
        name: ObjectName,
        /// Where it is.
        interface: String,
    },
    /// The interface is taken.
    #[error(
        "{interface} is attached already, as {holder}: detach that first, or name another interface"
    )]
    InterfaceTaken {
        /// The interface.
        interface: String,
        /// Who has it.
        holder: String,
    },
    /// No such group.
    #[error(
        "there is no group {group} to attach {interface} to: use one of the configuration's \
         groups, or add it there"
    )]
    UnknownGroup {
        /// The group.
        group: ObjectName,
        /// The interface.
        interface: String,
    },
    /// Not an address.
    #[error(
        "{address} cannot be the {role} of {interface}: give a unicast address, and different \
         ones as address and gateway"
    )]
    BadAddress {
        /// The interface.
        interface: String,
        /// The address.
        address: Ipv4Addr,
        /// `address` or `gateway`.
        role: &'static str,
    },
    /// Not a MAC.
    #[error(
        "{mac:?} cannot be the MAC of {interface}: write a unicast MAC as 02:00:00:00:00:01, or \
         leave it out to have it learnt"
    )]
    BadMac {
        /// The interface.
        interface: String,
        /// What was given.
        mac: String,
    },
    /// A quota or rate of nonsense.
    #[error("a flow quota or burst of 0 would leave {interface} without a flow: give at least 1")]
    ZeroQuota {
        /// The interface.
        interface: String,
    },
    /// Every index is in use.
    #[error(
        "there is no room for {interface}: all {limit} environments are attached; detach one, or \
         raise `limits.environments`"
    )]
    Full {
        /// The interface.
        interface: String,
        /// The limit.
        limit: u32,
    },
    /// The interface cannot carry the program.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Not attached.
    #[error("{name} is not attached: see `vpc ls` for what is")]
    Unknown {
        /// The name.
        name: ObjectName,
    },
    /// A table refused.
    #[error(
        "the tables refused an entry for {name} ({}): try again, and see the agent's log",
        Cause(.source.as_ref())
    )]
    Table {
        /// The environment.
        name: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What goes wrong while the tables are written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Map(#[from] MapError),
    #[error(transparent)]
    Ports(#[from] XdpMapError),
    #[error(transparent)]
    Programs(#[from] ProgramsError),
}

impl Dataplane {
    /// Attaches an environment.
    pub fn attach(&mut self, request: &AttachRequest) -> Result<EnvironmentInfo, AttachError> {
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
        if let Some(holder) = self.holder(interface.ifindex) {
            return Err(AttachError::InterfaceTaken {
                interface: interface.name,
                holder,
            });
        }
        port::check(&interface, Hook::Environment)?;
        let (index, generation) = self.environments.free_index().ok_or_else(|| {
            let interface = request.interface.clone();
            AttachError::Full {
                interface,
                limit: self.limits.environments,
            }
        })?;
        let peer = port::prepare(&mut self.netlink, &interface, request.netns.as_deref())?;
        let entry = entry(
            request,
            &interface,
            group,
            generation.wrapping_add(1).max(1),
        );
        let attached = Attached {
            name: request.name.to_string(),
            interface: interface.name.clone(),
            value: entry,
            peer,
        };
        if let Err(error) = self.install(index, &attached, mac, &interface) {
            self.undo(index, &attached);
            return Err(error);
        }
        *self.mirror.members.entry(group).or_default() += 1;
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

    /// Everything the program will look up, then the program.
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
            Hook::Environment,
            index,
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
        if let Some(peer) = &attached.peer {
            let key = NameKey {
                kind: ENVIRONMENT_PEER,
                index,
            };
            tables.names.insert(key, peer.encode(), 0)?;
        }
        // Old flows of this index, if any are left, know by their generation that
        // this count is not theirs.
        let state = &tables.shared.environment_states[index as usize];
        state.flows.store(0);
        state.mac.store(mac.to_word());
        state.next_flow_ns.store(0);
        tables
            .environment_ports
            .set(index, attached.value.ifindex, None, 0)?;
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

    /// The interface of an environment is gone: so is the environment.
    pub fn interface_gone(&mut self, ifindex: u32) {
        let Some(index) = self.environments.by_ifindex(ifindex) else {
            return;
        };
        match self.detach_index(index) {
            Ok(info) => {
                self.counters.environments_lost.one();
                tracing::warn!(
                    environment = info.name,
                    interface = info.interface,
                    "the interface is gone; the environment was detached"
                );
            }
            Err(error) => tracing::warn!(%error, "an environment without interface stays for now"),
        }
    }

    /// Detaches every environment whose interface is gone.
    pub fn detach_dead(&mut self) {
        let interfaces: Vec<u32> = self
            .environments
            .iter()
            .map(|(_, attached)| attached.value.ifindex)
            .collect();
        for ifindex in interfaces {
            if super::interface_name(ifindex).is_empty() {
                self.interface_gone(ifindex);
            }
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
            ..attached.value
        };
        tables.environments.set(index, gone, 0)?;
        tables.environment_ports.set(index, 0, None, 0)?;
        self.programs.detach(Hook::Environment, index)?;
        for kind in [NameKey::ENVIRONMENT, ENVIRONMENT_PEER] {
            absent_is_fine(tables.names.remove(&NameKey { kind, index }))?;
        }
        self.take_drops(index, &attached.name)?;
        if let Some(peer) = &attached.peer {
            super::restore_peer(peer);
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
            group: group.map_or_else(|| value.group.to_string(), |group| group.name.clone()),
            address: value.address.v4().octets().into(),
            gateway: value.gateway.v4().octets().into(),
            mac: (mac != Mac::UNKNOWN).then(|| mac.to_string()),
            flows: state.flows.load(),
            flow_quota: value.flow_quota,
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
        group: String::new(),
        address: Ipv4Addr::UNSPECIFIED,
        gateway: Ipv4Addr::UNSPECIFIED,
        mac: None,
        flows: 0,
        flow_quota: 0,
    }
}

/// Checks what can be checked without looking at the host; returns the MAC.
fn check_request(request: &AttachRequest) -> Result<Mac, AttachError> {
    let interface = || request.interface.clone();
    let bad = |address, role| AttachError::BadAddress {
        interface: interface(),
        address,
        role,
    };
    if !V4::new(request.address.octets()).is_unicast() {
        return Err(bad(request.address, "address"));
    }
    let gateway = V4::new(request.gateway.octets());
    if !gateway.is_unicast() || request.gateway == request.address {
        return Err(bad(request.gateway, "gateway"));
    }
    if request.flow_quota == 0 || (request.flow_rate != 0 && request.flow_burst == 0) {
        return Err(AttachError::ZeroQuota {
            interface: interface(),
        });
    }
    let Some(text) = &request.mac else {
        return Ok(Mac::UNKNOWN);
    };
    parse_mac(text)
        .filter(|mac| mac.is_unicast())
        .ok_or_else(|| AttachError::BadMac {
            interface: interface(),
            mac: text.clone(),
        })
}

fn entry(
    request: &AttachRequest,
    interface: &Interface,
    group: u32,
    generation: u32,
) -> Environment {
    let flow_interval_ns = match request.flow_rate {
        0 => 0,
        rate => (1_000_000_000 / rate).max(1),
    };
    Environment {
        generation,
        ifindex: interface.ifindex,
        address: Addr::from_v4(V4::new(request.address.octets())),
        gateway: Addr::from_v4(V4::new(request.gateway.octets())),
        group,
        mtu: interface.mtu,
        flow_quota: request.flow_quota,
        flow_interval_ns,
        flow_burst_ns: u64::from(request.flow_burst) * u64::from(flow_interval_ns),
    }
}

/// Switches the far end's GRO off again; a failure is no reason to keep the
/// environment.
pub(super) fn restore_peer(peer: &PreparedPeer) {
    if let Err(error) = peer.restore() {
        tracing::warn!(%error, ?peer, "the far end's GRO was not switched off again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> AttachRequest {
        AttachRequest {
            name: ObjectName::new("e1").expect("a name"),
            interface: "tap1".to_owned(),
            group: ObjectName::new("web").expect("a name"),
            address: Ipv4Addr::new(169, 254, 0, 21),
            gateway: Ipv4Addr::new(169, 254, 0, 22),
            mac: None,
            netns: None,
            flow_quota: 10,
            flow_rate: 1_000,
            flow_burst: 50,
        }
    }

    fn refusal(change: impl Fn(&mut AttachRequest)) -> String {
        let mut request = request();
        change(&mut request);
        check_request(&request).expect_err("refused").to_string()
    }

    #[test]
    fn bad_requests_get_one_sentence_with_interface_and_remedy() {
        let sentences = [
            refusal(|r| r.address = Ipv4Addr::BROADCAST),
            refusal(|r| r.gateway = Ipv4Addr::new(224, 0, 0, 1)),
            refusal(|r| r.gateway = r.address),
            refusal(|r| r.mac = Some("01:00:00:00:00:01".to_owned())),
            refusal(|r| r.mac = Some("nonsense".to_owned())),
            refusal(|r| r.flow_quota = 0),
        ];
        for sentence in sentences {
            assert!(
                sentence.contains("tap1") && sentence.contains(": "),
                "{sentence}"
            );
            assert!(
                !sentence.ends_with('.') && !sentence.contains(". "),
                "{sentence}"
            );
        }
    }

    #[test]
    fn a_mac_is_optional_and_read_as_written() {
        assert_eq!(check_request(&request()).expect("good"), Mac::UNKNOWN);
        let with = AttachRequest {
            mac: Some("02:00:00:00:00:0a".to_owned()),
            ..request()
        };
        assert_eq!(
            check_request(&with).expect("good"),
            Mac::new([2, 0, 0, 0, 0, 10])
        );
    }

    #[test]
    fn a_rate_becomes_an_interval_and_a_burst_of_intervals() {
        let interface = Interface {
            ifindex: 3,
            name: "tap1".to_owned(),
            kind: crate::dataplane::netlink::InterfaceKind::Tap,
            mac: Mac::UNKNOWN,
            mtu: 1_500,
            peer_ifindex: None,
            peer_netns_id: None,
            xdp: None,
        };
        let made = entry(&request(), &interface, 4, 9);
        assert_eq!(
            (made.flow_interval_ns, made.flow_burst_ns),
            (1_000_000, 50_000_000)
        );
        let unlimited = AttachRequest {
            flow_rate: 0,
            ..request()
        };
        assert_eq!(entry(&unlimited, &interface, 4, 9).flow_interval_ns, 0);
    }
}
