//! What becomes of a packet of an environment, and who decides so.
//!
//! The verdict is that of the words in force, read where the kernel reads them and
//! evaluated by the same code. Which rule, entry or route is behind it comes from what
//! the words were compiled from; should the two ever disagree, the words are right.

use vpc_common::{
    addr::{Addr, Mac, V4},
    atomic::Shared64,
    drop::DropReason,
    flow,
    layout::{BLOCK_PORTS, Group, NextHopKey, Slot},
    policy::{self, Egress, Words},
    state::{self, State},
};

use super::{
    Dataplane, clock,
    listing::v4,
    mirror::{Attached, Named},
    request::AttachError,
    step,
};
use crate::{
    model::{Carried, ExplainRequest, ExplainedEni, ExplainedFlow, Explanation, ObjectName},
    policy::{Source, stages::Question},
};

/// The words of all policies, as the kernel sees them.
struct InForce<'t>(&'t [Shared64]);

impl Words for InForce<'_> {
    fn word(&self, index: u32) -> Option<u64> {
        self.0.get(index as usize).map(Shared64::load)
    }
}

/// An open flow.
#[derive(Clone, Copy)]
struct Live<'t> {
    index: u32,
    slot: &'t Slot,
    state: State,
}

impl Live<'_> {
    fn info(&self) -> ExplainedFlow {
        ExplainedFlow {
            slot: self.index,
            epoch: self.state.epoch(),
            state: self.state.phase().label().to_owned(),
            inside_port: self.slot.inside_port().number(),
            outside_port: self.slot.outside_port().number(),
        }
    }
}

impl Dataplane {
    /// What becomes of a packet that was asked for.
    pub fn explain(&self, request: &ExplainRequest) -> Result<Explanation, AttachError> {
        let name = request.environment.as_str();
        let attached = self.environments.by_name(name);
        let attached = attached.and_then(|index| Some((index, self.environments.get(index)?)));
        let Some((index, environment)) = attached else {
            return Err(AttachError::Unknown {
                name: request.environment.clone(),
            });
        };
        let flow = self.live_flow(index, environment, request);
        // A closed connection begins anew, and is judged as a new one.
        let tracked =
            flow.filter(|flow| request.from_port.is_some() && !state::reopens(flow.state.phase()));
        let group = self.mirror.groups.get(&environment.value.group);
        let eni = match flow {
            Some(flow) => Some(u32::from(flow.slot.eni())),
            None => {
                let group = group.map(|group| &group.value);
                group.and_then(|group| self.eni_with_room(group, request.to.protocol))
            }
        };
        let mut explanation = Explanation {
            environment: environment.name.clone(),
            address: v4(environment.value.address),
            function: None,
            group: group.map(|group| group.name.clone()).unwrap_or_default(),
            to: request.to,
            eni: eni.and_then(|eni| self.explained_eni(eni)),
            flow: flow.map(|flow| flow.info()),
            tracked: tracked.is_some(),
            security_groups: None,
            network_acl_out: None,
            route: None,
            reply: None,
            verdict: String::new(),
            description: String::new(),
        };
        let refused = match self.reach_rules(request, environment, group, tracked) {
            Ok(question) => {
                let exact = flow.filter(|_| request.from_port.is_some());
                let question = Question {
                    outside_port: exact.map(|flow| flow.slot.outside_port().number()),
                    ..question
                };
                let refused = self.pass_stages(&question, &mut explanation);
                refused.or_else(|| match flow {
                    Some(_) => None,
                    None => self.keeps_out(index, environment, eni),
                })
            }
            Err(reason) => Some(reason),
        };
        explanation.verdict = refused
            .map_or(Explanation::ALLOWED, DropReason::label)
            .into();
        explanation.description = refused
            .map_or("The packet goes into the VPC.", DropReason::description)
            .into();
        Ok(explanation)
    }

    /// The flow that was asked for, or the first to the same end.
    fn live_flow(
        &self,
        index: u32,
        environment: &Attached,
        request: &ExplainRequest,
    ) -> Option<Live<'_>> {
        let to = request.to;
        let remote = Addr::from_v4(V4::new(to.address.octets()));
        let is_asked_for = |slot: &Slot| {
            let inside = slot.inside_port().number();
            u32::from(slot.environment()) == index
                && slot.generation.load() == environment.value.generation
                && slot.remote_port().number() == to.port.get()
                && slot.remote() == remote
                && request.from_port.is_none_or(|port| port.get() == inside)
        };
        let shared = &self.tables.shared;
        let blocks = shared.blocks_in_use();
        let mut slots = blocks.flat_map(|block| block * BLOCK_PORTS..(block + 1) * BLOCK_PORTS);
        slots.find_map(|index| {
            let slot = &shared.slots[index as usize];
            let state = slot.state();
            let is_open = state.is_open() && state.protocol() == to.protocol.number();
            // The same use of the slot from the first look to the last.
            let found = is_open && is_asked_for(slot) && slot.state().epoch() == state.epoch();
            found.then_some(Live { index, slot, state })
        })
    }

    /// Whatever is looked at before rules and routes, in the kernel's order.
    fn reach_rules<'t>(
        &'t self,
        request: &ExplainRequest,
        environment: &Attached,
        group: Option<&'t Named<Group>>,
        tracked: Option<Live<'t>>,
    ) -> Result<Question<'t, InForce<'t>>, DropReason> {
        let to = request.to;
        let remote = V4::new(to.address.octets());
        let eni = match tracked {
            Some(flow) => u32::from(flow.slot.eni()),
            None if !remote.is_unicast() => return Err(DropReason::DestinationNotUnicast),
            None if Addr::from_v4(remote) == environment.value.gateway => {
                return Err(DropReason::ToGateway);
            }
            None => {
                let first = group.and_then(|group| step::members(&group.value).first());
                *first.ok_or(DropReason::NoRoute)?
            }
        };
        let shared = &self.tables.shared;
        let words = InForce(&shared.policy_words);
        let place = shared.policies.get(eni as usize).map_or(0, Shared64::load);
        let base = place.checked_sub(1).ok_or(DropReason::NoPolicy)? as u32;
        let row = policy::row(&words, base, remote).ok_or(DropReason::NoPolicy)?;
        Ok(Question {
            words,
            row,
            source: group.and_then(|group| self.source_in_force(&group.name, eni)),
            remote: to.address,
            protocol: to.protocol.number(),
            port: to.port.get(),
            tracked: tracked.is_some(),
            outside_port: None,
        })
    }

    /// What the policy of an ENI was compiled from, if that is what its group has now.
    fn source_in_force(&self, group: &str, eni: u32) -> Option<&Source> {
        let compiled = self.images.of(&ObjectName::new(group).ok()?)?;
        let in_force = self.mirror.policies.get(&eni)?;
        (*in_force == compiled.image).then_some(&compiled.source)
    }

    /// Has every stage say what it says; the reason of the first that refuses.
    fn pass_stages(
        &self,
        question: &Question<'_, InForce<'_>>,
        told: &mut Explanation,
    ) -> Option<DropReason> {
        let uplink = |index| Some(self.mirror.uplinks.get(&index)?.name.clone());
        let mut stages = question.stages(uplink);
        if stages.route.allows {
            stages.route.mac = self.mac_of(question.egress());
        }
        let refused = stages.refused();
        told.security_groups = Some(stages.security_groups);
        told.network_acl_out = Some(stages.network_acl_out);
        told.route = Some(stages.route);
        told.reply = Some(stages.reply);
        refused
    }

    /// The MAC of a next hop, if it is known.
    fn mac_of(&self, egress: Egress) -> Option<String> {
        let key = NextHopKey {
            uplink: egress.uplink,
            address: egress.next_hop,
        };
        // Not to be found is the same as not known.
        let index = self.tables.next_hop_by_address.get(&key, 0).ok()?;
        let hop = self.tables.shared.next_hops.get(index as usize)?;
        match hop.mac.load() {
            0 => None,
            mac => Some(Mac::from_word(mac).to_string()),
        }
    }

    fn explained_eni(&self, index: u32) -> Option<ExplainedEni> {
        let eni = self.mirror.enis.get(&index)?;
        let uplink = self.mirror.uplinks.get(&eni.value.uplink);
        Some(ExplainedEni {
            name: eni.name.clone(),
            address: v4(eni.value.address),
            uplink: uplink.map(|uplink| uplink.name.clone()).unwrap_or_default(),
        })
    }

    /// What keeps out a new flow that the rules allow: at this moment, and in the kernel's
    /// order.
    fn keeps_out(
        &self,
        index: u32,
        environment: &Attached,
        eni: Option<u32>,
    ) -> Option<DropReason> {
        let state = self.tables.shared.environment_states.get(index as usize)?;
        let value = &environment.value;
        if state.flows.load() >= value.flow_quota.into() {
            return Some(DropReason::EnvironmentQuota);
        }
        let next = flow::next_flow(value, state.next_flow_ns.load(), clock::now_ns());
        if value.flow_interval_ns != 0 && next.is_none() {
            return Some(DropReason::NewFlowRate);
        }
        eni.is_none().then_some(DropReason::PortsExhausted)
    }

    /// The first ENI of a group that has room for a connection.
    fn eni_with_room(&self, group: &Group, protocol: Carried) -> Option<u32> {
        let shared = &self.tables.shared;
        let has_room = |index: u32| {
            let limit = self.mirror.enis.get(&index)?.value.connection_limit;
            let connections = shared.eni_states.get(index as usize)?.connections.load();
            let pool = flow::pool_index(index, protocol.number());
            let pool = shared.pools.get(pool as usize)?;
            Some(connections < limit.into() && pool.used.load() < pool.capacity.load())
        };
        let mut members = step::members(group).iter().copied();
        members.find(|index| has_room(*index).unwrap_or(false))
    }
}
