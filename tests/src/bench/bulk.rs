//! What bulk transfers cost between two hosts: plain forwarding, nftables
//! masquerade and the NAT by each of its hooks, side by side.
//!
//! Each way has a link of its own from the one client to the one server, and every
//! sample of a load is taken on all of them before the next load's turn.

mod bed;
mod cpus;
mod datagrams;
mod exchanges;
mod streams;
mod table;

use std::{collections::BTreeMap, time::Duration};

use vpc_user::model::HookWish;

use super::Figures;
use crate::wait;
use bed::Bed;
use streams::Direction;

/// How packets get from the client to the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Through {
    /// The kernel forwards.
    Forwarding,
    /// The kernel forwards and nftables masquerades.
    Masquerade,
    /// An agent's environment and uplink, with this hook.
    Nat(HookWish),
}

/// A way from the client to the server, under the name that its figures have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Way {
    label: &'static str,
    through: Through,
}

impl Way {
    const fn new(label: &'static str, through: Through) -> Self {
        Self { label, through }
    }
}

/// Everything that is measured.
const WAYS: [Way; 5] = [
    Way::new("forward", Through::Forwarding),
    Way::new("nft", Through::Masquerade),
    Way::new("xdp", Through::Nat(HookWish::Xdp)),
    Way::new("tc", Through::Nat(HookWish::Tc)),
    Way::new("auto", Through::Nat(HookWish::Auto)),
];

/// How often a sample is taken anew because something else ran meanwhile.
const TRIES: u32 = 3;
/// How long others may keep the machine busy.
const BUSY: Duration = Duration::from_secs(20);
/// CPU time that a hypervisor may take away during a sample, in milliseconds.
const STOLEN_MS: f64 = 20.0;

/// What is carried.
#[derive(Clone, Copy, Debug)]
enum Load {
    Streams(usize, Direction),
    /// Length of the frames.
    Datagrams(usize),
    Exchanges,
}

const LOADS: [Load; 7] = [
    Load::Streams(1, Direction::Up),
    Load::Streams(1, Direction::Down),
    Load::Streams(4, Direction::Up),
    Load::Streams(4, Direction::Down),
    Load::Datagrams(64),
    Load::Datagrams(1_400),
    Load::Exchanges,
];

/// The links, and which way's turn comes first.
pub struct Bulk {
    bed: Bed,
    ways: [Way; WAYS.len()],
}

impl Bulk {
    /// Sets everything up.
    pub fn new() -> Self {
        Self {
            bed: Bed::new(&WAYS),
            ways: WAYS,
        }
    }

    /// One sample of each figure.
    pub fn measure(&mut self, figures: &mut Figures) {
        for load in LOADS {
            for way in self.ways {
                for (figure, value) in self.undisturbed(way, load) {
                    figures.sample(&format!("bulk.{}_{figure}", way.label), value);
                }
            }
        }
        self.ways.rotate_left(1);
    }

    /// A sample, taken anew while there are signs that the machine had other things
    /// to do as well: it is not idle right afterwards, or was taken away. The last
    /// try counts in any case.
    fn undisturbed(&self, way: Way, load: Load) -> Vec<(String, f64)> {
        for _ in 1..TRIES {
            wait::eventually(BUSY, cpus::idle);
            let before = cpus::Times::now();
            let sample = self.sample(way, load);
            let stolen_ms = cpus::Times::now().stolen_ms - before.stolen_ms;
            if stolen_ms <= STOLEN_MS && cpus::idle() {
                return sample;
            }
            eprintln!("{} {load:?}: disturbed, once more", way.label);
        }
        self.sample(way, load)
    }

    fn sample(&self, way: Way, load: Load) -> Vec<(String, f64)> {
        match load {
            Load::Streams(count, direction) => {
                let seen = streams::transfer(&self.bed, way, count, direction);
                let name = format!("tcp{count}_{}", direction.label());
                let mut figures = vec![(format!("{name}_gbps"), seen.gbps)];
                if count == 1 {
                    figures.push((format!("{name}_cpu_ms_per_gbit"), seen.cpu_ms_per_gbit));
                }
                figures
            }
            Load::Datagrams(frame) => {
                let seen = datagrams::flood(&self.bed, way, frame);
                vec![
                    (format!("udp{frame}_pps"), seen.received_pps),
                    (format!("udp{frame}_sent_pps"), seen.sent_pps),
                ]
            }
            Load::Exchanges => {
                let seen = exchanges::measure(&self.bed, way);
                vec![
                    ("rr_p50_us".to_owned(), seen.p50_us),
                    ("rr_p99_us".to_owned(), seen.p99_us),
                ]
            }
        }
    }
}

/// The figures as a table with a row for each way, and the ratios to the kernel's
/// ways; empty if nothing was measured.
pub fn table(samples: &BTreeMap<String, Vec<f64>>) -> String {
    table::markdown(samples, &WAYS.map(|way| way.label))
}
