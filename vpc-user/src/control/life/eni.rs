//! Hyperplane ENIs: made, programmed, more of them under load, drained, deleted.

use std::net::Ipv4Addr;

use super::{Reason, groups, version};
use crate::control::{
    ApiError, Context, Entropy, Id, IdKind, Key, Kind, Resource, State, Tags, Time, Transaction,
    iam, resource::*,
};

/// What an ENI waits for while it drains.
const WAITS_FOR_FLOWS: &str = "its open connections to end";

/// Adds an ENI to a group, on behalf of a version of a function.
pub fn add(
    transaction: &mut Transaction<'_>,
    mut group: EniGroup,
    subnet: &Subnet,
    address: Ipv4Addr,
    function: &Function,
    context: &mut Context,
) {
    let entropy = &mut context.entropy;
    let role = transaction.get::<Role>(&function.role);
    let account = function.owner_id;
    let interface = Interface {
        network_interface_id: IdKind::INTERFACE.fresh(entropy),
        owner_id: account,
        vpc_id: subnet.vpc_id.clone(),
        subnet_id: subnet.subnet_id.clone(),
        private_ip_address: address,
        secondary_addresses: Vec::new(),
        mac_address: mac_address(entropy),
        groups: group.security_group_ids.clone(),
        description: format!(
            "AWS Lambda VPC ENI-{}-{}",
            function.function_name,
            entropy.uuid()
        ),
        interface_type: "lambda".to_owned(),
        requester_managed: false,
        requester_id: role.map(|role| format!("{}:{account}", role.role_id)),
        source_dest_check: true,
        status: InterfaceStatus::Pending,
        attachment: Some(Attachment {
            attachment_id: IdKind::INTERFACE_ATTACHMENT.fresh(entropy),
            instance_owner_id: "amazon-aws".to_owned(),
            device_index: 1,
            delete_on_termination: false,
            status: "attaching".to_owned(),
        }),
        connection_tracking_configuration: None,
        hyperplane: Some(Hyperplane {
            eni_group: group.eni_group_id.clone(),
            role: function.role.clone(),
            phase: EniPhase::Programming,
            since: context.now,
            high_water: false,
            waits_for: None,
        }),
        client_token: None,
        tags: Tags::new(),
    };
    let id = interface.network_interface_id.clone();
    group.network_interface_ids.push(id);
    transaction.put(interface);
    transaction.put(group);
}

/// A locally administered unicast address, in AWS's manner.
fn mac_address(entropy: &mut Entropy) -> String {
    let [a, b, c, d, e, ..] = entropy.next_u64().to_le_bytes();
    format!("0a:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}")
}

/// What a Hyperplane ENI has besides an interface.
fn find<'s>(state: &'s State, id: &Id) -> Result<&'s Hyperplane, ApiError> {
    let interface = state.get::<Interface>(id.as_str());
    let hyperplane = interface.and_then(|interface| interface.hyperplane.as_ref());
    hyperplane.ok_or_else(|| {
        let message = format!("The networkInterface ID '{id}' does not exist");
        ApiError::new("InvalidNetworkInterfaceID.NotFound", message)
    })
}

fn change(
    transaction: &mut Transaction<'_>,
    id: &Id,
    change: impl FnOnce(&mut Interface, &mut Hyperplane),
) {
    transaction.update(id.as_str(), |interface: &mut Interface| {
        if let Some(mut hyperplane) = interface.hyperplane.take() {
            change(interface, &mut hyperplane);
            interface.hyperplane = Some(hyperplane);
        }
    });
}

/// The kernel knows it: every version that waited for it alone goes on.
pub fn programmed(
    transaction: &mut Transaction<'_>,
    id: &Id,
    context: &mut Context,
) -> Result<(), ApiError> {
    let hyperplane = find(transaction, id)?;
    if hyperplane.phase != EniPhase::Programming {
        return Ok(());
    }
    let group = hyperplane.eni_group.clone();
    change(transaction, id, |interface, hyperplane| {
        interface.status = InterfaceStatus::InUse;
        if let Some(attachment) = &mut interface.attachment {
            attachment.status = "attached".to_owned();
        }
        hyperplane.phase = EniPhase::Active;
        hyperplane.since = context.now;
    });
    for user in user_ids(transaction, &group) {
        version::settle(transaction, &user, context);
    }
    Ok(())
}

fn user_ids(state: &State, group: &Id) -> Vec<String> {
    let users = groups::users(state, group);
    users.into_iter().map(Resource::id).collect()
}

/// The kernel will not know it. Who has another ENI goes on with that one; who waits for
/// this one waits in vain.
pub fn failed(
    transaction: &mut Transaction<'_>,
    id: &Id,
    failure: &Reason,
    context: &mut Context,
) -> Result<(), ApiError> {
    let hyperplane = find(transaction, id)?;
    if hyperplane.phase != EniPhase::Programming {
        return Ok(());
    }
    let group = hyperplane.eni_group.clone();
    if groups::is_ready(transaction, &group) {
        leave(transaction, &group, id, context.now);
        transaction.update(group.as_str(), |group: &mut EniGroup| {
            group.failure = Some(failure.code.clone());
        });
        return Ok(());
    }
    for user in user_ids(transaction, &group) {
        version::fail(transaction, &user, failure, context);
    }
    Ok(())
}

/// An ENI goes while its group stays.
fn leave(transaction: &mut Transaction<'_>, group: &Id, id: &Id, now: Time) {
    transaction.update(group.as_str(), |group: &mut EniGroup| {
        group.network_interface_ids.retain(|one| one != id);
    });
    drain(transaction, id, now);
}

/// It takes no new flows, and goes once the open ones have ended.
pub fn drain(transaction: &mut Transaction<'_>, id: &Id, now: Time) {
    change(transaction, id, |_, hyperplane| {
        hyperplane.phase = EniPhase::Draining;
        hyperplane.since = now;
        hyperplane.waits_for = Some(WAITS_FOR_FLOWS.to_owned());
    });
}

/// It is nearly full: its group gets a further ENI, unless one is on its way or has room.
/// Why there is none, if there should be, is kept in the group.
pub fn high_water(
    transaction: &mut Transaction<'_>,
    id: &Id,
    context: &mut Context,
) -> Result<(), ApiError> {
    let hyperplane = find(transaction, id)?;
    if hyperplane.phase != EniPhase::Active {
        return Ok(());
    }
    let group = hyperplane.eni_group.clone();
    change(transaction, id, |_, hyperplane| {
        hyperplane.high_water = true;
    });
    let Some(group) = transaction.get::<EniGroup>(group.as_str()).cloned() else {
        return Ok(());
    };
    let enis = &group.network_interface_ids;
    let is_full = |id: &Id| {
        find(transaction, id).is_ok_and(|one| one.phase == EniPhase::Active && one.high_water)
    };
    let most = context.settings.enis_per_group as usize;
    if enis.len() >= most || !enis.iter().all(is_full) {
        return Ok(());
    }
    let id = group.eni_group_id.clone();
    let failure = further(transaction, group, context).err();
    transaction.update(id.as_str(), |group: &mut EniGroup| {
        group.failure = failure.map(|failure| failure.code);
    });
    Ok(())
}

/// A further ENI of a group, on behalf of a version whose role allows it.
fn further(
    transaction: &mut Transaction<'_>,
    group: EniGroup,
    context: &mut Context,
) -> Result<(), Reason> {
    let users = groups::users(transaction, &group.eni_group_id);
    let allows = |user: &&Function| groups::may_create(transaction, &user.role).is_ok();
    let user = users.into_iter().find(allows).cloned();
    let user = user.ok_or_else(Reason::no_permission)?;
    let subnet = transaction.get::<Subnet>(group.subnet_id.as_str()).cloned();
    let subnet = subnet.ok_or_else(Reason::no_subnet)?;
    groups::room_for(transaction, &[&subnet], &context.settings)?;
    let address = groups::address_in(transaction, &subnet)?;
    add(transaction, group, &subnet, address, &user, context);
    Ok(())
}

/// It has room again.
pub fn low_water(transaction: &mut Transaction<'_>, id: &Id) -> Result<(), ApiError> {
    find(transaction, id)?;
    change(transaction, id, |_, hyperplane| {
        hyperplane.high_water = false;
    });
    Ok(())
}

/// It has had no connection for a while: it goes, unless it is its group's first one, or
/// the others are nearly full.
pub fn idle(transaction: &mut Transaction<'_>, id: &Id, context: &Context) -> Result<(), ApiError> {
    let hyperplane = find(transaction, id)?;
    let group = hyperplane.eni_group.clone();
    let record = transaction.get::<EniGroup>(group.as_str());
    let enis = record.map(|group| group.network_interface_ids.as_slice());
    let enis = enis.unwrap_or_default();
    let has_room = |other: &Id| {
        let other = find(transaction, other);
        other.is_ok_and(|one| one.phase == EniPhase::Active && !one.high_water)
    };
    let is_spare = hyperplane.phase == EniPhase::Active
        && enis.first() != Some(id)
        && enis.iter().any(|other| other != id && has_room(other));
    if is_spare {
        leave(transaction, &group, id, context.now);
    }
    Ok(())
}

/// The kernel has forgotten it: it is deleted, if the role it was made for still allows
/// that; else it is left to its owner.
pub fn forgotten(
    transaction: &mut Transaction<'_>,
    id: &Id,
    context: &Context,
) -> Result<(), ApiError> {
    let hyperplane = find(transaction, id)?;
    if hyperplane.phase != EniPhase::Draining {
        return Ok(());
    }
    let role = hyperplane.role.clone();
    let waits_for = match may_delete(transaction, &role) {
        iam::RoleAnswer::Allowed => {
            delete(transaction, id);
            return Ok(());
        }
        iam::RoleAnswer::Denied => format!("{role} to allow ec2:DeleteNetworkInterface"),
        iam::RoleAnswer::NoSuchRole => format!("its owner to delete it, for {role} is gone"),
    };
    change(transaction, id, |interface, hyperplane| {
        interface.status = InterfaceStatus::Available;
        interface.attachment = None;
        hyperplane.phase = EniPhase::Released;
        hyperplane.since = context.now;
        hyperplane.waits_for = Some(waits_for);
    });
    Ok(())
}

fn may_delete(state: &State, role: &str) -> iam::RoleAnswer {
    iam::role_allows(state, role, "ec2:DeleteNetworkInterface")
}

/// Removes an ENI; an elastic address loses it, and its flow logs go with it.
fn delete(transaction: &mut Transaction<'_>, id: &Id) {
    let key = Key::of::<Interface>(id.as_str());
    let addresses: Vec<Id> = transaction
        .referring::<Address>(&key)
        .map(|address| address.allocation_id.clone())
        .collect();
    for address in addresses {
        transaction.update(address.as_str(), |address: &mut Address| {
            address.association_id = None;
            address.network_interface_id = None;
        });
    }
    let logs: Vec<Key> = transaction
        .all::<FlowLog>()
        .filter(|log| log.subject() == key)
        .map(|log| Key::of::<FlowLog>(log.id()))
        .collect();
    for log in logs {
        transaction.remove(log);
    }
    transaction.remove(key);
}

/// The ENIs that the kernel has forgotten, and that may be deleted by now.
pub fn deletable(state: &State) -> impl Iterator<Item = &Id> {
    let interfaces = state.all::<Interface>();
    let is_deletable = |interface: &&Interface| {
        interface.hyperplane.as_ref().is_some_and(|hyperplane| {
            hyperplane.phase == EniPhase::Released
                && may_delete(state, &hyperplane.role) == iam::RoleAnswer::Allowed
        })
    };
    interfaces
        .filter(is_deletable)
        .map(|interface| &interface.network_interface_id)
}

/// Deletes those.
pub fn delete_released(transaction: &mut Transaction<'_>) {
    let ids: Vec<Id> = deletable(transaction).cloned().collect();
    for id in ids {
        delete(transaction, &id);
    }
}

/// Whether the owner of an interface may delete it: not while anybody uses it, which of a
/// Hyperplane ENI is until Lambda has released it. An elastic address does not keep it.
pub fn may_delete_interface(state: &State, interface: &Interface) -> Result<(), ApiError> {
    let id = &interface.network_interface_id;
    let key = Key::of::<Interface>(id.as_str());
    let mut users = state.referrers_of(&key);
    let is_used = users.any(|user| user.kind != Kind::Address);
    let is_held = interface
        .phase()
        .is_some_and(|phase| phase != EniPhase::Released);
    if interface.status == InterfaceStatus::Available && !is_used && !is_held {
        return Ok(());
    }
    let message = format!("Network interface '{id}' is currently in use.");
    Err(ApiError::new("InvalidNetworkInterface.InUse", message))
}
