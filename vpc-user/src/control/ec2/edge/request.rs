//! What requests have in common: tags, tokens, and how they are answered.

use serde::Serialize;
use serde_json::{Map, Value, json};

pub use crate::control::ec2::tags::{shown as tag_list, specified as tags};
use crate::control::{
    Account, ApiError, State,
    record::Typed,
    resource::{ClientToken, Endpoint, FlowLog, Interface, NatGateway},
};

/// The token of a request, with the request.
pub fn client_token(
    token: Option<&str>,
    request: &impl Serialize,
) -> Result<Option<ClientToken>, ApiError> {
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return Ok(None);
    };
    if token.len() > 64 || !token.is_ascii() {
        let message = "ClientToken must be at most 64 ASCII characters.";
        return Err(ApiError::invalid(message));
    }
    let request = serde_json::to_value(request)
        .map_err(|error| ApiError::invalid(format!("the request cannot be kept: {error}")))?;
    Ok(Some(ClientToken {
        token: token.to_owned(),
        request,
    }))
}

/// What is made once by a request that may be sent twice.
pub trait MadeOnce: Typed {
    /// The token of the request.
    fn client_token(&self) -> Option<&ClientToken>;
}

macro_rules! made_once {
    ($($kind:ident,)+) => {
        $(impl MadeOnce for $kind {
            fn client_token(&self) -> Option<&ClientToken> {
                self.client_token.as_ref()
            }
        })+
    };
}

made_once!(Endpoint, FlowLog, Interface, NatGateway,);

/// What the same request has made before; an error if the token stood for another one.
pub fn made_before<T: MadeOnce>(
    state: &State,
    account: Account,
    token: Option<&ClientToken>,
) -> Result<Vec<T>, ApiError> {
    let Some(token) = token else {
        return Ok(Vec::new());
    };
    let mut made = Vec::new();
    for one in state.of_account::<T>(account) {
        match one.client_token() {
            Some(earlier) if earlier == token => made.push(one.clone()),
            Some(earlier) if earlier.token == token.token => {
                let message = "The client token is already used with different parameters.";
                return Err(ApiError::new("IdempotentParameterMismatch", message));
            }
            _ => {}
        }
    }
    Ok(made)
}

/// An object without the members that are not there.
pub fn present(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(members.collect::<Map<_, _>>())
        }
        other => other,
    }
}

/// The reply of an action that has nothing to say.
pub fn done() -> Value {
    json!({})
}

/// A parameter that EC2 calls `InvalidParameter`.
pub fn invalid_parameter(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameter", message)
}

/// Something may not be done with a resource as it is.
pub fn incorrect_state(message: impl Into<String>) -> ApiError {
    ApiError::new("IncorrectState", message)
}

/// A service's resource is not its owner's to change.
pub fn not_permitted(message: impl Into<String>) -> ApiError {
    ApiError::new("OperationNotPermitted", message)
}

/// An element of the `Unsuccessful` list of a reply.
pub fn unsuccessful(id: &str, error: &ApiError) -> Value {
    json!({
        "ResourceId": id,
        "Error": { "Code": error.code.as_str(), "Message": error.message },
    })
}
