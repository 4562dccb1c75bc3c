//! What changes of the state concern in the data plane.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    control::{
        Change, Id, Key, Kind, Record,
        resource::{EniPhase, Interface},
    },
    model::ObjectName,
};

/// What changes concern in the data plane.
#[derive(Default)]
pub(super) struct Concerned {
    /// Rules, routes, groups or ENIs.
    pub network: bool,
    /// Groups that are others.
    pub groups: BTreeSet<ObjectName>,
    /// ENIs that changed, and whether the data plane has to learn or forget them.
    pub enis: BTreeMap<Id, bool>,
    /// Something is to be taken away.
    pub takes_away: bool,
    /// Environments of another group.
    pub moved: Vec<Id>,
    /// Environments that are no more.
    pub gone: Vec<Id>,
}

impl Concerned {
    /// Takes a change into account.
    pub fn add(&mut self, change: &Change) {
        let Change { key, before, after } = change;
        match (before, after) {
            (_, Some(Record::EniGroup(group))) | (Some(Record::EniGroup(group)), None) => {
                self.network = true;
                self.groups.insert(group.eni_group_id.clone());
                self.takes_away |= after.is_none();
            }
            (_, Some(Record::Interface(eni))) | (Some(Record::Interface(eni)), None) => {
                self.network = true;
                if let Some(hyperplane) = &eni.hyperplane {
                    let id = eni.network_interface_id.clone();
                    self.groups.insert(hyperplane.eni_group.clone());
                    self.enis.insert(id, after.is_some() && is_unsettled(eni));
                    self.takes_away |= hyperplane.phase == EniPhase::Draining;
                }
            }
            (Some(Record::Environment(was)), Some(Record::Environment(is))) => {
                if was.eni_group != is.eni_group {
                    self.moved.push(is.environment_id.clone());
                }
            }
            (Some(Record::Environment(was)), None) => self.gone.push(was.environment_id.clone()),
            _ => {
                self.network |= is_of_network(key);
                self.takes_away |= after.is_none() && is_of_network(key);
            }
        }
    }
}

/// Whether rules and routes are made from it.
const fn is_of_network(key: &Key) -> bool {
    matches!(
        key.kind,
        Kind::Vpc
            | Kind::Subnet
            | Kind::SecurityGroup
            | Kind::NetworkAcl
            | Kind::RouteTable
            | Kind::PrefixList
            | Kind::Peering
    )
}

/// Whether the data plane has an ENI to learn or to forget.
pub(super) fn is_unsettled(eni: &Interface) -> bool {
    matches!(
        eni.phase(),
        Some(EniPhase::Programming | EniPhase::Draining)
    )
}
