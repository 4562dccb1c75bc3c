//! Figures on veth pairs: frames of the kernel's live-frame generator go in at one
//! end, through what is measured, and are counted at the other. One CPU does
//! everything, so a figure holds the generator and the veth pairs too, the same
//! for all.

use std::time::{Duration, Instant};

use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions};

use super::{
    Figures,
    figures::{Samples, side_by_side},
    rig::{Rig, Setting},
    test_run::{context, frame, kernels, ours},
};

/// Flows of the established figures.
const FLOWS: u32 = 16_384;
/// Frames of an established sample.
const FRAMES: u32 = 500_000;
/// New flows of a sample.
const NEW: u32 = 32_768;
/// Frames the generator sends before the receiving side has its turn: well below
/// the 256 that a veth's ring holds.
const BATCH: u32 = 64;
const UDP: u8 = 17;
const UP: u32 = u32::MAX;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Ours,
    /// Ours by the other hook, as of a NIC whose driver has no XDP.
    Tc,
    Nft,
    Redirect,
}

impl Way {
    const fn label(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Tc => "tc",
            Self::Nft => "nft",
            Self::Redirect => "redirect",
        }
    }

    const fn entrance(self) -> &'static str {
        match self {
            Self::Ours => "g0",
            Self::Tc => "t0",
            Self::Nft => "n0",
            Self::Redirect => "r0",
        }
    }

    fn setting(self, mask: u32, next: u64) -> Setting {
        match self {
            Self::Nft => kernels(mask, next),
            Self::Ours | Self::Tc | Self::Redirect => ours(mask, next, UDP, 0),
        }
    }

    fn sunk(self, rig: &Rig) -> u64 {
        match self {
            Self::Nft => Rig::sunk_by_kernel(),
            Self::Ours | Self::Tc | Self::Redirect => rig.sunk(),
        }
    }
}

/// Sends frames and returns nanoseconds per frame; all must arrive.
fn send(rig: &mut Rig, way: Way, setting: Setting, frames: u32) -> f64 {
    rig.generate_into(way.entrance());
    rig.set(setting);
    let before = way.sunk(rig);
    let (frame, context) = (frame(UDP), context(1));
    let program = rig.xdp("bench_generate");
    let result = program.test_run(TestRunOptions {
        data_in: Some(&frame),
        ctx_in: Some(&context),
        repeat: frames,
        attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
        ..Default::default()
    });
    // The kernel's own figure: the call takes tens of milliseconds besides.
    let per_frame = result.expect("the generator runs").duration;
    let arrived = || way.sunk(rig) - before;
    let deadline = Instant::now() + Duration::from_secs(5);
    while arrived() < u64::from(frames) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    let arrived = arrived();
    assert_eq!(
        arrived,
        u64::from(frames),
        "{}: frames that arrived",
        way.label()
    );
    per_frame.as_nanos() as f64
}

/// One sample of each figure.
pub fn measure(rig: &mut Rig, figures: &mut Figures) {
    let ways = [Way::Redirect, Way::Ours, Way::Tc, Way::Nft];
    for way in ways {
        send(rig, way, way.setting(UP, 0), FLOWS);
    }
    for way in ways {
        let value = send(rig, way, way.setting(FLOWS - 1, 0), FRAMES);
        figures.sample(&format!("veth.{}_established_ns", way.label()), value);
    }
    rig.end_all_flows();
    // The kernel's entries stay from sample to sample, so its numbers go on; ours
    // ended a moment ago.
    let first = u64::from(FLOWS) + rig.fresh(u64::from(NEW));
    for way in ways {
        let value = send(rig, way, way.setting(UP, first), NEW);
        figures.sample(&format!("veth.{}_new_ns", way.label()), value);
    }
    rig.end_all_flows();
}

/// What ours takes of what nftables takes, run by run.
pub fn ratios(samples: &Samples) -> Samples {
    let mut ratios = Samples::new();
    for kind in ["established", "new"] {
        for (way, name) in [(Way::Ours, ""), (Way::Tc, "tc_")] {
            let of = |way: Way| samples.get(&format!("veth.{}_{kind}_ns", way.label()));
            if let (Some(ours), Some(nft)) = (of(way), of(Way::Nft)) {
                let values = side_by_side(ours, nft, |ours, nft| ours / nft);
                ratios.insert(format!("veth.ratio_{name}{kind}"), values);
            }
        }
    }
    ratios
}
