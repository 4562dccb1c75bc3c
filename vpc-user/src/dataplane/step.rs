//! The steps of a plan, the problems it meets, and how both read.

use std::fmt;

use vpc_common::{
    addr::V4,
    layout::{Eni, EniKey, EniRef, GROUP_ENIS, Group, Link, NameKey, Uplink},
};

use super::images::Image;

use crate::model::Hook;

/// One change of one table or link.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// Names an entry.
    SetName(NameKey, String),
    /// Forgets a name.
    RemoveName(NameKey),
    /// Writes an uplink, and where its frames leave.
    SetUplink(u32, Uplink),
    /// Says what an interface is.
    SetLink(u32, Link),
    /// An interface is nothing of ours any more.
    RemoveLink(u32),
    /// Forgets the MACs of an uplink's neighbours.
    ForgetNeighbours(u32),
    /// Writes an ENI.
    SetEni(u32, Eni),
    /// Lets an ENI use its ports.
    LeasePorts(u32),
    /// Makes every flow of an ENI be judged again.
    BumpGeneration(u32),
    /// Puts the rules and routes of a group in force on ENIs, and makes every flow of
    /// them be judged again.
    SetPolicy {
        /// The group.
        group: String,
        /// ENI indices.
        enis: Vec<u32>,
        /// The compiled rules and routes.
        image: Image,
    },
    /// Makes an ENI reachable from its VPC, or from a peered one.
    SetAddress(EniKey, EniRef),
    /// Makes an ENI unreachable from its VPC.
    RemoveAddress(EniKey),
    /// Frees an ENI's index.
    ClearEni(u32),
    /// Writes a group, or frees its index with a count of 0.
    SetGroup(u32, Group),
    /// Frees a group's index.
    ForgetGroup(u32),
    /// Runs the TC program on an uplink's interface.
    AttachUplink {
        /// Uplink index.
        index: u32,
        /// Its interface.
        interface: String,
    },
    /// Puts XDP in front of an uplink's TC program, or takes it away.
    SetHook {
        /// Uplink index.
        index: u32,
        /// Its interface.
        interface: String,
        /// What is to be.
        hook: Hook,
        /// Namespace of a veth's far end, to prepare it.
        peer_netns: Option<String>,
        /// The agent's own choice, which may turn out to be none.
        chosen: bool,
    },
    /// Takes the programs off an uplink's interface and frees its index.
    DetachUplink(u32),
    /// Tells an uplink's neighbours where an ENI is.
    Announce(u32),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetName(key, name) => write!(f, "name {} {} {name:?}", kind(key), key.index),
            Self::RemoveName(key) => write!(f, "forget the name of {} {}", kind(key), key.index),
            Self::SetUplink(index, uplink) => write!(
                f,
                "set uplink {index}: interface {}, mac {}, mtu {}",
                uplink.ifindex, uplink.mac, uplink.mtu
            ),
            Self::SetLink(ifindex, _) => write!(f, "serve interface {ifindex}"),
            Self::RemoveLink(ifindex) => write!(f, "stop serving interface {ifindex}"),
            Self::ForgetNeighbours(uplink) => write!(f, "forget neighbours of uplink {uplink}"),
            Self::SetEni(index, eni) => {
                write!(
                    f,
                    "set ENI {index}: {} on uplink {}",
                    eni.address, eni.uplink
                )
            }
            Self::LeasePorts(index) => write!(f, "lease ports 1024-65535 to ENI {index}"),
            Self::BumpGeneration(index) => write!(f, "judge the flows of ENI {index} again"),
            Self::SetPolicy { group, enis, image } => write!(
                f,
                "put the policy of group {group} in force on ENIs {enis:?}: {} words",
                image.len()
            ),
            Self::SetAddress(key, eni) => {
                write!(
                    f,
                    "answer for {} on uplink {} with ENI {}",
                    key.address,
                    key.uplink,
                    eni.index()
                )
            }
            Self::RemoveAddress(key) => {
                write!(
                    f,
                    "stop answering for {} on uplink {}",
                    key.address, key.uplink
                )
            }
            Self::ClearEni(index) => write!(f, "free ENI {index}"),
            Self::SetGroup(index, group) => {
                write!(f, "set group {index}: ENIs {:?}", members(group))
            }
            Self::ForgetGroup(index) => write!(f, "free group {index}"),
            Self::AttachUplink { index, interface } => {
                write!(f, "attach uplink {index} to {interface}")
            }
            Self::SetHook {
                index,
                interface,
                hook,
                ..
            } => write!(f, "set the hook of uplink {index} on {interface} to {hook}"),
            Self::DetachUplink(index) => write!(f, "detach uplink {index}"),
            Self::Announce(index) => write!(f, "announce ENI {index}"),
        }
    }
}

fn kind(key: &NameKey) -> &'static str {
    match key.kind {
        NameKey::ENVIRONMENT => "environment",
        NameKey::UPLINK => "uplink",
        NameKey::ENI => "ENI",
        NameKey::GROUP => "group",
        _ => "entry",
    }
}

/// The ENIs that a group uses.
pub fn members(group: &Group) -> &[u32] {
    &group.enis[..(group.count as usize).min(GROUP_ENIS)]
}

/// What keeps a part of the configuration from being applied. The rest is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// No such interface.
    #[error(
        "uplink {uplink}: there is no interface {interface}: create it or correct the \
         configuration"
    )]
    NoInterface {
        /// The uplink.
        uplink: String,
        /// The interface.
        interface: String,
    },
    /// An environment is attached to it.
    #[error(
        "uplink {uplink}: the interface {interface} is attached as an environment: detach it \
         first or name another interface"
    )]
    IsEnvironment {
        /// The uplink.
        uplink: String,
        /// The interface.
        interface: String,
    },
    /// Two uplinks on one interface.
    #[error(
        "uplink {uplink}: the interface {interface} already serves uplink {other}: name another \
         interface"
    )]
    SharedInterface {
        /// The uplink.
        uplink: String,
        /// The interface.
        interface: String,
        /// The other uplink.
        other: String,
    },
    /// The interface cannot be an uplink, or not with the hook asked for.
    #[error("uplink {uplink}: {sentence}")]
    Port {
        /// The uplink.
        uplink: String,
        /// Interface, cause and remedy.
        sentence: String,
    },
    /// A table is full.
    #[error(
        "{object}: all {limit} {table} are in use: raise `limits.{table}` (see `vpc teardown`)"
    )]
    Full {
        /// What found no place.
        object: String,
        /// The limit.
        table: &'static str,
        /// Its value.
        limit: u32,
    },
    /// Its rules and routes cannot be compiled.
    #[error("group {group}: {sentence}; what was in force before stays")]
    Policy {
        /// The group.
        group: String,
        /// Cause and remedy.
        sentence: String,
    },
    /// The uplink is not there (yet).
    #[error("group {group}: its uplink {uplink} is not up: see the message about that uplink")]
    NoUplink {
        /// The group.
        group: String,
        /// Its uplink.
        uplink: String,
    },
    /// An address given twice.
    #[error(
        "group {group}: {address} already belongs to {eni} on the same uplink: give each ENI an \
         address of its own"
    )]
    AddressTaken {
        /// The group.
        group: String,
        /// The address.
        address: V4,
        /// Whose it is.
        eni: String,
    },
}

/// What has to change, in order.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Plan {
    /// The changes.
    pub steps: Vec<Step>,
    /// What stays as it is, and why.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        for problem in &self.problems {
            writeln!(f, "problem: {problem}")?;
        }
        Ok(())
    }
}
