//! Resources of the control plane, for people.

use std::io::{self, Write};

use super::{clean, row, table, write_table};
use crate::model::{ApplyStep, EniUse, ResourceInfo};

/// What an `apply` does, or did.
pub fn apply_steps(out: &mut impl Write, steps: &[ApplyStep], dry_run: bool) -> io::Result<()> {
    if steps.is_empty() {
        return writeln!(
            out,
            "Everything is as the file has it: nothing had to be changed."
        );
    }
    for step in steps {
        let id = step.id.as_deref().filter(|_| !dry_run);
        let id = id.map(|id| format!(" ({id})")).unwrap_or_default();
        let detail = step.detail.as_deref();
        let detail = detail
            .map(|detail| format!(": {detail}"))
            .unwrap_or_default();
        writeln!(
            out,
            "{} {}{id}{}",
            step.verb,
            clean(&step.object),
            clean(&detail)
        )?;
    }
    let count = |verb: &str| steps.iter().filter(|step| step.verb == verb).count();
    let [create, change, delete] = ["create", "change", "delete"].map(count);
    let would = if dry_run { "would be " } else { "" };
    writeln!(
        out,
        "{would}created {create}, changed {change}, deleted {delete}"
    )
}

/// Resources, a line each.
pub fn resources(out: &mut impl Write, listed: &[ResourceInfo]) -> io::Result<()> {
    if listed.is_empty() {
        return writeln!(out, "There is no such resource.");
    }
    let mut table = table(&["KIND", "NAME", "ID", "STATE", "ACCOUNT", "#USED BY"]);
    for one in listed {
        table.add_row(row([
            one.kind.clone(),
            one.name.clone().unwrap_or_default(),
            one.id.clone(),
            one.state.clone().unwrap_or_default(),
            one.account.to_string(),
            one.used_by.len().to_string(),
        ]));
    }
    write_table(out, &table)
}

/// Resources with all that is known of them.
pub fn descriptions(out: &mut impl Write, listed: &[ResourceInfo]) -> io::Result<()> {
    for (number, one) in listed.iter().enumerate() {
        if number != 0 {
            writeln!(out)?;
        }
        let name = one.name.as_deref().filter(|name| **name != one.id);
        let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
        writeln!(out, "{} {}{}", one.kind, clean(&one.id), clean(&name))?;
        writeln!(out, "  account  {}", one.account)?;
        match one.used_by.as_slice() {
            [] => writeln!(out, "  used by  nobody")?,
            users => writeln!(out, "  used by  {}", clean(&users.join(", ")))?,
        }
        let text = serde_json::to_string_pretty(&one.resource).unwrap_or_default();
        for line in text.lines() {
            writeln!(out, "  {}", clean(line))?;
        }
    }
    Ok(())
}

/// Who uses an ENI.
pub fn eni_use(out: &mut impl Write, found: &EniUse) -> io::Result<()> {
    let list = |names: &[String]| match names {
        [] => "nobody".to_owned(),
        names => clean(&names.join(", ")),
    };
    let usage = &found.usage;
    let environments: Vec<String> = usage.environments.iter().map(ToString::to_string).collect();
    writeln!(
        out,
        "{} at {}, {}",
        clean(&found.id),
        found.address,
        found.state
    )?;
    writeln!(out, "  subnet           {}", clean(&found.subnet))?;
    writeln!(out, "  security groups  {}", list(&found.security_groups))?;
    writeln!(out, "  functions        {}", list(&usage.functions))?;
    if !usage.waiting_functions.is_empty() {
        writeln!(out, "  to serve         {}", list(&usage.waiting_functions))?;
    }
    writeln!(out, "  environments     {}", list(&environments))?;
    writeln!(out, "  connections      {}", found.connections)?;
    for flows in &found.flows {
        writeln!(out, "    {}  {}", clean(&flows.environment), flows.flows)?;
    }
    match &usage.waits_for {
        Some(reason) => writeln!(out, "  waits for        {}", clean(reason)),
        None => Ok(()),
    }
}

/// What a full pass would do.
pub fn plan(out: &mut impl Write, steps: &[String], problems: &[String]) -> io::Result<()> {
    if steps.is_empty() && problems.is_empty() {
        return writeln!(
            out,
            "The tables are as they are to be: nothing has to be changed."
        );
    }
    for step in steps {
        writeln!(out, "{}", clean(step))?;
    }
    for problem in problems {
        writeln!(out, "Cannot be done: {}.", clean(problem))?;
    }
    Ok(())
}
