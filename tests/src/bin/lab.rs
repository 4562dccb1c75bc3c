//! The lab: a whole network on this machine that shows what the NAT does, with
//! traffic of real sockets. Two tenants with one subnet, four environments with
//! one address and one MAC; nothing of it is left afterwards.

use std::process::ExitCode;

use clap::Parser;
use tests::lab::{self, Options};

/// Brings up two tenants and four environments, shows that packets cross, then
/// keeps a status on the screen until Ctrl-C.
#[derive(Parser)]
#[command(name = "lab", version)]
struct Arguments {
    /// End after the demonstration: 0 if every step held, 1 if not.
    #[arg(long)]
    once: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !nix::unistd::geteuid().is_root() {
        eprintln!("The lab makes network namespaces and loads programs: run it as root.");
        return ExitCode::from(2);
    }
    match lab::run(&Options {
        once: arguments.once,
    }) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
