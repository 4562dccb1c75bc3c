//! Security groups:
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html>,
//! <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html>.

use std::net::Ipv4Addr;

use vpc_user::model::{ObjectName, Peer, SecurityGroup};

use super::{Carried, Oracle, contains, find, is_about, network_acl::Waived};

/// An egress rule: its security group, and its place in it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RuleId {
    /// The security group.
    pub group: ObjectName,
    /// Index among its egress rules.
    pub index: usize,
}

/// What the security groups of an ENI say about a packet of a new connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SgDecision {
    /// They are not asked.
    Waived(Waived),
    /// Every rule that allows it; none: it is refused.
    Rules(Vec<RuleId>),
}

impl SgDecision {
    /// Whether the packet goes on.
    pub fn allows(&self) -> bool {
        match self {
            Self::Waived(_) => true,
            Self::Rules(rules) => !rules.is_empty(),
        }
    }
}

impl Oracle<'_> {
    /// The rules of all groups are one set without an order: a packet is allowed if
    /// any matches, and there is no rule that denies.
    pub fn security_groups(&self, remote: Ipv4Addr, carried: Carried) -> SgDecision {
        if self.place.is_none() {
            return SgDecision::Waived(Waived::NoVpc);
        }
        if self.unfiltered(remote) {
            return SgDecision::Waived(Waived::Unfiltered);
        }
        let mut allowing = Vec::new();
        for name in &self.group.security_groups {
            let group = self.security_group(name);
            for (index, rule) in group.egress.iter().enumerate() {
                if is_about(&rule.traffic, carried) && self.is_peer(&rule.peer, remote) {
                    let group = name.clone();
                    allowing.push(RuleId { group, index });
                }
            }
        }
        SgDecision::Rules(allowing)
    }

    fn security_group(&self, name: &ObjectName) -> &SecurityGroup {
        find(&self.config.network.security_groups, |g| g.name == *name)
    }

    fn is_peer(&self, peer: &Peer, remote: Ipv4Addr) -> bool {
        match peer {
            Peer::Cidr(prefix) => contains(*prefix, remote),
            Peer::PrefixList(name) => {
                let list = find(&self.config.network.prefix_lists, |l| l.name == *name);
                list.entries.iter().any(|entry| contains(*entry, remote))
            }
            Peer::Group(name) => self.is_within_reach(name) && self.carries(remote, name),
        }
    }

    /// A group may be referenced in its own VPC, and in a VPC that its VPC has a
    /// peering connection with
    /// (<https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-security-groups.html>).
    /// Peering is not transitive, and a reference to any other group is stale: it
    /// matches nothing.
    fn is_within_reach(&self, referenced: &ObjectName) -> bool {
        let Some(place) = self.place else {
            return false;
        };
        let (own, other) = (&place.vpc.name, &self.security_group(referenced).vpc);
        if own == other {
            return true;
        }
        let peerings = &self.config.network.peerings;
        peerings
            .iter()
            .any(|p| p.vpcs.contains(own) && p.vpcs.contains(other))
    }

    /// A group as the destination of a rule stands for the private addresses of the
    /// network interfaces that carry it now. Its own rules are not added.
    fn carries(&self, address: Ipv4Addr, group: &ObjectName) -> bool {
        let interfaces = &self.config.network.interfaces;
        let enis = &self.config.groups;
        interfaces
            .iter()
            .any(|i| i.security_groups.contains(group) && i.address == address)
            || enis
                .iter()
                .filter(|e| e.security_groups.contains(group))
                .any(|e| e.enis.iter().any(|eni| eni.address == address))
    }
}
