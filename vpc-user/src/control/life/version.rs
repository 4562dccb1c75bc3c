//! Versions of functions: created, updated, restored, idle, removed.

use super::{Reason, environments, groups};
use crate::control::{
    ApiError, Context, Id, Key, Resource, Settings, State, Time, Transaction, lambda::errors,
    resource::*,
};

/// `StateReasonCode` of a version that is made for the first time.
const CREATING: &str = "Creating";
/// That of one that was inactive.
const RESTORING: &str = "Restoring";
/// That of an inactive one.
const IDLE: &str = "Idle";

/// Why a version is in its state.
fn set_state(function: &mut Function, state: FunctionState, reason: Option<Reason>) {
    let (code, sentence) = reason.map(|reason| (reason.code, reason.sentence)).unzip();
    function.state = state;
    function.state_reason_code = code;
    function.state_reason = sentence;
}

/// How its last update went.
fn set_update(function: &mut Function, status: UpdateStatus, reason: Option<Reason>) {
    let (code, sentence) = reason.map(|reason| (reason.code, reason.sentence)).unzip();
    function.last_update_status = Some(status);
    function.last_update_status_reason_code = code;
    function.last_update_status_reason = sentence;
}

/// AWS says the same of an update.
fn being_created() -> Reason {
    Reason::new(CREATING, "The function is being created.")
}

/// Makes a version ready for the first time, or again after it failed. Returns it as it is
/// shown at this moment, `Pending`; it may be `Active` or `Failed` already.
pub fn create(
    transaction: &mut Transaction<'_>,
    mut function: Function,
    context: &mut Context,
) -> Function {
    set_state(&mut function, FunctionState::Pending, Some(being_created()));
    function.revision_id = context.entropy.uuid();
    make_ready(transaction, function.clone(), context);
    function
}

/// Changes a version to what it is to be. Until that is in force, and if it fails, what
/// was before goes on. Returns it as it is shown at this moment, `InProgress`.
pub fn update(
    transaction: &mut Transaction<'_>,
    before: &Function,
    mut after: Function,
    context: &mut Context,
) -> Function {
    if before.state == FunctionState::Failed {
        return create(transaction, after, context);
    }
    after.revision_id = context.entropy.uuid();
    set_update(&mut after, UpdateStatus::InProgress, Some(being_created()));
    let shown = after.clone();
    if before.state == FunctionState::Inactive && after.attachment().is_some() {
        // It holds no ENI: the next invocation restores it as it is to be by then.
        set_update(&mut after, UpdateStatus::Successful, None);
        after.revision_id = context.entropy.uuid();
        transaction.put(after);
        return shown;
    }
    after.previous = Some(Box::new(Previous {
        role: before.role.clone(),
        vpc_config: before.vpc_config.clone(),
        settings: before.settings.clone(),
    }));
    make_ready(transaction, after, context);
    shown
}

/// Reserves the groups that a version needs, and goes over to them if they are ready.
/// Returns why they cannot be had, if so.
fn make_ready(
    transaction: &mut Transaction<'_>,
    mut function: Function,
    context: &mut Context,
) -> Option<Reason> {
    let id = function.id();
    match groups::reserve(transaction, &function, context) {
        Ok(groups) => {
            function.next_eni_groups = Some(groups);
            function.waiting_since = Some(context.now);
            transaction.put(function);
            settle(transaction, &id, context);
            None
        }
        Err(failure) => {
            transaction.put(function);
            fail(transaction, &id, &failure, context);
            Some(failure)
        }
    }
}

/// A version goes over to the groups it waits for, if all of them are ready.
pub fn settle(transaction: &mut Transaction<'_>, id: &str, context: &mut Context) {
    let Some(mut function) = transaction.get::<Function>(id).cloned() else {
        return;
    };
    let waits_for = function.next_eni_groups.take_if(|groups| {
        let mut groups = groups.iter();
        groups.all(|group| groups::is_ready(transaction, group))
    });
    let Some(groups) = waits_for else {
        return;
    };
    if function.state != FunctionState::Active {
        set_state(&mut function, FunctionState::Active, None);
        function.last_used = context.now;
    }
    set_update(&mut function, UpdateStatus::Successful, None);
    function.waiting_since = None;
    function.previous = None;
    function.revision_id = context.entropy.uuid();
    let old = std::mem::replace(&mut function.eni_groups, groups);
    transaction.put(function.clone());
    environments::follow(transaction, &function);
    groups::release(transaction, &old, context);
}

/// A version does not get the groups it waits for. A creation has failed; a restoration
/// leaves it inactive; an update leaves in force what was before.
pub fn fail(transaction: &mut Transaction<'_>, id: &str, failure: &Reason, context: &mut Context) {
    let Some(mut function) = transaction.get::<Function>(id).cloned() else {
        return;
    };
    let given_up = function.next_eni_groups.take().unwrap_or_default();
    function.waiting_since = None;
    function.revision_id = context.entropy.uuid();
    let reason = Some(failure.clone());
    if let Some(previous) = function.previous.take() {
        function.role = previous.role;
        function.vpc_config = previous.vpc_config;
        function.settings = previous.settings;
        set_update(&mut function, UpdateStatus::Failed, reason);
    } else if is_restoring(&function) {
        set_state(&mut function, FunctionState::Inactive, reason);
    } else {
        set_state(&mut function, FunctionState::Failed, reason);
    }
    transaction.put(function);
    groups::release(transaction, &given_up, context);
}

fn is_restoring(function: &Function) -> bool {
    function.state_reason_code.as_deref() == Some(RESTORING)
}

/// Why a version cannot be invoked, if so. An inactive one is restored: the next
/// invocation finds it active, once its ENIs are ready.
pub fn refusal(
    transaction: &mut Transaction<'_>,
    function: &Function,
    context: &mut Context,
) -> Option<ApiError> {
    match function.state {
        FunctionState::Active => None,
        FunctionState::Pending | FunctionState::Failed => Some(errors::not_invocable(function)),
        FunctionState::Inactive => {
            let mut function = function.clone();
            let reason = Reason::new(RESTORING, "The function is being restored.");
            set_state(&mut function, FunctionState::Pending, Some(reason));
            function.revision_id = context.entropy.uuid();
            let failure = make_ready(transaction, function, context);
            Some(failure.map_or_else(errors::not_ready, |failure| failure.refusal()))
        }
    }
}

/// Why a version can neither be updated nor published now, if so. One that has waited too
/// long for its creation or restoration gives that up, so that the next attempt succeeds.
pub fn changeable(
    transaction: &mut Transaction<'_>,
    function: &Function,
    context: &mut Context,
) -> Option<ApiError> {
    let reason_code = function.state_reason_code.as_deref();
    match function.state {
        FunctionState::Pending => {
            let waits = function.waiting_since.map(|since| context.now.since(since));
            if waits.is_some_and(|waits| waits > context.settings.stuck_after) {
                fail(transaction, &function.id(), &Reason::cancelled(), context);
            }
            Some(errors::in_state(function))
        }
        FunctionState::Failed if reason_code != Some(Reason::INTERNAL) => {
            Some(errors::in_state(function))
        }
        FunctionState::Failed | FunctionState::Inactive => None,
        FunctionState::Active => {
            let is_busy = function.last_update_status == Some(UpdateStatus::InProgress);
            is_busy.then(|| errors::update_in_progress(function))
        }
    }
}

/// Removes a version with its environments; its groups go, unless somebody else uses them.
pub fn remove(transaction: &mut Transaction<'_>, id: &str, context: &Context) {
    let Some(function) = transaction.get::<Function>(id).cloned() else {
        return;
    };
    for environment in environments::of(transaction, &function) {
        transaction.remove(Key::of::<Environment>(environment.id()));
    }
    transaction.remove(Key::of::<Function>(id));
    groups::release(transaction, &function.eni_groups, context);
    let next = function.next_eni_groups.unwrap_or_default();
    groups::release(transaction, &next, context);
}

/// It was invoked.
pub fn used(transaction: &mut Transaction<'_>, id: &str, now: Time) {
    transaction.update(id, |function: &mut Function| function.last_used = now);
}

/// The versions that could become idle: in a VPC, and without environment or update.
fn unused(state: &State) -> impl Iterator<Item = &Function> {
    state.all::<Function>().filter(|function| {
        let key = Key::of::<Function>(function.id());
        function.state == FunctionState::Active
            && !function.eni_groups.is_empty()
            && function.next_eni_groups.is_none()
            && state.referring::<Environment>(&key).next().is_none()
    })
}

/// When the next version becomes idle, if nothing happens.
pub fn next_idle(state: &State, settings: &Settings) -> Option<Time> {
    let idle_at = |function: &Function| function.last_used.after(settings.idle_after);
    unused(state).map(idle_at).min()
}

/// Versions that nobody invoked for long become inactive, and give their groups back.
pub fn idle(transaction: &mut Transaction<'_>, context: &mut Context) {
    let idle_after = context.settings.idle_after;
    let idle: Vec<Function> = unused(transaction)
        .filter(|function| function.last_used.after(idle_after) <= context.now)
        .cloned()
        .collect();
    for mut function in idle {
        let reason = Reason::new(IDLE, "The function is idle.");
        set_state(&mut function, FunctionState::Inactive, Some(reason));
        function.revision_id = context.entropy.uuid();
        let given_back: Vec<Id> = std::mem::take(&mut function.eni_groups);
        transaction.put(function);
        groups::release(transaction, &given_back, context);
    }
}
