//! Requests that may be sent twice.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The `ClientToken` that a resource was made with, and the request that it stood for:
/// the same request again makes nothing new, another one with the same token is refused.
/// <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ClientToken {
    /// The token.
    pub token: String,
    /// Ours: the members of the request.
    pub request: Value,
}
