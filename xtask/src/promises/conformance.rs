//! `docs/conformance.md`: what a row's status may be, and how many have each.

use std::fmt::{self, Write as _};

use super::tables::{self, Table};

/// The table of counts lies between these.
pub const BEGIN: &str = "<!-- statuses:begin -->\n";
pub const END: &str = "<!-- statuses:end -->";

/// How a requirement is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// And a test shows it.
    Met,
    /// By the code as it reads; no test shows it.
    MetUntested,
    /// In part, as the note says.
    Partly,
    /// Because AWS does it another way.
    DeviatesByAws,
    /// Because it is done another way here, or not at all.
    Deviates,
    /// There is nothing here that it is about.
    NotApplicable,
}

impl Status {
    pub const ALL: [Self; 6] = [
        Self::Met,
        Self::MetUntested,
        Self::Partly,
        Self::DeviatesByAws,
        Self::Deviates,
        Self::NotApplicable,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::MetUntested => "met, untested",
            Self::Partly => "partly",
            Self::DeviatesByAws => "deviates by AWS rule",
            Self::Deviates => "deviates",
            Self::NotApplicable => "not applicable",
        }
    }

    pub fn named(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.label() == label)
    }
}

/// The tables of requirements, which is every one but that of the counts.
pub fn tables(text: &str) -> impl Iterator<Item = Table> {
    let first = text
        .split_once(END)
        .map_or(0, |(before, _)| before.lines().count());
    tables::of(text)
        .into_iter()
        .filter(move |table| table.line > first)
}

/// The table of counts as it is written.
pub fn written_counts(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(BEGIN)?;
    let (written, _) = rest.split_once(END)?;
    Some(written)
}

/// How many rows of each table have each status.
pub struct Counts(Vec<(String, [usize; Status::ALL.len()])>);

impl Counts {
    pub fn of(text: &str) -> Self {
        let count = |table: &Table| {
            let statuses = table
                .rows
                .iter()
                .filter_map(|row| table.cell(row, "Status"));
            let statuses: Vec<_> = statuses.filter_map(Status::named).collect();
            Status::ALL.map(|status| statuses.iter().filter(|it| **it == status).count())
        };
        Self(
            tables(text)
                .map(|table| (table.section.clone(), count(&table)))
                .collect(),
        )
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = Status::ALL.map(Status::label);
        writeln!(f, "| Table | {} |", labels.join(" | "))?;
        writeln!(f, "| --- |{}", " ---: |".repeat(labels.len()))?;
        let sum = |at: usize| -> usize {
            let counts = self.0.iter().filter_map(|(_, counts)| counts.get(at));
            counts.sum()
        };
        let sums: Vec<usize> = (0..labels.len()).map(sum).collect();
        let mut row = |name: &str, counts: &[usize]| {
            let mut cells = String::new();
            for count in counts {
                write!(cells, " {count} |")?;
            }
            writeln!(f, "| {name} |{cells}")
        };
        for (section, counts) in &self.0 {
            row(section, counts)?;
        }
        row("All", &sums)
    }
}
