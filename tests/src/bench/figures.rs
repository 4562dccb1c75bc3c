//! Samples, medians, and how they are shown.

use std::{collections::BTreeMap, fmt::Write as _};

/// Samples by the names of their figures.
pub type Samples = BTreeMap<String, Vec<f64>>;

/// What is asked of a figure.
#[derive(Clone, Copy)]
enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

use Bar::{AtLeast, AtMost};

const BARS: [(&str, Bar); 36] = [
    ("test_run.forward_hot_ns", AtMost(40.0)),
    ("test_run.forward_random_ns", AtMost(130.0)),
    ("test_run.reply_hot_ns", AtMost(40.0)),
    ("test_run.reply_random_ns", AtMost(60.0)),
    ("test_run.refuse_ns", AtMost(30.0)),
    ("test_run.sweep_per_slot_ns", AtMost(3.0)),
    ("veth.ratio_established", AtMost(1.0 / 3.0)),
    ("veth.ratio_new", AtMost(1.0 / 4.0)),
    ("policy.ratio_established", AtMost(1.05)),
    ("policy.ratio_new_flow", AtMost(2.0)),
    ("policy.change_to_effect_ms", AtMost(10.0)),
    ("policy.compile_ms", AtMost(500.0)),
    ("policy.recompile_ms", AtMost(5.0)),
    ("bulk.auto_tcp1_up_to_forward", AtLeast(0.95)),
    ("bulk.auto_tcp1_down_to_forward", AtLeast(0.95)),
    ("bulk.auto_tcp1_up_to_nft", AtLeast(1.0)),
    ("bulk.auto_tcp1_down_to_nft", AtLeast(1.0)),
    ("bulk.auto_cpu_up_to_nft", AtMost(1.0)),
    ("bulk.auto_cpu_down_to_nft", AtMost(1.0)),
    ("bulk.auto_rr_p99_over_forward_us", AtMost(10.0)),
    ("control.new_eni_first_packet_ms", AtMost(50.0)),
    ("control.attach_p99_us", AtMost(1_000.0)),
    ("control.attach_10k_s", AtMost(10.0)),
    ("control.last_over_first", AtMost(1.2)),
    ("control.full_reconcile_ms", AtMost(1_000.0)),
    ("control.one_change_ms", AtMost(5.0)),
    ("control.restart_ms", AtMost(2_000.0)),
    ("control.restart_lost", AtMost(0.0)),
    ("flood.p99_ratio", AtMost(1.05)),
    ("flowlog.records_per_s", AtLeast(500_000.0)),
    ("flowlog.parquet_per_s", AtLeast(200_000.0)),
    ("flowlog.overhead_pct", AtMost(3.0)),
    ("flowlog.index_bytes_per_flow", AtMost(24.0)),
    ("flowlog.million_memory_mib", AtMost(200.0)),
    ("who.query_p99_ms", AtMost(200.0)),
    ("who.query_cold_p99_ms", AtMost(200.0)),
];

/// One of each run. A ratio is that of one run's figures, and its median not the
/// ratio of the medians: samples of one run lie seconds apart, runs minutes, and on a
/// machine that is slow for a minute both sides of a ratio are.
pub fn side_by_side(ours: &[f64], theirs: &[f64], of: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let pairs = ours.iter().zip(theirs);
    pairs.map(|(ours, theirs)| of(*ours, *theirs)).collect()
}

impl Bar {
    fn verdict(self, value: f64) -> String {
        let (sign, bar, met) = match self {
            AtMost(bar) => ("<=", bar, value <= bar),
            AtLeast(bar) => (">=", bar, value >= bar),
        };
        let verdict = if met { "met" } else { "MISSED" };
        format!("{sign} {bar:.2} {verdict}")
    }
}

/// Every figure with its samples.
#[derive(Debug, Default)]
pub struct Figures {
    samples: Samples,
    /// Verified instructions of each program.
    pub verified: BTreeMap<String, u32>,
}

/// The middle sample, or the upper of the two; NaN of none.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Figures {
    /// Adds a sample of a figure.
    pub fn sample(&mut self, name: &str, value: f64) {
        if ["control.", "flowlog.", "who."]
            .iter()
            .any(|group| name.starts_with(group))
        {
            // A run takes minutes.
            eprintln!("{name} {value:.2}");
        }
        self.samples.entry(name.into()).or_default().push(value);
    }

    /// What was measured, and what follows from it.
    fn all(&self) -> Samples {
        let mut all = self.samples.clone();
        all.extend(super::bulk::ratios(&self.samples));
        all.extend(super::live::ratios(&self.samples));
        all.extend(super::policy::ratios(&self.samples));
        all.extend(super::flood::ratios(&self.samples));
        all
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{:38} {:>11} {:>11} {:>11}  bar",
            "figure", "median", "min", "max"
        );
        for (name, samples) in self.all() {
            let value = median(&samples);
            let low = samples.iter().copied().fold(value, f64::min);
            let high = samples.iter().copied().fold(value, f64::max);
            let bar = BARS.iter().find(|(of, _)| *of == name);
            let bar = bar.map_or(String::new(), |(_, bar)| bar.verdict(value));
            let _ = writeln!(out, "{name:38} {value:11.2} {low:11.2} {high:11.2}  {bar}");
        }
        for (name, instructions) in &self.verified {
            let _ = writeln!(
                out,
                "{:38} {instructions:11}",
                format!("verified.{name}_insns")
            );
        }
        out.push_str(&super::policy::table(&self.samples));
        out.push_str(&super::bulk::tables(&self.samples));
        out
    }

    /// For programs: one object in one line. A figure with a third part to its name is
    /// an object by that part.
    pub fn json(&self) -> String {
        let mut all = serde_json::Map::new();
        for (name, samples) in self.all() {
            let value = (median(&samples) * 1000.0).round() / 1000.0;
            match name.rsplit_once('.') {
                Some((figure, part)) if figure.contains('.') => {
                    let by_part = all.entry(figure).or_insert_with(|| serde_json::json!({}));
                    by_part[part] = value.into();
                }
                _ => {
                    all.insert(name, value.into());
                }
            }
        }
        for (name, instructions) in &self.verified {
            all.insert(format!("verified.{name}_insns"), (*instructions).into());
        }
        serde_json::Value::Object(all).to_string()
    }
}
