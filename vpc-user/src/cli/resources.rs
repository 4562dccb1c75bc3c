//! The verbs of the control plane: `apply`, `get`, `describe`, `eni`, `plan`, `state` and
//! `call`.

use std::{
    fs,
    io::{BufWriter, Read as _, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::run::{ask, misunderstood, show};
use crate::{
    api,
    config::RawConfig,
    control::{
        Account, Command, Kind,
        store::{self, RedbStore, Store as _},
    },
    model::{EniUse, GetRequest, Request, ResourceInfo, Response},
    print,
};

pub(super) const APPLY_HELP: &str = "\
Examples:
  vpc apply -f tenant.toml --dry-run      what would be created, changed, deleted?
  vpc apply -f tenant.toml                make it so: everything, or nothing
  vpc apply -f tenant.toml --prune        delete what the file does not have, too

The file has the sections of the agent's configuration ([[vpc]], [[subnet]],
[[security_group]], …) and [[function]] and [[role]]. Resources are told apart by
their names. Applying a file twice changes nothing the second time.";

pub(super) const GET_HELP: &str = "\
Examples:
  vpc get function                        every function and its state
  vpc get interface --account 000000000002
  vpc describe function fn-1              everything about one, and who uses it";

pub(super) const STATE_HELP: &str = "\
Examples:
  vpc state export > state.json           from the running agent
  vpc state export --store /var/lib/vpc/state.redb
  vpc state import state.json --store /var/lib/vpc/state.redb

An import needs the file of the store for itself: stop the agent first. A store that
is not empty is replaced with --force only.";

pub(super) const CALL_HELP: &str = "\
Examples:
  vpc call ec2 CreateVpc '{\"CidrBlock\": \"10.0.0.0/16\", \"Uplink\": \"blue\"}'
  vpc call lambda PublishVersion '{\"FunctionName\": \"fn-1\"}'
  vpc call lambda Invoke '{\"FunctionName\": \"fn-1\"}'

Actions and members are those of AWS's APIs; the answer is JSON in their shape.";

/// `vpc apply`.
#[derive(Clone, Debug, Args)]
pub struct ApplyArgs {
    /// The file; - reads standard input.
    #[arg(short, long = "file", value_name = "FILE")]
    pub file: PathBuf,
    /// Delete what the file does not have.
    #[arg(long)]
    pub prune: bool,
    /// Print what would be done and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// The account whose resources are meant: twelve digits.
    #[arg(long, value_parser = account, default_value_t)]
    pub account: Account,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vpc get` and `vpc describe`.
#[derive(Clone, Debug, Args)]
pub struct GetArgs {
    /// The kind.
    #[arg(value_parser = kinds(), hide_possible_values = true)]
    pub kind: Option<String>,
    /// Its id or name.
    pub id: Option<String>,
    /// Only of one account: twelve digits.
    #[arg(long, value_parser = account)]
    pub account: Option<Account>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vpc eni`.
#[derive(Clone, Debug, Subcommand)]
pub enum EniCommand {
    /// Who uses an ENI, and what it waits for if it is to go.
    Find {
        /// Its id or address.
        eni: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `vpc state`.
#[derive(Clone, Debug, Subcommand)]
pub enum StateCommand {
    /// Write every resource to standard output, as JSON.
    Export {
        /// Read this file, rather than ask the agent.
        #[arg(long, value_name = "FILE")]
        store: Option<PathBuf>,
    },
    /// Read resources that were exported; the agent must not run.
    Import {
        /// What was exported; - reads standard input.
        file: PathBuf,
        /// The file of the store.
        #[arg(long, value_name = "FILE", default_value = crate::config::DEFAULT_STORE)]
        store: PathBuf,
        /// Replace what the store holds.
        #[arg(long)]
        force: bool,
    },
}

/// `vpc call`.
#[derive(Clone, Debug, Args)]
pub struct CallArgs {
    /// ec2, lambda or iam.
    #[arg(value_parser = ["ec2", "lambda", "iam"])]
    pub service: String,
    /// The action, as AWS names it.
    pub action: String,
    /// Its members, as JSON; - reads standard input.
    #[arg(default_value = "{}")]
    pub members: String,
    /// The account that asks: twelve digits.
    #[arg(long, value_parser = account, default_value_t)]
    pub account: Account,
}

fn account(text: &str) -> Result<Account, String> {
    Account::try_from(text.to_owned())
}

fn kinds() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.word()))
}

/// A file, or standard input.
fn read(path: &Path) -> Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("read standard input")?;
        return Ok(text);
    }
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

pub(super) fn apply(socket: &Path, args: &ApplyArgs, out: &mut impl Write) -> Result<()> {
    let text = read(&args.file)?;
    let file = RawConfig::parse(&text).with_context(|| args.file.display().to_string())?;
    let request = Request::Apply {
        account: args.account,
        file: Box::new(file),
        prune: args.prune,
        dry_run: args.dry_run,
    };
    let steps = match ask(socket, &request).with_context(|| args.file.display().to_string())? {
        Response::Planned(steps) => steps,
        other => return misunderstood(&other),
    };
    show(out, args.json, &steps, |out| {
        print::apply_steps(out, &steps, args.dry_run)
    })
}

pub(super) fn get(socket: &Path, args: GetArgs, out: &mut impl Write) -> Result<()> {
    let json = args.json;
    let listed = resources(socket, args)?;
    show(out, json, &listed, |out| print::resources(out, &listed))
}

pub(super) fn describe(socket: &Path, args: GetArgs, out: &mut impl Write) -> Result<()> {
    let (json, asked) = (args.json, args.id.clone());
    let listed = resources(socket, args)?;
    if let (Some(id), true) = (asked, listed.is_empty()) {
        bail!("no resource has the id or name {id:?}: `vpc get` lists them");
    }
    show(out, json, &listed, |out| print::descriptions(out, &listed))
}

fn resources(socket: &Path, args: GetArgs) -> Result<Vec<ResourceInfo>> {
    let request = GetRequest {
        kind: args.kind,
        id: args.id,
        account: args.account,
    };
    match ask(socket, &Request::Get(request))? {
        Response::Resources(listed) => Ok(listed),
        other => misunderstood(&other),
    }
}

pub(super) fn eni(socket: &Path, command: EniCommand, out: &mut impl Write) -> Result<()> {
    let EniCommand::Find { eni, json } = command;
    match ask(socket, &Request::EniFind { eni })? {
        Response::EniUse(found) => {
            let found: EniUse = *found;
            show(out, json, &found, |out| print::eni_use(out, &found))
        }
        other => misunderstood(&other),
    }
}

pub(super) fn plan(socket: &Path, json: bool, out: &mut impl Write) -> Result<()> {
    match ask(socket, &Request::Plan)? {
        Response::Plan { steps, problems } => {
            let plan = serde_json::json!({ "steps": steps, "problems": problems });
            show(out, json, &plan, |out| print::plan(out, &steps, &problems))
        }
        other => misunderstood(&other),
    }
}

pub(super) fn state(socket: &Path, command: StateCommand, out: &mut impl Write) -> Result<()> {
    match command {
        StateCommand::Export { store: None } => match ask(socket, &Request::ExportState)? {
            Response::State(exported) => Ok(print::json(out, &exported)?),
            other => misunderstood(&other),
        },
        StateCommand::Export { store: Some(path) } => {
            let (state, revision) = RedbStore::open(&path)?.load()?;
            let mut out = BufWriter::new(out);
            store::write_export(&state, revision, &mut out)?;
            Ok(out.flush()?)
        }
        StateCommand::Import { file, store, force } => {
            if api::is_live(socket) {
                bail!(
                    "an agent answers at {}: stop it before the import",
                    socket.display()
                );
            }
            let text = read(&file)?;
            let state =
                store::import(text.as_bytes()).with_context(|| file.display().to_string())?;
            let revision = store::restore(&RedbStore::open(&store)?, &state, force)?;
            Ok(writeln!(
                out,
                "{} resources are in {} now, at revision {revision}.",
                state.len(),
                store.display()
            )?)
        }
    }
}

pub(super) fn call(socket: &Path, args: CallArgs, out: &mut impl Write) -> Result<()> {
    let members = match args.members.as_str() {
        "-" => read(Path::new("-"))?,
        members => members.to_owned(),
    };
    let mut action: Value = serde_json::from_str(&members).context("the members are not JSON")?;
    let Some(members) = action.as_object_mut() else {
        bail!("the members are not a JSON object: write {{\"Member\": value, …}}");
    };
    members.insert("Service".to_owned(), args.service.into());
    members.insert("Action".to_owned(), args.action.clone().into());
    let action: Command = serde_json::from_value(action)
        .with_context(|| format!("{} is not understood", args.action))?;
    let request = Request::Control {
        account: args.account,
        action: Box::new(action),
    };
    match ask(socket, &request)? {
        Response::Answer(answer) => Ok(print::json(out, &answer)?),
        other => misunderstood(&other),
    }
}
