//! The declarative file: what has to be asked for resources to be as it says. Each step
//! is an action that anybody could have sent, carried out in one transaction: all of the
//! file comes into force, or nothing of it.
//!
//! Resources are told apart by their names: the tag `Name`, or what a kind has instead.

mod edge;
mod functions;
mod network;
mod prune;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Account, ApiError, Command, Context, Kind, Record, Transaction, command, record::Typed,
    record_name, resource::NatGatewayState,
};
use crate::{
    config::RawConfig,
    model::{ApplyStep, Config},
};

/// What is wanted.
pub struct Wish<'f> {
    /// The file. What is the agent's own in it has no meaning here.
    pub file: &'f RawConfig,
    /// The agent's configuration, whose uplinks the file's VPCs are reachable by.
    pub host: &'f Config,
    /// Whether what the file does not have is to go.
    pub prune: bool,
}

/// Makes resources as they are wanted; what was done, in order.
pub fn apply(
    transaction: &mut Transaction<'_>,
    wish: &Wish<'_>,
    context: &mut Context,
) -> Result<Vec<ApplyStep>, ApiError> {
    let network = network::wanted(wish)?;
    let names = transaction
        .records()
        .filter(|record| record.account() == context.caller.account && !is_over(record));
    let names = names.filter_map(|record| {
        let key = record.key();
        Some(((key.kind, record_name(record)?), key.id))
    });
    let mut work = Work {
        ids: names.collect(),
        transaction,
        context,
        steps: Vec::new(),
    };
    work.network(wish.file, &network)?;
    work.roles(&wish.file.roles)?;
    work.functions(&wish.file.functions)?;
    if wish.prune {
        work.prune(wish, &network)?;
    }
    Ok(work.steps)
}

/// Whether something is only shown for a while yet: its name is free.
fn is_over(record: &Record) -> bool {
    match record {
        Record::NatGateway(gateway) => matches!(
            gateway.state,
            NatGatewayState::Deleting | NatGatewayState::Deleted | NatGatewayState::Failed
        ),
        Record::Endpoint(endpoint) => matches!(endpoint.state.as_str(), "deleting" | "deleted"),
        _ => false,
    }
}

const EC2: &str = "ec2";

/// Actions being carried out.
struct Work<'t, 's, 'c> {
    transaction: &'t mut Transaction<'s>,
    context: &'c mut Context,
    /// Ids by kind and name.
    ids: BTreeMap<(Kind, String), String>,
    steps: Vec<ApplyStep>,
}

impl Work<'_, '_, '_> {
    const fn account(&self) -> Account {
        self.context.caller.account
    }

    /// The id of what has a name.
    fn id(&self, kind: Kind, name: &str) -> Option<&str> {
        self.ids.get(&(kind, name.to_owned())).map(String::as_str)
    }

    /// The same of what has to be there by now.
    fn known(&self, kind: Kind, name: &str) -> Result<String, ApiError> {
        self.id(kind, name).map(str::to_owned).ok_or_else(|| {
            let kind = kind.word();
            ApiError::invalid(format!("there is no {kind} {name}: declare it in the file"))
        })
    }

    /// Carries an action out. `object` is named by its refusal.
    fn send(
        &mut self,
        object: &str,
        (service, action): (&str, &str),
        members: Value,
    ) -> Result<Value, ApiError> {
        let of = |error: ApiError| ApiError {
            message: format!("{object}: {}", error.message),
            ..error
        };
        let mut request = members;
        request["Service"] = json!(service);
        request["Action"] = json!(action);
        let command: Command = serde_json::from_value(request).map_err(|error| {
            ApiError::invalid(format!("{object}: {action} is not understood ({error})"))
        })?;
        let answer = command::decide(self.transaction, &command, self.context).map_err(of)?;
        let answer = answer.map_err(of)?;
        // What is refused of one among several is said in the answer.
        match answer.pointer("/Unsuccessful/0/Error/Message") {
            Some(message) => {
                let message = message.as_str().unwrap_or_default();
                Err(ApiError::invalid(format!("{object}: {message}")))
            }
            None => Ok(answer),
        }
    }

    /// What has a name, as it is.
    fn get<T: Typed>(&self, name: &str) -> Option<T> {
        let id = self.id(T::KIND, name)?;
        self.transaction.get::<T>(id).cloned()
    }

    /// Makes something in EC2 that has its name as a tag; its id, which is in the answer
    /// at a path.
    fn make(
        &mut self,
        kind: Kind,
        name: &str,
        action: &str,
        mut members: Value,
        path: &str,
    ) -> Result<String, ApiError> {
        members["TagSpecifications"] = json!([{
            "ResourceType": tagged_as(kind),
            "Tags": [{ "Key": "Name", "Value": name }],
        }]);
        let answer = self.send(&object(kind, name), (EC2, action), members)?;
        let id = text(&answer, path)?;
        self.created(kind, name, &id);
        Ok(id)
    }

    /// Notes that something was made, and how it is called.
    fn created(&mut self, kind: Kind, name: &str, id: &str) {
        self.ids.insert((kind, name.to_owned()), id.to_owned());
        self.step("create", kind, name, None);
    }

    fn changed(&mut self, kind: Kind, name: &str, detail: impl Into<String>) {
        self.step("change", kind, name, Some(detail.into()));
    }

    fn step(&mut self, verb: &str, kind: Kind, name: &str, detail: Option<String>) {
        self.steps.push(ApplyStep {
            verb: verb.to_owned(),
            object: object(kind, name),
            id: self.id(kind, name).map(str::to_owned),
            detail,
        });
    }
}

/// What is called by a name, in words.
fn object(kind: Kind, name: &str) -> String {
    format!("{} {name}", kind.word())
}

/// What a kind is called where tags are given to it.
const fn tagged_as(kind: Kind) -> &'static str {
    match kind {
        Kind::Interface => "network-interface",
        Kind::Peering => "vpc-peering-connection",
        Kind::Address => "elastic-ip",
        Kind::NatGateway => "natgateway",
        Kind::Endpoint => "vpc-endpoint",
        Kind::FlowLog => "vpc-flow-log",
        other => other.word(),
    }
}

/// A member of an answer, deep down, that is a text.
fn text(answer: &Value, path: &str) -> Result<String, ApiError> {
    let found = answer.pointer(path).and_then(Value::as_str);
    found.map(str::to_owned).ok_or_else(|| {
        ApiError::with_status(500, "InternalError", format!("an answer has no {path}"))
    })
}
