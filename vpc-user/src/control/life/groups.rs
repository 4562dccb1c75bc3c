//! The groups of Hyperplane ENIs that versions of functions share.

use std::net::Ipv4Addr;

use super::{Reason, eni};
use crate::control::{
    Context, Id, IdKind, Key, Settings, State, Transaction, ec2, iam, resource::*,
};

/// What a version needs in one of its subnets.
enum Need {
    /// A group that there is.
    Shared(Id),
    /// A new group, whose first ENI gets an address.
    New(Subnet, Ipv4Addr),
}

/// The security groups of a key: in order, none twice.
fn security_groups(config: &VpcConfig) -> Vec<Id> {
    let mut ids = config.security_group_ids.clone();
    ids.sort();
    ids.dedup();
    ids
}

/// What a version needs, if all of that can be had; nothing is changed.
fn needs(state: &State, function: &Function, settings: &Settings) -> Result<Vec<Need>, Reason> {
    let Some(config) = function.attachment() else {
        return Ok(Vec::new());
    };
    let account = function.owner_id;
    let wanted = security_groups(config);
    for id in &wanted {
        let group = state.get::<SecurityGroup>(id.as_str());
        group
            .filter(|group| group.owner_id == account)
            .ok_or_else(Reason::no_security_group)?;
    }
    let mut needs = Vec::new();
    for id in &config.subnet_ids {
        let subnet = state.get::<Subnet>(id.as_str());
        let subnet = subnet
            .filter(|subnet| subnet.owner_id == account)
            .ok_or_else(Reason::no_subnet)?;
        let group = state
            .referring::<EniGroup>(&Key::of::<Subnet>(id.as_str()))
            .find(|group| group.owner_id == account && group.security_group_ids == wanted);
        needs.push(match group {
            Some(group) => Need::Shared(group.eni_group_id.clone()),
            None => Need::New(subnet.clone(), address_in(state, subnet)?),
        });
    }
    let new: Vec<&Subnet> = needs.iter().filter_map(Need::new_in).collect();
    if !new.is_empty() {
        may_create(state, &function.role)?;
        room_for(state, &new, settings)?;
    }
    Ok(needs)
}

impl Need {
    fn new_in(&self) -> Option<&Subnet> {
        match self {
            Self::New(subnet, _) => Some(subnet),
            Self::Shared(_) => None,
        }
    }
}

/// Whether a role allows an ENI to be made.
pub fn may_create(state: &State, role: &str) -> Result<(), Reason> {
    match iam::role_allows(state, role, "ec2:CreateNetworkInterface") {
        iam::RoleAnswer::Allowed => Ok(()),
        iam::RoleAnswer::Denied | iam::RoleAnswer::NoSuchRole => Err(Reason::no_permission()),
    }
}

/// Whether the quotas leave room for an ENI in each of some subnets of one VPC.
pub fn room_for(state: &State, subnets: &[&Subnet], settings: &Settings) -> Result<(), Reason> {
    let Some(vpc) = subnets.first().map(|subnet| &subnet.vpc_id) else {
        return Ok(());
    };
    let of_vpc = state
        .referring::<Subnet>(&Key::of::<Vpc>(vpc.as_str()))
        .flat_map(|subnet| interfaces_in(state, subnet))
        .filter(|interface| interface.hyperplane.is_some())
        .count();
    let is_full = of_vpc.saturating_add(subnets.len()) > settings.hyperplane_enis_per_vpc as usize;
    let is_zone_full = |subnet: &&Subnet| {
        let zone = subnet.availability_zone.as_str();
        let present = state
            .of_account::<Subnet>(subnet.owner_id)
            .filter(|other| other.availability_zone == zone)
            .map(|other| interfaces_in(state, other).len())
            .sum::<usize>();
        let new = subnets.iter().filter(|one| one.availability_zone == zone);
        present.saturating_add(new.count()) > settings.interfaces_per_zone as usize
    };
    if is_full || subnets.iter().any(is_zone_full) {
        return Err(Reason::eni_limit());
    }
    Ok(())
}

fn interfaces_in<'s>(state: &'s State, subnet: &Subnet) -> Vec<&'s Interface> {
    let key = Key::of::<Subnet>(subnet.subnet_id.as_str());
    state.referring(&key).collect()
}

/// A free address of a subnet.
pub fn address_in(state: &State, subnet: &Subnet) -> Result<Ipv4Addr, Reason> {
    ec2::addresses::take(state, subnet, None).map_err(|_| Reason::no_address())
}

/// The groups that a version needs, made where they are missing: all of them, or none.
pub fn reserve(
    transaction: &mut Transaction<'_>,
    function: &Function,
    context: &mut Context,
) -> Result<Vec<Id>, Reason> {
    let needs = needs(transaction, function, &context.settings)?;
    let wanted = function.attachment().map(security_groups);
    let wanted = wanted.unwrap_or_default();
    let mut ids = Vec::new();
    for need in needs {
        ids.push(match need {
            Need::Shared(id) => id,
            Need::New(subnet, address) => {
                let group = EniGroup {
                    eni_group_id: IdKind::ENI_GROUP.fresh(&mut context.entropy),
                    owner_id: function.owner_id,
                    subnet_id: subnet.subnet_id.clone(),
                    security_group_ids: wanted.clone(),
                    network_interface_ids: Vec::new(),
                    failure: None,
                };
                let id = group.eni_group_id.clone();
                eni::add(transaction, group, &subnet, address, function, context);
                id
            }
        });
    }
    Ok(ids)
}

/// Whether a group has an ENI that takes flows.
pub fn is_ready(state: &State, group: &Id) -> bool {
    let group = state.get::<EniGroup>(group.as_str());
    let enis = group.map(|group| group.network_interface_ids.as_slice());
    let phases = enis.unwrap_or_default().iter();
    let mut phases = phases.filter_map(|id| state.get::<Interface>(id.as_str())?.phase());
    phases.any(|phase| phase == EniPhase::Active)
}

/// The versions that go, or will go, by a group.
pub fn users<'s>(state: &'s State, group: &Id) -> Vec<&'s Function> {
    let key = Key::of::<EniGroup>(group.as_str());
    state.referring(&key).collect()
}

/// Removes those groups that nobody refers to any more; their ENIs drain.
pub fn release(transaction: &mut Transaction<'_>, groups: &[Id], context: &Context) {
    for id in groups {
        let key = Key::of::<EniGroup>(id.as_str());
        if transaction.referrers_of(&key).next().is_some() {
            continue;
        }
        let Some(group) = transaction.get::<EniGroup>(id.as_str()).cloned() else {
            continue;
        };
        transaction.remove(key);
        for eni in &group.network_interface_ids {
            eni::drain(transaction, eni, context.now);
        }
    }
}
