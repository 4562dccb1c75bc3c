//! Performing a plan: one function per step, each in an order that fails closed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use aya::maps::MapError;
use vpc_common::layout::{BLOCK_PORTS, FIRST_BLOCK, NameKey, POOLS_PER_ENI, Pool};

use super::{
    Dataplane,
    cause::Cause,
    environments::WriteError,
    images::Images,
    mirror::Mirror,
    names,
    netlink::Netlink,
    note::{NO_ENI, NO_GROUP, note},
    packet,
    plan::{self, Observed, Scope},
    policies::NoRoom,
    port::PortError,
    programs::ProgramsError,
    step::{Plan, Problem, Step},
    tables::absent_is_fine,
};
use crate::model::{Config, Hook, ObjectName};

/// Plans in a row that one pass performs: what one cuts off, the next removes.
const ROUNDS: usize = 4;
/// RFC 5227 §2.3: announcements are sent twice.
const ANNOUNCEMENTS: usize = 2;

/// Why a step failed. The next pass tries it again.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A table refused.
    #[error("a table could not be written ({}); the next pass tries again", Cause(.0))]
    Map(#[from] MapError),
    /// A device map refused.
    #[error("the interface could not be entered as a port ({}); the next pass tries again", Cause(.0))]
    Port(#[from] aya::maps::xdp::XdpMapError),
    /// An interface cannot carry the program.
    #[error(transparent)]
    Interface(#[from] PortError),
    /// A link could not be handled.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// XDP needs the TC program behind it.
    #[error(
        "the uplink is not attached yet, so its hook cannot be changed: see the message about that"
    )]
    NotAttached,
    /// No room for rules.
    #[error(transparent)]
    Policy(#[from] NoRoom),
    /// A frame could not be sent.
    #[error("the announcement of an ENI could not be sent ({0})")]
    Send(#[from] io::Error),
}

impl From<WriteError> for StepError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Map(error) => error.into(),
            WriteError::Ports(error) => error.into(),
            WriteError::Programs(error) => error.into(),
        }
    }
}

/// What a pass did.
#[derive(Debug, Default)]
pub struct Applied {
    /// Steps performed.
    pub steps: usize,
    /// Steps that failed, as text.
    pub failures: Vec<String>,
    /// What the plan could not do.
    pub problems: Vec<Problem>,
}

impl Applied {
    /// Whether everything is as configured now.
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty() && self.problems.is_empty()
    }

    /// What is not as configured, a sentence each.
    pub fn obstacles(&self) -> impl Iterator<Item = String> {
        let problems = self.problems.iter().map(ToString::to_string);
        problems.chain(self.failures.iter().cloned())
    }
}

impl Dataplane {
    /// What has to change for the tables to be as configured.
    pub fn plan(&mut self, config: &Config) -> Plan {
        let busy = self.tables.shared.busy_enis();
        let (mirror, images) = (&self.mirror, &mut self.images);
        compare(config, mirror, images, &busy, &mut self.netlink)
    }

    /// Makes some groups as configured, and whatever rules and routes have changed since
    /// the last time: what a change costs is what it concerns. What is not wanted any more
    /// stays until the next [`Dataplane::apply`].
    pub fn apply_groups(&mut self, config: &Config, groups: &BTreeSet<ObjectName>) -> Applied {
        let observed = Observed {
            mirror: &self.mirror,
            interfaces: &BTreeMap::new(),
            busy: &self.tables.shared.busy_enis(),
            limits: &config.limits,
        };
        let plan = plan::plan(config, &observed, &mut self.images, Scope::Groups(groups));
        let mut applied = Applied {
            problems: plan.problems,
            ..Applied::default()
        };
        self.perform_all(&plan.steps, &mut applied);
        self.settle_policies(&mut applied);
        applied
    }

    /// Makes the tables as configured, as far as possible now.
    pub fn apply(&mut self, config: &Config) -> Applied {
        let mut applied = Applied::default();
        self.programs.attach_as(config.tc);
        for _ in 0..ROUNDS {
            let plan = self.plan(config);
            applied.problems = plan.problems;
            if plan.steps.is_empty() || !self.perform_all(&plan.steps, &mut applied) {
                break;
            }
        }
        self.counters.reconciles.one();
        self.settle_policies(&mut applied);
        applied
    }

    fn settle_policies(&mut self, applied: &mut Applied) {
        if let Err(error) = self.policies.settle() {
            self.counters.steps_failed.one();
            tracing::warn!(%error, "it is not known whether every packet goes by the new rules");
            applied
                .failures
                .push(format!("waiting for the programs: {error}"));
        }
    }

    /// Whether every step succeeded. A failed step ends the pass, because later
    /// ones may rely on it; but nothing relies on an uplink's programs or an
    /// announcement.
    pub(super) fn perform_all(&mut self, steps: &[Step], applied: &mut Applied) -> bool {
        let mut complete = true;
        for step in steps {
            match self.perform(step) {
                Ok(true) => {
                    tracing::info!(%step, "applied");
                    note(&mut self.mirror, step);
                    self.enter_step(step);
                    applied.steps += 1;
                }
                Ok(false) => {}
                Err(error) => {
                    self.counters.steps_failed.one();
                    tracing::warn!(%step, %error, "a step failed");
                    applied.failures.push(format!("{step}: {error}"));
                    complete = false;
                    if !is_last(step) {
                        break;
                    }
                }
            }
        }
        complete
    }

    /// `false`: it was a try of the agent's own that came to nothing.
    fn perform(&mut self, step: &Step) -> Result<bool, StepError> {
        let tables = &mut self.tables;
        match step {
            Step::SetName(key, name) => {
                tables.names.insert(key, names::encode(name), 0)?;
                // Another ENI than this index had: it has refused nothing yet.
                if key.kind == NameKey::ENI
                    && let Some(state) = tables.shared.eni_states.get(key.index as usize)
                {
                    state.refused.clear();
                    state.unrecorded.store(0);
                }
            }
            Step::RemoveName(key) => absent_is_fine(tables.names.remove(key))?,
            Step::SetUplink(index, uplink) => {
                tables.uplinks.set(*index, uplink, 0)?;
                tables.uplink_ports.set(*index, uplink.ifindex)?;
            }
            Step::SetLink(ifindex, link) => tables.links.insert(ifindex, link, 0)?,
            Step::RemoveLink(ifindex) => absent_is_fine(tables.links.remove(ifindex))?,
            Step::ForgetNeighbours(uplink) => self.forget_neighbours(*uplink),
            Step::SetEni(index, eni) => tables.enis.set(*index, eni, 0)?,
            Step::LeasePorts(index) => {
                let first = index * POOLS_PER_ENI;
                for pool in first..first + POOLS_PER_ENI {
                    lease_ports(&tables.shared.pools[pool as usize]);
                }
            }
            Step::BumpGeneration(index) => {
                self.policies.judge_again(&tables.shared, *index);
            }
            Step::SetPolicy { enis, image, .. } => {
                self.policies.put(&tables.shared, enis, image)?;
            }
            Step::SetAddress(key, eni) => tables.eni_by_address.insert(key, eni, 0)?,
            Step::RemoveAddress(key) => absent_is_fine(tables.eni_by_address.remove(key))?,
            Step::ClearEni(index) => {
                self.policies.clear(&tables.shared, *index);
                tables.enis.set(*index, NO_ENI, 0)?;
                let key = NameKey {
                    kind: NameKey::ENI,
                    index: *index,
                };
                absent_is_fine(tables.names.remove(&key))?;
            }
            Step::SetGroup(index, group) => tables.groups.set(*index, group, 0)?,
            Step::ForgetGroup(index) => {
                tables.groups.set(*index, NO_GROUP, 0)?;
                let key = NameKey {
                    kind: NameKey::GROUP,
                    index: *index,
                };
                absent_is_fine(tables.names.remove(&key))?;
            }
            Step::AttachUplink { index, interface } => self.attach_uplink(*index, interface)?,
            Step::SetHook {
                index,
                interface,
                hook: Hook::Xdp,
                peer_netns,
                chosen,
            } => return self.try_xdp(*index, interface, peer_netns.as_deref(), *chosen),
            Step::SetHook { index, .. } => self.leave_xdp(*index)?,
            Step::DetachUplink(index) => self.detach_uplink(*index)?,
            Step::Announce(index) => self.announce(*index)?,
        }
        Ok(true)
    }

    fn forget_neighbours(&self, uplink: u32) {
        for next_hop in self.tables.shared.next_hops.iter() {
            if next_hop.uplink.load() == uplink {
                next_hop.mac.store(0);
            }
        }
    }

    fn announce(&self, index: u32) -> Result<(), StepError> {
        let Some(eni) = self.mirror.enis.get(&index) else {
            return Ok(());
        };
        let uplink = &eni.value.uplink;
        // An uplink that could not be attached is planned again, and this with it.
        let attached = self.mirror.attached_uplinks.contains(uplink);
        let Some(uplink) = self.mirror.uplinks.get(uplink).filter(|_| attached) else {
            return Ok(());
        };
        let frame = packet::arp_announcement(uplink.value.mac, eni.value.address.v4());
        for _ in 0..ANNOUNCEMENTS {
            self.frames.send(uplink.value.ifindex, &frame)?;
        }
        Ok(())
    }
}

/// Whether nothing that comes after it relies on a step.
fn is_last(step: &Step) -> bool {
    matches!(
        step,
        Step::AttachUplink { .. } | Step::SetHook { .. } | Step::Announce(_)
    )
}

/// Looks up the interfaces that the configuration names, and plans.
pub fn compare(
    config: &Config,
    mirror: &Mirror,
    images: &mut Images,
    busy: &BTreeSet<u32>,
    netlink: &mut Netlink,
) -> Plan {
    let mut interfaces = BTreeMap::new();
    for uplink in &config.uplinks {
        if let Ok(Some(found)) = netlink.by_name(&uplink.interface) {
            interfaces.insert(uplink.interface.clone(), found);
        }
    }
    let limits = &config.limits;
    plan::plan(
        config,
        &Observed {
            mirror,
            interfaces: &interfaces,
            busy,
            limits,
        },
        images,
        Scope::Everything,
    )
}

/// Lets a pool use every block from port 1024 on.
fn lease_ports(pool: &Pool) {
    for (number, word) in pool.leased.iter().enumerate() {
        let below = FIRST_BLOCK.saturating_sub(number * 64).min(64);
        let bits = if below == 64 { 0 } else { u64::MAX << below };
        word.fetch_or(bits);
    }
    let blocks: u32 = pool
        .leased
        .iter()
        .map(|word| word.load().count_ones())
        .sum();
    pool.capacity.store(u64::from(blocks * BLOCK_PORTS));
}

#[cfg(test)]
mod tests {
    use vpc_common::{
        atomic::{Shared32, Shared64},
        layout::POOL_PORTS,
    };

    use super::*;

    #[test]
    fn a_lease_is_of_64512_ports_and_takes_none_away() {
        let pool = Pool {
            has_free: std::array::from_fn(|_| Shared64::new(0)),
            granted: std::array::from_fn(|_| Shared64::new(0)),
            leased: std::array::from_fn(|_| Shared64::new(0)),
            used: Shared64::new(0),
            blocks: Shared64::new(0),
            reclaim_cursor: Shared64::new(0),
            capacity: Shared64::new(0),
            block: std::array::from_fn(|_| Shared32::new(0)),
        };
        for _ in 0..2 {
            lease_ports(&pool);
            let blocks: u32 = pool
                .leased
                .iter()
                .map(|word| word.load().count_ones())
                .sum();
            assert_eq!(blocks * 256, POOL_PORTS);
            assert_eq!(pool.capacity.load(), u64::from(POOL_PORTS));
            assert_eq!(pool.leased[0].load() & 0xf, 0, "ports below 1024");
        }
    }
}
