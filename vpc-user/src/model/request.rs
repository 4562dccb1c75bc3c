//! What is asked of the agent over its socket, and what it answers.

use serde::{Deserialize, Serialize};

use super::{
    ApplyStep, AttachRequest, Bindings, Denial, DropInfo, EniUse, EnvironmentInfo, ExplainRequest,
    Explanation, FlowInfo, FunctionAttachRequest, GetRequest, HookWish, ObjectName, RefusalInfo,
    ResourceInfo, StatusInfo, WhoRequest,
};

/// What is asked of the agent over its socket: one JSON object a line, one
/// [`Response`] a line back.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Attaches an environment.
    Attach(AttachRequest),
    /// Attaches an environment of a function.
    AttachFunction(FunctionAttachRequest),
    /// Asks the control plane: [`Response::Answer`] or [`Response::Denied`].
    Control {
        /// For whom; the default account unless named.
        #[serde(default)]
        account: crate::control::Account,
        /// What.
        action: Box<crate::control::Command>,
    },
    /// Makes resources as a file has them: [`Response::Planned`].
    Apply {
        /// For whom; the default account unless named.
        #[serde(default)]
        account: crate::control::Account,
        /// The file.
        file: Box<crate::config::RawConfig>,
        /// Delete what the file does not have.
        #[serde(default)]
        prune: bool,
        /// Only tell what would be done.
        #[serde(default)]
        dry_run: bool,
    },
    /// Lists resources: [`Response::Resources`].
    Get(GetRequest),
    /// Who uses an ENI: [`Response::EniUse`].
    EniFind {
        /// Its id or address.
        eni: String,
    },
    /// What the next full pass would change in the tables: [`Response::Plan`].
    Plan,
    /// All resources, to be imported elsewhere: [`Response::State`].
    ExportState,
    /// Detaches an environment by name.
    Detach {
        /// Its name.
        name: ObjectName,
    },
    /// Changes where an environment's packets are handled, while they flow.
    SetHook {
        /// Its name.
        name: ObjectName,
        /// What is asked for.
        hook: HookWish,
        /// Namespace (name or path) of a veth's far end, to prepare it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        netns: Option<String>,
    },
    /// Reads the configuration file again and applies it: [`Response::Reloaded`].
    Reload,
    /// Lists environments: [`Response::Environments`].
    Environments,
    /// Lists live flows: [`Response::Flows`].
    Flows,
    /// Who was behind addresses and ports at a time: [`Response::Bindings`].
    Who(WhoRequest),
    /// Lists drop counters: [`Response::Drops`].
    Drops,
    /// Tells what becomes of a packet: [`Response::Explanation`].
    Explain(ExplainRequest),
    /// Lists what rules and routes refused lately: [`Response::Refusals`].
    Refusals,
    /// Uplinks, ENIs, counters: [`Response::Status`].
    Status,
}

/// What the agent answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "result", content = "value", rename_all = "snake_case")]
pub enum Response {
    /// Attached, changed, or detached with its last state.
    Environment(EnvironmentInfo),
    /// To [`Request::Reload`]: the file is in force, and every packet goes by it.
    Reloaded {
        /// Steps that were performed.
        steps: usize,
        /// What is not as the file says, a sentence each; tried again by every pass.
        problems: Vec<String>,
    },
    /// To [`Request::Control`]: as AWS's API answers.
    Answer(serde_json::Value),
    /// To [`Request::Control`], [`Request::Apply`] and [`Request::AttachFunction`]: refused
    /// as AWS's API refuses.
    Denied(Denial),
    /// To [`Request::Apply`].
    Planned(Vec<ApplyStep>),
    /// To [`Request::Get`].
    Resources(Vec<ResourceInfo>),
    /// To [`Request::EniFind`].
    EniUse(Box<EniUse>),
    /// To [`Request::Plan`].
    Plan {
        /// What would be done, a step each.
        steps: Vec<String>,
        /// What cannot be done, a sentence each.
        problems: Vec<String>,
    },
    /// To [`Request::ExportState`].
    State(serde_json::Value),
    /// To [`Request::Environments`].
    Environments(Vec<EnvironmentInfo>),
    /// To [`Request::Flows`].
    Flows(Vec<FlowInfo>),
    /// To [`Request::Who`].
    Bindings(Bindings),
    /// To [`Request::Drops`].
    Drops(Vec<DropInfo>),
    /// To [`Request::Explain`].
    Explanation(Box<Explanation>),
    /// To [`Request::Refusals`].
    Refusals(Vec<RefusalInfo>),
    /// To [`Request::Status`].
    Status(StatusInfo),
    /// Nothing was changed; one sentence that names the object, the cause and the
    /// remedy.
    Error {
        /// The sentence.
        message: String,
    },
}
