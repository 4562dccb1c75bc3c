//! Versions of the specification.

use serde_json::{Value, json};

use super::{CniError, Code};

/// A version that the plugin speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    /// 0.4.0: addresses tell whether they are IPv4.
    V0_4_0,
    /// 1.0.0.
    V1_0_0,
    /// 1.1.0: GC and STATUS, and the MTU in results.
    V1_1_0,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];
    /// The one that is spoken where none is asked for.
    pub const LATEST: Self = Self::V1_1_0;

    /// As documents have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// That of a network configuration. One that names none is of 0.1.0.
    pub fn of(document: &Value) -> Result<Self, CniError> {
        let given = match document.get("cniVersion") {
            None | Some(Value::Null) => "0.1.0",
            Some(Value::String(given)) => given,
            Some(other) => {
                let message = format!("cniVersion is {other}: write a text such as \"1.0.0\"");
                return Err(CniError::new(Code::Decode, message));
            }
        };
        let known = Self::ALL.into_iter().find(|one| one.as_str() == given);
        known.ok_or_else(|| {
            let message = format!(
                "the network configuration is of CNI version {given:?}, and this plugin speaks \
                 0.4.0, 1.0.0 and 1.1.0: set \"cniVersion\" to one of them"
            );
            CniError::new(Code::IncompatibleVersion, message)
        })
    }
}

/// The answer to VERSION, in the version that was asked in.
pub(super) fn supported(document: &Value) -> Value {
    let asked = document.get("cniVersion").and_then(Value::as_str);
    json!({
        "cniVersion": asked.unwrap_or(Version::LATEST.as_str()),
        "supportedVersions": Version::ALL.map(Version::as_str),
    })
}
