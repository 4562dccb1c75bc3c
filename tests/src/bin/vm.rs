//! `cargo xtask vm`: the kernel tests on other kernels, in virtual machines.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use tests::{
    leavings,
    vm::{self, Options, Outcome},
};
use vpc_user::dataplane::check_programs;

/// Boots each kernel in a virtual machine, runs the kernel tests inside, and shows what
/// held and what the verifier made of the programs. Exit code 0 only if everything held
/// on every kernel.
#[derive(Parser)]
struct Arguments {
    /// A folder with a kernel; given by `cargo xtask vm`.
    #[arg(long, value_name = "FOLDER", required = true, hide = true)]
    kernel: Vec<PathBuf>,
    /// A test program; given by `cargo xtask vm`.
    #[arg(long, value_name = "FILE", required = true, hide = true)]
    program: Vec<PathBuf>,
    /// Only the test programs that show most in the least time, each on one of the kernels.
    #[arg(long)]
    short: bool,
    /// Only these test programs, such as `arp,traffic`.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Put the tables into docs/kernels.md, with a column for the verifier of the running
    /// kernel.
    #[arg(long)]
    record: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Passed to every test program: a part of a test's name, or options.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "FILTER"
    )]
    runner: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    leavings::remove_on_signals();
    match perform(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("vm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything held.
fn perform(arguments: Arguments) -> anyhow::Result<bool> {
    let mut outcomes = vm::run(&Options {
        kernels: arguments.kernel,
        programs: arguments.program,
        short: arguments.short,
        only: arguments.only,
        runner: arguments.runner,
    });
    let good = outcomes.iter().all(Outcome::is_good);
    if arguments.record {
        outcomes.push(Outcome::of_this_kernel(check_programs()?)?);
        vm::record(&vm::page(), &outcomes)?;
    }
    match arguments.json {
        true => println!("{}", serde_json::to_string_pretty(&outcomes)?),
        false => {
            print!("{}", vm::table(&outcomes));
            let results = outcomes.iter().filter(|outcome| outcome.was_tested());
            results.for_each(|outcome| println!("{}", outcome.result()));
        }
    }
    Ok(good)
}
