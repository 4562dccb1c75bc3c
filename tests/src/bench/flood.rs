//! What the neighbour of an environment notices that opens flows as fast as it can: its
//! exchanges keep to one CPU and the flood to another, as far as there are two.

use std::{
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use super::{
    Figures,
    bulk::{
        cpus::{self, Cpu},
        exchanges::{self, Seen},
    },
    figures::{Samples, side_by_side},
};
use crate::{
    plan::Plan,
    tap::Tap,
    topology::RESOURCE,
    world::{World, outbound},
};

const PORT: u16 = 9_002;
/// Open flows that the flooding environment may have.
const QUOTA: u32 = 1_000;
/// Samples of each kind in a run, one after the other.
const PAIRS: usize = 5;

/// Two environments of one tenant.
pub struct Flood {
    world: World,
    listener: TcpListener,
}

impl Flood {
    /// Attaches them.
    pub fn start() -> Self {
        let mut plan = Plan::blue(2);
        plan.environments[0].flow_quota = QUOTA;
        let world = World::start(plan);
        let listener = world.tenant(0).run(|| TcpListener::bind((RESOURCE, PORT)));
        let listener = listener.expect("listen");
        Self { world, listener }
    }

    /// Samples in turn without a flood and with one.
    pub fn measure(&mut self, figures: &mut Figures) {
        for _ in 0..PAIRS {
            let calm = self.exchange();
            let before = self.refused();
            let (flooded, per_second) = self.beside_a_flood();
            let refused = self.refused() - before;
            assert!(refused > u64::from(QUOTA), "no flood: {refused} refused");
            figures.sample("flood.calm_p50_us", calm.p50_us);
            figures.sample("flood.calm_p99_us", calm.p99_us);
            figures.sample("flood.flooded_p50_us", flooded.p50_us);
            figures.sample("flood.flooded_p99_us", flooded.p99_us);
            figures.sample("flood.frames_per_s", per_second);
        }
    }

    fn exchange(&self) -> Seen {
        let client = self.world.env(1);
        let client = client.run(|| TcpStream::connect((RESOURCE, PORT)));
        let client = client.expect("connect");
        let (server, _) = self.listener.accept().expect("accept");
        exchanges::between(&client, &server, Cpu::Last)
    }

    /// Exchanges while frames that each want a flow are sent, and how many a second.
    fn beside_a_flood(&self) -> (Seen, f64) {
        let (begun, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let flooding = scope.spawn(|| {
                cpus::keep_to(Cpu::First);
                self.flood(&begun, &stop)
            });
            while !begun.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            let seen = self.exchange();
            stop.store(true, Ordering::Relaxed);
            let per_second = flooding.join();
            let per_second = per_second.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (seen, per_second)
        })
    }

    fn flood(&self, begun: &AtomicBool, stop: &AtomicBool) -> f64 {
        let tap = Tap::open(self.world.env(0));
        let frame = |number: u64| outbound(1_024 + (number % 60_000) as u16, 9_999).udp(b"more");
        let frames: Vec<_> = (0..60_000).map(frame).collect();
        let (start, mut sent) = (Instant::now(), 0_u64);
        for frame in frames.iter().cycle() {
            tap.send(frame);
            sent += 1;
            begun.store(true, Ordering::Relaxed);
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        sent as f64 / start.elapsed().as_secs_f64()
    }

    /// Packets dropped so far for the quota.
    fn refused(&self) -> u64 {
        let reason = vpc_common::drop::DropReason::EnvironmentQuota;
        self.world.drop_count(reason)
    }
}

/// What a flood makes of the 99th percentile, sample by sample.
pub fn ratios(samples: &Samples) -> Samples {
    let of = |name: &str| samples.get(name);
    let both = of("flood.flooded_p99_us").zip(of("flood.calm_p99_us"));
    let ratio = both.map(|(flooded, calm)| {
        let values = side_by_side(flooded, calm, |flooded, calm| flooded / calm);
        ("flood.p99_ratio".to_owned(), values)
    });
    ratio.into_iter().collect()
}
