//! The drop reasons themselves, as a listing and as the table in the
//! documentation: both made from the enum that the kernel programs count by.

use std::io::{self, Write};

use serde::Serialize;
use vpc_common::drop::DropReason;

use super::{json, row, table, write_table};

/// Every reason there is, in the order of the numbers.
pub fn drop_reasons(out: &mut impl Write) -> io::Result<()> {
    let mut table = table(&["#NUMBER", "REASON", "MEANING"]);
    for reason in DropReason::ALL {
        table.add_row(row([
            (*reason as u32).to_string(),
            reason.label().to_owned(),
            reason.description().to_owned(),
        ]));
    }
    write_table(out, &table)
}

/// [`drop_reasons`] for programs.
pub fn drop_reasons_json(out: &mut impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Reason {
        number: u32,
        reason: &'static str,
        description: &'static str,
    }
    let reasons: Vec<_> = DropReason::ALL
        .iter()
        .map(|reason| Reason {
            number: *reason as u32,
            reason: reason.label(),
            description: reason.description(),
        })
        .collect();
    json(out, &reasons)
}

/// The table between the `drop-reasons` markers of `ARCHITECTURE.md`.
pub fn drop_reason_table_markdown() -> String {
    let mut table = String::from("| Number | Reason | Meaning |\n| ---: | --- | --- |\n");
    for reason in DropReason::ALL {
        let description = reason.description().replace('|', "\\|");
        let (number, label) = (*reason as u32, reason.label());
        table.push_str(&format!("| {number} | `{label}` | {description} |\n"));
    }
    table
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const BEGIN: &str = "<!-- drop-reasons:begin -->\n";
    const END: &str = "<!-- drop-reasons:end -->";

    #[test]
    fn the_table_in_the_architecture_document_is_that_of_the_enum() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md");
        let text = std::fs::read_to_string(&path).expect("ARCHITECTURE.md is readable");
        let (before, rest) = text
            .split_once(BEGIN)
            .expect("ARCHITECTURE.md has the begin marker");
        let (written, after) = rest
            .split_once(END)
            .expect("ARCHITECTURE.md has the end marker");
        let expected = drop_reason_table_markdown();
        if std::env::var_os("VPC_BLESS").is_some_and(|value| value == "1") {
            let blessed = [before, BEGIN, &expected, END, after].concat();
            std::fs::write(&path, blessed).expect("ARCHITECTURE.md is writable");
            return;
        }
        assert_eq!(
            written, expected,
            "the drop reasons in ARCHITECTURE.md are out of date: run this test with VPC_BLESS=1"
        );
    }

    #[test]
    fn every_reason_is_listed() {
        let mut out = Vec::new();
        drop_reasons(&mut out).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text.lines().count(), 1 + DropReason::ALL.len());
        assert!(text.contains("29  unsolicited"), "{text}");
        let mut out = Vec::new();
        drop_reasons_json(&mut out).expect("written");
        let reasons: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(reasons[28]["reason"], "unsolicited");
    }
}
