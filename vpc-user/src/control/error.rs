//! Errors as AWS's APIs give them.

use std::borrow::Cow;

/// The code of an error: `InvalidVpcID.NotFound` of EC2, `ResourceConflictException` of
/// Lambda.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorCode(Cow<'static, str>);

impl ErrorCode {
    /// A code that is known when this is compiled.
    pub const fn of(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A command is refused, and nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub struct ApiError {
    /// AWS's code.
    pub code: ErrorCode,
    /// AWS's sentence, or one in its manner.
    pub message: String,
    /// The HTTP status that an API would answer with.
    pub status: u16,
}

impl ApiError {
    /// With HTTP status 400.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self::with_status(400, code, message)
    }

    /// With another status.
    pub fn with_status(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::of(code),
            message: message.into(),
            status,
        }
    }

    /// `InvalidParameterValue` of EC2.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterValue", message)
    }

    /// `MissingParameter` of EC2.
    pub fn missing(parameter: &str) -> Self {
        let message = format!("The request must contain the parameter {parameter}");
        Self::new("MissingParameter", message)
    }

    /// `DependencyViolation` of EC2: `object` is still used by `user`.
    pub fn dependency(object: &str, user: &str) -> Self {
        let message = format!("{object} has a dependent object ({user}) and cannot be deleted");
        Self::new("DependencyViolation", message)
    }
}
