//! The end of endpoints, and what the passing of time does to them.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    super::{
        Act, Answer,
        interface::remove,
        lookup::{absent, own},
        request::unsuccessful,
    },
    state,
};
use crate::control::{
    ApiError, Context, Key, Kind, Settings, State, Time, Transaction, resource::Endpoint,
};

/// Removes endpoints: those that are there, whatever the others.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteVpcEndpoints {
    /// The endpoints.
    pub vpc_endpoint_ids: Vec<String>,
}

impl Act for DeleteVpcEndpoints {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        if self.vpc_endpoint_ids.is_empty() {
            let message = "The request must contain the parameter VpcEndpointId";
            return Err(ApiError::new("MissingParameter", message));
        }
        let mut failed = Vec::new();
        for id in &self.vpc_endpoint_ids {
            if let Err(error) = delete(transaction, context, id) {
                failed.push(unsuccessful(id, &error));
            }
        }
        Ok(json!({ "Unsuccessful": failed }))
    }
}

fn delete(transaction: &mut Transaction<'_>, context: &Context, id: &str) -> Result<(), ApiError> {
    let mut endpoint: Endpoint = own(transaction, context.caller.account, id)?;
    if endpoint.state == state::DELETED {
        return Err(absent(Kind::Endpoint, id));
    }
    state::DELETING.clone_into(&mut endpoint.state);
    endpoint.delete_time = endpoint.delete_time.or(Some(context.now));
    transaction.put(endpoint);
    Ok(())
}

/// What has become of every endpoint by now.
pub fn tick(transaction: &mut Transaction<'_>, context: &Context) {
    let endpoints: Vec<Endpoint> = transaction.all::<Endpoint>().cloned().collect();
    for endpoint in endpoints {
        if next(&endpoint, &context.settings).is_some_and(|due| due <= context.now) {
            advance(transaction, endpoint, context.now);
        }
    }
}

/// When something becomes of an endpoint next.
pub fn next_tick(state: &State, settings: &Settings) -> Option<Time> {
    let endpoints = state.all::<Endpoint>();
    endpoints
        .filter_map(|endpoint| next(endpoint, settings))
        .min()
}

fn next(endpoint: &Endpoint, settings: &Settings) -> Option<Time> {
    match endpoint.state.as_str() {
        state::PENDING | state::DELETING => Some(endpoint.creation_timestamp),
        state::DELETED => Some(endpoint.delete_time?.after(settings.shown_after_end)),
        _ => None,
    }
}

fn advance(transaction: &mut Transaction<'_>, mut endpoint: Endpoint, now: Time) {
    match endpoint.state.as_str() {
        state::PENDING => state::AVAILABLE.clone_into(&mut endpoint.state),
        state::DELETING => {
            state::DELETED.clone_into(&mut endpoint.state);
            endpoint.delete_time = Some(now);
            for id in std::mem::take(&mut endpoint.network_interface_ids) {
                remove(transaction, id.as_str());
            }
        }
        _ => {
            let key = Key::of::<Endpoint>(endpoint.vpc_endpoint_id.as_str());
            transaction.remove(key);
            return;
        }
    }
    transaction.put(endpoint);
}
