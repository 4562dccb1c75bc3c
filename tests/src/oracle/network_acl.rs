//! Network ACLs:
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>,
//! <https://docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html>.

use std::net::Ipv4Addr;

use vpc_user::model::{AclEntry, NetworkAcl, ObjectName};

use super::{Carried, Oracle, Place, contains, find, is_about};

/// Why nobody is asked about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waived {
    /// The group is in no VPC.
    NoVpc,
    /// The remote address is one that AWS filters nothing of.
    Unfiltered,
    /// The remote address is in the ENI's own subnet: network ACLs control what
    /// crosses its border.
    SameSubnet,
}

/// What a network ACL says about a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AclDecision {
    /// It is not asked.
    Waived(Waived),
    /// An entry decides.
    Entry {
        /// The ACL.
        acl: ObjectName,
        /// Number of the entry.
        number: u16,
        /// Whether it allows.
        allow: bool,
    },
    /// No entry matches: the entry with the asterisk denies.
    Asterisk {
        /// The ACL.
        acl: ObjectName,
    },
}

impl AclDecision {
    /// Whether the packet goes on.
    pub const fn allows(&self) -> bool {
        match self {
            Self::Waived(_) => true,
            Self::Entry { allow, .. } => *allow,
            Self::Asterisk { .. } => false,
        }
    }
}

impl Oracle<'_> {
    /// What the ACL says about a packet that leaves for a remote address: entries
    /// compare its destination.
    pub fn acl_out(&self, remote: Ipv4Addr, carried: Carried) -> AclDecision {
        self.acl(remote, carried, |acl| &acl.egress)
    }

    /// What the ACL says about a packet that enters from a remote address: entries
    /// compare its source, and the port that it is sent to.
    pub fn acl_in(&self, remote: Ipv4Addr, carried: Carried) -> AclDecision {
        self.acl(remote, carried, |acl| &acl.ingress)
    }

    fn acl(
        &self,
        remote: Ipv4Addr,
        carried: Carried,
        direction: fn(&NetworkAcl) -> &Vec<AclEntry>,
    ) -> AclDecision {
        let Some(Place { subnet, .. }) = self.place else {
            return AclDecision::Waived(Waived::NoVpc);
        };
        if self.unfiltered(remote) {
            return AclDecision::Waived(Waived::Unfiltered);
        }
        if contains(subnet.cidr, remote) {
            return AclDecision::Waived(Waived::SameSubnet);
        }
        let acls = &self.config.network.network_acls;
        let acl = find(acls, |acl| acl.name == subnet.network_acl);
        decide(acl, direction(acl), remote, carried)
    }
}

/// The matching entry with the lowest number decides, whatever higher ones say.
fn decide(
    acl: &NetworkAcl,
    entries: &[AclEntry],
    remote: Ipv4Addr,
    carried: Carried,
) -> AclDecision {
    let mut first: Option<&AclEntry> = None;
    for entry in entries {
        let matches = contains(entry.cidr, remote) && is_about(&entry.traffic, carried);
        if matches && first.is_none_or(|first| entry.number < first.number) {
            first = Some(entry);
        }
    }
    let acl = acl.name.clone();
    match first {
        Some(entry) => AclDecision::Entry {
            acl,
            number: entry.number,
            allow: entry.allow,
        },
        None => AclDecision::Asterisk { acl },
    }
}
