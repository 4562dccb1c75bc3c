//! The one-screen status of `vpc top` and the lab.

use std::{
    cmp::Reverse,
    io::{self, Write},
};

use comfy_table::Table;

use super::{
    FlowOrder, eni_table, environment_table, flow_table, heading, owner, row, sorted_flows, table,
};
use crate::model::{DropInfo, EnvironmentInfo, FlowInfo, StatusInfo};

/// What the screen shows: the agent's answers at about one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    /// See [`StatusInfo`].
    pub status: StatusInfo,
    /// Attached environments.
    pub environments: Vec<EnvironmentInfo>,
    /// Live flows.
    pub flows: Vec<FlowInfo>,
    /// Drop counters.
    pub drops: Vec<DropInfo>,
}

/// Characters of the screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// In a line.
    pub width: usize,
    /// Lines.
    pub height: usize,
}

/// A part of the screen: the head of its table, the rows that could be of
/// interest, and how many more there are.
struct Section {
    head: String,
    rows: Vec<String>,
    total: usize,
}

/// Writes at most `size.height` lines of at most `size.width` characters: the
/// agent, its fullest ENIs, its busiest environments, the flows with most bytes,
/// and the drop counters, first those that moved since `before`.
pub fn screen(
    out: &mut impl Write,
    now: &Snapshot,
    before: Option<&Snapshot>,
    size: Size,
) -> io::Result<()> {
    let most = size.height;
    let sections = [
        eni_section(&now.status, most),
        environment_section(&now.environments, most),
        flow_section(&now.flows, most),
        drop_section(
            &now.drops,
            before.map(|before| before.drops.as_slice()),
            most,
        ),
    ];
    let sections: Vec<_> = sections
        .into_iter()
        .filter(|section| section.total > 0)
        .collect();
    let mut lines = vec![heading(&now.status)];
    // A blank line and a head each.
    let room = size.height.saturating_sub(lines.len() + 2 * sections.len());
    let shares = fair_shares(room, &sections);
    for (section, share) in sections.into_iter().zip(shares) {
        lines.extend([String::new(), section.head]);
        if share >= section.total {
            lines.extend(section.rows);
        } else if let Some(shown) = share.checked_sub(1) {
            lines.extend(section.rows.into_iter().take(shown));
            lines.push(format!("… and {} more", section.total - shown));
        }
    }
    for line in lines.into_iter().take(size.height) {
        let line: String = line.chars().take(size.width).collect();
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Rows for each section: a row each in turn, until all have what they need or
/// none is left.
fn fair_shares(mut room: usize, sections: &[Section]) -> Vec<usize> {
    let mut shares = vec![0; sections.len()];
    loop {
        let before = room;
        for (share, section) in shares.iter_mut().zip(sections) {
            if room > 0 && *share < section.total {
                *share += 1;
                room -= 1;
            }
        }
        if room == before {
            return shares;
        }
    }
}

/// The first `most` of `sorted` as lines of a table.
fn section<T>(sorted: &[T], most: usize, table: impl Fn(&[T]) -> Table) -> Section {
    let shown = &sorted[..sorted.len().min(most)];
    let table = table(shown);
    let mut lines = table.lines();
    Section {
        head: lines.next().unwrap_or_default(),
        rows: lines.collect(),
        total: sorted.len(),
    }
}

fn eni_section(status: &StatusInfo, most: usize) -> Section {
    let mut sorted: Vec<_> = status.enis.iter().collect();
    sorted.sort_by_key(|eni| (Reverse(eni.connections), eni.index));
    section(&sorted, most, eni_table)
}

fn environment_section(environments: &[EnvironmentInfo], most: usize) -> Section {
    let mut sorted: Vec<_> = environments.iter().collect();
    sorted.sort_by_key(|environment| (Reverse(environment.flows), &environment.name));
    section(&sorted, most, environment_table)
}

fn flow_section(flows: &[FlowInfo], most: usize) -> Section {
    section(&sorted_flows(flows, FlowOrder::Bytes), most, flow_table)
}

fn drop_section(drops: &[DropInfo], before: Option<&[DropInfo]>, most: usize) -> Section {
    let mut sorted: Vec<_> = drops
        .iter()
        .filter(|counter| counter.packets > 0)
        .map(|counter| (moved(counter, before), counter))
        .collect();
    sorted.sort_by_key(|(moved, counter)| {
        (
            Reverse(*moved),
            Reverse(counter.packets),
            owner(counter),
            &counter.reason,
        )
    });
    section(&sorted, most, |sorted| {
        let mut table = table(&["DROPPED FOR", "REASON", "#PACKETS", "#NEW", "MEANING"]);
        for (moved, counter) in sorted {
            table.add_row(row([
                owner(counter),
                counter.reason.clone(),
                counter.packets.to_string(),
                if *moved > 0 {
                    format!("+{moved}")
                } else {
                    String::new()
                },
                counter.description.clone(),
            ]));
        }
        table
    })
}

/// Packets counted since `before`; none if there is nothing to compare with.
fn moved(counter: &DropInfo, before: Option<&[DropInfo]>) -> u64 {
    let Some(before) = before else { return 0 };
    let same = |other: &&DropInfo| {
        (&other.owner_kind, &other.owner, &other.reason)
            == (&counter.owner_kind, &counter.owner, &counter.reason)
    };
    let earlier = before.iter().find(same).map_or(0, |other| other.packets);
    counter.packets.saturating_sub(earlier)
}
