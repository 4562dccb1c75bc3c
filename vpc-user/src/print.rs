//! Listings. Every function takes a writer and the types of [`crate::model`], so
//! the command line, the lab and the tests print the same; nothing in here asks
//! an agent, reads a clock or writes a colour.
//!
//! Tables are for people: units are human and rows sorted by what matters, with
//! ties broken so that two runs agree. JSON is for programs: raw numbers, in the
//! agent's order.

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeSet,
    io::{self, Write},
};

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::model::{
    DropInfo, EniInfo, EnvironmentInfo, FlowInfo, Hook, HookWish, ProgramCheck, RefusalDirection,
    RefusalInfo, StatusInfo, UplinkInfo,
};

mod bindings;
mod explanation;
mod reasons;
mod resources;
mod screen;
#[cfg(test)]
mod tests;
pub mod units;

pub use bindings::{Change, bindings, flow_event};
pub use explanation::explanation;
pub use reasons::{drop_reason_table_markdown, drop_reasons, drop_reasons_json};
pub use resources::{apply_steps, descriptions, eni_use, plan, resources};
pub use screen::{Size, Snapshot, screen};

/// What flows are listed by, the greatest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum FlowOrder {
    /// Bytes of both directions.
    #[default]
    Bytes,
    /// Packets of both directions.
    Packets,
    /// Time since it opened.
    Age,
}

/// One JSON document and a line end.
pub fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// Attached environments, by name.
pub fn environments(out: &mut impl Write, environments: &[EnvironmentInfo]) -> io::Result<()> {
    if environments.is_empty() {
        return writeln!(
            out,
            "No environment is attached: `vpc attach` attaches one."
        );
    }
    let mut sorted: Vec<_> = environments.iter().collect();
    sorted.sort_by_key(|environment| (&environment.name, environment.index));
    write_table(out, &environment_table(&sorted))?;
    write_reasons(
        out,
        sorted.iter().map(|environment| hook_reason(environment)),
    )
}

/// One line about the hook of an environment.
pub fn hook_line(out: &mut impl Write, environment: &EnvironmentInfo) -> io::Result<()> {
    let EnvironmentInfo { name, hook_why, .. } = environment;
    let hook = hook_text(environment.hook, environment.hook_wanted);
    writeln!(
        out,
        "{} is handled by {hook}: {}.",
        clean(name),
        clean(hook_why)
    )
}

/// What reading the configuration again came to.
pub fn reloaded(out: &mut impl Write, steps: usize, problems: &[String]) -> io::Result<()> {
    match steps {
        0 => writeln!(
            out,
            "The configuration is in force: nothing had to be changed."
        )?,
        1 => writeln!(out, "The configuration is in force: 1 step.")?,
        _ => writeln!(out, "The configuration is in force: {steps} steps.")?,
    }
    for problem in problems {
        writeln!(out, "Not applied: {}.", clean(problem))?;
    }
    Ok(())
}

/// Live flows.
pub fn flows(out: &mut impl Write, flows: &[FlowInfo], order: FlowOrder) -> io::Result<()> {
    if flows.is_empty() {
        return writeln!(out, "No flow is open.");
    }
    write_table(out, &flow_table(&sorted_flows(flows, order)))
}

/// Drop counters, the greatest first.
pub fn drops(out: &mut impl Write, drops: &[DropInfo]) -> io::Result<()> {
    let mut sorted: Vec<_> = drops.iter().filter(|counter| counter.packets > 0).collect();
    if sorted.is_empty() {
        return writeln!(out, "No packet was dropped.");
    }
    sorted.sort_by_key(|counter| (Reverse(counter.packets), owner(counter), &counter.reason));
    let mut table = table(&["OWNER", "REASON", "#PACKETS", "MEANING"]);
    for counter in sorted {
        table.add_row(row([
            owner(counter),
            counter.reason.clone(),
            counter.packets.to_string(),
            counter.description.clone(),
        ]));
    }
    write_table(out, &table)
}

/// What rules and routes refused, the most packets first.
pub fn refusals(out: &mut impl Write, refusals: &[RefusalInfo]) -> io::Result<()> {
    if refusals.is_empty() {
        return writeln!(out, "Rules and routes refused nothing lately.");
    }
    let mut sorted: Vec<_> = refusals.iter().collect();
    sorted.sort_by_key(|refusal| {
        let name = (&refusal.environment, refusal.remote, refusal.local_port);
        (Reverse(refusal.packets), name)
    });
    write_table(out, &refusal_table(&sorted))
}

/// Prints what a kernel makes of the programs.
pub fn program_checks(out: &mut impl Write, checks: &[ProgramCheck]) -> io::Result<()> {
    let mut table = table(&["PROGRAM", "#INSNS", "#FRAME", "#LOAD", "REFUSED"]);
    for check in checks {
        table.add_row(row([
            check.program.clone(),
            check.instructions.to_string(),
            check
                .frame_bytes
                .map_or("-".into(), |bytes| bytes.to_string()),
            format!("{:.1} ms", check.load_us as f64 / 1e3),
            check.refused.clone().unwrap_or_default(),
        ]));
    }
    write_table(out, &table)
}

/// The agent, its uplinks, its ENIs and its counters.
pub fn status(out: &mut impl Write, status: &StatusInfo) -> io::Result<()> {
    writeln!(out, "{}", heading(status))?;
    if status.uplinks.is_empty() {
        writeln!(out, "\nNo uplink is configured.")?;
    } else {
        let mut sorted: Vec<_> = status.uplinks.iter().collect();
        sorted.sort_by_key(|uplink| &uplink.name);
        writeln!(out)?;
        write_table(out, &uplink_table(&sorted))?;
        let reasons = sorted.iter().map(|uplink| {
            let hook = hook_text(uplink.hook, uplink.hook_wanted);
            (hook, uplink.hook_why.clone())
        });
        write_reasons(out, reasons)?;
    }
    if !status.enis.is_empty() {
        let mut sorted: Vec<_> = status.enis.iter().collect();
        sorted.sort_by_key(|eni| (&eni.group, eni.index));
        writeln!(out)?;
        write_table(out, &eni_table(&sorted))?;
    }
    if !status.counters.is_empty() {
        let mut table = table(&["COUNTER", "#VALUE"]);
        for (name, value) in &status.counters {
            table.add_row(row([name.clone(), value.to_string()]));
        }
        writeln!(out)?;
        write_table(out, &table)?;
    }
    Ok(())
}

fn hook_reason(environment: &EnvironmentInfo) -> (String, String) {
    let hook = hook_text(environment.hook, environment.hook_wanted);
    (hook, environment.hook_why.clone())
}

/// The hook in force, and whether it is what was asked for.
fn hook_text(hook: Hook, wanted: HookWish) -> String {
    match (hook, wanted) {
        (hook, HookWish::Auto) => format!("{hook} (auto)"),
        (Hook::Tc, HookWish::Xdp) => "tc (not xdp)".to_owned(),
        (Hook::Xdp, HookWish::Tc) => "xdp (not tc)".to_owned(),
        (hook, _) => hook.to_string(),
    }
}

/// A line for each reason that hooks were chosen for, and none for those that are
/// what was asked for.
fn write_reasons(
    out: &mut impl Write,
    hooks: impl Iterator<Item = (String, String)>,
) -> io::Result<()> {
    let reasons: BTreeSet<_> = hooks.filter(|(hook, _)| hook.contains('(')).collect();
    for (hook, why) in reasons {
        writeln!(out, "{hook}: {}.", clean(&why))?;
    }
    Ok(())
}

/// One line about the agent.
fn heading(status: &StatusInfo) -> String {
    format!(
        "vpc {} · pid {} · up {} · layout {}, tables {} · {} environments · {} of {} flows · \
         {} of {} policy words",
        clean(&status.version),
        status.pid,
        units::duration(status.uptime_secs),
        status.layout,
        if status.adopted { "adopted" } else { "created" },
        status.environments,
        status.flows,
        status.flow_capacity,
        status.policy_words,
        status.policy_word_capacity,
    )
}

fn sorted_flows(flows: &[FlowInfo], order: FlowOrder) -> Vec<&FlowInfo> {
    let mut sorted: Vec<_> = flows.iter().collect();
    sorted.sort_by(|a, b| compare_flows(a, b, order));
    sorted
}

/// Sorts flows in place, for listings that are not tables.
pub fn sort_flows(flows: &mut [FlowInfo], order: FlowOrder) {
    flows.sort_by(|a, b| compare_flows(a, b, order));
}

/// The greater first; of equal flows the order is that of their slots, which
/// does not change.
fn compare_flows(a: &FlowInfo, b: &FlowInfo, order: FlowOrder) -> Ordering {
    let bytes = |flow: &FlowInfo| flow.forward_bytes.saturating_add(flow.reply_bytes);
    let packets = |flow: &FlowInfo| flow.forward_packets.saturating_add(flow.reply_packets);
    let by_value = match order {
        FlowOrder::Bytes => bytes(b).cmp(&bytes(a)),
        FlowOrder::Packets => packets(b).cmp(&packets(a)),
        FlowOrder::Age => b.age_secs.total_cmp(&a.age_secs),
    };
    by_value.then((a.slot, a.epoch).cmp(&(b.slot, b.epoch)))
}

fn environment_table(environments: &[&EnvironmentInfo]) -> Table {
    let mut table = table(&[
        "ENVIRONMENT",
        "INTERFACE",
        "HOOK",
        "GROUP",
        "ADDRESS",
        "GATEWAY",
        "MAC",
        "#FLOWS",
        "#QUOTA",
    ]);
    for environment in environments {
        table.add_row(row([
            environment.name.clone(),
            environment.interface.clone(),
            hook_text(environment.hook, environment.hook_wanted),
            environment.group.clone(),
            environment.address.to_string(),
            environment.gateway.to_string(),
            environment
                .mac
                .clone()
                .unwrap_or_else(|| "not seen yet".into()),
            environment.flows.to_string(),
            environment.flow_quota.to_string(),
        ]));
    }
    table
}

fn flow_table(flows: &[&FlowInfo]) -> Table {
    let mut table = table(&[
        "ENVIRONMENT",
        "PROTO",
        "INSIDE",
        "OUTSIDE",
        "REMOTE",
        "STATE",
        "#PACKETS OUT",
        "#BYTES OUT",
        "#PACKETS IN",
        "#BYTES IN",
        "#AGE",
        "#IDLE",
    ]);
    for flow in flows {
        table.add_row(row([
            flow.environment.clone(),
            flow.protocol.clone(),
            flow.inside.to_string(),
            flow.outside.to_string(),
            flow.remote.to_string(),
            flow.state.clone(),
            flow.forward_packets.to_string(),
            units::bytes(flow.forward_bytes),
            flow.reply_packets.to_string(),
            units::bytes(flow.reply_bytes),
            units::duration(flow.age_secs),
            units::duration(flow.idle_secs),
        ]));
    }
    table
}

fn uplink_table(uplinks: &[&UplinkInfo]) -> Table {
    let mut table = table(&[
        "UPLINK",
        "INTERFACE",
        "HOOK",
        "MAC",
        "#MTU",
        "USE",
        "#NEIGHBOURS",
    ]);
    for uplink in uplinks {
        table.add_row(row([
            uplink.name.clone(),
            uplink.interface.clone(),
            hook_text(uplink.hook, uplink.hook_wanted),
            uplink.mac.clone(),
            uplink.mtu.to_string(),
            if uplink.shared { "shared" } else { "dedicated" }.into(),
            uplink.neighbours.to_string(),
        ]));
    }
    table
}

fn eni_table(enis: &[&EniInfo]) -> Table {
    let mut table = table(&[
        "ENI",
        "GROUP",
        "UPLINK",
        "ADDRESS",
        "FILL",
        "#CONNECTIONS",
        "#LIMIT",
        "#TCP PORTS",
        "#UDP PORTS",
        "#BLOCKS",
        "#REFUSED",
    ]);
    for eni in enis {
        let high = if eni.high_water { " high" } else { "" };
        let bar = units::fill_bar(eni.connections, eni.connection_limit.into());
        table.add_row(row([
            eni.name.clone(),
            eni.group.clone(),
            eni.uplink.clone(),
            eni.address.to_string(),
            format!("{bar}{high}"),
            eni.connections.to_string(),
            eni.connection_limit.to_string(),
            eni.tcp_ports.to_string(),
            eni.udp_ports.to_string(),
            eni.blocks.to_string(),
            eni.refused.values().sum::<u64>().to_string(),
        ]));
    }
    table
}

fn refusal_table(refusals: &[&RefusalInfo]) -> Table {
    let mut table = table(&[
        "ENVIRONMENT",
        "ENI",
        "WAY",
        "PROTO",
        "LOCAL",
        "REMOTE",
        "REASON",
        "#PACKETS",
        "#BYTES",
        "#FIRST",
        "#LAST",
    ]);
    for refusal in refusals {
        // Before it leaves, a packet has no port of the ENI.
        let local = match refusal.direction {
            RefusalDirection::Out => format!("port {}", refusal.local_port),
            RefusalDirection::In => format!("{}:{}", refusal.eni_address, refusal.local_port),
        };
        table.add_row(row([
            refusal.environment.clone(),
            refusal.eni.clone(),
            refusal.direction.to_string(),
            refusal.protocol.clone(),
            local,
            refusal.remote.to_string(),
            refusal.reason.clone(),
            refusal.packets.to_string(),
            units::bytes(refusal.bytes),
            units::duration(refusal.age_secs),
            units::duration(refusal.idle_secs),
        ]));
    }
    table
}

fn owner(counter: &DropInfo) -> String {
    match counter.owner_kind.as_str() {
        "host" => "host".to_owned(),
        kind => format!("{kind} {}", counter.owner),
    }
}

/// A table without rules, two spaces between columns. A title that begins with
/// `#` heads a column of numbers, set to the right.
fn table(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(titles.iter().map(|title| title.trim_start_matches('#')));
    for (index, title) in titles.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if title.starts_with('#') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table
}

fn row<const N: usize>(cells: [String; N]) -> [String; N] {
    cells.map(|cell| clean(&cell))
}

/// Names of interfaces and text from a socket must not move the cursor.
fn clean(text: &str) -> String {
    text.replace(char::is_control, "?")
}

fn write_table(out: &mut impl Write, table: &Table) -> io::Result<()> {
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
