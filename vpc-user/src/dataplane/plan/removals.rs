//! What is not wanted any more.

use std::collections::BTreeSet;

use vpc_common::layout::{GROUP_ENIS, Group};

use super::{Planner, eni_address, members};
use crate::dataplane::step::Step;

impl Planner<'_> {
    /// An ENI that left its group still carries flows, and they go by the group's rules.
    pub(super) fn leaving(&mut self) {
        let mirror = self.observed.mirror;
        for (index, eni) in &mirror.enis {
            let is_leaving = !self.enis.contains_key(index) && self.observed.busy.contains(index);
            let group = eni.name.rsplit_once('-').map_or("", |(group, _)| group);
            let Some(image) = self.images.get(group).filter(|_| is_leaving) else {
                continue;
            };
            if mirror.policies.get(index) != Some(image) {
                self.plan.steps.push(Step::SetPolicy {
                    group: group.to_owned(),
                    enis: vec![*index],
                    image: image.clone(),
                });
            }
        }
    }

    /// Takes away what is not wanted any more, each only once nothing in the
    /// tables leads to it: what this plan cuts off, a later pass removes.
    pub(super) fn removals(&mut self) {
        let mirror = self.observed.mirror;
        let mut steps = Vec::new();
        for (index, group) in &mirror.groups {
            if self.groups.contains_key(index) {
                continue;
            }
            if group.value.count != 0 {
                let empty = Group {
                    count: 0,
                    reserved: 0,
                    enis: [0; GROUP_ENIS],
                };
                steps.push(Step::SetGroup(*index, empty));
            } else if mirror.members.get(index).copied().unwrap_or(0) == 0 {
                steps.push(Step::ForgetGroup(*index));
            }
        }
        let reachable: BTreeSet<u32> = mirror
            .groups
            .values()
            .flat_map(|group| members(&group.value))
            .copied()
            .collect();
        for index in mirror.enis.keys() {
            let kept = self.enis.contains_key(index) || reachable.contains(index);
            if kept || self.observed.busy.contains(index) {
                continue;
            }
            for (key, reached) in &mirror.eni_by_address {
                if reached.index() == *index {
                    steps.push(Step::RemoveAddress(*key));
                }
            }
            steps.push(Step::ClearEni(*index));
        }
        // Those of ENIs on their way out stay as they are until then.
        for (key, eni) in &mirror.eni_by_address {
            let kept = self.enis.contains_key(&eni.index());
            if kept && !self.wanted_addresses.contains(&eni_address(key)) {
                steps.push(Step::RemoveAddress(*key));
            }
        }
        for (index, uplink) in &mirror.uplinks {
            let wanted = self.uplinks.values().any(|wanted| wanted == index);
            let in_use = mirror.enis.values().any(|eni| eni.value.uplink == *index);
            if wanted || in_use {
                continue;
            }
            if uplink.value.ifindex != 0 {
                steps.push(Step::RemoveLink(uplink.value.ifindex));
            }
            steps.push(Step::ForgetNeighbours(*index));
            steps.push(Step::DetachUplink(*index));
        }
        self.plan.steps.append(&mut steps);
    }
}
