//! Who was behind an address and port: flows that are open, those that ended so lately that
//! the index does not have them yet, and the index.

use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc};

use crate::{
    dataplane::{LiveFlows, protocol_label},
    flowlog::{
        self, Folders,
        bindings::{Binding, Found, IndexError, Query, Reader},
        journal::{self, JournalError},
    },
    model::{BindingInfo, Bindings, FlowInfo, WhoRequest},
};

/// The most flows of an answer.
const LIMIT_MAX: usize = 1_000_000;
/// Times that a file of the journal may vanish while it is read.
const ATTEMPTS: usize = 8;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum WhoError {
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Answers questions about flows, without the owner of the data plane.
pub struct Who {
    live: LiveFlows,
    recorded: Option<(Folders, Reader)>,
}

impl Who {
    /// Of what is open, and of what is recorded, if it is.
    pub fn new(live: LiveFlows, folders: Option<PathBuf>) -> Arc<Self> {
        let recorded = folders.map(|dir| {
            let folders = Folders::new(&dir);
            let reader = Reader::new(folders.index());
            (folders, reader)
        });
        Arc::new(Self { live, recorded })
    }

    /// Every open flow.
    pub fn flows(&self) -> Vec<FlowInfo> {
        self.live.list()
    }

    /// The answer to a question.
    pub fn ask(&self, request: &WhoRequest) -> Result<Bindings, WhoError> {
        let query = query(request);
        let open = self.live.bindings(|binding| query.has(binding));
        let mut answer = Bindings {
            bindings: open.iter().map(|it| info(it, None)).collect(),
            ..Bindings::default()
        };
        let Found {
            bindings,
            truncated,
            skipped,
        } = self.ended(&query)?;
        let ended = bindings.iter().map(|it| info(it, Some(it.end)));
        answer.bindings.extend(ended);
        answer.truncated = truncated || answer.bindings.len() > query.limit;
        answer.bindings.truncate(query.limit);
        answer.skipped = skipped;
        Ok(answer)
    }

    /// Flows that have ended, the last one first.
    fn ended(&self, query: &Query) -> Result<Found, WhoError> {
        let Some((folders, reader)) = &self.recorded else {
            return Ok(Found::default());
        };
        // First what is not in the index yet: what gets there meanwhile is found twice, and
        // not missed.
        let late = late(folders, query)?;
        let mut found = reader.find(query)?;
        let mut all: BTreeSet<(std::cmp::Reverse<u64>, Binding)> = BTreeSet::new();
        for binding in late.into_iter().chain(found.bindings) {
            all.insert((std::cmp::Reverse(binding.end), binding));
        }
        found.truncated |= all.len() > query.limit;
        let newest = all.into_iter().take(query.limit);
        found.bindings = newest.map(|(_, binding)| binding).collect();
        Ok(found)
    }
}

/// Flows that ended and are in the journal alone.
fn late(folders: &Folders, query: &Query) -> Result<Vec<Binding>, JournalError> {
    let dir = folders.journal();
    for _ in 1..ATTEMPTS {
        match try_late(folders, query) {
            Err(error) if error.is_absent() && fs::exists(&dir).unwrap_or(false) => {}
            Err(error) if error.is_absent() => return Ok(Vec::new()),
            other => return other,
        }
    }
    try_late(folders, query)
}

fn try_late(folders: &Folders, query: &Query) -> Result<Vec<Binding>, JournalError> {
    let dir = folders.journal();
    let next = folders.indexed();
    let mut late = Vec::new();
    for number in journal::list(&dir)?.into_iter().filter(|it| *it >= next) {
        flowlog::each_binding(&journal::path(&dir, number), |binding| {
            if query.has(&binding) {
                late.push(binding);
            }
        })?;
    }
    Ok(late)
}

fn query(request: &WhoRequest) -> Query {
    Query {
        address: request.address,
        ports: request.ports.map(|(first, last)| first..=last),
        protocol: request.protocol,
        remote: request.remote,
        remote_port: request.remote_port,
        environment: request.environment.clone(),
        function: request.function.clone(),
        from: request.from,
        to: request.to,
        limit: request.limit.min(LIMIT_MAX),
    }
}

fn info(binding: &Binding, end: Option<u64>) -> BindingInfo {
    BindingInfo {
        start: binding.start,
        end,
        environment: binding.environment.to_string(),
        function: binding.function.as_deref().map(str::to_owned),
        protocol: protocol_label(binding.protocol),
        inside: (binding.inside, binding.inside_port).into(),
        outside: (binding.address, binding.port).into(),
        remote: (binding.remote, binding.remote_port).into(),
        interface_id: binding.interface_id.to_string(),
        vpc_id: binding.vpc_id.to_string(),
    }
}
