//! The index of bindings, with a hundred million of them over thirty days.

use std::{
    fs,
    path::PathBuf,
    process,
    time::{Duration, Instant},
};

use vpc_user::flowlog::bindings::{Binding, Index, Query, Reader, Retention, generate::Generator};

use crate::{bench::Figures, leavings};

const FROM: u64 = 1_790_000_000_000;
const DAY: u64 = 86_400_000;
const TO: u64 = FROM + 30 * DAY;
/// Bindings of a batch.
const BATCH: u64 = 100_000;
const BATCHES: u64 = 1_000;
/// Batches after which it is asked for the first time, to see how it grows.
const FEW: u64 = BATCHES / 10;
/// Questions of one kind in a run.
const QUESTIONS: usize = 500;

/// An index that was filled.
pub struct Filled {
    folder: PathBuf,
    /// Bindings that are in it.
    samples: Vec<Binding>,
}

impl Filled {
    /// Fills one, and asks it when a tenth is there.
    pub fn new(figures: &mut Figures) -> Self {
        let folder = leavings::bench_folder(process::id()).join("index");
        fs::create_dir_all(&folder).expect("make a folder");
        let retention = Retention {
            age_secs: u64::MAX,
            bytes: u64::MAX,
        };
        let index = Index::open(&folder, retention).expect("an empty index");
        let mut filled = Self {
            folder,
            samples: Vec::new(),
        };
        let begun = Instant::now();
        let mut spent = Duration::ZERO;
        for at in 0..BATCHES {
            let length = (TO - FROM) / BATCHES;
            let from = FROM + at * length;
            let bindings = Generator::new(at).batch(from, from + length, BATCH as usize);
            let picked = bindings.iter().step_by(BATCH as usize / 2);
            filled.samples.extend(picked.cloned());
            let writing = Instant::now();
            index.append(at + 1, bindings).expect("append");
            index.compact().expect("compact");
            spent += writing.elapsed();
            if at + 1 == FEW {
                figures.sample("who.query_10m_p99_ms", filled.warm());
            }
            if (at + 1).is_multiple_of(FEW) {
                let millions = (at + 1) * BATCH / 1_000_000;
                eprintln!(
                    "{millions} million flows after {:.0} s",
                    begun.elapsed().as_secs_f64()
                );
            }
        }
        let total = (BATCHES * BATCH) as f64;
        let bytes = filled.bytes() as f64;
        figures.sample("flowlog.index_bytes_per_flow", bytes / total);
        figures.sample(
            "flowlog.index_us_per_flow",
            spent.as_secs_f64() * 1e6 / total,
        );
        filled
    }

    fn bytes(&self) -> u64 {
        let files = fs::read_dir(&self.folder).expect("read the folder");
        let sizes = files.flatten().filter_map(|file| file.metadata().ok());
        sizes.map(|metadata| metadata.len()).sum()
    }

    /// One sample of each figure.
    pub fn measure(&self, figures: &mut Figures) {
        figures.sample("who.query_p99_ms", self.warm());
        let cold = |query: &Query| Reader::new(&self.folder).find(query);
        figures.sample(
            "who.query_cold_p99_ms",
            self.p99(QUESTIONS / 5, who, |query| cold(query).expect("an answer")),
        );
        let reader = Reader::new(&self.folder);
        let ask = |query: &Query| reader.find(query).expect("an answer");
        figures.sample(
            "who.function_hour_p99_ms",
            self.p99(QUESTIONS / 5, function, ask),
        );
        figures.sample(
            "who.any_time_p99_ms",
            self.p99(QUESTIONS / 5, whenever, ask),
        );
    }

    fn warm(&self) -> f64 {
        let reader = Reader::new(&self.folder);
        let ask = |query: &Query| reader.find(query).expect("an answer");
        // What the process knows of the files is read once.
        ask(&who(&self.samples[0]));
        self.p99(QUESTIONS, who, ask)
    }

    /// The time, in milliseconds, that all but a hundredth of the questions need at most.
    fn p99(
        &self,
        questions: usize,
        query: impl Fn(&Binding) -> Query,
        ask: impl Fn(&Query) -> vpc_user::flowlog::bindings::Found,
    ) -> f64 {
        let step = (self.samples.len() / questions).max(1);
        let samples = self.samples.iter().step_by(step).cycle().take(questions);
        let mut times: Vec<f64> = samples
            .map(|binding| {
                let query = query(binding);
                let begun = Instant::now();
                let found = ask(&query);
                let took = begun.elapsed().as_secs_f64() * 1e3;
                assert!(
                    found.bindings.contains(binding) || found.truncated,
                    "{binding:?} is not found"
                );
                assert!(found.skipped.is_empty(), "{:?}", found.skipped);
                took
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[times.len() * 99 / 100]
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(leavings::bench_folder(process::id()));
    }
}

/// Who was behind the address and port at the end of a flow.
fn who(binding: &Binding) -> Query {
    Query {
        address: Some(binding.address),
        ports: Some(binding.port..=binding.port),
        protocol: Some(binding.protocol),
        from: binding.end,
        to: binding.end,
        ..Query::default()
    }
}

/// The same if nobody knows when.
fn whenever(binding: &Binding) -> Query {
    Query {
        from: 0,
        to: u64::MAX,
        ..who(binding)
    }
}

/// Where a function, or an environment without one, was in an hour.
fn function(binding: &Binding) -> Query {
    Query {
        function: binding.function.as_deref().map(str::to_owned),
        environment: binding
            .function
            .is_none()
            .then(|| binding.environment.to_string()),
        from: binding.end,
        to: binding.end + 3_600_000,
        limit: 100_000,
        ..Query::default()
    }
}
