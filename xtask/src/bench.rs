//! `cargo xtask bench`.

use std::ffi::OsString;

use anyhow::Result;

use crate::{build, exec, report::Report, setup, workspace::Workspace};

#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
    /// Passed on to the bench as they are
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    rest: Vec<OsString>,
}

pub fn perform(workspace: &Workspace, args: &Args) -> Result<()> {
    let kit = setup::without_guests(workspace, &mut Report::brief())?;
    build::release(workspace, &kit)?;
    let mut program = build::release_program(workspace, "bench")?;
    program.args(args.json.then_some("--json")).args(&args.rest);
    match exec::replace(program)? {}
}
