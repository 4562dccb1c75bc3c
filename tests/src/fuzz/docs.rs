//! Examples out of the documentation.

use std::{fs, path::Path};

/// The pages that have some.
const PAGES: [&str; 5] = [
    "README.md",
    "docs/configuration.md",
    "docs/control-plane.md",
    "docs/flow-logs.md",
    "docs/cni.md",
];

/// The blocks of code in a language, of every page.
pub fn examples(language: &str) -> Vec<String> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let pages = PAGES.iter().map(|page| {
        let path = root.join(page);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    });
    let begin = format!("```{language}\n");
    let blocks = |page: String| -> Vec<String> {
        let blocks = page.split(&begin).skip(1);
        let blocks = blocks.filter_map(|rest| rest.split_once("```"));
        blocks.map(|(block, _)| block.to_owned()).collect()
    };
    pages.flat_map(blocks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_examples_of_the_configuration() {
        let examples = examples("toml");
        assert!(examples.len() > 5, "{}", examples.len());
        assert!(examples.iter().any(|one| one.contains("[[uplink]]")));
    }
}
