//! How the keys of flows are hashed, drawn when the tables are made. A sum of products maps
//! keys in a row, such as the ports that a stack counts up, to places in a row, and in one of
//! fifty draws these fall on few buckets: such a draw is thrown away.

use std::{fs, io};

use vpc_common::{
    addr::{Addr, Port, V4},
    flow_index,
    layout::{Bucket, FlowHash, FlowKey, Limits},
    state::UDP,
};

use super::start_error::StartError;

const SOURCE: &str = "/dev/urandom";
/// Draws until the last one is taken as it is.
const DRAWS: usize = 64;
/// Keys of a pattern, at most.
const KEYS: u32 = 1 << 17;
/// Ports of an environment in a row.
const PORTS: u32 = 64_000;

/// Secret multipliers, so that nobody outside can tell the bucket of a flow.
pub fn draw(limits: &Limits) -> Result<FlowHash, StartError> {
    let failed = |source| StartError::Io {
        path: SOURCE.into(),
        source,
    };
    let mut source = fs::File::open(SOURCE).map_err(failed)?;
    let mut hash = FlowHash {
        multipliers: [0; 8],
        mask: limits.buckets() - 1,
        reserved: 0,
    };
    for _ in 0..DRAWS {
        let mut bytes = [0; 64];
        io::Read::read_exact(&mut source, &mut bytes).map_err(failed)?;
        let (words, _) = bytes.as_chunks::<8>();
        for (multiplier, word) in hash.multipliers.iter_mut().zip(words) {
            *multiplier = u64::from_ne_bytes(*word);
        }
        if spreads(&hash) {
            break;
        }
    }
    Ok(hash)
}

/// A key of a pattern: environment, port, remote.
type Member = (u32, u32, u32);

/// Whether keys in a row find room, with as many of them as there are buckets: half of all
/// slots.
fn spreads(hash: &FlowHash) -> bool {
    let count = KEYS.min(hash.mask + 1);
    let patterns: [fn(u32) -> Member; 4] = [
        // The ports of one after the other, of several at a time,
        // of many; and one port to remotes in a row.
        |n| (n / PORTS, n % PORTS, 0),
        |n| (n % 2, n / 2, 0),
        |n| (n % 256, n / 256, 0),
        |n| (0, 0, n),
    ];
    patterns
        .iter()
        .all(|pattern| finds_room(hash, (0..count).map(pattern)))
}

fn finds_room(hash: &FlowHash, keys: impl Iterator<Item = Member>) -> bool {
    let mut taken = vec![0_usize; hash.mask as usize + 1];
    for (environment, port, remote) in keys {
        let remote = Addr::from_v4(V4::new((0x0a00_0000 + remote).to_be_bytes()));
        let port = Port::new((1_024 + port) as u16);
        let key = FlowKey::new(environment as u16, UDP, 1, remote, port, Port::new(443));
        let buckets = flow_index::buckets_of(hash, &key);
        let free = buckets
            .into_iter()
            .find(|bucket| taken[*bucket as usize] < Bucket::ENTRIES);
        let Some(bucket) = free else {
            return false;
        };
        taken[bucket as usize] += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some draws, and whether each is good.
    fn draws() -> impl Iterator<Item = (FlowHash, bool)> {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        (0..200).map(move |_| {
            let multipliers = std::array::from_fn(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random.wrapping_mul(0x2545_f491_4f6c_dd1d)
            });
            let hash = FlowHash {
                multipliers,
                mask: Limits::DEFAULT.buckets() / 2 - 1,
                reserved: 0,
            };
            (hash, spreads(&hash))
        })
    }

    #[test]
    fn most_draws_are_good_and_some_are_not() {
        let good = draws().filter(|(_, good)| *good).count();
        assert!((150..200).contains(&good), "{good} of 200");
    }

    #[test]
    fn ports_that_fall_on_few_buckets_are_no_draw() {
        let (mut hash, _) = draws().find(|(_, good)| *good).expect("a good one");
        hash.multipliers[6] = 1 << 40;
        assert!(!spreads(&hash));
    }

    #[test]
    fn what_is_drawn_is_good_for_any_size() {
        for blocks in [1, 16, 2_048] {
            let limits = Limits {
                blocks,
                ..Limits::DEFAULT
            };
            let hash = draw(&limits).expect("random numbers");
            assert_eq!(hash.mask + 1, limits.buckets());
            assert!(spreads(&hash), "{blocks} blocks");
        }
    }
}
