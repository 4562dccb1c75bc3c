//! Execution environments: bound to one of the groups that serve their version.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::version;
use crate::control::{
    Account, Answer, ApiError, Context, Entropy, Id, Key, Kind, Resource, State, Transaction,
    lambda::{errors, name},
    resource::*,
};

/// An environment starts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AttachEnvironment {
    /// Its name, unique on this host.
    pub environment_id: Id,
    /// The function that it runs, with the version or alias: a name or an ARN, as
    /// `FunctionName` of Lambda's API. An alias with two versions: the environment's name
    /// decides which.
    pub function: String,
    /// Its interface on this host.
    pub interface: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Where it runs: a subnet of that zone is preferred.
    #[serde(default)]
    pub availability_zone: Option<String>,
}

/// Binds an environment to a group of its version. A version that cannot be invoked takes
/// none, and an inactive one is restored, as by an invocation.
pub fn attach(
    transaction: &mut Transaction<'_>,
    attach: &AttachEnvironment,
    context: &mut Context,
) -> Result<Answer, ApiError> {
    let id = &attach.environment_id;
    check(transaction, attach)?;
    let account = context.caller.account;
    let named = name::parse(&attach.function, None, account, &context.settings)?;
    let draw = draw_of(id);
    let function = name::resolve(transaction, &named, account, draw)?.clone();
    if let Some(error) = version::refusal(transaction, &function, context) {
        return Ok(Err(error));
    }
    let zone = attach.availability_zone.as_deref();
    let Some(group) = choose(transaction, &function.eni_groups, zone) else {
        let arn = function.qualified_arn();
        let message = format!("The function is not attached to a VPC: {arn}");
        return Err(errors::invalid(message));
    };
    transaction.put(Environment {
        environment_id: id.clone(),
        owner_id: account,
        function: function.id(),
        eni_group: group.clone(),
        interface: attach.interface.clone(),
        address: attach.address,
        attached_at: context.now,
    });
    Ok(Ok(json!({
        "EnvironmentId": id,
        "EniGroupId": group,
        "FunctionArn": function.qualified_arn(),
        "Version": function.version,
    })))
}

/// Whether an environment can be one: a name that nobody has, a name that an interface can
/// have.
fn check(state: &State, attach: &AttachEnvironment) -> Result<(), ApiError> {
    let id = attach.environment_id.as_str();
    if state.get::<Environment>(id).is_some() {
        let message = format!("The environment {id} is attached already.");
        return Err(errors::conflict(message));
    }
    let name = attach.interface.as_str();
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    let is_name = matches!(name.len(), 1..=15) && name.bytes().all(is_allowed);
    if !is_name || matches!(name, "." | "..") {
        let message = format!("{name:?} is no name of an interface.");
        return Err(errors::invalid(message));
    }
    Ok(())
}

/// The same for the same name, and spread over all numbers (FNV-1a).
fn draw_of(id: &Id) -> u64 {
    let hash = id
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
    Entropy::new(u128::from(hash)).next_u64()
}

/// The group for one more environment: of its zone if there is one, the one with the
/// fewest environments, the first by id.
fn choose(state: &State, groups: &[Id], zone: Option<&str>) -> Option<Id> {
    let is_near = |group: &&Id| {
        let zone_of_group = zone_of(state, group);
        zone_of_group.is_some() && zone_of_group == zone
    };
    let mut near: Vec<&Id> = groups.iter().filter(is_near).collect();
    if near.is_empty() {
        near = groups.iter().collect();
    }
    if let [only] = near.as_slice() {
        return Some((*only).clone());
    }
    let load = |group: &&Id| {
        let key = Key::of::<EniGroup>(group.as_str());
        let referrers = state.referrers_of(&key);
        let environments = referrers.filter(|key| key.kind == Kind::Environment);
        (environments.count(), (*group).clone())
    };
    near.into_iter().min_by_key(load).cloned()
}

fn zone_of<'s>(state: &'s State, group: &Id) -> Option<&'s str> {
    let group = state.get::<EniGroup>(group.as_str())?;
    let subnet = state.get::<Subnet>(group.subnet_id.as_str())?;
    Some(&subnet.availability_zone)
}

/// The environments that run a version.
pub fn of(state: &State, function: &Function) -> Vec<Environment> {
    let key = Key::of::<Function>(function.id());
    state.referring(&key).cloned().collect()
}

/// The environments of a version go over to its new groups, each in its zone if it can.
/// A version that left its VPC has none.
pub fn follow(transaction: &mut Transaction<'_>, function: &Function) {
    for mut environment in of(transaction, function) {
        if function.eni_groups.contains(&environment.eni_group) {
            continue;
        }
        let zone = zone_of(transaction, &environment.eni_group);
        match choose(transaction, &function.eni_groups, zone) {
            Some(group) => {
                environment.eni_group = group;
                transaction.put(environment);
            }
            None => transaction.remove(Key::of::<Environment>(environment.id())),
        }
    }
}

/// An environment ends; with the last one its version is in use no more.
pub fn detach(
    transaction: &mut Transaction<'_>,
    id: &Id,
    context: &Context,
) -> Result<(), ApiError> {
    let account: Account = context.caller.account;
    let environment = transaction.get::<Environment>(id.as_str());
    let environment = environment.filter(|one| one.owner_id == account);
    let Some(environment) = environment else {
        let message = format!("Environment not found: {id}");
        return Err(errors::missing(message));
    };
    let function = environment.function.clone();
    transaction.remove(Key::of::<Environment>(id.as_str()));
    let key = Key::of::<Function>(function.as_str());
    if transaction.referring::<Environment>(&key).next().is_none() {
        version::used(transaction, &function, context.now);
    }
    Ok(())
}
