//! Who is behind a verdict: what the source of a policy says, held against the words.

use vpc_common::policy::Egress;

use super::Question;
use crate::{
    dataplane::listing::v4,
    model::{RouteTarget, Stage, StageDecision},
    policy::{
        AclDecision, AclRule, Hop, RouteDecision, SgDecision, SgRule, attribute_in, attribute_out,
        attribute_route,
    },
};

impl Question<'_> {
    /// Of the security groups, which `allows` by the words.
    pub(super) fn attributed_security_groups(&self, allows: bool) -> Stage {
        let stage = match self.source {
            None => unknown(allows),
            Some(source) => {
                let said = attribute_out(source, self.protocol, self.remote, self.port);
                let stage = security_groups(said.security_groups);
                self.checked(stage, allows, "security groups")
            }
        };
        if !stage.allows && self.tracked.is_some() {
            return Stage::bare(true, StageDecision::Tracked);
        }
        stage
    }

    /// Of the network ACL for the packet, which `allows` by the words.
    pub(super) fn attributed_acl_out(&self, allows: bool) -> Stage {
        let Some(source) = self.source else {
            return unknown(allows);
        };
        let said = attribute_out(source, self.protocol, self.remote, self.port);
        self.checked(network_acl(said.network_acl), allows, "network ACL out")
    }

    /// Of the network ACL for an answer to a port of the ENI, which `allows` by the
    /// words.
    pub(super) fn attributed_acl_in(&self, allows: bool, port: u16) -> Stage {
        let Some(source) = self.source else {
            return unknown(allows);
        };
        let said = attribute_in(source, self.protocol, self.remote, port);
        self.checked(network_acl(said), allows, "network ACL in")
    }

    /// The route behind a way out, and its destination.
    pub(super) fn route(
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
        ) => uplink == Some(by.as_str()) && *address == v4(egress.next_hop),
        _ => false,
    }
}
