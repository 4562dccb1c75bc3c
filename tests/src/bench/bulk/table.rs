//! The figures side by side.

use std::fmt::Write as _;

use super::{Through, Way};
use crate::bench::figures::{Samples, median, side_by_side};

/// Room for the name of a row.
const NAME_WIDTH: usize = 33;

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

/// Markdown: a row for each way of a group, then for each by the NAT its ratios to
/// the kernel's ways over the same links. Figures that were not measured have no
/// column.
pub fn markdown(group: &str, ways: &[Way], samples: &Samples) -> String {
    let of = |way: &Way, column: &Column| {
        let found = samples.get(&format!("{group}.{}_{}", way.label, column.figure));
        found.map_or(&[][..], Vec::as_slice)
    };
    let is_measured = |column: &&Column| ways.iter().any(|way| !of(way, column).is_empty());
    let columns: Vec<&Column> = COLUMNS.iter().filter(is_measured).collect();
    if columns.is_empty() {
        return String::new();
    }
    let mut out = head(&columns);
    for way in ways {
        row(&mut out, &columns, way.label, |column| {
            let value = median(of(way, column)) / column.unit;
            format!("{value:.*}", column.decimals)
        });
    }
    let is_kernels = |way: &&Way| !matches!(way.through, Through::Nat(_));
    for rival in ways.iter().filter(is_kernels) {
        let beside = |way: &&Way| (way.inner, way.outer) == (rival.inner, rival.outer);
        for way in ways.iter().filter(|way| !is_kernels(way)).filter(beside) {
            let name = format!("{} / {}", way.label, rival.label);
            row(&mut out, &columns, &name, |column| {
                let ratios = side_by_side(of(way, column), of(rival, column), |a, b| a / b);
                format!("{:.2}", median(&ratios))
            });
        }
    }
    out
}

fn head(columns: &[&Column]) -> String {
    let mut out = format!("\n| {:NAME_WIDTH$} |", "way");
    for column in columns {
        let _ = write!(out, " {} |", column.heading);
    }
    let _ = write!(out, "\n| {} |", "-".repeat(NAME_WIDTH));
    for column in columns {
        let dashes = column.heading.chars().count() - 1;
        let _ = write!(out, " {}: |", "-".repeat(dashes));
    }
    out.push('\n');
    out
}

fn row(out: &mut String, columns: &[&Column], name: &str, cell: impl Fn(&Column) -> String) {
    let _ = write!(out, "| {name:NAME_WIDTH$} |");
    for column in columns {
        let width = column.heading.chars().count();
        let text = cell(column);
        let _ = write!(out, " {text:>width$} |");
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::{super::VETHS, *};

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
        let text = markdown("bulk", &VETHS[..3], &samples);
        let row = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split('|').nth(2).unwrap().trim().to_owned()
        };
        assert_eq!(row("| xdp  "), "8.0");
        assert_eq!(row("| xdp / forward"), "0.44");
        assert_eq!(row("| xdp / nft"), "0.50");
        assert_eq!(text.trim().lines().count(), 2 + 3 + 2);
        assert!(!text.contains("udp64"), "{text}");
    }

    #[test]
    fn a_way_is_compared_over_its_own_links_alone() {
        use super::super::MEDIA;
        let measured = MEDIA.map(|way| (format!("media.{}_tcp1_up_gbps", way.label), vec![1.0]));
        let text = markdown("media", &MEDIA, &measured.into());
        assert!(text.contains("| tap_tc / tap_forward "), "{text}");
        assert!(!text.contains("| tap_tc / bridge_forward "), "{text}");
    }

    #[test]
    fn without_figures_there_is_no_table() {
        assert_eq!(markdown("bulk", &VETHS, &Samples::new()), "");
    }
}
