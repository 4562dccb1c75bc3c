//! `cargo xtask bench`: what the data path costs, side by side with a bare
//! redirect, nftables masquerade and plain forwarding.

use std::process::ExitCode;

use clap::Parser;
use tests::{
    bench::{self, Group, Options},
    leavings,
};

/// Measures the data path: by program test run, on veth pairs against nftables
/// masquerade and a bare redirect, and by TCP and UDP transfers against nftables
/// masquerade and plain forwarding. Every figure is the median of interleaved
/// runs. Needs root; touches nothing outside network namespaces and folders of
/// bpffs of its own.
#[derive(Parser)]
struct Arguments {
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// How often each figure is measured; the median counts.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(5..=99))]
    runs: u32,
    /// Measure these groups of figures and no others; may be repeated.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "GROUP", default_values_t = Group::ALL)]
    only: Vec<Group>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !nix::unistd::geteuid().is_root() {
        eprintln!("bench: programs are loaded and namespaces made, so run it as root");
        return ExitCode::from(2);
    }
    leavings::remove_on_signals();
    let options = Options {
        runs: arguments.runs,
        groups: arguments.only,
    };
    let figures = bench::run(&options);
    print!("{}", figures.table());
    if arguments.json {
        println!("{}", figures.json());
    }
    ExitCode::SUCCESS
}
