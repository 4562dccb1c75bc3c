//! What bulk transfers cost between two hosts: plain forwarding, nftables
//! masquerade and the NAT by each of its hooks, side by side.
//!
//! Each way has links of its own from the one client to the one server, and every
//! sample of a load is taken on all of them before the next load's turn.

mod bed;
pub(super) mod cpus;
mod datagrams;
pub(super) mod exchanges;
mod ratios;
mod streams;
mod table;

use std::time::Duration;

use vpc_user::model::HookWish;

use super::{Figures, figures::Samples};
use crate::{relay::Card, topology::Medium, wait};
use bed::Bed;
use streams::Direction;

/// How packets get from the client to the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Through {
    /// The kernel forwards.
    Forwarding,
    /// The kernel forwards and nftables masquerades.
    Masquerade,
    /// An agent's environment and uplink, with this hook.
    Nat(HookWish),
}

/// What the client's link is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Inner {
    /// A veth pair, as a container has it.
    Veth,
    /// A tap, as a microVM has it.
    Tap(Card),
}

/// A way from the client to the server, under the name that its figures have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Way {
    /// Another one for each way of a bed.
    number: u8,
    label: &'static str,
    through: Through,
    inner: Inner,
    outer: Medium,
}

impl Way {
    /// From a veth to a veth.
    const fn new(number: u8, label: &'static str, through: Through) -> Self {
        Self {
            number,
            label,
            through,
            inner: Inner::Veth,
            outer: Medium::Veth,
        }
    }

    const fn tap(self, card: Card) -> Self {
        Self {
            inner: Inner::Tap(card),
            ..self
        }
    }

    const fn over(self, outer: Medium) -> Self {
        Self { outer, ..self }
    }
}

const XDP: Through = Through::Nat(HookWish::Xdp);
const TC: Through = Through::Nat(HookWish::Tc);
const AUTO: Through = Through::Nat(HookWish::Auto);

/// The ways between veths.
const VETHS: [Way; 5] = [
    Way::new(1, "forward", Through::Forwarding),
    Way::new(2, "nft", Through::Masquerade),
    Way::new(3, "xdp", XDP),
    Way::new(4, "tc", TC),
    Way::new(5, "auto", AUTO),
];

/// The ways over other kinds of interface, each by the hooks that it has.
const MEDIA: [Way; 10] = [
    Way::new(1, "tap_forward", Through::Forwarding).tap(Card::Offloads),
    Way::new(2, "tap_xdp", XDP).tap(Card::Offloads),
    Way::new(3, "tap_tc", TC).tap(Card::Offloads),
    Way::new(4, "plain_tap_forward", Through::Forwarding).tap(Card::Plain),
    Way::new(5, "plain_tap_xdp", XDP).tap(Card::Plain),
    Way::new(6, "plain_tap_tc", TC).tap(Card::Plain),
    Way::new(7, "bridge_forward", Through::Forwarding).over(Medium::Bridge),
    Way::new(8, "bridge_tc", TC).over(Medium::Bridge),
    Way::new(9, "vxlan_forward", Through::Forwarding).over(Medium::Vxlan),
    Way::new(10, "vxlan_tc", TC).over(Medium::Vxlan),
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

/// Ways, what is carried over them, and which way's turn comes first.
pub struct Bulk {
    /// What the figures' keys begin with.
    group: &'static str,
    bed: Bed,
    ways: Vec<Way>,
    loads: &'static [Load],
}

impl Bulk {
    /// Every load between veths.
    pub fn between_veths() -> Self {
        Self::new("bulk", &VETHS, &LOADS)
    }

    /// One stream each way over other kinds of interface.
    pub fn over_media() -> Self {
        Self::new("media", &MEDIA, &LOADS[..2])
    }

    fn new(group: &'static str, ways: &[Way], loads: &'static [Load]) -> Self {
        Self {
            group,
            bed: Bed::new(ways),
            ways: ways.to_vec(),
            loads,
        }
    }

    /// One sample of each figure.
    pub fn measure(&mut self, figures: &mut Figures) {
        for load in self.loads {
            for way in &self.ways {
                for (figure, value) in self.undisturbed(*way, *load) {
                    figures.sample(&format!("{}.{}_{figure}", self.group, way.label), value);
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

/// The figures as tables with a row for each way, and the ratios to the kernel's
/// ways; empty if nothing was measured.
pub fn tables(samples: &Samples) -> String {
    let bulk = table::markdown("bulk", &VETHS, samples);
    let media = table::markdown("media", &MEDIA, samples);
    format!("{bulk}{media}")
}

/// What the bars are set against, from runs side by side; nothing if nothing was
/// measured.
pub fn ratios(samples: &Samples) -> Samples {
    ratios::of(samples)
}
