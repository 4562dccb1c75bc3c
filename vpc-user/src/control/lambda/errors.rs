//! Lambda's exceptions, with its codes, HTTP statuses and sentences.

use crate::control::{
    ApiError,
    resource::{Function, FunctionState},
};

/// A parameter says what cannot be.
pub fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterValueException", message)
}

/// A member of a request does not have the form that the API's model demands.
pub fn validation(value: &str, member: &str, constraint: &str) -> ApiError {
    let message = format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy \
         constraint: {constraint}"
    );
    ApiError::new("ValidationException", message)
}

/// Something is not there.
pub fn missing(message: impl Into<String>) -> ApiError {
    ApiError::with_status(404, "ResourceNotFoundException", message)
}

/// A function or version is not there.
pub fn no_function(arn: &str) -> ApiError {
    missing(format!("Function not found: {arn}"))
}

/// Another resource, or the state of this one, is in the way.
pub fn conflict(message: impl Into<String>) -> ApiError {
    ApiError::with_status(409, "ResourceConflictException", message)
}

/// The caller may not.
pub fn access_denied(message: impl Into<String>) -> ApiError {
    ApiError::with_status(403, "AccessDeniedException", message)
}

/// Somebody else has changed it in the meantime.
pub fn precondition_failed() -> ApiError {
    let message = "The Revision Id provided does not match the latest Revision Id. Call the \
                   GetFunction/GetAlias API to retrieve the latest Revision Id";
    ApiError::with_status(412, "PreconditionFailedException", message)
}

/// What stands in the sentences.
fn state_of(function: &Function) -> &'static str {
    match function.state {
        FunctionState::Pending => "Pending",
        FunctionState::Active => "Active",
        FunctionState::Inactive => "Inactive",
        FunctionState::Failed => "Failed",
    }
}

/// It cannot be changed in its state.
pub fn in_state(function: &Function) -> ApiError {
    let arn = function.unqualified_arn();
    let state = state_of(function);
    let code = function.state_reason_code.as_deref().unwrap_or_default();
    conflict(format!(
        "The operation cannot be performed at this time. The resource {arn} is currently in \
         the following state: '{state}'. StateReasonCode: '{code}'"
    ))
}

/// It cannot be changed until its last update is in force.
pub fn update_in_progress(function: &Function) -> ApiError {
    let arn = function.unqualified_arn();
    conflict(format!(
        "The operation cannot be performed at this time. An update is in progress for \
         resource: {arn}"
    ))
}

/// It cannot be invoked in its state.
pub fn not_invocable(function: &Function) -> ApiError {
    let state = state_of(function);
    conflict(format!(
        "The operation cannot be performed at this time. The function is currently in the \
         following state: {state}"
    ))
}

/// It cannot be invoked until it is restored.
pub fn not_ready() -> ApiError {
    let message = "The function is inactive and its VPC connection is no longer available. \
                   Wait for the VPC connection to reestablish and try again.";
    ApiError::with_status(502, "ResourceNotReadyException", message)
}
