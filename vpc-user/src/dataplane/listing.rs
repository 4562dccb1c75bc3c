//! Listings: from the mirror and the mapped tables.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use aya::maps::MapError;
use vpc_common::{
    addr::{Addr, Port},
    drop::DropReason,
    layout::{LAYOUT, NextHop, OwnerKind, POOLS_PER_ENI, Stat, Uplink},
    state::{TCP, UDP},
    time::TICK_NS,
};

use super::{
    Dataplane,
    hook::{self, Known},
    mirror::Named,
    step,
};
use crate::model::{DropInfo, EniInfo, EnvironmentInfo, Hook, StatusInfo, UplinkInfo};

impl Dataplane {
    /// Every attached environment, by index.
    pub fn environments(&self) -> Vec<EnvironmentInfo> {
        self.environments
            .iter()
            .map(|(index, _)| self.environment_info(index))
            .collect()
    }

    /// Every drop counter that is not zero, by owner and reason.
    pub fn drops(&self) -> Result<Vec<DropInfo>, MapError> {
        let mut found = BTreeMap::new();
        for entry in self.tables.drops.iter() {
            let (key, packets) = entry?;
            if packets != 0 {
                found.insert((key.owner.parts(), key.reason), packets);
            }
        }
        Ok(found
            .into_iter()
            .map(|((owner, reason), packets)| self.drop_info(owner, reason, packets))
            .collect())
    }

    fn drop_info(&self, owner: (OwnerKind, u32), reason: u32, packets: u64) -> DropInfo {
        let reason = DropReason::from_number(reason);
        let (kind, index) = owner;
        let name = match kind {
            OwnerKind::Host => Some("host".to_owned()),
            OwnerKind::Environment => self.environments.get(index).map(|found| found.name.clone()),
            OwnerKind::Uplink => self
                .mirror
                .uplinks
                .get(&index)
                .map(|found| found.name.clone()),
            OwnerKind::Eni => self.mirror.enis.get(&index).map(|found| found.name.clone()),
        };
        DropInfo {
            owner_kind: owner_label(kind).to_owned(),
            owner: name.unwrap_or_else(|| index.to_string()),
            reason: reason.map_or("unknown", DropReason::label).to_owned(),
            packets,
            description: reason.map_or("", DropReason::description).to_owned(),
        }
    }

    /// Everything at a glance.
    pub fn status(&mut self) -> Result<StatusInfo, MapError> {
        let indices: Vec<u32> = self.mirror.uplinks.keys().copied().collect();
        let uplinks = indices
            .into_iter()
            .map(|index| self.uplink_info(index))
            .collect();
        let shared = &self.tables.shared;
        let enis: Vec<EniInfo> = self
            .mirror
            .enis
            .keys()
            .map(|index| self.eni_info(*index))
            .collect();
        let mut counters = BTreeMap::new();
        for (stat, label) in Stat::ALL {
            let sum: u64 = self.tables.stats.get(&(stat as u32), 0)?.iter().sum();
            counters.insert(label.to_owned(), sum);
        }
        for (label, value) in self.counters.snapshot() {
            counters.insert(label.to_owned(), value);
        }
        Ok(StatusInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            layout: LAYOUT,
            pid: std::process::id(),
            uptime_secs: self.started.elapsed().as_secs_f64(),
            adopted: self.adopted,
            uplinks,
            flows: enis.iter().map(|eni| eni.connections).sum(),
            enis,
            environments: self.environments.len() as u32,
            flow_capacity: u64::from(shared.limits.slots()),
            policy_words: self.policies.used(),
            policy_word_capacity: u64::from(shared.limits.policy_words),
            counters,
        })
    }

    fn uplink_info(&mut self, index: u32) -> UplinkInfo {
        let Named { name, value } = self.mirror.uplinks[&index].clone();
        let resolved =
            |next_hop: &&NextHop| next_hop.mac.load() != 0 && next_hop.uplink.load() == index;
        UplinkInfo {
            name,
            interface: super::interface_name(value.ifindex),
            ifindex: value.ifindex,
            mac: value.mac.to_string(),
            mtu: value.mtu,
            shared: value.flags & Uplink::SHARED != 0,
            hook: if value.has_xdp() { Hook::Xdp } else { Hook::Tc },
            hook_wanted: hook::uplink_wish(value.flags),
            hook_why: self.uplink_hook_why(&value),
            neighbours: self.tables.shared.next_hops.iter().filter(resolved).count() as u32,
        }
    }

    /// Looked at anew, because the choice is made anew with every pass.
    fn uplink_hook_why(&mut self, uplink: &Uplink) -> String {
        let Ok(Some(interface)) = self.netlink.by_index(uplink.ifindex) else {
            return "the interface is gone".to_owned();
        };
        let known = Known {
            ours: uplink.has_xdp(),
            refused: self
                .mirror
                .xdp_refusals
                .get(&uplink.ifindex)
                .map(String::as_str),
        };
        match hook::choose(hook::uplink_wish(uplink.flags), &interface, known) {
            Ok(choice) => choice.why.to_string(),
            Err(refusal) => refusal.to_string(),
        }
    }

    fn eni_info(&self, index: u32) -> EniInfo {
        let (eni, shared) = (&self.mirror.enis[&index], &self.tables.shared);
        let state = &shared.eni_states[index as usize];
        let pool = |number: u32| &shared.pools[(index * POOLS_PER_ENI + number) as usize];
        let group = self
            .mirror
            .groups
            .values()
            .find(|group| step::members(&group.value).contains(&index));
        let uplink = self.mirror.uplinks.get(&eni.value.uplink);
        let connections = state.connections.load();
        EniInfo {
            name: eni.name.clone(),
            index,
            group: group.map(|group| group.name.clone()).unwrap_or_default(),
            uplink: uplink.map(|uplink| uplink.name.clone()).unwrap_or_default(),
            address: v4(eni.value.address),
            connections,
            connection_limit: eni.value.connection_limit,
            tcp_ports: pool(0).used.load(),
            udp_ports: pool(1).used.load(),
            blocks: pool(0).blocks.load() + pool(1).blocks.load(),
            high_water: connections >= u64::from(eni.value.high_water),
            refused: state
                .refused
                .each()
                .filter(|(_, packets)| *packets != 0)
                .map(|(reason, packets)| (reason.label().to_owned(), packets))
                .collect(),
        }
    }
}

/// Ticks as a listing shows them.
pub fn seconds(ticks: u32) -> f64 {
    f64::from(ticks) * TICK_NS as f64 / 1e9
}

/// An address as a listing shows it.
pub fn v4(address: Addr) -> Ipv4Addr {
    address.v4().octets().into()
}

/// An address with a port.
pub fn socket_address(address: Addr, port: Port) -> SocketAddr {
    (v4(address), port.number()).into()
}

/// `tcp`, `udp`, or the number of another protocol.
pub fn protocol_label(protocol: u8) -> String {
    match protocol {
        TCP => "tcp".to_owned(),
        UDP => "udp".to_owned(),
        other => other.to_string(),
    }
}

fn owner_label(kind: OwnerKind) -> &'static str {
    match kind {
        OwnerKind::Host => "host",
        OwnerKind::Environment => "environment",
        OwnerKind::Uplink => "uplink",
        OwnerKind::Eni => "eni",
    }
}
