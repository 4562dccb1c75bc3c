//! A flow log, as far as the host is concerned.

use super::{Action, FlowId, LogFormat, ObjectNames, Place, Record, Target};

/// A flow log: which traffic of which ENIs is recorded how, and where to.
#[derive(Clone, PartialEq, Debug)]
pub struct Log {
    /// Its id, unique on the host.
    pub id: String,
    /// Which ENIs.
    pub scope: Scope,
    /// Which traffic.
    pub traffic: TrafficType,
    /// Periods of the journal in one of its intervals.
    pub periods: u64,
    /// The fields of its records.
    pub format: LogFormat,
    /// What is delivered at once.
    pub form: Form,
    /// Where to.
    pub target: Target,
}

/// The ENIs of a flow log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All of the host.
    All,
    /// Those of a VPC.
    Vpc(String),
    /// Those in a subnet.
    Subnet(String),
    /// One.
    Interface(String),
}

impl Scope {
    /// Whether it has an ENI.
    pub fn has(&self, place: &Place) -> bool {
        match self {
            Self::All => true,
            Self::Vpc(id) => place.vpc_id == *id,
            Self::Subnet(id) => place.subnet_id == *id,
            Self::Interface(id) => place.interface_id == *id,
        }
    }
}

/// The traffic of a flow log.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TrafficType {
    /// What was let through.
    Accept,
    /// What was refused.
    Reject,
    /// Both.
    #[default]
    All,
}

impl TrafficType {
    /// By AWS's name.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "ACCEPT" => Self::Accept,
            "REJECT" => Self::Reject,
            "ALL" => Self::All,
            _ => return None,
        })
    }

    /// AWS's name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Reject => "REJECT",
            Self::All => "ALL",
        }
    }

    /// The same in lower case: the ending of a stream's name.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::All => "all",
        }
    }

    /// Whether it has a flow.
    pub fn has(self, id: &FlowId) -> bool {
        match self {
            Self::All => true,
            Self::Accept => id.action() == Action::Accept,
            Self::Reject => id.action() != Action::Accept,
        }
    }
}

/// What is delivered at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Form {
    /// Files as they lie in S3.
    Files(ObjectNames),
    /// Lines, each with its time (Unix milliseconds) and stream before it.
    Events,
    /// Lines.
    Lines,
    /// Events of the NAT rather than records.
    NatEvents,
}

impl Log {
    /// The name of the stream of a record in CloudWatch Logs.
    pub fn stream(&self, record: &Record) -> String {
        format!("{}-{}", record.place.interface_id, self.traffic.label())
    }

    /// Whether a record is one of this log's.
    pub fn has(&self, id: &FlowId, record: &Record) -> bool {
        self.traffic.has(id) && self.scope.has(&record.place)
    }
}
