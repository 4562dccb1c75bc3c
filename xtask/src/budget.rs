//! What the verifier looks at must not grow unseen: the instructions that it counts on
//! this kernel against those that `docs/kernels.md` has.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    exec,
    setup::{Kit, host, version::Version},
    workspace::Workspace,
};

const PAGE: &str = "docs/kernels.md";
/// The first cell of the table of programs.
const TITLE: &str = "Program";
/// By how much a program may grow before somebody has to look, in percent.
const MAY_GROW: u64 = 20;

/// Needs root, as loading a program does; skipped without.
pub fn check(workspace: &Workspace, kit: &Kit) -> Result<()> {
    if host::require_root().is_err() {
        eprintln!("skipping    verified instructions: only root may load programs");
        return Ok(());
    }
    let page = workspace.root().join(PAGE);
    let page = fs::read_to_string(&page).with_context(|| format!("read {}", page.display()))?;
    let recorded = Recorded::parse(&page).context("docs/kernels.md has no table of programs")?;
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--quiet", "--package=vpc-user", "--bin=vpc", "--"]);
    cargo.args(["check-kernel", "--json"]);
    let measured = measured(&exec::output(kit.equip(&mut cargo))?)?;
    let (version, budget) = recorded.for_kernel(host::kernel()?);
    for (program, instructions) in &measured {
        let allowed = budget.iter().find(|(name, _)| name == program);
        let Some((_, allowed)) = allowed else {
            bail!("{PAGE} has no row for {program}: run `cargo xtask vm -- --record`");
        };
        ensure!(
            !has_grown(*instructions, *allowed),
            "the verifier looks at {instructions} instructions of {program}, which is more than \
             {MAY_GROW} % over the {allowed} that {PAGE} has for Linux {version}: make it \
             smaller, or accept it with `cargo xtask vm -- --record`"
        );
    }
    Ok(())
}

const fn has_grown(now: u64, before: u64) -> bool {
    now * 100 > before * (100 + MAY_GROW)
}

/// Verified instructions by program, as `vpc check-kernel --json` has them.
fn measured(json: &str) -> Result<Vec<(String, u64)>> {
    let checks: Vec<Value> = serde_json::from_str(json).context("read vpc check-kernel")?;
    let instructions = |check: &Value| {
        let name = check["program"].as_str()?.to_owned();
        Some((
            name,
            check["instructions"].as_u64().filter(|&count| count > 0)?,
        ))
    };
    let all: Option<Vec<_>> = checks.iter().map(instructions).collect();
    all.filter(|all| !all.is_empty())
        .context("vpc check-kernel tells of a program without instructions")
}

/// The table of programs: a column for each kernel.
struct Recorded(Vec<(Version, Vec<(String, u64)>)>);

impl Recorded {
    fn parse(page: &str) -> Option<Self> {
        let cells = |line: &str| -> Vec<String> {
            let cells = line.trim().trim_matches('|').split('|');
            cells
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect()
        };
        let mut rows = page.lines().filter(|line| line.starts_with('|')).map(cells);
        let head = rows.find(|row| row.first().is_some_and(|title| title == TITLE))?;
        let rows: Vec<_> = rows
            .skip(1)
            .take_while(|row| row.len() == head.len())
            .collect();
        let column = |(index, version): (usize, &String)| {
            let budget = rows.iter().filter_map(|row| {
                let (count, _) = row[index].split_once(" insns")?;
                Some((row[0].clone(), count.parse().ok()?))
            });
            Some((Version::parse(version)?, budget.collect()))
        };
        let columns: Vec<_> = head.iter().enumerate().skip(1).filter_map(column).collect();
        (!columns.is_empty()).then_some(Self(columns))
    }

    /// The column of this kernel, else of the newest that is older, else the first.
    fn for_kernel(&self, kernel: Version) -> (Version, &[(String, u64)]) {
        let older = self.0.iter().filter(|(version, _)| *version <= kernel);
        let newest = older.max_by_key(|(version, _)| *version);
        let (version, budget) = newest.unwrap_or(&self.0[0]);
        (*version, budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
        | Tests that held | 6.1.0 |\n| --- | --- |\n| `arp` | 5 |\n\n\
        | Program | 6.1.0 | 6.18.2 |\n| --- | --- | --- |\n\
        | `sweep` | 900 insns, 96 B, 2 ms | 1000 insns, 96 B, 2 ms |\n\
        | `old` | refused | 7 insns, 8 B, 0 ms |\n\nThe end.\n";

    fn budget(kernel: Version) -> Option<(Version, u64)> {
        let recorded = Recorded::parse(PAGE)?;
        let (version, budget) = recorded.for_kernel(kernel);
        let sweep = budget.iter().find(|(name, _)| name == "sweep")?;
        Some((version, sweep.1))
    }

    #[test]
    fn a_kernel_is_held_against_its_own_column_or_the_next_older() {
        assert_eq!(budget(Version(6, 18)), Some((Version(6, 18), 1000)));
        assert_eq!(budget(Version(7, 3)), Some((Version(6, 18), 1000)));
        assert_eq!(budget(Version(6, 12)), Some((Version(6, 1), 900)));
        assert_eq!(budget(Version(5, 10)), Some((Version(6, 1), 900)));
        assert!(Recorded::parse("| Tests | 6.1 |\n").is_none());
    }

    #[test]
    fn growth_is_seen_beyond_a_fifth() {
        assert!(!has_grown(1200, 1000));
        assert!(has_grown(1201, 1000));
        assert!(has_grown(1, 0));
    }

    #[test]
    fn a_program_without_instructions_is_not_taken_for_a_small_one() {
        let good = r#"[{"program":"sweep","instructions":7}]"#;
        assert_eq!(measured(good).unwrap(), [("sweep".to_owned(), 7)]);
        for bad in [
            "[]",
            "{}",
            r#"[{"program":"sweep","instructions":0,"refused":"why"}]"#,
        ] {
            assert!(measured(bad).is_err(), "{bad}");
        }
    }
}
