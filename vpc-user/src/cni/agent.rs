//! What is asked of the agent.

use std::path::Path;

use super::{Attachment, CniError, Code};
use crate::{
    api::{CallError, call_blocking},
    model::{Denial, EnvironmentInfo, FunctionAttachRequest, Request, Response},
};

/// Attaches an environment.
pub(super) fn attach(socket: &Path, request: FunctionAttachRequest) -> Result<(), CniError> {
    match ask(socket, &Request::AttachFunction(request))? {
        Response::Environment(_) => Ok(()),
        refusal => Err(refused(Code::Refused, refusal)),
    }
}

/// Detaches an environment, or sees that it is detached. Without an agent it stays for
/// now: the next agent finds its link gone, and detaches it.
pub(super) fn detach(socket: &Path, attachment: &Attachment) -> Result<(), CniError> {
    let name = attachment.environment.clone();
    let refusal = match call_blocking(socket, &Request::Detach { name }) {
        Ok(Response::Environment(_)) | Err(CallError::NotRunning { .. }) => return Ok(()),
        Ok(refusal) => refusal,
        Err(error) => return Err(unavailable(&error)),
    };
    let name = attachment.environment.as_str();
    match environments(socket)?.iter().any(|one| one.name == name) {
        true => Err(refused(Code::Left, refusal)),
        false => Ok(()),
    }
}

/// What is attached.
pub(super) fn environments(socket: &Path) -> Result<Vec<EnvironmentInfo>, CniError> {
    match ask(socket, &Request::Environments)? {
        Response::Environments(environments) => Ok(environments),
        refusal => Err(refused(Code::NotAvailable, refusal)),
    }
}

/// Whether the agent is there.
pub(super) fn status(socket: &Path) -> Result<(), CniError> {
    match ask(socket, &Request::Status)? {
        Response::Status(_) => Ok(()),
        refusal => Err(refused(Code::NotAvailable, refusal)),
    }
}

fn ask(socket: &Path, request: &Request) -> Result<Response, CniError> {
    call_blocking(socket, request).map_err(|error| unavailable(&error))
}

fn unavailable(error: &CallError) -> CniError {
    CniError::new(Code::NotAvailable, error.to_string())
}

/// A refusal in the agent's own words.
fn refused(code: Code, response: Response) -> CniError {
    match response {
        Response::Denied(denial) => CniError {
            code: if will_do_later(&denial) {
                Code::TryAgainLater
            } else {
                code
            },
            message: denial.message,
            details: Some(denial.code),
        },
        Response::Error { message } => CniError::new(code, message),
        _ => CniError::new(
            code,
            "the agent answered something else: use the `vpc-cni` of its version",
        ),
    }
}

/// Whether a function is on its way to where it can be attached: it is created, or was
/// inactive and is restored now.
fn will_do_later(denial: &Denial) -> bool {
    match denial.code.as_str() {
        "ResourceNotReadyException" => true,
        "ResourceConflictException" => denial.message.ends_with("following state: Pending"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ApiError;

    #[test]
    fn a_function_on_its_way_is_to_be_tried_again_and_others_are_not() {
        let state = |state| {
            format!(
                "The operation cannot be performed at this time. The function is currently in \
                 the following state: {state}"
            )
        };
        let conflict = |message| ApiError::with_status(409, "ResourceConflictException", message);
        let cases = [
            (conflict(state("Pending")), Code::TryAgainLater),
            (conflict(state("Failed")), Code::Refused),
            (
                conflict("The environment a is attached already.".to_owned()),
                Code::Refused,
            ),
            (
                ApiError::with_status(502, "ResourceNotReadyException", "The function is inactive"),
                Code::TryAgainLater,
            ),
            (
                ApiError::with_status(404, "ResourceNotFoundException", "Function not found: f"),
                Code::Refused,
            ),
        ];
        for (error, code) in cases {
            let refusal = refused(Code::Refused, Response::Denied(Denial::from(&error)));
            assert_eq!(refusal.code, code, "{error}");
            assert_eq!(refusal.message, error.message);
            assert_eq!(refusal.details.as_deref(), Some(error.code.as_str()));
        }
    }
}
