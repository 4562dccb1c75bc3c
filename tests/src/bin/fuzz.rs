//! A target, driven by libFuzzer, whose options are this program's. Built and started by
//! `cargo xtask fuzz`, which says by the environment what to do:
//!
//! * `VPC_FUZZ_TARGET`: the name of the target;
//! * `VPC_FUZZ_SEEDS`: write the target's seeds and its dictionary into this folder, and end.

#![no_main]

use std::{
    collections::BTreeSet,
    env, fs, iter,
    path::Path,
    process,
    sync::{LazyLock, OnceLock},
};

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use tests::fuzz::{Target, lines};

/// Words of a dictionary at most: of more, each is tried too rarely.
const WORDS_MAX: usize = 600;

static TARGET: OnceLock<&Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = env::var("VPC_FUZZ_TARGET").expect("VPC_FUZZ_TARGET names a target");
        let target = Target::named(&name).expect("VPC_FUZZ_TARGET names a target that there is");
        if let Some(folder) = env::var_os("VPC_FUZZ_SEEDS") {
            write_seeds(target, Path::new(&folder));
            process::exit(0);
        }
        // What a first run has to load, it loads before runs are timed: for either hook.
        for input in [[0_u8], [1]] {
            (target.run)(&input);
        }
        TARGET.get_or_init(|| target);
    },
    |input: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(input);
        }
    }
);

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let in_lines = TARGET.get().is_some_and(|target| target.in_lines);
    if !in_lines || seed % 2 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        TARGET
            .get()
            .map_or_else(Vec::new, |target| (target.seeds)())
    });
    let stock = SEEDS
        .iter()
        .flat_map(|story| story.split(|byte| *byte == b'\n'));
    let stock: Vec<&[u8]> = stock.filter(|line| !line.is_empty()).collect();
    let changed = lines::change(&data[..size], &stock, seed.into());
    let len = changed.len().min(max_size);
    data[..len].copy_from_slice(&changed[..len]);
    len
});

fn write_seeds(target: &Target, folder: &Path) {
    let seeds = (target.seeds)();
    for (number, seed) in seeds.iter().enumerate() {
        let len = seed.len().min(target.len_max);
        fs::write(folder.join(format!("seed-{number}")), &seed[..len]).expect("write a seed");
    }
    let words: BTreeSet<&str> = seeds.iter().flat_map(|seed| words(seed)).collect();
    let lines = words
        .iter()
        .take(WORDS_MAX)
        .map(|word| format!("\"{word}\"\n"));
    // libFuzzer refuses an empty one.
    let dictionary: String = iter::once("# words\n".to_owned()).chain(lines).collect();
    fs::write(folder.join("../dictionary"), dictionary).expect("write the dictionary");
    fs::write(folder.join("../len_max"), target.len_max.to_string()).expect("write a number");
}

/// What a text consists of; nothing if it is none.
fn words(seed: &[u8]) -> impl Iterator<Item = &str> {
    let text = std::str::from_utf8(seed).unwrap_or_default();
    let text = if text.contains('\0') { "" } else { text };
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-@:./".contains(c);
    let words = text.split(move |c| !is_part(c));
    words.filter(|word| (3..=40).contains(&word.len()))
}
