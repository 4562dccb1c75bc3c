//! The CNI plugin `vpc-cni`: gives a container an interface whose traffic is that of a
//! function, or a microVM a tap
//! (<https://www.cni.dev/docs/spec/>, versions 0.4.0, 1.0.0 and 1.1.0).
//!
//! A runtime starts it once for each thing to be done: what, and with which container, is
//! in the environment variables, the network configuration on standard input, the result
//! on standard output. It keeps no state: names follow from the network, the container
//! and the interface ([`Attachment`]), and whatever is attached the agent knows.

use std::{
    io::{self, Read as _, Write as _},
    process::ExitCode,
};

use serde_json::{Value, json};

mod agent;
mod attachment;
mod check;
mod config;
mod error;
mod gc;
mod invocation;
mod link;
mod result;
mod tap;
#[cfg(test)]
mod tests;
mod verbs;
mod version;

pub use attachment::{Attachment, Network};
pub use config::{Device, NetworkConfig};
pub use error::{CniError, Code};
pub use invocation::{Invocation, Verb};
pub use version::Version;

/// The longest network configuration, bytes: far above any, with the result of a chain
/// of plugins and the attachments of a full host in it.
const CONFIGURATION_MAX: u64 = 16 << 20;

/// Does what the environment variables and standard input say.
pub fn main() -> ExitCode {
    let (output, code) = match read_input() {
        Ok(input) => answer(&|name| std::env::var(name).ok(), &input),
        Err(error) => (Some(error.document(Version::LATEST)), ExitCode::FAILURE),
    };
    let Some(output) = output else {
        return code;
    };
    match writeln!(io::stdout(), "{output}") {
        Ok(()) => code,
        // The runtime is gone, and nobody is left to tell.
        Err(_) => ExitCode::FAILURE,
    }
}

fn read_input() -> Result<Vec<u8>, CniError> {
    let mut input = Vec::new();
    let mut stdin = io::stdin().take(CONFIGURATION_MAX);
    stdin.read_to_end(&mut input).map_err(|error| {
        CniError::new(
            Code::Io,
            format!("the network configuration cannot be read from standard input: {error}"),
        )
    })?;
    Ok(input)
}

/// What is printed, and the exit code.
fn answer(variable: &dyn Fn(&str) -> Option<String>, input: &[u8]) -> (Option<Value>, ExitCode) {
    let document: Value = match serde_json::from_slice(input) {
        Ok(document) => document,
        // A runtime that asks for the versions may know of none itself.
        Err(_) if input.trim_ascii().is_empty() => json!({}),
        Err(error) => {
            let message = format!("the network configuration is not JSON ({error})");
            let error = CniError::new(Code::Decode, message);
            return (Some(error.document(Version::LATEST)), ExitCode::FAILURE);
        }
    };
    let version = Version::of(&document);
    match perform(variable, document, version.as_ref().copied()) {
        Ok(output) => (output, ExitCode::SUCCESS),
        Err(error) => {
            let version = version.unwrap_or(Version::LATEST);
            (Some(error.document(version)), ExitCode::FAILURE)
        }
    }
}

fn perform(
    variable: &dyn Fn(&str) -> Option<String>,
    document: Value,
    version: Result<Version, &CniError>,
) -> Result<Option<Value>, CniError> {
    let verb = Verb::of(variable)?;
    if verb == Verb::Version {
        return Ok(Some(version::supported(&document)));
    }
    let version = version.map_err(Clone::clone)?;
    verb.known_to(version)?;
    let config = NetworkConfig::parse(document, version)?;
    let invocation = Invocation::of(verb, variable)?;
    match verb {
        Verb::Add => verbs::add(&config, &invocation).map(Some),
        Verb::Del => verbs::del(&config, &invocation).map(|()| None),
        Verb::Check => check::check(&config, &invocation).map(|()| None),
        Verb::Gc => gc::collect(&config).map(|()| None),
        Verb::Status => agent::status(&config.socket).map(|()| None),
        Verb::Version => Ok(None),
    }
}
