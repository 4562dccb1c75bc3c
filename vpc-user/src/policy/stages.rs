//! What each stage says of a packet, and which rule, entry or route says so.
//!
//! The verdict is that of the words, evaluated as the kernel does. Who is behind it comes
//! from what the words were compiled from; should the two ever disagree, the words are
//! right.

use std::net::Ipv4Addr;

use vpc_common::{
    addr::{Addr, V4},
    drop::DropReason,
    layout::{BLOCK_PORTS, FIRST_BLOCK},
    policy::{self, Egress, Row, Verdict, Words},
};

use super::{
    AclDecision, AclRule, Hop, RouteDecision, SgDecision, SgRule, Source, attribute_in,
    attribute_out, attribute_route,
};
use crate::model::{ReplyRange, ReplyStage, RouteStage, RouteTarget, Stage, StageDecision};

#[cfg(test)]
mod tests;

/// The ports that an ENI gives to flows.
const FIRST_PORT: u16 = (FIRST_BLOCK as u32 * BLOCK_PORTS) as u16;

/// A packet that has come as far as the rules.
pub struct Question<'s, W> {
    /// The words that decide.
    pub words: W,
    /// The row of the remote address.
    pub row: Row,
    /// What the words were compiled from, unless that is not known any more.
    pub source: Option<&'s Source>,
    /// Where the packet goes.
    pub remote: Ipv4Addr,
    /// IP protocol number: TCP or UDP.
    pub protocol: u8,
    /// The port it goes to.
    pub port: u16,
    /// Whether it is of an open flow, in which security groups have no say.
    pub tracked: bool,
    /// The port of the ENI that answers come to, if that is known.
    pub outside_port: Option<u16>,
}

/// What each stage says.
#[derive(Clone, PartialEq, Debug)]
pub struct Stages {
    /// The security groups.
    pub security_groups: Stage,
    /// The network ACL, of the packet.
    pub network_acl_out: Stage,
    /// The routes.
    pub route: RouteStage,
    /// The network ACL, of answers.
    pub reply: ReplyStage,
}

impl Stages {
    /// The reason of the first stage that refuses the packet.
    pub const fn refused(&self) -> Option<DropReason> {
        if !self.security_groups.allows {
            return Some(DropReason::SgEgress);
        }
        if !self.network_acl_out.allows {
            return Some(DropReason::NaclOut);
        }
        match self.route.target {
            RouteTarget::OnLink | RouteTarget::Via => None,
            RouteTarget::Blackhole => Some(DropReason::Blackhole),
            RouteTarget::NoRoute => Some(DropReason::NoRoute),
        }
    }
}

impl<W: Words> Question<'_, W> {
    /// Has every stage say what it says; uplinks by their index.
    pub fn stages(&self, uplink: impl FnOnce(u32) -> Option<String>) -> Stages {
        let denials = self.denials();
        Stages {
            security_groups: self.security_groups(denials),
            network_acl_out: self.network_acl_out(denials),
            route: self.route_stage(self.egress(), uplink),
            reply: self.reply(),
        }
    }

    fn denials(&self) -> u32 {
        policy::out(&self.words, self.row, self.protocol, self.port)
    }

    /// Where the words send it.
    pub fn egress(&self) -> Egress {
        let remote = Addr::from_v4(V4::new(self.remote.octets()));
        policy::egress(&self.words, self.row, remote)
    }

    fn security_groups(&self, denials: u32) -> Stage {
        let allows = denials & Verdict::SG_DENIES == 0;
        let stage = match self.source {
            None => unknown(allows),
            Some(source) => {
                let said = attribute_out(source, self.protocol, self.remote, self.port);
                let stage = security_groups(said.security_groups);
                self.checked(stage, allows, "security groups")
            }
        };
        if !stage.allows && self.tracked {
            return Stage::bare(true, StageDecision::Tracked);
        }
        stage
    }

    fn network_acl_out(&self, denials: u32) -> Stage {
        let allows = denials & Verdict::ACL_DENIES == 0;
        let Some(source) = self.source else {
            return unknown(allows);
        };
        let said = attribute_out(source, self.protocol, self.remote, self.port);
        self.checked(network_acl(said.network_acl), allows, "network ACL out")
    }

    /// Of an answer to a port of the ENI, which `allows` by the words.
    fn network_acl_in(&self, allows: bool, port: u16) -> Stage {
        let Some(source) = self.source else {
            return unknown(allows);
        };
        let said = attribute_in(source, self.protocol, self.remote, port);
        self.checked(network_acl(said), allows, "network ACL in")
    }

    /// Of the port of the flow, or of all that a new one may get.
    fn reply(&self) -> ReplyStage {
        let ports = match self.outside_port {
            Some(port) => port..=port,
            None => FIRST_PORT..=u16::MAX,
        };
        let mut ranges: Vec<ReplyRange> = Vec::new();
        for port in ports {
            let allows = policy::into(&self.words, self.row, self.protocol, port) == 0;
            match ranges.last_mut() {
                Some(range) if range.stage.allows == allows => range.last = port,
                _ => ranges.push(ReplyRange {
                    first: port,
                    last: port,
                    stage: self.network_acl_in(allows, port),
                }),
            }
        }
        ReplyStage {
            allows: ranges.iter().all(|range| range.stage.allows),
            ranges,
        }
    }

    fn route_stage(
        &self,
        egress: Egress,
        uplink: impl FnOnce(u32) -> Option<String>,
    ) -> RouteStage {
        let target = match egress.kind {
            Egress::ON_LINK => RouteTarget::OnLink,
            Egress::VIA => RouteTarget::Via,
            Egress::BLACKHOLE => RouteTarget::Blackhole,
            _ => RouteTarget::NoRoute,
        };
        let leads = matches!(target, RouteTarget::OnLink | RouteTarget::Via);
        let uplink = leads.then(|| uplink(egress.uplink)).flatten();
        let (route, cidr) = self.route(target, egress, uplink.as_deref());
        RouteStage {
            allows: leads,
            target,
            route,
            cidr,
            uplink,
            next_hop: leads.then(|| next_hop(egress)),
            mac: None,
        }
    }

    /// The route behind a way out, and its destination.
    fn route(
        &self,
        target: RouteTarget,
        egress: Egress,
        uplink: Option<&str>,
    ) -> (Option<String>, Option<String>) {
        let Some(source) = self.source else {
            return (None, None);
        };
        let said = attribute_route(source, self.remote);
        if !agrees(&said, target, egress, uplink) {
            tracing::error!(
                ?said,
                ?egress,
                remote = %self.remote,
                "the routes in force are not those of the configuration"
            );
            return (None, None);
        }
        match said {
            RouteDecision::NoRoute => (None, None),
            RouteDecision::Reserved(net) => {
                (Some("never forwarded".to_owned()), Some(net.to_string()))
            }
            RouteDecision::Route(route) => (
                Some(route.name.to_string()),
                Some(route.destination.to_string()),
            ),
        }
    }

    /// What a source says, unless the words say something else.
    fn checked(&self, stage: Stage, allows: bool, what: &str) -> Stage {
        if stage.allows == allows {
            return stage;
        }
        tracing::error!(
            what,
            allows,
            ?stage,
            remote = %self.remote,
            protocol = self.protocol,
            port = self.port,
            "the rules in force are not those of the configuration"
        );
        unknown(allows)
    }
}

const fn unknown(allows: bool) -> Stage {
    Stage::bare(allows, StageDecision::Unknown)
}

fn security_groups(said: SgDecision<'_>) -> Stage {
    let decision = match said {
        SgDecision::Unfiltered => StageDecision::Unfiltered,
        SgDecision::NoRule => StageDecision::NoRule,
        SgDecision::Allowed(SgRule {
            traffic,
            cidr,
            rule,
        }) => {
            return Stage {
                allows: true,
                decision: StageDecision::Rule,
                object: Some(rule.group.to_string()),
                number: Some(rule.number),
                traffic: Some(traffic.to_string()),
                cidr: Some(cidr.to_string()),
            };
        }
    };
    Stage::bare(said.allows(), decision)
}

fn network_acl(said: AclDecision<'_>) -> Stage {
    let decision = match said {
        AclDecision::Unfiltered => StageDecision::Unfiltered,
        AclDecision::SameSubnet => StageDecision::SameSubnet,
        AclDecision::NoEntry => StageDecision::NoEntry,
        AclDecision::Entry(AclRule {
            traffic,
            cidr,
            allow,
            acl,
            number,
        }) => {
            return Stage {
                allows: *allow,
                decision: StageDecision::Entry,
                object: Some(acl.to_string()),
                number: Some(u32::from(*number)),
                traffic: Some(traffic.to_string()),
                cidr: Some(cidr.to_string()),
            };
        }
    };
    Stage::bare(said.allows(), decision)
}

/// Whether a route leads where the words do. One by an uplink that is not up leads
/// nowhere yet.
fn agrees(
    said: &RouteDecision<'_>,
    target: RouteTarget,
    egress: Egress,
    uplink: Option<&str>,
) -> bool {
    let RouteDecision::Route(route) = said else {
        return target == RouteTarget::NoRoute;
    };
    match (&route.hop, target) {
        (Hop::Blackhole, target) => target == RouteTarget::Blackhole,
        (_, RouteTarget::NoRoute) => true,
        (Hop::OnLink { uplink: by }, RouteTarget::OnLink) => uplink == Some(by.as_str()),
        (
            Hop::Via {
                uplink: by,
                address,
            },
            RouteTarget::Via,
        ) => uplink == Some(by.as_str()) && *address == next_hop(egress),
        _ => false,
    }
}

fn next_hop(egress: Egress) -> Ipv4Addr {
    egress.next_hop.v4().octets().into()
}
