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

use std::{collections::BTreeMap, thread, time::Duration};

use vpc_user::model::HookWish;

use super::Figures;
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

/// The longest time before a sample in which what the last one left is forgotten:
/// connections that end, queues that empty.
const SETTLE: Duration = Duration::from_millis(50);

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
        figures.sample("bulk.idle_busy_pct", cpus::busy_share_when_idle() * 100.0);
        for load in LOADS {
            for way in self.ways {
                self.sample(way, load, figures);
                thread::sleep(SETTLE);
            }
        }
        self.ways.rotate_left(1);
    }

    fn sample(&self, way: Way, load: Load, figures: &mut Figures) {
        let mut add = |figure: &str, value| {
            figures.sample(&format!("bulk.{}_{figure}", way.label), value);
        };
        match load {
            Load::Streams(count, direction) => {
                let seen = streams::transfer(&self.bed, way, count, direction);
                let direction = direction.label();
                add(&format!("tcp{count}_{direction}_gbps"), seen.gbps);
                if count == 1 {
                    let figure = format!("tcp1_{direction}_cpu_ms_per_gbit");
                    add(&figure, seen.cpu_ms_per_gbit);
                }
            }
            Load::Datagrams(frame) => {
                let seen = datagrams::flood(&self.bed, way, frame);
                add(&format!("udp{frame}_pps"), seen.received_pps);
                add(&format!("udp{frame}_sent_pps"), seen.sent_pps);
            }
            Load::Exchanges => {
                let seen = exchanges::measure(&self.bed, way);
                add("rr_p50_us", seen.p50_us);
                add("rr_p99_us", seen.p99_us);
            }
        }
    }
}

/// The figures as a table with a row for each way, and the ratios to the kernel's
/// ways; empty if nothing was measured.
pub fn table(medians: &BTreeMap<String, f64>) -> String {
    table::markdown(medians, &WAYS.map(|way| way.label))
}
