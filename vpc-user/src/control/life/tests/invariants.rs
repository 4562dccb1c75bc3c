//! What always holds.

use std::collections::BTreeSet;

use crate::control::{Key, Resource, Settings, State, resource::*};

macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(format!($($what)+));
        }
    };
}

/// Whether all of it holds.
pub fn check(state: &State, settings: &Settings) -> Result<(), String> {
    let dangling: Vec<_> = state.dangling().collect();
    ensure!(dangling.is_empty(), "references lead nowhere: {dangling:?}");
    interfaces(state)?;
    groups(state, settings)?;
    quotas(state, settings)?;
    for function in state.all::<Function>() {
        version(state, function)?;
    }
    for environment in state.all::<Environment>() {
        let function = state.get::<Function>(&environment.function);
        let serves = function.is_some_and(|function| {
            function.state == FunctionState::Active
                && function.eni_groups.contains(&environment.eni_group)
        });
        ensure!(serves, "{environment:?} is bound to nobody who serves it");
    }
    Ok(())
}

/// Addresses are used once; a phase is shown by its status; who takes flows, or will, is of
/// one group, and nobody else is.
fn interfaces(state: &State) -> Result<(), String> {
    let mut addresses = BTreeSet::new();
    for interface in state.all::<Interface>() {
        let address = (&interface.vpc_id, interface.private_ip_address);
        ensure!(addresses.insert(address), "{address:?} is used twice");
        let subnet = state.get::<Subnet>(interface.subnet_id.as_str()).unwrap();
        let address = interface.private_ip_address;
        ensure!(subnet.cidr_block.contains(&address), "{address} is outside");
        let Some(hyperplane) = &interface.hyperplane else {
            continue;
        };
        let key = Key::of::<Interface>(interface.id());
        let groups: Vec<&EniGroup> = state.referring(&key).collect();
        let is_shown = match hyperplane.phase {
            EniPhase::Programming => interface.status == InterfaceStatus::Pending,
            EniPhase::Active => interface.status == InterfaceStatus::InUse,
            EniPhase::Draining => interface.status != InterfaceStatus::Available,
            EniPhase::Released => {
                interface.status == InterfaceStatus::Available && interface.attachment.is_none()
            }
        };
        ensure!(is_shown, "{interface:?} does not show its phase");
        let is_placed = match hyperplane.phase {
            EniPhase::Programming | EniPhase::Active => {
                groups.len() == 1 && groups[0].eni_group_id == hyperplane.eni_group
            }
            EniPhase::Draining | EniPhase::Released => groups.is_empty(),
        };
        ensure!(is_placed, "{interface:?} is of {groups:?}");
        let waits = matches!(hyperplane.phase, EniPhase::Draining | EniPhase::Released);
        ensure!(
            hyperplane.waits_for.is_some() == waits,
            "{hyperplane:?} says wrongly what it waits for"
        );
    }
    Ok(())
}

/// A key has one group, with users and ENIs of that key.
fn groups(state: &State, settings: &Settings) -> Result<(), String> {
    let mut keys = BTreeSet::new();
    for group in state.all::<EniGroup>() {
        let key = (group.owner_id, &group.subnet_id, &group.security_group_ids);
        ensure!(keys.insert(key), "{key:?} has two groups");
        let sorted = group.security_group_ids.is_sorted_by(|a, b| a < b);
        ensure!(sorted, "{group:?} is not in order");
        let itself = Key::of::<EniGroup>(group.id());
        let users = state.referring::<Function>(&itself).count();
        ensure!(users > 0, "{group:?} has no user");
        let enis = &group.network_interface_ids;
        let most = settings.enis_per_group as usize;
        ensure!(
            (1..=most).contains(&enis.len()),
            "{group:?} has so many ENIs"
        );
        for id in enis {
            let eni = state.get::<Interface>(id.as_str()).unwrap();
            let is_same = eni.subnet_id == group.subnet_id
                && eni.groups == group.security_group_ids
                && eni.owner_id == group.owner_id;
            ensure!(is_same, "{eni:?} is not of the key of {group:?}");
        }
    }
    Ok(())
}

fn quotas(state: &State, settings: &Settings) -> Result<(), String> {
    for vpc in state.all::<Vpc>() {
        let enis = state.all::<Interface>();
        let enis = enis.filter(|eni| eni.hyperplane.is_some() && eni.vpc_id == vpc.vpc_id);
        let count = enis.count();
        let most = settings.hyperplane_enis_per_vpc as usize;
        ensure!(count <= most, "{} has {count} ENIs", vpc.vpc_id);
    }
    Ok(())
}

/// The groups of a version are those of its configuration, and there when they must be.
fn version(state: &State, function: &Function) -> Result<(), String> {
    let is_waiting = function.next_eni_groups.is_some();
    let is_updating = function.last_update_status == Some(UpdateStatus::InProgress);
    ensure!(
        function.waiting_since.is_some() == is_waiting,
        "{function:?} waits for nothing"
    );
    let is_consistent = match function.state {
        FunctionState::Pending => {
            is_waiting && function.eni_groups.is_empty() && function.previous.is_none()
        }
        FunctionState::Active => {
            is_waiting == is_updating && is_waiting == function.previous.is_some()
        }
        FunctionState::Inactive | FunctionState::Failed => {
            !is_waiting && !is_updating && function.eni_groups.is_empty()
        }
    };
    ensure!(is_consistent, "{function:?} is in no state of its life");
    let has_reason = function.state_reason.is_some() && function.state_reason_code.is_some();
    ensure!(
        has_reason == (function.state != FunctionState::Active),
        "{function:?} says wrongly why"
    );
    if let Some(next) = &function.next_eni_groups {
        let config = function.vpc_config.as_ref();
        are_of(state, function, next, config)?;
        let ready = next.iter().all(|id| is_ready(state, id.as_str()));
        ensure!(!ready, "{function:?} waits for what is there");
    }
    if function.state == FunctionState::Active {
        let previous = function.previous.as_ref();
        let serving = previous.map_or(&function.vpc_config, |previous| &previous.vpc_config);
        are_of(state, function, &function.eni_groups, serving.as_ref())?;
        let mut groups = function.eni_groups.iter();
        let ready = groups.all(|id| is_ready(state, id.as_str()));
        ensure!(ready, "{function:?} is active without an ENI");
    }
    Ok(())
}

fn are_of(
    state: &State,
    function: &Function,
    groups: &[crate::control::Id],
    config: Option<&VpcConfig>,
) -> Result<(), String> {
    let config = config.cloned().unwrap_or_default();
    let mut wanted = config.security_group_ids.clone();
    wanted.sort();
    let found = groups.iter().map(|id| {
        let group = state.get::<EniGroup>(id.as_str()).unwrap();
        (&group.subnet_id, &group.security_group_ids)
    });
    let needed = config.subnet_ids.iter().map(|subnet| (subnet, &wanted));
    ensure!(
        found.eq(needed),
        "{function:?} goes by {groups:?}, which are of another configuration"
    );
    Ok(())
}

fn is_ready(state: &State, group: &str) -> bool {
    let group = state.get::<EniGroup>(group).unwrap();
    let mut enis = group.network_interface_ids.iter();
    enis.any(|id| {
        let eni = state.get::<Interface>(id.as_str()).unwrap();
        eni.phase() == Some(EniPhase::Active)
    })
}
