//! Who uses a Hyperplane ENI.

use serde::{Deserialize, Serialize};

use crate::control::{Id, Key, State, resource::*};

/// Who uses an interface, and what it waits for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Usage {
    /// Qualified ARNs of the versions that it serves.
    pub functions: Vec<String>,
    /// Qualified ARNs of the versions that it is to serve, once they are created, restored
    /// or updated.
    pub waiting_functions: Vec<String>,
    /// The environments whose flows may leave by it.
    pub environments: Vec<Id>,
    /// What it waits for, while it is to be deleted.
    pub waits_for: Option<String>,
}

/// Who uses an interface; `None`: it is no Hyperplane ENI.
pub fn used_by(state: &State, network_interface_id: &str) -> Option<Usage> {
    let interface = state.get::<Interface>(network_interface_id)?;
    let hyperplane = interface.hyperplane.as_ref()?;
    let mut usage = Usage {
        waits_for: hyperplane.waits_for.clone(),
        ..Usage::default()
    };
    for group in state.referring::<EniGroup>(&Key::of::<Interface>(network_interface_id)) {
        let id = &group.eni_group_id;
        let key = Key::of::<EniGroup>(id.as_str());
        for function in state.referring::<Function>(&key) {
            let arns = if function.eni_groups.contains(id) {
                &mut usage.functions
            } else {
                &mut usage.waiting_functions
            };
            arns.push(function.qualified_arn());
        }
        let environments = state.referring::<Environment>(&key);
        usage
            .environments
            .extend(environments.map(|one| one.environment_id.clone()));
    }
    Some(usage)
}
