//! `cargo xtask run`: the lab, or the agent with a configuration of one's own.

use std::ffi::{OsStr, OsString};

use anyhow::{Result, bail};

use crate::{build, exec, report::Report, setup, workspace::Workspace};

/// Without a configuration: brings up the lab, two tenants with the same
/// addresses and four environments with one IP and MAC, shows their traffic
/// cross the NAT, and keeps running with a live status until Ctrl-C, which
/// leaves nothing behind.
///
/// With `-- --config FILE`: runs the agent on this host and no lab.
#[derive(clap::Args)]
pub struct Args {
    /// Leave after the demonstration; 0 only if every step of it held
    #[arg(long)]
    once: bool,
    /// Passed on: `--config FILE` runs the agent instead of the lab
    #[arg(last = true, value_name = "ARGS")]
    rest: Vec<OsString>,
}

pub fn perform(workspace: &Workspace, args: &Args) -> Result<()> {
    let (name, arguments) = target(args)?;
    let kit = setup::without_guests(workspace, &mut Report::brief())?;
    build::release(workspace, &kit)?;
    let mut program = build::release_program(workspace, name)?;
    program.args(arguments);
    match exec::replace(program)? {}
}

/// The program to become and its arguments.
fn target(args: &Args) -> Result<(&'static str, Vec<OsString>)> {
    let once = args.once.then(|| OsString::from("--once"));
    if !args.rest.iter().any(|arg| names_config(arg)) {
        return Ok((
            "lab",
            once.into_iter().chain(args.rest.iter().cloned()).collect(),
        ));
    }
    if once.is_some() {
        bail!("--once belongs to the lab and --config to the agent: give one");
    }
    Ok((
        "vpc",
        std::iter::once("agent".into())
            .chain(args.rest.iter().cloned())
            .collect(),
    ))
}

fn names_config(arg: &OsStr) -> bool {
    arg == "--config" || arg.as_encoded_bytes().starts_with(b"--config=")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(once: bool, rest: &[&str]) -> Args {
        Args {
            once,
            rest: rest.iter().map(OsString::from).collect(),
        }
    }

    #[test]
    fn without_a_configuration_the_lab_runs() {
        assert_eq!(target(&args(false, &[])).unwrap(), ("lab", vec![]));
        assert_eq!(
            target(&args(true, &[])).unwrap(),
            ("lab", vec!["--once".into()])
        );
    }

    #[test]
    fn with_a_configuration_the_agent_runs() {
        for rest in [&["--config", "a.toml"][..], &["--config=a.toml"]] {
            let (name, arguments) = target(&args(false, rest)).unwrap();
            assert_eq!(
                (name, arguments[0].as_os_str()),
                ("vpc", OsStr::new("agent"))
            );
            assert_eq!(arguments[1..], *rest);
        }
    }

    #[test]
    fn once_and_a_configuration_exclude_each_other() {
        let error = target(&args(true, &["--config", "a.toml"]))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("--once belongs to the lab"), "{error}");
    }
}
