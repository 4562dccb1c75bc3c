//! What the NAT as its users get it, `auto`, is to the kernel's ways.

use crate::bench::figures::{Samples, side_by_side};

/// A figure of `auto` beside the same one of a way of the kernel's.
struct Ratio {
    name: &'static str,
    figure: &'static str,
    rival: &'static str,
    of: fn(f64, f64) -> f64,
}

const fn quotient(name: &'static str, figure: &'static str, rival: &'static str) -> Ratio {
    Ratio {
        name,
        figure,
        rival,
        of: |ours, theirs| ours / theirs,
    }
}

const RATIOS: [Ratio; 7] = [
    quotient("tcp1_up_to_forward", "tcp1_up_gbps", "forward"),
    quotient("tcp1_down_to_forward", "tcp1_down_gbps", "forward"),
    quotient("tcp1_up_to_nft", "tcp1_up_gbps", "nft"),
    quotient("tcp1_down_to_nft", "tcp1_down_gbps", "nft"),
    quotient("cpu_up_to_nft", "tcp1_up_cpu_ms_per_gbit", "nft"),
    quotient("cpu_down_to_nft", "tcp1_down_cpu_ms_per_gbit", "nft"),
    Ratio {
        name: "rr_p99_over_forward_us",
        figure: "rr_p99_us",
        rival: "forward",
        of: |ours, theirs| ours - theirs,
    },
];

/// The samples of every ratio.
pub fn of(samples: &Samples) -> Samples {
    let ratio = |ratio: &Ratio| {
        let samples = |way| samples.get(&format!("bulk.{way}_{}", ratio.figure));
        let pair = samples("auto").zip(samples(ratio.rival));
        let values = pair.map(|(ours, theirs)| side_by_side(ours, theirs, ratio.of));
        values.map(|values| (format!("bulk.auto_{}", ratio.name), values))
    };
    RATIOS.iter().filter_map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_run() {
        let samples = [
            ("bulk.auto_tcp1_up_gbps", vec![9.0, 5.0]),
            ("bulk.forward_tcp1_up_gbps", vec![10.0, 5.0]),
            ("bulk.auto_rr_p99_us", vec![30.0]),
            ("bulk.forward_rr_p99_us", vec![28.0]),
        ]
        .map(|(name, values)| (name.to_owned(), values));
        let expected = [
            ("bulk.auto_tcp1_up_to_forward", vec![0.9, 1.0]),
            ("bulk.auto_rr_p99_over_forward_us", vec![2.0]),
        ]
        .map(|(name, values)| (name.to_owned(), values));
        assert_eq!(of(&samples.into()), expected.into());
    }
}
