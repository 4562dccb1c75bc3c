//! The compiled image of a group, evaluated by the host functions, and what is said
//! of who decided.

use std::net::Ipv4Addr;

use vpc_common::{
    addr::V4,
    policy::{Egress, Verdict as Denies, icmp_port, row},
};
use vpc_user::{
    model::{Config, ObjectName, Stage, StageDecision},
    policy::{
        self, AclDecision as Acl, RouteDecision as Route, RouteName, SgDecision as Sg, Source,
        stages::Question as Explained,
    },
};

use crate::{
    oracle::{AclDecision, By, Carried, Hop, Oracle, Refusal, RouteDecision, SgDecision, Waived},
    rules::Question,
};

/// The image of a group, and what it was made of.
pub struct Compiled {
    group: ObjectName,
    config: Config,
    source: Source,
    words: Vec<u64>,
    uplinks: Vec<ObjectName>,
}

impl Compiled {
    /// Compiles a group of a configuration; uplinks are by the order of it.
    pub fn new(config: &Config, group: &ObjectName) -> Self {
        let group = config.groups.iter().find(|g| g.name == *group);
        let group = group.expect("the group is in the configuration");
        let source = policy::source(config, group);
        let uplinks: Vec<_> = config.uplinks.iter().map(|u| u.name.clone()).collect();
        let index = |name: &ObjectName| {
            let index = uplinks.iter().position(|uplink| uplink == name)?;
            u32::try_from(index).ok()
        };
        let words = policy::compile(&source, &index).expect("a generated group is not too large");
        Self {
            group: group.name.clone(),
            config: config.clone(),
            source,
            words,
            uplinks,
        }
    }

    /// The group.
    pub const fn group(&self) -> &ObjectName {
        &self.group
    }

    /// Whether it was made of a configuration.
    pub fn is_of(&self, config: &Config) -> bool {
        self.config == *config
    }

    fn hop(&self, egress: Egress) -> Result<Hop, Refusal> {
        match egress.kind {
            Egress::NO_ROUTE => Err(Refusal::NoRoute),
            Egress::BLACKHOLE => Err(Refusal::Blackhole),
            Egress::ON_LINK | Egress::VIA => Ok(Hop {
                uplink: self.uplinks[egress.uplink as usize].clone(),
                address: Ipv4Addr::from(egress.next_hop.v4().octets()),
            }),
            kind => panic!("no kind of egress is {kind}"),
        }
    }
}

/// What differs between the oracle and a compiled group about one question: each
/// stage on its own, forward and back, and who decided.
pub fn host_differs(config: &Config, compiled: &Compiled, question: &Question) -> Option<String> {
    let oracle = Oracle::new(config, &question.group);
    let (remote, protocol) = (question.remote, question.protocol());
    let (port, reply_port) = (port(question.carried), port(question.reply()));
    let decision = policy::evaluate(&compiled.words, remote, protocol, port);
    let denies_in = policy::evaluate_in(&compiled.words, remote, protocol, reply_port);
    let by = policy::attribute_out(&compiled.source, protocol, remote, port);
    let by_in = policy::attribute_in(&compiled.source, protocol, remote, reply_port);
    let by_route = policy::attribute_route(&compiled.source, remote);

    let sg = oracle.security_groups(remote, question.carried);
    let acl_out = oracle.acl_out(remote, question.carried);
    let acl_in = oracle.acl_in(remote, question.reply());
    let route = oracle.route(remote);
    let found = compiled.hop(decision.egress);
    let stages = [
        (
            sg.allows() == (decision.denials & Denies::SG_DENIES == 0)
                && sg_agrees(&sg, &by.security_groups),
            format!("security groups: expected {sg:?}, found {by:?}, {decision:?}"),
        ),
        (
            acl_out.allows() == (decision.denials & Denies::ACL_DENIES == 0)
                && acl_agrees(&acl_out, &by.network_acl),
            format!("ACL out: expected {acl_out:?}, found {by:?}, {decision:?}"),
        ),
        (
            acl_in.allows() == (denies_in == 0) && acl_agrees(&acl_in, &by_in),
            format!("ACL in: expected {acl_in:?}, found {by_in:?}, {denies_in}"),
        ),
        (
            route.outcome == found && route_agrees(&route, &by_route),
            format!("route: expected {route:?}, found {found:?} by {by_route:?}"),
        ),
    ];
    let wrong = stages.into_iter().filter(|(agrees, _)| !agrees);
    let mut wrong: Vec<_> = wrong.map(|(_, what)| what).collect();
    wrong.extend(explanation_differs(&oracle, compiled, question));
    (!wrong.is_empty()).then(|| wrong.join("\n"))
}

/// What differs between the oracle and what `vpc explain` says: the verdict, both ways,
/// the next hop, and whether it names anybody.
fn explanation_differs(
    oracle: &Oracle<'_>,
    compiled: &Compiled,
    question: &Question,
) -> Option<String> {
    let (Carried::Tcp(port) | Carried::Udp(port)) = question.carried else {
        return None;
    };
    let row = row(&compiled.words[..], 0, V4::new(question.remote.octets()))?;
    let explained = Explained {
        words: &compiled.words[..],
        row,
        source: Some(&compiled.source),
        remote: question.remote,
        protocol: question.protocol(),
        port,
        tracked: false,
        outside_port: Some(question.eni_port),
    };
    let name = |index: u32| Some(compiled.uplinks.get(index as usize)?.to_string());
    let stages = explained.stages(name);
    let said = match stages.refused() {
        Some(reason) => Err(reason.label()),
        None => Ok((stages.route.uplink.clone(), stages.route.next_hop)),
    };
    let expected = match oracle.forward(question.remote, question.carried) {
        Ok(hop) => Ok((Some(hop.uplink.to_string()), Some(hop.address))),
        Err(refusal) => Err(refusal.label()),
    };
    let enters = oracle.reply(question.remote, question.reply()).is_ok();
    let is_known = |stage: &Stage| stage.decision != StageDecision::Unknown;
    let agrees = said == expected
        && stages.reply.allows == enters
        && is_known(&stages.security_groups)
        && is_known(&stages.network_acl_out)
        && stages
            .reply
            .ranges
            .iter()
            .all(|range| is_known(&range.stage));
    (!agrees).then(|| format!("explained: expected {expected:?}, {enters}; said {stages:?}"))
}

/// What the tables count for a packet's port.
const fn port(carried: Carried) -> u16 {
    match carried {
        Carried::Tcp(port) | Carried::Udp(port) => port,
        Carried::Icmp(kind, code) => icmp_port(kind, code),
        Carried::Other(_) => 0,
    }
}

/// Whether the rule that is named is one of those that allow.
fn sg_agrees(expected: &SgDecision, found: &Sg<'_>) -> bool {
    match (expected, found) {
        (SgDecision::Waived(_), Sg::Unfiltered) => true,
        (SgDecision::Rules(rules), Sg::NoRule) => rules.is_empty(),
        (SgDecision::Rules(rules), Sg::Allowed(rule)) => rules
            .iter()
            .any(|id| id.group == rule.rule.group && id.index + 1 == rule.rule.number as usize),
        (SgDecision::Waived(_) | SgDecision::Rules(_), _) => false,
    }
}

fn acl_agrees(expected: &AclDecision, found: &Acl<'_>) -> bool {
    match (expected, found) {
        (AclDecision::Waived(Waived::SameSubnet), Acl::SameSubnet)
        | (AclDecision::Waived(Waived::Unfiltered | Waived::NoVpc), Acl::Unfiltered)
        | (AclDecision::Asterisk { .. }, Acl::NoEntry) => true,
        (AclDecision::Entry { acl, number, allow }, Acl::Entry(entry)) => {
            *acl == entry.acl && *number == entry.number && *allow == entry.allow
        }
        (AclDecision::Waived(_) | AclDecision::Entry { .. } | AclDecision::Asterisk { .. }, _) => {
            false
        }
    }
}

fn route_agrees(expected: &RouteDecision, found: &Route<'_>) -> bool {
    match (&expected.by, found) {
        (By::NeverForwarded, Route::Reserved(_)) | (By::Nothing, Route::NoRoute) => true,
        (By::NoVpc, _) => true,
        (By::Local(prefix), Route::Route(rule)) => {
            // Within the subnet it may be named by the subnet's prefix.
            matches!(rule.name, RouteName::Local { .. }) && rule.destination == *prefix
        }
        (By::Static { index, prefix }, Route::Route(rule)) => {
            let RouteName::Route {
                number,
                prefix_list: None,
                ..
            } = &rule.name
            else {
                return false;
            };
            *number as usize == index + 1 && rule.destination == *prefix
        }
        (
            By::PrefixList {
                index,
                list,
                prefix,
            },
            Route::Route(rule),
        ) => {
            let RouteName::Route {
                number,
                prefix_list: Some(found),
                ..
            } = &rule.name
            else {
                return false;
            };
            *number as usize == index + 1 && rule.destination == *prefix && found == list
        }
        _ => false,
    }
}
