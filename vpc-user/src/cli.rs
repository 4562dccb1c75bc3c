//! The command line of `vpc`: what can be typed, and what `--help` teaches.
//!
//! Exit codes: 0 done; 1 refused or failed, with one sentence on standard error;
//! 2 not a valid command, or this machine cannot run it ([`Cannot`]).

use std::{
    io::{self, Write as _},
    num::NonZeroU16,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use vpc_common::drop::DropReason;

use crate::{
    config::DEFAULT_SOCKET,
    dataplane::{OpenError, StartError},
    flowlog::bindings::is_function,
    model::{Endpoint, FlowInfo, HookWish, NameError, ObjectName, parse_mac},
    print::FlowOrder,
};

mod agent;
mod attach;
mod follow;
mod resources;
mod run;
pub mod top;
mod who;

pub use attach::AttachArgs;
pub use resources::{ApplyArgs, CallArgs, EniCommand, GetArgs, StateCommand};
pub use run::run;
pub use who::{Outside, Period, Remote, WhoArgs};

const EXAMPLES: &str = "\
Examples:
  vpc check-config /etc/vpc.toml          is the configuration valid?
  vpc reload                              the configuration was changed: take it
  vpc agent --config /etc/vpc.toml        load the data path and serve requests
  vpc attach fn-1 --interface tap1 --group blue-app --address 172.16.0.2 --gateway 172.16.0.1
  vpc flows --environment fn-1            who is it talking to, from which outside port?
  vpc who 10.0.1.25:40213/tcp --at 2026-11-22T09:00:03Z
                                          which function was behind that?
  vpc drops                               what was dropped, and why?
  vpc explain --environment fn-1 --to 10.0.3.7:443/tcp
                                          may it go there, and which rule says so?
  vpc top                                 watch it all

The data path runs in the kernel: it goes on while the agent is stopped or
replaced. Exit codes: 0 done, 1 refused or failed, 2 wrong usage or a machine
that cannot run this.";

const AGENT_HELP: &str = "\
A configuration:
  [[uplink]]
  name = \"blue\"                 # one tenant VPC's layer 2
  interface = \"eth1\"

  [[group]]
  name = \"blue-app\"             # one (subnet, security-group set)
  uplink = \"blue\"
  subnet = \"10.0.0.0/24\"
  router = \"10.0.0.1\"           # for destinations outside the subnet
  eni = [\"10.0.0.10\"]           # addresses that flows leave from

`vpc check-config FILE --effective` shows every other key with its default.
--socket or VPC_SOCKET, if given, replaces the configuration's `socket`.
VPC_LOG sets what is logged to standard error: VPC_LOG=debug, VPC_LOG=vpc_user=trace.
SIGHUP, or `vpc reload`, makes the agent read the file again.
SIGTERM ends the agent and leaves the data path running unless --teardown is given.";

const EXPLAIN_HELP: &str = "\
Examples:
  May fn-1 open a connection there, and which rule or route says so?
    vpc explain --environment fn-1 --to 10.0.3.7:443/tcp
  What becomes of the next packet of its open flow from port 40000?
    vpc explain --environment fn-1 --to 10.0.0.2:53/udp --from-port 40000
  What does a drop reason mean? Needs no agent:
    vpc explain unsolicited";

const FLOWS_HELP: &str = "\
Examples:
  vpc flows --environment fn-1            what is open now?
  vpc flows --function orders --since 1h --to 10.0.0.0/16
                                          where has a function been?
  vpc flows --follow                      tell of each flow that opens and ends

Flows that have ended are known if the agent keeps flow logs.";

const CHECK_KERNEL_HELP: &str = "\
Example:
  vpc check-kernel                        can this host run the data path?

INSNS are the instructions that the verifier looked at (it gives up at a million), FRAME the
bytes of the largest stack frame (a chain of calls has 512), LOAD how long it took.
Exit code 1 if a program is refused. Needs root and no agent.";

const RELOAD_HELP: &str = "\
Example:
  vpc check-config /etc/vpc.toml && vpc reload

A file that is not valid, or changes `pin_dir`, `socket` or `limits`, is refused and
changes nothing. When the command ends, no packet goes by the old rules any more.
SIGHUP does the same. Exit code 1 also if a part could not be applied: it is named,
and tried again every 30 s.";

/// One-way NAT from execution environments into VPCs, in the kernel.
#[derive(Clone, Debug, Parser)]
#[command(name = "vpc", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// Unix socket of the agent [default: /run/vpc/agent.sock].
    #[arg(
        long,
        global = true,
        env = "VPC_SOCKET",
        value_name = "PATH",
        display_order = 900
    )]
    pub socket: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Where the agent listens.
    pub fn socket(&self) -> &Path {
        self.socket.as_deref().unwrap_or(Path::new(DEFAULT_SOCKET))
    }
}

/// What `vpc` does.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Load the data path, keep it and serve requests, in the foreground.
    #[command(after_help = AGENT_HELP)]
    Agent(AgentArgs),
    /// Attach an execution environment: it can open connections from then on.
    #[command(after_help = attach::HELP)]
    Attach(AttachArgs),
    /// Make resources as a file has them.
    #[command(after_help = resources::APPLY_HELP)]
    Apply(ApplyArgs),
    /// List resources.
    #[command(after_help = resources::GET_HELP)]
    Get(GetArgs),
    /// Show all that is known of resources, and who uses them.
    #[command(after_help = resources::GET_HELP)]
    Describe(GetArgs),
    /// Ask about Hyperplane ENIs.
    #[command(subcommand)]
    Eni(EniCommand),
    /// Show what the next full pass would change in the kernel's tables.
    Plan {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Export or import every resource.
    #[command(subcommand, after_help = resources::STATE_HELP)]
    State(StateCommand),
    /// Carry out an action of AWS's APIs.
    #[command(after_help = resources::CALL_HELP)]
    Call(CallArgs),
    /// Detach an execution environment and end its flows.
    Detach {
        /// The name it was attached by.
        #[arg(value_parser = object_name)]
        name: ObjectName,
        /// Print its last state as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Change where an environment's packets are handled; no flow is lost.
    #[command(after_help = "Example:\n  vpc set-hook fn-1 tc")]
    SetHook(SetHookArgs),
    /// Have the agent read its configuration file again; no flow is lost.
    #[command(after_help = RELOAD_HELP)]
    Reload {
        /// Print what was done as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List attached environments.
    #[command(alias = "environments")]
    Ls {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List live flows, or with a time those of that time: who is behind which outside address
    /// and port.
    #[command(after_help = FLOWS_HELP)]
    Flows(FlowsArgs),
    /// Tell which function and environment was behind an address and port at a time.
    #[command(after_help = who::HELP)]
    Who(WhoArgs),
    /// List drop counters that are not zero.
    Drops {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// List every reason there is instead; needs no agent.
        #[arg(long)]
        all_reasons: bool,
    },
    /// List what rules and routes refused lately: who wanted to go where?
    Refusals {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the agent, its uplinks, ENIs and counters.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Watch ENIs, environments, flows and drops on one screen, until Ctrl-C.
    Top {
        /// Stop after so many frames, one a second.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        frames: Option<u64>,
    },
    /// Check a configuration file; needs no agent and changes nothing.
    CheckConfig {
        /// The configuration.
        file: PathBuf,
        /// Print the configuration with every default written out.
        #[arg(long)]
        effective: bool,
    },
    /// Load the programs into this kernel to see whether it takes them; attaches nothing and
    /// keeps nothing.
    #[command(after_help = CHECK_KERNEL_HELP)]
    CheckKernel {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove the data path an agent left running: programs, tables and all flows.
    Teardown(TeardownArgs),
    /// Explain what becomes of a packet, or what a drop reason means.
    #[command(after_help = EXPLAIN_HELP)]
    Explain(ExplainArgs),
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  vpc completions bash > /etc/bash_completion.d/vpc")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// How the agent writes its log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `vpc agent`.
#[derive(Clone, Debug, Args)]
pub struct AgentArgs {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Print what would be done and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Remove the data path when the agent ends.
    #[arg(long)]
    pub teardown: bool,
    /// How to write the log.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub log: LogFormat,
}

/// `vpc set-hook`.
#[derive(Clone, Debug, Args)]
pub struct SetHookArgs {
    /// The name it was attached by.
    #[arg(value_parser = object_name)]
    pub name: ObjectName,
    /// What to change to: auto, xdp or tc.
    #[arg(value_parser = hook_wish())]
    pub hook: HookWish,
    /// Namespace of a veth's far end, to prepare it for xdp.
    #[arg(long, value_name = "NAME|PATH")]
    pub netns: Option<String>,
    /// Print the environment as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vpc flows`.
#[derive(Clone, Debug, Args)]
pub struct FlowsArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Only those of one environment.
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Only those of one function: its name, or its ARN with or without the version.
    #[arg(long, value_name = "FUNCTION")]
    pub function: Option<String>,
    /// Only those to an address or prefix, with a port perhaps.
    #[arg(long, value_name = "IP[/LEN][:PORT]")]
    pub to: Option<Remote>,
    /// Also those that have ended, of this time.
    #[command(flatten)]
    pub period: Period,
    /// The most flows of a time to list.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    pub limit: usize,
    /// What to list first, if no time is given.
    #[arg(long, value_enum, default_value_t)]
    pub sort: FlowOrder,
    /// Tell of flows that open, change and end, a line each, until Ctrl-C; with --json an
    /// object each.
    #[arg(long, conflicts_with_all = ["at", "since", "until"])]
    pub follow: bool,
}

impl FlowsArgs {
    /// Whether a live flow is asked for.
    fn wants(&self, flow: &FlowInfo) -> bool {
        let is_of = |function: &String| {
            let qualified = flow.function.as_deref();
            qualified.is_some_and(|arn| is_function(arn, function))
        };
        self.environment
            .as_ref()
            .is_none_or(|name| flow.environment == *name)
            && self.function.as_ref().is_none_or(is_of)
            && self.to.is_none_or(|remote| remote.has(flow.remote))
    }
}

/// `vpc explain`.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("about").required(true).args(["reason", "environment"]))]
pub struct ExplainArgs {
    /// A drop reason, as `vpc drops` shows it.
    #[arg(value_parser = reasons(), hide_possible_values = true)]
    pub reason: Option<String>,
    /// Explain what becomes of a packet of this environment.
    #[arg(long, value_name = "NAME", value_parser = object_name, requires = "to")]
    pub environment: Option<ObjectName>,
    /// Where the packet goes, such as 10.0.3.7:443/tcp.
    #[arg(long, value_name = "IP:PORT/PROTOCOL", requires = "environment")]
    pub to: Option<Endpoint>,
    /// The environment's own port, to ask about a flow that is open.
    #[arg(long, value_name = "PORT", requires = "environment")]
    pub from_port: Option<NonZeroU16>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vpc teardown`.
#[derive(Clone, Debug, Args)]
pub struct TeardownArgs {
    /// The configuration whose pins to remove.
    #[arg(long, value_name = "FILE", conflicts_with = "pin_dir")]
    pub config: Option<PathBuf>,
    /// The folder of the pins; default /sys/fs/bpf/vpc.
    #[arg(long, value_name = "DIR")]
    pub pin_dir: Option<PathBuf>,
}

/// Something that is not the fault of what was asked: this machine, or the way it
/// is set up, cannot do it. Anywhere in an error's chain it makes the exit code 2.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cannot(pub String);

/// Reads the command line, does what it says and reports how it went.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Not locked: the agent's threads may print a plan.
    let mut out = io::BufWriter::new(io::stdout());
    let result = run(cli, &mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = exit_code(&error);
            if code != 0 {
                // Nobody is left to tell if this fails.
                let _ = writeln!(io::stderr(), "vpc: {error:#}");
            }
            code.into()
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        let error = cause.downcast_ref::<io::Error>();
        error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    let no_bpffs = matches!(
        error.downcast_ref(),
        Some(OpenError::Start(StartError::NotBpffs { .. }))
    );
    if no_bpffs || error.chain().any(|cause| cause.is::<Cannot>()) {
        2
    } else if error.chain().any(broken_pipe) {
        // The reader of a listing has seen enough, as in `vpc flows | head`.
        0
    } else {
        1
    }
}

fn object_name(text: &str) -> Result<ObjectName, NameError> {
    ObjectName::new(text)
}

fn mac(text: &str) -> Result<String, String> {
    match parse_mac(text) {
        Some(mac) if mac.is_unicast() => Ok(mac.to_string()),
        Some(_) => Err("it is not the address of one station: give the environment's own".into()),
        None => Err("write it like 02:00:00:00:00:01".into()),
    }
}

fn hook_wish() -> impl TypedValueParser<Value = HookWish> {
    PossibleValuesParser::new(["auto", "xdp", "tc"])
        .map(|word| HookWish::from_word(&word).unwrap_or_default())
}

fn reasons() -> PossibleValuesParser {
    PossibleValuesParser::new(DropReason::ALL.iter().map(|reason| reason.label()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_mac_is_one_stations() {
        assert_eq!(mac("02:00:00:00:00:0A").as_deref(), Ok("02:00:00:00:00:0a"));
        for wrong in [
            "",
            "2:0:0:0:0:1",
            "02:00:00:00:00",
            "+2:00:00:00:00:01",
            "01:00:5e:00:00:01",
        ] {
            mac(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn a_machine_that_cannot_is_told_from_a_refusal() {
        let cannot = anyhow::Error::new(Cannot("no BTF".into())).context("load");
        assert_eq!(exit_code(&cannot), 2);
        assert_eq!(exit_code(&anyhow::anyhow!("refused")), 1);
        assert_eq!(
            exit_code(&io::Error::from(io::ErrorKind::BrokenPipe).into()),
            0
        );
    }
}
