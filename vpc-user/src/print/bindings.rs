//! Who was behind which address and port.

use std::{
    io::{self, Write},
    time::{Duration, UNIX_EPOCH},
};

use serde::Serialize;

use super::{clean, row, table, write_table};
use crate::model::{BindingInfo, Bindings, FlowInfo};

/// Flows, and who was behind them.
pub fn bindings(out: &mut impl Write, found: &Bindings) -> io::Result<()> {
    if found.bindings.is_empty() {
        writeln!(out, "No flow is known of.")?;
    } else {
        let mut table = table(&[
            "FROM",
            "TO",
            "ENVIRONMENT",
            "FUNCTION",
            "INSIDE",
            "OUTSIDE",
            "REMOTE",
            "ENI",
            "VPC",
        ]);
        for flow in &found.bindings {
            table.add_row(row(cells(flow)));
        }
        write_table(out, &table)?;
    }
    if found.truncated {
        writeln!(
            out,
            "There are more: narrow the question, or raise --limit."
        )?;
    }
    for sentence in &found.skipped {
        writeln!(out, "Not read: {}.", clean(sentence))?;
    }
    Ok(())
}

fn cells(flow: &BindingInfo) -> [String; 9] {
    [
        time(flow.start),
        flow.end.map_or_else(|| "open".to_owned(), time),
        flow.environment.clone(),
        flow.function.as_deref().map_or("-", short).to_owned(),
        format!("{}/{}", flow.inside, flow.protocol),
        flow.outside.to_string(),
        flow.remote.to_string(),
        flow.interface_id.clone(),
        flow.vpc_id.clone(),
    ]
}

/// `name:version` of a qualified ARN.
fn short(arn: &str) -> &str {
    arn.split_once(":function:").map_or(arn, |(_, name)| name)
}

/// Unix milliseconds as RFC 3339 has them.
fn time(millis: u64) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(millis));
    at.map_or_else(String::new, |at| {
        humantime::format_rfc3339_millis(at).to_string()
    })
}

/// What happened to a flow, by the words of `conntrack -E`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Change {
    /// It opened.
    New,
    /// Its state is another.
    Update,
    /// It ended.
    Destroy,
}

/// One line about what happened to a flow.
pub fn flow_event(
    out: &mut impl Write,
    change: Change,
    flow: &FlowInfo,
    json: bool,
) -> io::Result<()> {
    if json {
        let event = serde_json::json!({ "event": change, "flow": flow });
        serde_json::to_writer(&mut *out, &event)?;
        return writeln!(out);
    }
    let word = match change {
        Change::New => "[NEW]",
        Change::Update => "[UPDATE]",
        Change::Destroy => "[DESTROY]",
    };
    let function = flow.function.as_deref().map_or("-", short);
    writeln!(
        out,
        "{word:>9} {:<4} {:<12} {} {} {} > {} by {}",
        flow.protocol,
        flow.state,
        clean(&flow.environment),
        clean(function),
        flow.inside,
        flow.remote,
        flow.outside
    )
}
