//! Prefixes of requests, and the CIDR blocks of VPCs.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html>

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Act,
    lookup::{find, within},
    routes,
};
use crate::control::{
    ApiError, Context, IdKind, Key, State, Transaction,
    resource::{CidrAssociation, Peering, PeeringStatus, RouteTable, Subnet, Vpc},
};

/// Gives a VPC a further block.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateVpcCidrBlock.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AssociateVpcCidrBlock {
    /// The VPC.
    pub vpc_id: String,
    /// The block, /16 to /28.
    pub cidr_block: String,
}

/// Takes a block from a VPC that has no subnet in it.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DisassociateVpcCidrBlock.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DisassociateVpcCidrBlock {
    /// `vpc-cidr-assoc-…`, not the primary one.
    pub association_id: String,
}

/// The prefix of a request's member, made canonical as AWS does.
pub fn prefix(member: &str, text: &str) -> Result<Ipv4Net, ApiError> {
    let not_a_prefix = |_| {
        ApiError::invalid(format!(
            "Value ({text}) for parameter {member} is invalid. This is not a valid CIDR block."
        ))
    };
    text.parse::<Ipv4Net>()
        .map(|prefix| prefix.trunc())
        .map_err(not_a_prefix)
}

/// The block of a VPC or a subnet: /16 to /28, of addresses that a host may have.
/// Otherwise `code`.
pub fn block(member: &str, text: &str, code: &'static str) -> Result<Ipv4Net, ApiError> {
    let block = prefix(member, text)?;
    let is_usable = is_unicast(block.addr()) && !block.addr().is_link_local();
    if (16..=28).contains(&block.prefix_len()) && is_usable {
        return Ok(block);
    }
    Err(ApiError::new(
        code,
        format!("The CIDR '{text}' is invalid."),
    ))
}

/// Whether hosts may have an address.
pub fn is_unicast(address: Ipv4Addr) -> bool {
    vpc_common::addr::V4::new(address.octets()).is_unicast()
}

/// Whether two prefixes have addresses in common.
pub fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

impl Act for AssociateVpcCidrBlock {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let mut vpc = find::<Vpc>(transaction, context.caller.account, &self.vpc_id)?.clone();
        let cidr_block = block("cidrBlock", &self.cidr_block, "InvalidVpc.Range")?;
        let count = vpc.cidr_block_association_set.len() + 1;
        let quota = context.settings.quotas.cidrs_per_vpc;
        within("CidrLimitExceeded", "CIDR blocks of a VPC", count, quota)?;
        is_free(transaction, &vpc, cidr_block)?;
        let association = CidrAssociation {
            association_id: IdKind::CIDR_ASSOCIATION.fresh(&mut context.entropy),
            cidr_block,
        };
        let answer = answer(&vpc, &association, "associating");
        vpc.cidr_block_association_set.push(association);
        transaction.put(vpc);
        Ok(answer)
    }
}

/// That a VPC may have a further block: nobody else in its reach has those addresses, and
/// no route leads there.
fn is_free(state: &State, vpc: &Vpc, block: Ipv4Net) -> Result<(), ApiError> {
    let conflict = |with: String| {
        let message = format!("The CIDR '{block}' conflicts with {with}");
        Err(ApiError::new("CidrConflict", message))
    };
    if let Some(other) = vpc.cidrs().find(|other| overlap(*other, block)) {
        return conflict(format!("the block {other} of the VPC"));
    }
    let id = &vpc.vpc_id;
    for peering in state.all::<Peering>() {
        let is_open = matches!(
            peering.status,
            PeeringStatus::PendingAcceptance | PeeringStatus::Active
        );
        let (one, other) = (&peering.requester_vpc.vpc_id, &peering.accepter_vpc.vpc_id);
        let peer = match (one == id, other == id) {
            (true, _) => state.get::<Vpc>(other.as_str()),
            (_, true) => state.get::<Vpc>(one.as_str()),
            _ => None,
        };
        let mut overlapping = peer.iter().flat_map(|peer| peer.cidrs());
        if is_open && overlapping.any(|other| overlap(other, block)) {
            return conflict(format!(
                "the VPC at the other end of {}",
                peering.vpc_peering_connection_id
            ));
        }
    }
    let key = Key::of::<Vpc>(id.as_str());
    for table in state.referring::<RouteTable>(&key) {
        let mut destinations = table
            .routes
            .iter()
            .flat_map(|route| routes::prefixes(state, route));
        if let Some(destination) = destinations.find(|destination| block.contains(destination)) {
            return conflict(format!(
                "the route to {destination} in {}",
                table.route_table_id
            ));
        }
    }
    Ok(())
}

impl Act for DisassociateVpcCidrBlock {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let id = &self.association_id;
        let (mut vpc, index) = self.find(transaction, context)?;
        if index == 0 {
            let message = format!(
                "The vpc CIDR block with association ID {id} may not be disassociated. It is the \
                 primary IPv4 CIDR block of the VPC"
            );
            return Err(ApiError::new("OperationNotPermitted", message));
        }
        let association = vpc.cidr_block_association_set.remove(index);
        let key = Key::of::<Vpc>(vpc.vpc_id.as_str());
        let is_inside = |subnet: &&Subnet| association.cidr_block.contains(&subnet.cidr_block);
        if let Some(subnet) = transaction.referring(&key).find(is_inside) {
            let block = format!("The CIDR block {}", association.cidr_block);
            return Err(ApiError::dependency(&block, subnet.subnet_id.as_str()));
        }
        let answer = answer(&vpc, &association, "disassociating");
        transaction.put(vpc);
        Ok(answer)
    }
}

impl DisassociateVpcCidrBlock {
    /// The VPC, and which of its blocks.
    fn find(&self, state: &State, context: &Context) -> Result<(Vpc, usize), ApiError> {
        let id = self.association_id.as_str();
        for vpc in state.of_account::<Vpc>(context.caller.account) {
            let mut blocks = vpc.cidr_block_association_set.iter();
            if let Some(index) = blocks.position(|one| one.association_id.as_str() == id) {
                return Ok((vpc.clone(), index));
            }
        }
        let message = format!("The vpc CIDR block association ID '{id}' does not exist");
        let code = "InvalidVpcCidrBlockAssociationIdError.NotFound";
        Err(ApiError::new(code, message))
    }
}

fn answer(vpc: &Vpc, association: &CidrAssociation, state: &str) -> Value {
    json!({
        "VpcId": vpc.vpc_id,
        "CidrBlockAssociation": {
            "AssociationId": association.association_id,
            "CidrBlock": association.cidr_block,
            "CidrBlockState": { "State": state },
        },
    })
}
