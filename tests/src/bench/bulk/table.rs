//! The figures side by side.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::bench::figures::median;

/// A column: what a way's figure ends in, its heading, what it is divided by and
/// how many decimals are shown.
struct Column {
    figure: &'static str,
    heading: &'static str,
    unit: f64,
    decimals: usize,
}

const fn column(figure: &'static str, heading: &'static str, unit: f64, decimals: usize) -> Column {
    Column {
        figure,
        heading,
        unit,
        decimals,
    }
}

const COLUMNS: [Column; 10] = [
    column("tcp1_up_gbps", "tcp1 up, Gbit/s", 1.0, 1),
    column("tcp1_down_gbps", "tcp1 down", 1.0, 1),
    column("tcp4_up_gbps", "tcp4 up", 1.0, 1),
    column("tcp4_down_gbps", "tcp4 down", 1.0, 1),
    column("tcp1_up_cpu_ms_per_gbit", "CPU up, ms/Gbit", 1.0, 0),
    column("tcp1_down_cpu_ms_per_gbit", "CPU down", 1.0, 0),
    column("udp64_pps", "udp64, kpps", 1_000.0, 0),
    column("udp1400_pps", "udp1400", 1_000.0, 0),
    column("rr_p50_us", "rr p50, µs", 1.0, 1),
    column("rr_p99_us", "rr p99", 1.0, 1),
];

/// The kernel's ways, which the others are compared with.
const RIVALS: [&str; 2] = ["forward", "nft"];

/// Markdown: a row for each way, then for each of the others its ratios to the
/// kernel's ways. A ratio is the median of the runs' ratios, not the ratio of the
/// medians: samples of one run lie seconds apart, runs minutes, and on a machine
/// that is slow for a minute both sides of a ratio are.
pub fn markdown(samples: &BTreeMap<String, Vec<f64>>, ways: &[&str]) -> String {
    let of = |way: &str, column: &Column| {
        let found = samples.get(&format!("bulk.{way}_{}", column.figure));
        found.map_or(&[][..], Vec::as_slice)
    };
    if !ways.iter().any(|way| !of(way, &COLUMNS[0]).is_empty()) {
        return String::new();
    }
    let mut out = head();
    for way in ways {
        row(&mut out, way, |column| {
            let value = median(of(way, column)) / column.unit;
            format!("{value:.*}", column.decimals)
        });
    }
    for rival in RIVALS {
        for way in ways.iter().filter(|way| !RIVALS.contains(way)) {
            row(&mut out, &format!("{way} / {rival}"), |column| {
                let pairs = of(way, column).iter().zip(of(rival, column));
                let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
                format!("{:.2}", median(&ratios))
            });
        }
    }
    out
}

fn head() -> String {
    let mut out = format!("| {:13} |", "way");
    for column in &COLUMNS {
        let _ = write!(out, " {} |", column.heading);
    }
    let _ = write!(out, "\n| {} |", "-".repeat(13));
    for column in &COLUMNS {
        let _ = write!(
            out,
            " {}: |",
            "-".repeat(column.heading.chars().count() - 1)
        );
    }
    out.push('\n');
    out
}

fn row(out: &mut String, name: &str, cell: impl Fn(&Column) -> String) {
    let _ = write!(out, "| {name:13} |");
    for column in &COLUMNS {
        let width = column.heading.chars().count();
        let text = cell(column);
        let _ = write!(out, " {text:>width$} |");
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_has_a_row_of_medians_and_one_of_median_ratios_to_each_rival() {
        let runs = [
            ("forward", [18.0, 9.0, 18.0]),
            ("nft", [16.0, 8.0, 10.0]),
            ("xdp", [8.0, 4.0, 9.0]),
        ];
        let samples = runs
            .map(|(way, gbps)| (format!("bulk.{way}_tcp1_up_gbps"), gbps.to_vec()))
            .into();
        let text = markdown(&samples, &["forward", "nft", "xdp"]);
        let row = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split('|').nth(2).unwrap().trim().to_owned()
        };
        assert_eq!(row("| xdp  "), "8.0");
        assert_eq!(row("| xdp / forward"), "0.44");
        assert_eq!(row("| xdp / nft"), "0.50");
        assert_eq!(text.lines().count(), 2 + 3 + 2);
    }

    #[test]
    fn without_figures_there_is_no_table() {
        assert_eq!(markdown(&BTreeMap::new(), &["forward"]), "");
    }
}
