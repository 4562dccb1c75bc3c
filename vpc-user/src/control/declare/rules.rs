//! Rules of security groups and entries of network ACLs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{EC2, Work, object};
use crate::{
    control::{
        ApiError, Kind, desired,
        resource::{NetworkAcl, NetworkAclEntry, RulePeer, SecurityGroup, SecurityGroupRule},
    },
    model::{self, AclEntry, ObjectName, Peer, SecurityRule, Traffic},
};

impl Work<'_, '_, '_> {
    pub(super) fn rules(&mut self, group: &model::SecurityGroup) -> Result<(), ApiError> {
        let name = group.name.as_str();
        let id = self.known(Kind::SecurityGroup, name)?;
        let Some(is) = self.transaction.get::<SecurityGroup>(&id).cloned() else {
            return Ok(());
        };
        for (egress, wanted) in [(true, &group.egress), (false, &group.ingress)] {
            let mut missing = Vec::new();
            for rule in wanted {
                missing.push((rule, self.rule_peer(&rule.peer)?));
            }
            let mut gone = Vec::new();
            for rule in is.rules.iter().filter(|rule| rule.is_egress == egress) {
                let same = missing
                    .iter()
                    .position(|(wanted, peer)| *peer == rule.peer && is_traffic(rule, wanted));
                match same {
                    Some(at) => {
                        missing.swap_remove(at);
                    }
                    None => gone.push(rule.security_group_rule_id.to_string()),
                }
            }
            self.change_rules(name, &id, egress, gone, &missing)?;
        }
        Ok(())
    }

    fn change_rules(
        &mut self,
        name: &str,
        id: &str,
        egress: bool,
        gone: Vec<String>,
        missing: &[(&SecurityRule, RulePeer)],
    ) -> Result<(), ApiError> {
        let of = object(Kind::SecurityGroup, name);
        let way = if egress { "Egress" } else { "Ingress" };
        if !gone.is_empty() {
            let detail = format!("{} {} rules revoked", gone.len(), way.to_lowercase());
            let action = format!("RevokeSecurityGroup{way}");
            let members = json!({ "GroupId": id, "SecurityGroupRuleIds": gone });
            self.send(&of, (EC2, &action), members)?;
            self.changed(Kind::SecurityGroup, name, detail);
        }
        if !missing.is_empty() {
            let detail = format!("{} {} rules authorized", missing.len(), way.to_lowercase());
            let permissions: Vec<Value> = missing
                .iter()
                .map(|(rule, peer)| permission(rule, peer))
                .collect();
            let action = format!("AuthorizeSecurityGroup{way}");
            let members = json!({ "GroupId": id, "IpPermissions": permissions });
            self.send(&of, (EC2, &action), members)?;
            self.changed(Kind::SecurityGroup, name, detail);
        }
        Ok(())
    }

    fn rule_peer(&self, peer: &Peer) -> Result<RulePeer, ApiError> {
        let id = |kind, name: &ObjectName| {
            let id = self.known(kind, name.as_str())?;
            ObjectName::new(id).map_err(|error| ApiError::invalid(error.to_string()))
        };
        Ok(match peer {
            Peer::Cidr(cidr) => RulePeer::CidrIpv4(*cidr),
            Peer::Group(name) => RulePeer::ReferencedGroupId(id(Kind::SecurityGroup, name)?),
            Peer::PrefixList(name) => RulePeer::PrefixListId(id(Kind::PrefixList, name)?),
        })
    }

    pub(super) fn network_acl(&mut self, acl: &model::NetworkAcl) -> Result<(), ApiError> {
        let name = acl.name.as_str();
        let of = object(Kind::NetworkAcl, name);
        let id = match self.id(Kind::NetworkAcl, name) {
            Some(id) => id.to_owned(),
            None => {
                let members = json!({ "VpcId": self.known(Kind::Vpc, acl.vpc.as_str())? });
                let (action, path) = ("CreateNetworkAcl", "/NetworkAcl/NetworkAclId");
                self.make(Kind::NetworkAcl, name, action, members, path)?
            }
        };
        let Some(is) = self.transaction.get::<NetworkAcl>(&id).cloned() else {
            return Ok(());
        };
        let ways = [(true, &acl.egress), (false, &acl.ingress)];
        let wanted = ways.iter().flat_map(|(egress, entries)| {
            entries
                .iter()
                .map(move |entry| ((*egress, entry.number), entry))
        });
        let wanted: BTreeMap<(bool, u16), &AclEntry> = wanted.collect();
        let has = is
            .entries
            .iter()
            .map(|entry| ((entry.egress, entry.rule_number), entry));
        let has: BTreeMap<(bool, u16), &NetworkAclEntry> = has.collect();
        for ((egress, number), entry) in &wanted {
            let action = match has.get(&(*egress, *number)) {
                None => "CreateNetworkAclEntry",
                Some(is) if desired::acl_entry(is) == **entry => continue,
                Some(_) => "ReplaceNetworkAclEntry",
            };
            self.send(&of, (EC2, action), entry_members(&id, *egress, entry))?;
            self.changed(
                Kind::NetworkAcl,
                name,
                format!("{} entry {number}", way(*egress)),
            );
        }
        for (egress, number) in has.keys().filter(|key| !wanted.contains_key(key)) {
            let members = json!({ "NetworkAclId": id, "Egress": egress, "RuleNumber": number });
            self.send(&of, (EC2, "DeleteNetworkAclEntry"), members)?;
            let detail = format!("without {} entry {number}", way(*egress));
            self.changed(Kind::NetworkAcl, name, detail);
        }
        Ok(())
    }
}

const fn way(egress: bool) -> &'static str {
    if egress { "egress" } else { "ingress" }
}

/// Whether a rule that there is is about the packets of one that is wanted.
fn is_traffic(rule: &SecurityGroupRule, wanted: &SecurityRule) -> bool {
    desired::rule_traffic(&rule.traffic).as_ref() == Some(&wanted.traffic)
}

/// Protocol, and first and last port or ICMP type and code, as EC2 has them.
fn numbers(traffic: &Traffic) -> (String, i32, i32) {
    let number = |value: Option<u8>| value.map_or(-1, i32::from);
    match traffic {
        Traffic::All => ("-1".to_owned(), -1, -1),
        Traffic::Tcp(ports) => (
            "tcp".to_owned(),
            (*ports.start()).into(),
            (*ports.end()).into(),
        ),
        Traffic::Udp(ports) => (
            "udp".to_owned(),
            (*ports.start()).into(),
            (*ports.end()).into(),
        ),
        Traffic::Icmp(kind, code) => ("icmp".to_owned(), number(*kind), number(*code)),
        Traffic::Other(protocol) => (protocol.to_string(), -1, -1),
    }
}

fn permission(rule: &SecurityRule, peer: &RulePeer) -> Value {
    let (protocol, from, to) = numbers(&rule.traffic);
    let mut permission = json!({ "IpProtocol": protocol, "FromPort": from, "ToPort": to });
    match peer {
        RulePeer::CidrIpv4(cidr) => {
            permission["IpRanges"] = json!([{ "CidrIp": cidr.to_string() }]);
        }
        RulePeer::ReferencedGroupId(id) => {
            permission["UserIdGroupPairs"] = json!([{ "GroupId": id }]);
        }
        RulePeer::PrefixListId(id) => {
            permission["PrefixListIds"] = json!([{ "PrefixListId": id }]);
        }
    }
    permission
}

fn entry_members(acl: &str, egress: bool, entry: &AclEntry) -> Value {
    let (protocol, from, to) = numbers(&entry.traffic);
    let protocol = match protocol.as_str() {
        "tcp" => "6".to_owned(),
        "udp" => "17".to_owned(),
        "icmp" => "1".to_owned(),
        _ => protocol,
    };
    let mut members = json!({
        "NetworkAclId": acl,
        "Egress": egress,
        "RuleNumber": entry.number,
        "RuleAction": if entry.allow { "allow" } else { "deny" },
        "Protocol": protocol,
        "CidrBlock": entry.cidr.to_string(),
    });
    match entry.traffic {
        Traffic::Tcp(_) | Traffic::Udp(_) => {
            members["PortRange"] = json!({ "From": from, "To": to });
        }
        Traffic::Icmp(..) => members["IcmpTypeCode"] = json!({ "Type": from, "Code": to }),
        Traffic::All | Traffic::Other(_) => {}
    }
    members
}
