//! The project's own commands. Each verb is one file; this one only reads the
//! command line and turns the outcome into an exit code: 0 when all went well,
//! 2 when this machine cannot do what was asked, 1 for everything else.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{refusal::Refusal, report::Report, workspace::Workspace};

mod bench;
mod budget;
mod build;
mod check;
mod exec;
mod fuzz;
mod promises;
mod refusal;
mod report;
mod run;
mod setup;
mod summary;
mod test;
mod vm;
mod workspace;

/// Builds, checks, tests and runs the project.
///
/// Two commands are enough to begin with, both as root: `cargo xtask run` shows
/// the NAT at work in a lab of network namespaces, `cargo xtask test` runs every
/// test. What they need is installed first and kept in target/tools.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "Exit codes: 0 done, 1 failed, 2 this machine cannot do it (the message says what to change)."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what is missing to build and test, and nothing else (root)
    ///
    /// Prints one line per thing, found or installing; takes well under a second
    /// when all is there. The other verbs do this by themselves.
    Setup,
    /// Build the agent, the kernel object and the test programs
    Build(build::Args),
    /// Check format, lints, documentation, its promises and dependencies; warnings are errors
    Check,
    /// Run all tests, those on the live kernel included (root)
    Test(test::Args),
    /// Run the kernel tests on other kernels, in virtual machines (root)
    Vm(vm::Args),
    /// Show the NAT at work in a lab, or run the agent on this host (root)
    Run(run::Args),
    /// Measure the data path and its rivals side by side (root)
    Bench(bench::Args),
    /// Look for input that breaks a promise, with libFuzzer
    ///
    /// docs/testing.md says what each target promises. What it learns stays in
    /// target/fuzz; what it finds ends it with exit code 1.
    Fuzz(fuzz::Args),
}

fn main() -> ExitCode {
    match perform(Cli::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<Refusal>() { 2 } else { 1 })
        }
    }
}

fn perform(verb: Verb) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match verb {
        Verb::Setup => setup::all(&workspace, &mut Report::full()).map(drop)?,
        Verb::Build(args) => build::perform(&workspace, &args)?,
        Verb::Check => check::perform(&workspace)?,
        Verb::Test(args) => return test::perform(&workspace, &args),
        Verb::Vm(args) => vm::perform(&workspace, &args)?,
        Verb::Run(args) => run::perform(&workspace, &args)?,
        Verb::Bench(args) => bench::perform(&workspace, &args)?,
        Verb::Fuzz(args) => return fuzz::perform(&workspace, &args),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
