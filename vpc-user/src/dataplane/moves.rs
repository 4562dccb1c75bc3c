//! Environments that change the group whose ENIs their flows leave by, while they run.

use vpc_common::layout::{Environment, Link};

use super::{Dataplane, environments::WriteError, request::AttachError, tables::absent_is_fine};
use crate::model::ObjectName;

/// An environment and where it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Move {
    /// Its name.
    pub environment: ObjectName,
    /// The group that new flows use from now on.
    pub group: ObjectName,
    /// Whether open flows end, because they are of another VPC: the next segment that the
    /// environment sends in one is answered with RST.
    pub ends_flows: bool,
}

impl Dataplane {
    /// Moves environments. Those whose flows end are cut off for the time it takes until
    /// no program uses what they were; the others notice nothing. Returns why some could
    /// not be moved: they are cut off, or where they were.
    pub fn move_environments(&mut self, moves: &[Move]) -> Vec<AttachError> {
        let mut errors = Vec::new();
        let mut due = Vec::new();
        for one in moves {
            match self.prepare_move(one) {
                Ok(Some(moved)) => due.push((one, moved)),
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
        if due.iter().any(|(one, _)| one.ends_flows)
            && let Err(error) = self.policies.wait()
        {
            // A count of open flows may be off by the packets of this very moment.
            tracing::warn!(%error, "it is not known whether every program has ended");
        }
        for (one, (index, value)) in due {
            if let Err(error) = self.finish_move(one, index, value) {
                errors.push(AttachError::Table {
                    name: one.environment.to_string(),
                    source: Box::new(error),
                });
            }
        }
        errors
    }

    /// The index and the new entry, if that is another; what ends flows is cut off.
    fn prepare_move(&mut self, one: &Move) -> Result<Option<(u32, Environment)>, AttachError> {
        let unknown = || AttachError::Unknown {
            name: one.environment.clone(),
        };
        let index = self.environments.by_name(one.environment.as_str());
        let index = index.ok_or_else(unknown)?;
        let attached = self.environments.get(index).ok_or_else(unknown)?;
        let group = self.mirror.group(one.group.as_str());
        let group = group.ok_or_else(|| AttachError::UnknownGroup {
            group: one.group.clone(),
            interface: attached.interface.clone(),
        })?;
        let mut value = attached.value;
        if value.group == group {
            return Ok(None);
        }
        value.group = group;
        if one.ends_flows {
            value.generation = value.generation.wrapping_add(1).max(1);
            absent_is_fine(self.tables.links.remove(&value.ifindex)).map_err(|error| {
                AttachError::Table {
                    name: one.environment.to_string(),
                    source: Box::new(WriteError::from(error)),
                }
            })?;
        }
        Ok(Some((index, value)))
    }

    fn finish_move(
        &mut self,
        one: &Move,
        index: u32,
        value: Environment,
    ) -> Result<(), WriteError> {
        if one.ends_flows {
            let state = &self.tables.shared.environment_states[index as usize];
            // What is still open is of the generation before, and counts for nobody.
            state.flows.store(0);
            state.next_flow_ns.store(0);
        }
        self.tables.environments.set(index, value, 0)?;
        if one.ends_flows {
            let link = Link {
                kind: Link::ENVIRONMENT,
                index,
            };
            self.tables.links.insert(value.ifindex, link, 0)?;
            self.purge.store(true, std::sync::atomic::Ordering::Release);
        }
        let Some(mut attached) = self.environments.get(index).cloned() else {
            return Ok(());
        };
        let members = &mut self.mirror.members;
        if let Some(count) = members.get_mut(&attached.value.group) {
            *count = count.saturating_sub(1);
        }
        *members.entry(value.group).or_default() += 1;
        attached.value = value;
        self.environments.replace(index, attached);
        Ok(())
    }
}
