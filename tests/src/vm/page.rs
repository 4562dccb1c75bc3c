//! The page of the documentation that holds the last results.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::outcome::{Outcome, table};

const BEGIN: &str = "<!-- results -->\n";
const END: &str = "<!-- end of results -->\n";

/// Puts the results into the page, between its marks.
///
/// # Errors
/// The page cannot be read or written, or has no marks.
pub fn record(page: &Path, outcomes: &[Outcome]) -> Result<()> {
    let old = fs::read_to_string(page).with_context(|| format!("read {}", page.display()))?;
    let new = with_results(&old, &table(outcomes))
        .with_context(|| format!("{} has no marks for results", page.display()))?;
    fs::write(page, new).with_context(|| format!("write {}", page.display()))
}

fn with_results(page: &str, results: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{results}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_replace_results_and_nothing_else() {
        let page = format!("# Kernels\n{BEGIN}old\n{END}\nThe rest.\n");
        let page = with_results(&page, "new").expect("marks");
        assert_eq!(page, format!("# Kernels\n{BEGIN}\nnew\n{END}\nThe rest.\n"));
        assert_eq!(with_results("no marks", "new"), None);
    }
}
