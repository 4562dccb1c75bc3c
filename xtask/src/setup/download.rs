//! Telling a failed download from every other failure.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{exec, refusal::Refusal};

/// What cargo, rustup, apt-get and pip write when they cannot reach their servers.
const NETWORK_FAILURES: [&str; 13] = [
    "connection refused",
    "connection timed out",
    "could not connect",
    "could not resolve",
    "couldn't connect",
    "couldn't resolve",
    "error sending request",
    "failed to establish a new connection",
    "failed to query replaced source",
    "network failure",
    "network is unreachable",
    "temporary failure resolving",
    "timeout was reached",
];

/// Runs a command that downloads `what`.
pub fn run(command: &mut Command, what: &'static str) -> Result<()> {
    let mut unreachable = false;
    let status = exec::watch_stderr(command, |line| unreachable |= is_network_failure(line))?;
    if !status.success() && unreachable {
        bail!(Refusal::NoRegistry(what));
    }
    exec::succeeded(command, status)
}

pub(super) fn is_network_failure(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    NETWORK_FAILURES
        .iter()
        .any(|failure| line.contains(failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_downloads_are_told_from_other_failures() {
        for line in [
            "  [6] Could not resolve hostname (Could not resolve host: example.org)",
            "warning: spurious network error: [7] Couldn't connect to server",
            "error: component download failed: error sending request for url",
            "E: Failed to fetch http://example.org  Temporary failure resolving 'example.org'",
            "WARNING: Retrying: Failed to establish a new connection: [Errno -2] Name or service \
             not known')': /simple/moto/",
        ] {
            assert!(is_network_failure(line), "{line}");
        }
        for line in [
            "error: could not compile `bpf-linker`",
            "Compiling network v1.0.0",
        ] {
            assert!(!is_network_failure(line), "{line}");
        }
    }

    #[test]
    fn a_failure_of_another_kind_is_no_refusal() {
        let error = run(&mut Command::new("false"), "bpf-linker").unwrap_err();
        assert!(!error.is::<Refusal>(), "{error}");
    }
}
