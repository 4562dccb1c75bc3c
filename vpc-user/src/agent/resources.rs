//! What is asked of the control plane.

use super::{
    Owner,
    control::{ControlError, ControlPlane},
};
use crate::{
    control::{
        self, Account, Key, Kind, Record, State, declare, life,
        resource::{EniPhase, Interface, InterfaceStatus},
        store,
    },
    dataplane::Dataplane,
    model::{ApplyStep, Denial, EniUse, GetRequest, Request, ResourceInfo, Response},
};

impl Owner {
    /// The answer, if it is for the control plane and there is one.
    pub(super) fn respond_of_resources(&mut self, request: &Request) -> Option<Response> {
        let control = self.control.as_mut()?;
        let dataplane = &mut self.dataplane;
        let answer = match request {
            Request::AttachFunction(request) => control
                .attach(dataplane, request)
                .map(Response::Environment),
            Request::Detach { name } => control.detach(dataplane, name).map(Response::Environment),
            Request::Control { account, action } => control
                .carry_out(dataplane, action, *account)
                .map(Response::Answer),
            Request::Apply {
                account,
                file,
                prune,
                dry_run,
            } => {
                let wish = declare::Wish {
                    file,
                    host: &self.config,
                    prune: *prune,
                };
                apply(control, dataplane, *account, &wish, *dry_run).map(Response::Planned)
            }
            Request::Get(request) => get(control.state(), request).map(Response::Resources),
            Request::EniFind { eni } => {
                eni_use(control, dataplane, eni).map(|found| Response::EniUse(Box::new(found)))
            }
            Request::Plan => Ok(plan(control, dataplane)),
            Request::ExportState => store::export(control.state(), control.revision())
                .map(Response::State)
                .map_err(ControlError::from),
            Request::Attach(_) => {
                return Some(Response::Error {
                    message: "this agent knows groups by functions alone: attach with --function"
                        .to_owned(),
                });
            }
            _ => return None,
        };
        Some(answer.unwrap_or_else(|error| refusal(&error)))
    }
}

fn refusal(error: &ControlError) -> Response {
    match error {
        ControlError::Refused(error) => Response::Denied(Denial::from(error)),
        error => Response::Error {
            message: error.to_string(),
        },
    }
}

/// All that a file says, or nothing of it.
fn apply(
    control: &mut ControlPlane,
    dataplane: &mut Dataplane,
    account: Account,
    wish: &declare::Wish<'_>,
    dry_run: bool,
) -> Result<Vec<ApplyStep>, ControlError> {
    if dry_run {
        return control.rehearse(account, |transaction, context| {
            Ok(declare::apply(transaction, wish, context)?)
        });
    }
    control.carry_out_all(dataplane, account, |transaction, context| {
        Ok(declare::apply(transaction, wish, context)?)
    })
}

/// The resources that were asked for, by kind and id.
fn get(state: &State, request: &GetRequest) -> Result<Vec<ResourceInfo>, ControlError> {
    let kind = request.kind.as_deref().map(|word| {
        Kind::from_word(word).ok_or_else(|| {
            let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.word()).collect();
            let known = known.join(", ");
            control::ApiError::invalid(format!("{word:?} is no kind: choose one of {known}"))
        })
    });
    let kind = kind.transpose()?;
    let is_asked_for = |record: &&Record| {
        let key = record.key();
        let name = control::record_name(record);
        kind.is_none_or(|kind| key.kind == kind)
            && request
                .account
                .is_none_or(|account| record.account() == account)
            && request
                .id
                .as_ref()
                .is_none_or(|id| key.id == *id || name.as_ref() == Some(id))
    };
    let records = state.records().filter(is_asked_for);
    Ok(records.map(|record| info(state, record)).collect())
}

fn info(state: &State, record: &Record) -> ResourceInfo {
    let key = record.key();
    let resource = control::shown(state, record);
    let of = |member: &str| Some(resource.get(member)?.as_str()?.to_owned());
    ResourceInfo {
        kind: key.kind.word().to_owned(),
        name: control::record_name(record),
        account: record.account(),
        state: of("State").or_else(|| of("Status")),
        used_by: state.referrers_of(&key).map(Key::to_string).collect(),
        id: key.id,
        resource,
    }
}

/// Who uses an ENI, by its id or address.
fn eni_use(
    control: &ControlPlane,
    dataplane: &Dataplane,
    named: &str,
) -> Result<EniUse, ControlError> {
    let state = control.state();
    let mut enis = state.all::<Interface>();
    let eni = enis.find(|eni| {
        let is_named = eni.network_interface_id.as_str() == named;
        eni.hyperplane.is_some() && (is_named || eni.private_ip_address.to_string() == named)
    });
    let unknown = || {
        let message = format!("The networkInterface ID '{named}' does not exist");
        control::ApiError::new("InvalidNetworkInterfaceID.NotFound", message)
    };
    let eni = eni.ok_or_else(unknown)?;
    let id = eni.network_interface_id.as_str();
    let usage = life::used_by(state, id).ok_or_else(unknown)?;
    let load = dataplane.eni_loads().find(|load| load.name == id);
    let connections = load.map_or(0, |load| load.connections);
    Ok(EniUse {
        id: id.to_owned(),
        address: eni.private_ip_address,
        subnet: eni.subnet_id.to_string(),
        security_groups: eni.groups.iter().map(ToString::to_string).collect(),
        state: eni_state(eni).to_owned(),
        connections,
        flows: dataplane.flows_on(id),
        usage: life::Usage {
            waits_for: usage
                .waits_for
                .clone()
                .or_else(|| waits_for(eni, connections)),
            ..usage
        },
    })
}

/// What an ENI that is to go waits for.
fn waits_for(eni: &Interface, connections: u64) -> Option<String> {
    let is_draining = eni.phase() == Some(EniPhase::Draining);
    is_draining.then(|| format!("{connections} open connections to end"))
}

fn eni_state(eni: &Interface) -> &'static str {
    match (eni.phase(), eni.status) {
        (Some(EniPhase::Programming), _) => "programming",
        (Some(EniPhase::Draining), _) => "draining",
        (Some(EniPhase::Released), _) | (_, InterfaceStatus::Available) => "available",
        _ => "in-use",
    }
}

fn plan(control: &ControlPlane, dataplane: &mut Dataplane) -> Response {
    let plan = dataplane.plan(control.config());
    Response::Plan {
        steps: plan.steps.iter().map(ToString::to_string).collect(),
        problems: plan.problems.iter().map(ToString::to_string).collect(),
    }
}
