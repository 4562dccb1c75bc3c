//! Errors as a runtime reads them
//! (<https://www.cni.dev/docs/spec/#error>).

use serde_json::{Value, json};

use super::Version;

/// What kind of error it is. Below 100 the numbers are the specification's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Code {
    /// A version of the specification that the plugin does not speak.
    IncompatibleVersion = 1,
    /// A member of the network configuration that the plugin does not know.
    UnsupportedField = 2,
    /// An environment variable that is missing or wrong.
    Variables = 4,
    /// Reading or writing.
    Io = 5,
    /// What is not JSON, or not of the form it has to be.
    Decode = 6,
    /// A network configuration that cannot be.
    Configuration = 7,
    /// Will do by itself, later.
    TryAgainLater = 11,
    /// The agent does not answer.
    NotAvailable = 50,
    /// The agent refused.
    Refused = 100,
    /// The kernel refused a link, an address or a route.
    Link = 101,
    /// CHECK: something is not there any more.
    Missing = 102,
    /// DEL or GC: something is still there.
    Left = 103,
}

/// Why it was not done: one sentence that names the object, the cause and the remedy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct CniError {
    /// Its kind.
    pub code: Code,
    /// The sentence.
    pub message: String,
    /// What a program may want to know besides, such as AWS's code.
    pub details: Option<String>,
}

impl CniError {
    /// Without details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: None,
        }
    }

    /// As it is printed.
    pub fn document(&self, version: Version) -> Value {
        let mut document = json!({
            "cniVersion": version.as_str(),
            "code": self.code as u32,
            "msg": self.message,
        });
        if let Some(details) = &self.details {
            document["details"] = json!(details);
        }
        document
    }
}
