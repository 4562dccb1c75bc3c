//! Telling a failed download from every other failure.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{exec, refusal::Refusal};

/// What cargo, rustup and apt-get write when they cannot reach their servers.
const NETWORK_FAILURES: [&str; 12] = [
    "connection refused",
    "connection timed out",
    "could not connect",
    "could not resolve",
    "couldn't connect",
    "couldn't resolve",
    "error sending request",
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

fn is_network_failure(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    NETWORK_FAILURES
        .iter()
        .any(|failure| line.contains(failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(script: &str) -> anyhow::Error {
        run(Command::new("sh").args(["-c", script]), "bpf-linker").unwrap_err()
    }

    #[test]
    fn a_failed_download_is_a_refusal() {
        for message in [
            "  [6] Could not resolve hostname (Could not resolve host: example.org)",
            "warning: spurious network error: [7] Couldn't connect to server",
            "error: component download failed: error sending request for url",
            "E: Failed to fetch http://example.org  Temporary failure resolving 'example.org'",
        ] {
            let error = outcome(&format!("echo \"{message}\" >&2; exit 101"));
            assert_eq!(
                error.downcast_ref(),
                Some(&Refusal::NoRegistry("bpf-linker"))
            );
        }
    }

    #[test]
    fn any_other_failure_stays_what_it_is() {
        let error = outcome("echo 'error: could not compile `bpf-linker`' >&2; exit 101");
        assert!(!error.is::<Refusal>(), "{error}");
    }
}
