//! What requests say of rules: protocols, ports and peers.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html>

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{all_traffic, text};
use crate::control::{
    Account, ApiError, Context, Id, Kind, State,
    ec2::{cidr_blocks, lookup},
    resource::{Peering, PeeringStatus, PrefixList, RulePeer, RuleTraffic, SecurityGroup},
};

/// Rules of one protocol and its ports: one for each peer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct IpPermission {
    /// `tcp`, `udp`, `icmp`, a number, or `-1` for all.
    pub ip_protocol: String,
    /// The first port, or the ICMP type.
    #[serde(default)]
    pub from_port: Option<i32>,
    /// The last port, or the ICMP code.
    #[serde(default)]
    pub to_port: Option<i32>,
    /// Prefixes.
    #[serde(default)]
    pub ip_ranges: Vec<IpRange>,
    /// Prefixes of IPv6: none are taken.
    #[serde(default)]
    pub ipv6_ranges: Vec<Value>,
    /// Security groups.
    #[serde(default)]
    pub user_id_group_pairs: Vec<UserIdGroupPair>,
    /// Prefix lists.
    #[serde(default)]
    pub prefix_list_ids: Vec<PrefixListId>,
}

/// A prefix as a peer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct IpRange {
    /// The prefix.
    pub cidr_ip: String,
    /// What it is.
    #[serde(default)]
    pub description: Option<String>,
}

/// A security group as a peer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UserIdGroupPair {
    /// The group, of the same VPC or one that is peered with it.
    pub group_id: String,
    /// Its account, by default the caller's.
    #[serde(default)]
    pub user_id: Option<Account>,
    /// What it is.
    #[serde(default)]
    pub description: Option<String>,
}

/// A prefix list as a peer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PrefixListId {
    /// The list.
    pub prefix_list_id: String,
    /// What it is.
    #[serde(default)]
    pub description: Option<String>,
}

/// A rule as a request describes it.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) traffic: RuleTraffic,
    pub(super) peer: RulePeer,
    pub(super) description: Option<String>,
    /// The account of the security group that is the peer, by default the caller's.
    pub(super) owner: Option<Account>,
}

impl Wanted {
    /// Well formed, whether or not the peer is there.
    pub(super) fn new(
        traffic: RuleTraffic,
        peer: RulePeer,
        description: Option<&String>,
    ) -> Result<Self, ApiError> {
        // An empty description is none.
        let description = description.filter(|text| !text.is_empty()).cloned();
        if let Some(description) = &description {
            text("description", description)?;
        }
        Ok(Self {
            traffic,
            peer,
            description,
            owner: None,
        })
    }

    /// That the peer is there, and in reach of a group.
    pub(super) fn check_peer(
        &self,
        state: &State,
        context: &Context,
        group: &SecurityGroup,
    ) -> Result<(), ApiError> {
        let caller = context.caller.account;
        match &self.peer {
            RulePeer::CidrIpv4(_) => Ok(()),
            RulePeer::PrefixListId(id) => {
                lookup::find::<PrefixList>(state, caller, id.as_str()).map(drop)
            }
            RulePeer::ReferencedGroupId(id) => {
                let owner = self.owner.unwrap_or(caller);
                let peer: &SecurityGroup = lookup::find(state, owner, id.as_str())?;
                let message = "You have specified two resources that belong to different networks.";
                match peer.vpc_id == group.vpc_id || are_peered(state, &peer.vpc_id, &group.vpc_id)
                {
                    true => Ok(()),
                    false if owner == caller => {
                        Err(ApiError::new("InvalidGroup.NotFound", message))
                    }
                    // Another account's group does not exist for who is not connected with it.
                    false => Err(lookup::not_found(Kind::SecurityGroup, id.as_str())),
                }
            }
        }
    }
}

fn are_peered(state: &State, one: &Id, other: &Id) -> bool {
    state.all::<Peering>().any(|peering| {
        let sides = (&peering.requester_vpc.vpc_id, &peering.accepter_vpc.vpc_id);
        let is_active = peering.status == PeeringStatus::Active;
        is_active && (sides == (one, other) || sides == (other, one))
    })
}

/// The rules that permissions stand for.
pub(super) fn wanted(permissions: &[IpPermission]) -> Result<Vec<Wanted>, ApiError> {
    if permissions.is_empty() {
        return Err(ApiError::missing("ipPermissions"));
    }
    let mut all = Vec::new();
    for permission in permissions {
        let before = all.len();
        permission.wanted(&mut all)?;
        if all.len() == before {
            return Err(ApiError::missing(
                "ipRanges, userIdGroupPairs or prefixListIds",
            ));
        }
    }
    Ok(all)
}

impl IpPermission {
    fn wanted(&self, all: &mut Vec<Wanted>) -> Result<(), ApiError> {
        let traffic = traffic(&self.ip_protocol, self.from_port, self.to_port)?;
        if !self.ipv6_ranges.is_empty() {
            return Err(ipv6());
        }
        for IpRange {
            cidr_ip,
            description,
        } in &self.ip_ranges
        {
            let peer = RulePeer::CidrIpv4(cidr_blocks::prefix("cidrIp", cidr_ip)?);
            all.push(Wanted::new(traffic.clone(), peer, description.as_ref())?);
        }
        for pair in &self.user_id_group_pairs {
            let peer = group_peer(&pair.group_id)?;
            let wanted = Wanted::new(traffic.clone(), peer, pair.description.as_ref())?;
            all.push(Wanted {
                owner: pair.user_id,
                ..wanted
            });
        }
        for list in &self.prefix_list_ids {
            let peer = list_peer(&list.prefix_list_id)?;
            all.push(Wanted::new(
                traffic.clone(),
                peer,
                list.description.as_ref(),
            )?);
        }
        Ok(())
    }
}

/// Rules know addresses of IPv4 alone.
pub(super) fn ipv6() -> ApiError {
    ApiError::invalid("The VPC has no IPv6 CIDR block: rules of IPv6 are not supported")
}

/// A security group as a peer, by its id.
pub(super) fn group_peer(id: &str) -> Result<RulePeer, ApiError> {
    lookup::id(Kind::SecurityGroup, id).map(RulePeer::ReferencedGroupId)
}

/// A prefix list as a peer, by its id.
pub(super) fn list_peer(id: &str) -> Result<RulePeer, ApiError> {
    lookup::id(Kind::PrefixList, id).map(RulePeer::PrefixListId)
}

/// Protocol and ports, in the one form that a rule has them in: names for TCP, UDP and
/// ICMP, and ports for these alone.
pub(super) fn traffic(
    protocol: &str,
    from: Option<i32>,
    to: Option<i32>,
) -> Result<RuleTraffic, ApiError> {
    let protocol = protocol.to_ascii_lowercase();
    let protocol = match protocol.as_str() {
        "6" => "tcp",
        "17" => "udp",
        "1" => "icmp",
        "icmpv6" => "58",
        other => other,
    };
    let (from_port, to_port) = match protocol {
        "tcp" | "udp" => ports(from, to)?,
        "icmp" => icmp(from, to)?,
        "-1" => return Ok(all_traffic()),
        other if is_number(other) => (-1, -1),
        other => {
            let message = format!("Invalid value '{other}' for IP protocol. Unknown protocol.");
            return Err(ApiError::invalid(message));
        }
    };
    Ok(RuleTraffic {
        ip_protocol: protocol.to_owned(),
        from_port,
        to_port,
    })
}

/// Whether a text is the number of a protocol, written as such.
fn is_number(text: &str) -> bool {
    text.parse::<u8>()
        .is_ok_and(|number| number.to_string() == text)
}

fn ports(from: Option<i32>, to: Option<i32>) -> Result<(i32, i32), ApiError> {
    let invalid = |value: String, why: &str| {
        ApiError::invalid(format!("Invalid value '{value}' for portRange. {why}"))
    };
    let (Some(from), Some(to)) = (from, to) else {
        let why = "Must specify both from and to ports with TCP/UDP.";
        return Err(ApiError::invalid(format!(
            "Invalid value for portRange. {why}"
        )));
    };
    let range = 0..=i32::from(u16::MAX);
    for port in [from, to] {
        if !range.contains(&port) {
            return Err(invalid(port.to_string(), "TCP/UDP port out of range."));
        }
    }
    if from > to {
        let why = "The first port is above the last.";
        return Err(invalid(format!("{from}-{to}"), why));
    }
    Ok((from, to))
}

fn icmp(kind: Option<i32>, code: Option<i32>) -> Result<(i32, i32), ApiError> {
    let range = -1..=i32::from(u8::MAX);
    let (Some(kind), Some(code)) = (kind, code) else {
        let message = "Invalid value for ICMP. Must specify both type and code, -1 for all.";
        return Err(ApiError::invalid(message));
    };
    if !range.contains(&kind) || !range.contains(&code) {
        let message = format!("ICMP type-code pair ({kind}, {code}) out of range");
        return Err(ApiError::invalid(message));
    }
    if kind == -1 && code != -1 {
        let message = format!("ICMP code ({code}) must be -1 where the type is");
        return Err(ApiError::invalid(message));
    }
    Ok((kind, code))
}
