//! Doing what the command line says.

use std::{io::Write, path::Path};

use anyhow::{Context as _, Result, bail};
use clap::CommandFactory as _;
use serde::Serialize;
use vpc_common::{
    drop::DropReason,
    layout::{BLOCK_PORTS, Slot},
};

use super::{Cli, Command, ExplainArgs, FlowsArgs, SetHookArgs, agent, resources, top, who};
use crate::{
    api, config,
    dataplane::check_programs,
    model::{Config, EnvironmentInfo, ExplainRequest, Request, Response},
    print,
};

/// Does it, with the listings on `out`.
pub fn run(cli: Cli, out: &mut impl Write) -> Result<()> {
    let socket = cli.socket().to_path_buf();
    match cli.command {
        Command::Agent(args) => agent::agent(args, cli.socket.as_deref(), out),
        Command::Teardown(args) => agent::teardown(&args, cli.socket.as_deref(), out),
        Command::Attach(args) => {
            let json = args.json;
            let environment = changed(&socket, &args.request()?)?;
            show_environment(out, &environment, json, "is attached")
        }
        Command::Apply(args) => resources::apply(&socket, &args, out),
        Command::Get(args) => resources::get(&socket, args, out),
        Command::Describe(args) => resources::describe(&socket, args, out),
        Command::Eni(command) => resources::eni(&socket, command, out),
        Command::Plan { json } => resources::plan(&socket, json, out),
        Command::State(command) => resources::state(&socket, command, out),
        Command::Call(args) => resources::call(&socket, args, out),
        Command::Detach { name, json } => {
            let environment = changed(&socket, &Request::Detach { name })?;
            show_environment(out, &environment, json, "is detached")
        }
        Command::SetHook(args) => set_hook(&socket, args, out),
        Command::Reload { json } => reload(&socket, json, out),
        Command::Ls { json } => match ask(&socket, &Request::Environments)? {
            Response::Environments(listed) => {
                show(out, json, &listed, |out| print::environments(out, &listed))
            }
            other => misunderstood(&other),
        },
        Command::Flows(args) if args.follow => who::follow(&socket, &args, out),
        Command::Flows(args) if args.period.is_given() => who::history(&socket, &args, out),
        Command::Flows(args) => flows(&socket, &args, out),
        Command::Who(args) => who::who(&socket, &args, out),
        Command::Drops { json, all_reasons } => drops(&socket, all_reasons, json, out),
        Command::Refusals { json } => match ask(&socket, &Request::Refusals)? {
            Response::Refusals(listed) => {
                show(out, json, &listed, |out| print::refusals(out, &listed))
            }
            other => misunderstood(&other),
        },
        Command::Status { json } => match ask(&socket, &Request::Status)? {
            Response::Status(status) => show(out, json, &status, |out| print::status(out, &status)),
            other => misunderstood(&other),
        },
        Command::Top { frames } => top::top(&socket, frames, out),
        Command::CheckConfig { file, effective } => check_config(&file, effective, out),
        Command::CheckKernel { json } => check_kernel(json, out),
        Command::Explain(args) => explain(&socket, args, out),
        Command::Completions { shell } => {
            // Into a buffer first: the generator panics if it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "vpc", &mut script);
            Ok(out.write_all(&script)?)
        }
    }
}

/// The answer to a request, a refusal as an error.
pub(super) fn ask(socket: &Path, request: &Request) -> Result<Response> {
    match api::call_blocking(socket, request)? {
        Response::Error { message } => bail!(message),
        Response::Denied(denial) => bail!("{}: {}", denial.code, denial.message),
        response => Ok(response),
    }
}

fn changed(socket: &Path, request: &Request) -> Result<EnvironmentInfo> {
    match ask(socket, request)? {
        Response::Environment(environment) => Ok(environment),
        other => misunderstood(&other),
    }
}

fn set_hook(socket: &Path, args: SetHookArgs, out: &mut impl Write) -> Result<()> {
    let SetHookArgs {
        name,
        hook,
        netns,
        json,
    } = args;
    let environment = changed(socket, &Request::SetHook { name, hook, netns })?;
    show(out, json, &environment, |out| {
        print::hook_line(out, &environment)
    })
}

fn drops(socket: &Path, all_reasons: bool, json: bool, out: &mut impl Write) -> Result<()> {
    if all_reasons {
        return Ok(match json {
            true => print::drop_reasons_json(out),
            false => print::drop_reasons(out),
        }?);
    }
    match ask(socket, &Request::Drops)? {
        Response::Drops(listed) => show(out, json, &listed, |out| print::drops(out, &listed)),
        other => misunderstood(&other),
    }
}

fn reload(socket: &Path, json: bool, out: &mut impl Write) -> Result<()> {
    let (steps, problems) = match ask(socket, &Request::Reload)? {
        Response::Reloaded { steps, problems } => (steps, problems),
        other => return misunderstood(&other),
    };
    let done = serde_json::json!({ "steps": steps, "problems": problems });
    show(out, json, &done, |out| {
        print::reloaded(out, steps, &problems)
    })?;
    // Before the sentence on standard error.
    out.flush()?;
    match problems.len() {
        0 => Ok(()),
        // Listed by now.
        1 => bail!("one part of the configuration was not applied: the agent tries again"),
        many => bail!("{many} parts of the configuration were not applied: the agent tries again"),
    }
}

/// An answer to another question than the one asked.
pub(super) fn misunderstood<T>(response: &Response) -> Result<T> {
    let kind = serde_json::to_value(response)?;
    bail!(
        "the agent answered with {} which was not asked for: use the `vpc` of the agent's version",
        kind["result"]
    )
}

pub(super) fn show<W: Write>(
    out: &mut W,
    json: bool,
    value: &impl Serialize,
    table: impl FnOnce(&mut W) -> std::io::Result<()>,
) -> Result<()> {
    if json {
        print::json(out, value)?;
    } else {
        table(out)?;
    }
    Ok(())
}

fn show_environment(
    out: &mut impl Write,
    environment: &EnvironmentInfo,
    json: bool,
    what: &str,
) -> Result<()> {
    let EnvironmentInfo {
        name,
        interface,
        group,
        address,
        ..
    } = environment;
    show(out, json, environment, |out| {
        writeln!(out, "{name} {what}: {interface}, {address}, group {group}.")
    })
}

fn flows(socket: &Path, args: &FlowsArgs, out: &mut impl Write) -> Result<()> {
    match ask(socket, &Request::Flows)? {
        Response::Flows(mut listed) => {
            listed.retain(|flow| args.wants(flow));
            print::sort_flows(&mut listed, args.sort);
            show(out, args.json, &listed, |out| {
                print::flows(out, &listed, args.sort)
            })
        }
        other => misunderstood(&other),
    }
}

fn check_kernel(json: bool, out: &mut impl Write) -> Result<()> {
    let checks = check_programs()?;
    show(out, json, &checks, |out| {
        print::program_checks(out, &checks)
    })?;
    let refused = checks.iter().filter(|check| check.refused.is_some());
    let names: Vec<_> = refused.map(|check| check.program.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    bail!(
        "this kernel refuses {}: run Linux 6.1 or later with BTF",
        names.join(", ")
    )
}

fn check_config(file: &Path, effective: bool, out: &mut impl Write) -> Result<()> {
    let config = agent::load(file)?;
    if effective {
        return Ok(write!(out, "{}", config::render(&config)?)?);
    }
    Ok(writeln!(
        out,
        "{} is valid: {}.",
        file.display(),
        summary(&config)
    )?)
}

fn summary(config: &Config) -> String {
    let count = |number: usize, what: &str| {
        format!("{number} {what}{}", if number == 1 { "" } else { "s" })
    };
    let enis = config.groups.iter().map(|group| group.enis.len()).sum();
    let flows = u64::from(config.limits.blocks) * u64::from(BLOCK_PORTS);
    format!(
        "{}, {}, {}, room for {flows} flows in {} of slots",
        count(config.uplinks.len(), "uplink"),
        count(config.groups.len(), "group"),
        count(enis, "ENI"),
        print::units::bytes(flows * size_of::<Slot>() as u64),
    )
}

fn explain(socket: &Path, args: ExplainArgs, out: &mut impl Write) -> Result<()> {
    let ExplainArgs {
        reason,
        environment,
        to,
        from_port,
        json,
    } = args;
    // The command line has one of the two, or is refused before.
    let Some((environment, to)) = environment.zip(to) else {
        return explain_reason(&reason.unwrap_or_default(), json, out);
    };
    let request = Request::Explain(ExplainRequest {
        environment,
        to,
        from_port,
    });
    match ask(socket, &request)? {
        Response::Explanation(told) => show(out, json, &told, |out| print::explanation(out, &told)),
        other => misunderstood(&other),
    }
}

fn explain_reason(label: &str, json: bool, out: &mut impl Write) -> Result<()> {
    let reason = DropReason::ALL
        .iter()
        .find(|reason| reason.label() == label)
        .with_context(|| {
            format!("there is no drop reason {label:?}: see `vpc drops --all-reasons`")
        })?;
    let (number, description) = (*reason as u32, reason.description());
    let value = serde_json::json!({
        "number": number,
        "reason": label,
        "description": description,
    });
    show(out, json, &value, |out| {
        writeln!(out, "{label} (number {number}): {description}")
    })
}
