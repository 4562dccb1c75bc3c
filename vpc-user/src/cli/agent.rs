//! `vpc agent` and `vpc teardown`: the commands that own the data path.

use std::{
    io::{IsTerminal as _, Write},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{AgentArgs, Cannot, LogFormat, TeardownArgs};
use crate::{
    agent::{self, AgentOptions, ConfigFile},
    api,
    config::{self, ConfigError},
    model::Config,
    privileges,
};

/// Environment variable with the filter of the log.
const LOG_VARIABLE: &str = "VPC_LOG";

pub(super) fn agent(args: AgentArgs, socket: Option<&Path>, out: &mut impl Write) -> Result<()> {
    let file = ConfigFile::new(&args.config, socket);
    // Refusals name the file as it was given.
    let mut config = load(&args.config)?;
    if let Some(socket) = socket {
        config.socket = socket.to_path_buf();
    }
    require_kernel()?;
    give_up("vpc agent")?;
    require_readable(&args.config)?;
    start_log(args.log)?;
    let runtime = tokio::runtime::Runtime::new().context("the agent's threads cannot start")?;
    runtime.block_on(run(file, config, &args, out))
}

pub(super) fn teardown(
    args: &TeardownArgs,
    socket: Option<&Path>,
    out: &mut impl Write,
) -> Result<()> {
    let config = match &args.config {
        Some(path) => load(path)?,
        None => config::parse("")?,
    };
    give_up("vpc teardown")?;
    let socket = socket.unwrap_or(&config.socket);
    if api::is_live(socket) {
        bail!(
            "an agent answers at {}: stop it before the teardown",
            socket.display()
        );
    }
    let pin_dir = args.pin_dir.as_deref().unwrap_or(&config.pin_dir);
    if !pin_dir.exists() {
        writeln!(
            out,
            "Nothing is pinned in {}: there is nothing to tear down.",
            pin_dir.display()
        )?;
        return Ok(());
    }
    agent::teardown(pin_dir)?;
    writeln!(
        out,
        "The data path pinned in {} is gone, with all its flows.",
        pin_dir.display()
    )?;
    Ok(())
}

/// Prints the plan, or runs the agent until it is told to stop.
async fn run(
    file: ConfigFile,
    config: Config,
    args: &AgentArgs,
    out: &mut impl Write,
) -> Result<()> {
    if args.dry_run {
        write!(out, "{}", agent::dry_run(&config)?)?;
        return Ok(());
    }
    let options = AgentOptions {
        teardown: args.teardown,
    };
    agent::run(file, config, options).await
}

/// The configuration in a file, which every refusal names.
pub(super) fn load(path: &Path) -> Result<Config> {
    config::load(path).map_err(|error| match error {
        ConfigError::Read { .. } => error.into(),
        refused => anyhow::Error::new(refused).context(path.display().to_string()),
    })
}

/// From here on there are few capabilities, and there may be threads.
fn give_up(command: &'static str) -> Result<()> {
    privileges::give_up(command).map_err(|error| Cannot(error.to_string()).into())
}

/// Root reads every file only as long as it has all capabilities. A reload must find what the
/// start found.
fn require_readable(file: &Path) -> Result<()> {
    let refused = |error| {
        Cannot(format!(
            "{} cannot be read again ({error}): the agent gives up CAP_DAC_OVERRIDE, so make its \
             user the owner of the file and let it search the folders above",
            file.display()
        ))
    };
    std::fs::File::open(file)
        .map(drop)
        .map_err(|error| refused(error).into())
}

/// The oldest kernel whose verifier takes the programs.
const OLDEST_KERNEL: (u32, u32) = (6, 1);

/// Refuses a machine on which the programs cannot run.
fn require_kernel() -> Result<()> {
    const BTF: &str = "/sys/kernel/btf/vmlinux";
    if !Path::new(BTF).exists() {
        return Err(Cannot(format!(
            "the kernel has no {BTF}: use a kernel built with CONFIG_DEBUG_INFO_BTF"
        ))
        .into());
    }
    let release = nix::sys::utsname::uname()?
        .release()
        .to_string_lossy()
        .into_owned();
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.parse::<u32>().ok());
    let (major, minor) = (numbers.next().flatten(), numbers.next().flatten());
    match major.zip(minor) {
        Some(found) if found < OLDEST_KERNEL => Err(Cannot(format!(
            "the kernel is {release} and the programs need 6.1 or later: upgrade it"
        ))
        .into()),
        _ => Ok(()),
    }
}

/// Sends the log to standard error, which leaves standard output to listings.
fn start_log(format: LogFormat) -> Result<()> {
    let filter = std::env::var(LOG_VARIABLE).unwrap_or_default();
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(&filter)
        .map_err(|error| {
            Cannot(format!(
                "{LOG_VARIABLE} = {filter:?} is not a log filter ({error}): write info, debug or \
                 vpc_user=trace"
            ))
        })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot start: {error}"))
}
