//! From the configuration to the tables: what has to change, as data. Pure.
//!
//! The order of the steps fails closed: what an entry refers to is written before
//! the entry that makes it reachable, and what makes an entry reachable is removed
//! before the entry.

mod removals;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use vpc_common::{
    addr::{Addr, V4},
    layout::{Eni, EniKey, EniRef, GROUP_ENIS, Group, Limits, Link, NameKey, Uplink},
};

use super::{
    hook::{self, Known},
    images::{Compiled, Image, Images},
    mirror::{Mirror, Named},
    netlink::{Interface, InterfaceKind},
    port,
    programs::LinkKind,
    step::{Plan, Problem, Step, members},
};
use crate::model::{Config, EniConfig, GroupConfig, Hook, HookWish, ObjectName, UplinkConfig};

/// What the plan is made from, besides the configuration.
pub struct Observed<'a> {
    /// The tables.
    pub mirror: &'a Mirror,
    /// Interfaces by name; those that do not exist are missing.
    pub interfaces: &'a BTreeMap<String, Interface>,
    /// ENIs with open connections.
    pub busy: &'a BTreeSet<u32>,
    /// Sizes of the tables.
    pub limits: &'a Limits,
}

/// How much of a configuration is compared.
#[derive(Clone, Copy)]
pub enum Scope<'a> {
    /// All of it.
    Everything,
    /// These groups, and those whose rules or routes changed; nothing is taken away.
    Groups(&'a BTreeSet<ObjectName>),
}

/// Computes the change from what is observed to what is configured.
pub fn plan(
    config: &Config,
    observed: &Observed<'_>,
    images: &mut Images,
    scope: Scope<'_>,
) -> Plan {
    let mut planner = Planner {
        observed,
        group_by_name: by_name(&observed.mirror.groups),
        next_group: 0,
        next_eni: 0,
        wanted_addresses: BTreeSet::new(),
        images: BTreeMap::new(),
        plan: Plan::default(),
        last: Vec::new(),
        attaching: BTreeSet::new(),
        unannounced: BTreeSet::new(),
        uplinks: BTreeMap::new(),
        interfaces: BTreeMap::new(),
        enis: BTreeMap::new(),
        taken: BTreeMap::new(),
        groups: BTreeMap::new(),
    };
    images.begin(config);
    let groups: Vec<&GroupConfig> = match scope {
        Scope::Everything => {
            for uplink in &config.uplinks {
                planner.uplink(uplink);
            }
            config.groups.iter().collect()
        }
        Scope::Groups(names) => {
            planner.known_uplinks();
            let groups = config.groups.iter();
            groups
                .filter(|group| names.contains(&group.name) || images.is_stale(&group.name))
                .collect()
        }
    };
    for (group, error) in images.compile(&groups, &planner.uplinks) {
        let (group, sentence) = (group.to_string(), error.to_string());
        planner
            .plan
            .problems
            .push(Problem::Policy { group, sentence });
    }
    for group in groups {
        planner.group(group, images.of(&group.name));
    }
    if matches!(scope, Scope::Everything) {
        planner.leaving();
        planner.removals();
    }
    planner.announcements();
    planner.plan.steps.append(&mut planner.last);
    planner.plan
}

/// An uplink and an address, in an order.
type EniAddress = (u32, [u8; 16]);

fn eni_address(key: &EniKey) -> EniAddress {
    (key.uplink, key.address.octets())
}

struct Planner<'a> {
    observed: &'a Observed<'a>,
    group_by_name: HashMap<&'a str, u32>,
    /// No index below this is free for a group, nor below the other for an ENI that is
    /// the first of its index.
    next_group: u32,
    next_eni: u32,
    plan: Plan,
    /// Steps that come after everything else: attaching and announcing.
    last: Vec<Step>,
    /// Uplinks that are being attached: every ENI on them is announced.
    attaching: BTreeSet<u32>,
    /// ENIs that become reachable.
    unannounced: BTreeSet<u32>,
    /// Addresses by which ENIs are reachable.
    wanted_addresses: BTreeSet<EniAddress>,
    /// Wanted policies: group → image.
    images: BTreeMap<String, Image>,
    /// Wanted uplinks: name → index.
    uplinks: BTreeMap<String, u32>,
    /// Interfaces taken by wanted uplinks.
    interfaces: BTreeMap<u32, String>,
    /// Wanted ENIs: index → key and name.
    enis: BTreeMap<u32, (EniKey, String)>,
    /// The same by address.
    taken: BTreeMap<EniAddress, u32>,
    /// Wanted groups: index → name.
    groups: BTreeMap<u32, String>,
}

fn by_name<T>(entries: &BTreeMap<u32, Named<T>>) -> HashMap<&str, u32> {
    let entries = entries.iter();
    entries
        .map(|(index, entry)| (entry.name.as_str(), *index))
        .collect()
}

impl<'a> Planner<'a> {
    /// Uplinks as they are.
    fn known_uplinks(&mut self) {
        let uplinks = self.observed.mirror.uplinks.iter();
        let uplinks = uplinks.map(|(index, uplink)| (uplink.name.clone(), *index));
        self.uplinks = uplinks.collect();
    }

    fn uplink(&mut self, config: &UplinkConfig) {
        let (mirror, name) = (self.observed.mirror, config.name.as_str());
        let existing = mirror.uplink(name);
        if let Some(index) = existing {
            self.uplinks.insert(name.to_owned(), index);
        }
        let interface = match self.usable_interface(config, existing) {
            Ok(interface) => interface,
            Err(problem) => return self.plan.problems.push(problem),
        };
        let limit = self.observed.limits.uplinks;
        let Some(index) = existing.or_else(|| {
            (0..limit).find(|index| {
                !mirror.uplinks.contains_key(index) && !self.uplinks.values().any(|u| u == index)
            })
        }) else {
            let object = format!("uplink {name}");
            return self.plan.problems.push(Problem::Full {
                object,
                table: "uplinks",
                limit,
            });
        };
        self.uplinks.insert(name.to_owned(), index);
        self.interfaces.insert(interface.ifindex, name.to_owned());
        let before = mirror.uplinks.get(&index).map(|uplink| uplink.value);
        let moved = before.is_some_and(|before| before.ifindex != interface.ifindex);
        let attached = !moved && mirror.attached_uplinks.contains(&index);
        let in_force = before.is_some_and(|before| attached && before.has_xdp());
        let after = uplink_entry(config, interface, in_force);
        if before.is_none() {
            let key = NameKey {
                kind: NameKey::UPLINK,
                index,
            };
            self.plan.steps.push(Step::SetName(key, name.to_owned()));
        }
        if let Some(before) = before.filter(|before| moved && before.ifindex != 0) {
            self.plan.steps.push(Step::RemoveLink(before.ifindex));
            self.plan.steps.push(Step::ForgetNeighbours(index));
        }
        if before != Some(after) {
            self.plan.steps.push(Step::SetUplink(index, after));
        }
        let link = Link {
            kind: Link::UPLINK,
            index,
        };
        if mirror.links.get(&after.ifindex) != Some(&link) {
            self.plan.steps.push(Step::SetLink(after.ifindex, link));
        }
        if !attached {
            self.attaching.insert(index);
            self.last.push(Step::AttachUplink {
                index,
                interface: config.interface.clone(),
            });
        }
        self.hook(config, index, interface, in_force);
    }

    /// XDP comes in front of, and goes from, a TC program that stays: an uplink that
    /// cannot have the hook it is to have keeps the one it has.
    fn hook(&mut self, config: &UplinkConfig, index: u32, interface: &Interface, in_force: bool) {
        let refusals = &self.observed.mirror.xdp_refusals;
        let known = Known {
            ours: in_force,
            refused: refusals.get(&interface.ifindex).map(String::as_str),
        };
        match hook::choose(config.hook, interface, known) {
            Ok(choice) if (choice.hook == Hook::Xdp) != in_force => {
                self.last.push(Step::SetHook {
                    index,
                    interface: config.interface.clone(),
                    hook: choice.hook,
                    peer_netns: config.peer_netns.clone(),
                    chosen: config.hook == HookWish::Auto,
                });
            }
            Ok(_) => {}
            Err(refusal) => self.plan.problems.push(Problem::Port {
                uplink: config.name.to_string(),
                sentence: refusal.to_string(),
            }),
        }
    }

    fn usable_interface(
        &self,
        config: &UplinkConfig,
        existing: Option<u32>,
    ) -> Result<&'a Interface, Problem> {
        let (uplink, interface) = (config.name.to_string(), config.interface.clone());
        let Some(found) = self.observed.interfaces.get(&interface) else {
            return Err(Problem::NoInterface { uplink, interface });
        };
        if let Err(refusal) = port::check(found, LinkKind::Uplink) {
            let sentence = refusal.to_string();
            return Err(Problem::Port { uplink, sentence });
        }
        if let Some(other) = self.interfaces.get(&found.ifindex) {
            return Err(Problem::SharedInterface {
                uplink,
                interface,
                other: other.clone(),
            });
        }
        match self.observed.mirror.links.get(&found.ifindex) {
            Some(link) if link.kind == Link::ENVIRONMENT => {
                Err(Problem::IsEnvironment { uplink, interface })
            }
            // An uplink that has left the configuration gives its interface back
            // in this plan, so the next one can take it.
            Some(link) if Some(link.index) != existing => {
                let other = self.observed.mirror.uplinks.get(&link.index);
                let other =
                    other.map_or_else(|| link.index.to_string(), |other| other.name.clone());
                Err(Problem::SharedInterface {
                    uplink,
                    interface,
                    other,
                })
            }
            _ => Ok(found),
        }
    }

    fn group(&mut self, config: &GroupConfig, policy: Option<&Compiled>) {
        let name = config.name.as_str();
        let Some(uplink) = self.uplinks.get(config.uplink.as_str()).copied() else {
            let problem = Problem::NoUplink {
                group: name.to_owned(),
                uplink: config.uplink.to_string(),
            };
            return self.plan.problems.push(problem);
        };
        let mirror = self.observed.mirror;
        let limit = self.observed.limits.enis;
        let existing = self.group_by_name.get(name).copied();
        let Some(index) = existing.or_else(|| {
            let is_free = |index: &u32| {
                !mirror.groups.contains_key(index) && !self.groups.contains_key(index)
            };
            let found = (self.next_group..limit).find(is_free)?;
            self.next_group = found;
            Some(found)
        }) else {
            let object = format!("group {name}");
            return self.plan.problems.push(Problem::Full {
                object,
                table: "enis",
                limit,
            });
        };
        self.groups.insert(index, name.to_owned());
        let mut group = Group {
            count: 0,
            reserved: 0,
            enis: [0; GROUP_ENIS],
        };
        let (draining, serving): (Vec<_>, Vec<_>) =
            config.enis.iter().partition(|eni| eni.draining);
        for (number, eni) in serving.into_iter().take(GROUP_ENIS).enumerate() {
            match self.eni(config, uplink, number, eni) {
                Ok(eni) => {
                    group.enis[group.count as usize] = eni;
                    group.count += 1;
                }
                Err(problem) => self.plan.problems.push(problem),
            }
        }
        let mut enis = members(&group).to_vec();
        enis.extend(draining.iter().filter_map(|eni| self.draining(uplink, eni)));
        self.policy(config, &enis, policy);
        if existing.is_none() {
            let key = NameKey {
                kind: NameKey::GROUP,
                index,
            };
            self.plan.steps.push(Step::SetName(key, name.to_owned()));
        }
        if mirror.groups.get(&index).map(|before| before.value) != Some(group) {
            self.plan.steps.push(Step::SetGroup(index, group));
        }
    }

    /// Rules come before anything leads to the ENIs.
    fn policy(&mut self, config: &GroupConfig, enis: &[u32], policy: Option<&Compiled>) {
        let Some(policy) = policy else {
            return;
        };
        self.images
            .insert(config.name.to_string(), policy.image.clone());
        let mirror = self.observed.mirror;
        let in_force = |eni: &&u32| mirror.policies.get(*eni) == Some(&policy.image);
        let enis_to_set: Vec<u32> = enis.iter().filter(|eni| !in_force(eni)).copied().collect();
        if !enis_to_set.is_empty() {
            self.plan.steps.push(Step::SetPolicy {
                group: config.name.to_string(),
                enis: enis_to_set,
                image: policy.image.clone(),
            });
        }
        let uplinks = policy.uplinks.values().flatten().copied();
        let uplinks: Vec<u32> = uplinks.collect();
        for eni in enis {
            let Some((home, _)) = self.enis.get(eni).cloned() else {
                continue;
            };
            self.reachable(home, EniRef::home(*eni));
            for uplink in uplinks.iter().filter(|uplink| **uplink != home.uplink) {
                let key = EniKey::new(*uplink, home.address);
                self.reachable(key, EniRef::peered(*eni));
            }
        }
    }

    fn reachable(&mut self, key: EniKey, eni: EniRef) {
        self.wanted_addresses.insert(eni_address(&key));
        if self.observed.mirror.eni_by_address.get(&key) != Some(&eni) {
            self.plan.steps.push(Step::SetAddress(key, eni));
            if !eni.is_peered() {
                self.unannounced.insert(eni.index());
            }
        }
    }

    /// An ENI that takes no new flows, while it has open ones or a group leads to it: it
    /// stays as it is, but goes by the rules as they are. Its index.
    fn draining(&mut self, uplink: u32, eni: &EniConfig) -> Option<u32> {
        let mirror = self.observed.mirror;
        let key = EniKey::new(uplink, Addr::from_v4(V4::new(eni.address.octets())));
        let index = self.existing_eni(&key)?;
        let is_reachable = || {
            let mut groups = mirror.groups.values();
            groups.any(|group| members(&group.value).contains(&index))
        };
        if !self.observed.busy.contains(&index) && !is_reachable() {
            return None;
        }
        self.enis
            .insert(index, (key, mirror.enis.get(&index)?.name.clone()));
        self.taken.insert(eni_address(&key), index);
        Some(index)
    }

    /// The ENI with an address on an uplink, wherever the tables know it from.
    fn existing_eni(&self, key: &EniKey) -> Option<u32> {
        let mirror = self.observed.mirror;
        let known = mirror.eni_by_address.get(key);
        let known = known.filter(|eni| !eni.is_peered()).map(|eni| eni.index());
        known.or_else(|| {
            let same = |eni: &Eni| eni.uplink == key.uplink && eni.address == key.address;
            let mut enis = mirror.enis.iter();
            enis.find(|(_, eni)| same(&eni.value))
                .map(|(index, _)| *index)
        })
    }

    fn eni(
        &mut self,
        config: &GroupConfig,
        uplink: u32,
        number: usize,
        eni: &EniConfig,
    ) -> Result<u32, Problem> {
        let mirror = self.observed.mirror;
        let address = V4::new(eni.address.octets());
        let key = EniKey::new(uplink, Addr::from_v4(address));
        if let Some(index) = self.taken.get(&eni_address(&key)) {
            let eni = self.enis.get(index).map(|(_, name)| name.clone());
            return Err(Problem::AddressTaken {
                group: config.name.to_string(),
                address,
                eni: eni.unwrap_or_default(),
            });
        }
        let existing = self.existing_eni(&key);
        let index = existing
            .or_else(|| self.free_eni())
            .ok_or_else(|| Problem::Full {
                object: format!("ENI {address} of group {}", config.name),
                table: "enis",
                limit: self.observed.limits.enis,
            })?;
        let name = config.eni_name(number, eni);
        let (before, after) = (mirror.enis.get(&index), eni_entry(config, uplink, address));
        if before.is_none_or(|before| before.name != name) {
            let key = NameKey {
                kind: NameKey::ENI,
                index,
            };
            self.plan.steps.push(Step::SetName(key, name.clone()));
        }
        if before.is_none_or(|before| before.value != after) {
            self.plan.steps.push(Step::SetEni(index, after));
            self.plan.steps.push(Step::LeasePorts(index));
            self.plan.steps.push(Step::BumpGeneration(index));
        }
        self.enis.insert(index, (key, name));
        self.taken.insert(eni_address(&key), index);
        Ok(index)
    }

    fn announcements(&mut self) {
        let (attaching, unannounced) = (&self.attaching, &self.unannounced);
        let due = self.enis.iter().filter(|(index, (key, _))| {
            unannounced.contains(index) || attaching.contains(&key.uplink)
        });
        let mut steps: Vec<Step> = due.map(|(index, _)| Step::Announce(*index)).collect();
        self.last.append(&mut steps);
    }

    /// An index that was never used, or else any that is free and at rest.
    fn free_eni(&mut self) -> Option<u32> {
        let mirror = self.observed.mirror;
        let is_free = |index: &u32| {
            !mirror.enis.contains_key(index)
                && !self.enis.contains_key(index)
                && !self.observed.busy.contains(index)
        };
        let generation = |index: u32| mirror.generations.get(index as usize).copied().unwrap_or(0);
        let limit = self.observed.limits.enis;
        let is_fresh = |index: &u32| is_free(index) && generation(*index) == 0;
        if let Some(fresh) = (self.next_eni..limit).find(is_fresh) {
            self.next_eni = fresh;
            return Some(fresh);
        }
        self.next_eni = limit;
        (0..limit).find(is_free)
    }
}

fn uplink_entry(config: &UplinkConfig, interface: &Interface, in_force: bool) -> Uplink {
    let mut flags = hook::uplink_flags(config.hook);
    if in_force {
        flags |= Uplink::XDP;
    }
    if config.shared {
        flags |= Uplink::SHARED;
    }
    if interface.kind != InterfaceKind::Nic {
        flags |= Uplink::PARTIAL_CHECKSUMS;
    }
    Uplink {
        ifindex: interface.ifindex,
        mtu: interface.mtu,
        mac: interface.mac,
        flags,
    }
}

fn eni_entry(config: &GroupConfig, uplink: u32, address: V4) -> Eni {
    Eni {
        address: Addr::from_v4(address),
        uplink,
        reserved: 0,
        connection_limit: config.connections,
        high_water: config.connections / 5 * 4 + config.connections % 5 * 4 / 5,
        timeouts: config.timeouts,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
