//! Samples, medians, and how they are shown.

use std::{collections::BTreeMap, fmt::Write as _};

/// What is asked of a figure: DESIGN's bars.
const BARS: [(&str, f64); 8] = [
    ("test_run.forward_hot_ns", 40.0),
    ("test_run.forward_random_ns", 130.0),
    ("test_run.reply_hot_ns", 40.0),
    ("test_run.reply_random_ns", 60.0),
    ("test_run.refuse_ns", 30.0),
    ("test_run.sweep_per_slot_ns", 3.0),
    ("veth.ratio_established", 1.0 / 3.0),
    ("veth.ratio_new", 1.0 / 4.0),
];

/// Every figure with its samples.
#[derive(Debug, Default)]
pub struct Figures {
    samples: BTreeMap<String, Vec<f64>>,
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
        self.samples.entry(name.into()).or_default().push(value);
    }

    /// The medians, and the ratios of medians.
    pub fn medians(&self) -> BTreeMap<String, f64> {
        let mut medians: BTreeMap<String, f64> = self
            .samples
            .iter()
            .map(|(name, samples)| (name.clone(), median(samples)))
            .collect();
        for kind in ["established", "new"] {
            let of = |who: &str| medians.get(&format!("veth.{who}_{kind}_ns")).copied();
            if let (Some(ours), Some(nft)) = (of("ours"), of("nft")) {
                medians.insert(format!("veth.ratio_{kind}"), ours / nft);
            }
        }
        medians
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{:34} {:>9} {:>9} {:>9}  bar",
            "figure", "median", "min", "max"
        );
        for (name, value) in self.medians() {
            let samples = self.samples.get(&name).map_or(&[][..], Vec::as_slice);
            let low = samples.iter().copied().fold(value, f64::min);
            let high = samples.iter().copied().fold(value, f64::max);
            let bar = BARS
                .iter()
                .find(|(of, _)| *of == name)
                .map_or(String::new(), |(_, bar)| {
                    let verdict = if value <= *bar { "met" } else { "MISSED" };
                    format!("{bar:.2} {verdict}")
                });
            let _ = writeln!(out, "{name:34} {value:9.2} {low:9.2} {high:9.2}  {bar}");
        }
        for (name, instructions) in &self.verified {
            let _ = writeln!(
                out,
                "{:34} {instructions:9}",
                format!("verified.{name}_insns")
            );
        }
        let bulk = super::bulk::table(&self.samples);
        if !bulk.is_empty() {
            let _ = write!(out, "\n{bulk}");
        }
        out
    }

    /// For programs: one object in one line.
    pub fn json(&self) -> String {
        let mut all: serde_json::Map<String, serde_json::Value> = self
            .medians()
            .into_iter()
            .map(|(name, value)| (name, ((value * 1000.0).round() / 1000.0).into()))
            .collect();
        for (name, instructions) in &self.verified {
            all.insert(format!("verified.{name}_insns"), (*instructions).into());
        }
        serde_json::Value::Object(all).to_string()
    }
}
