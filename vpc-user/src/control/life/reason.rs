//! Why a function is in its state, or its last update went as it did.

use crate::control::ApiError;

/// What goes into `StateReasonCode` and `StateReason`, or into those of the last update.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    pub code: String,
    pub sentence: String,
}

macro_rules! failures {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $exception:literal, $sentence:literal;)+) => {
        impl Reason {
            $($(#[$doc])* pub fn $name() -> Self { Self::new($code, $sentence) })+

            /// The exception that an invocation gets for it.
            fn exception(&self) -> &'static str {
                match self.code.as_str() {
                    $($code => $exception,)+
                    _ => "EC2UnexpectedException",
                }
            }
        }
    };
}

failures! {
    /// The VPC has as many Hyperplane ENIs as it may.
    eni_limit = "EniLimitExceeded", "ENILimitReachedException",
        "You have exceeded the maximum limit for HyperPlane ENIs for your account";
    /// A subnet has no free address.
    no_address = "SubnetOutOfIPAddresses", "SubnetIPAddressLimitReachedException",
        "Lambda was not able to set up VPC access because a configured subnet has no available \
         IP addresses.";
    /// A subnet is gone.
    no_subnet = "InvalidSubnet", "InvalidSubnetIDException",
        "Lambda was not able to set up VPC access because a configured subnet does not exist.";
    /// A security group is gone.
    no_security_group = "InvalidSecurityGroup", "InvalidSecurityGroupIDException",
        "Lambda was not able to set up VPC access because a configured security group does not \
         exist.";
    /// The role is gone, or does not allow it.
    no_permission = "InsufficientRolePermissions", "EC2AccessDeniedException",
        "The function's execution role doesn't have permission to perform this operation.";
}

impl Reason {
    /// The code of a failure that says nothing against what was asked for: a function
    /// that failed so may be updated, which tries again.
    pub const INTERNAL: &'static str = "InternalError";

    pub fn new(code: &str, sentence: &str) -> Self {
        Self {
            code: code.to_owned(),
            sentence: sentence.to_owned(),
        }
    }

    /// It took too long, and somebody wanted to go on.
    pub fn cancelled() -> Self {
        Self::new(Self::INTERNAL, "The pending operation was cancelled.")
    }

    /// What an invocation that needed the ENIs is answered with.
    pub fn refusal(&self) -> ApiError {
        ApiError::with_status(502, self.exception(), self.sentence.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_aws_is_known_to_say_is_said_word_by_word() {
        for (reason, sentence) in [
            (
                Reason::no_permission(),
                "The function's execution role doesn't have permission to perform this operation.",
            ),
            (
                Reason::eni_limit(),
                "You have exceeded the maximum limit for HyperPlane ENIs for your account",
            ),
        ] {
            assert_eq!(reason.sentence, sentence);
            assert_eq!(reason.refusal().message, sentence);
        }
    }
}
