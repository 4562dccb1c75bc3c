//! Resources by the ids of requests, and what AWS says of an id that leads nowhere.

use crate::control::{
    Account, ApiError, Id, IdKind, Key, Kind, Record, State, record::Typed, resource::Peering,
};

/// What the API says of one kind of resource.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// The kind.
    pub kind: Kind,
    /// The prefix of its ids.
    pub id: IdKind,
    /// The code for an id that is none.
    malformed: &'static str,
    /// The code for an id that leads nowhere.
    not_found: &'static str,
    /// What its sentences call it.
    words: &'static str,
}

macro_rules! forms {
    ($($kind:ident: $id:ident, $malformed:literal, $not_found:literal, $words:literal;)+) => {
        /// Every kind of EC2, with AWS's spellings, which follow no rule.
        /// <https://docs.aws.amazon.com/ec2/latest/devguide/errors-overview.html>
        pub const FORMS: &[Form] = &[$(Form {
            kind: Kind::$kind,
            id: IdKind::$id,
            malformed: $malformed,
            not_found: $not_found,
            words: $words,
        },)+];
    };
}

forms! {
    Vpc: VPC,
        "InvalidVpcID.Malformed", "InvalidVpcID.NotFound", "vpc ID";
    Subnet: SUBNET,
        "InvalidSubnetID.Malformed", "InvalidSubnetID.NotFound", "subnet ID";
    SecurityGroup: SECURITY_GROUP,
        "InvalidGroupId.Malformed", "InvalidGroup.NotFound", "security group";
    NetworkAcl: NETWORK_ACL,
        "InvalidNetworkAclId.Malformed", "InvalidNetworkAclID.NotFound", "networkAcl ID";
    RouteTable: ROUTE_TABLE,
        "InvalidRouteTableId.Malformed", "InvalidRouteTableID.NotFound", "routeTable ID";
    PrefixList: PREFIX_LIST,
        "InvalidPrefixListId.Malformed", "InvalidPrefixListID.NotFound", "prefix list ID";
    InternetGateway: INTERNET_GATEWAY,
        "InvalidInternetGatewayId.Malformed", "InvalidInternetGatewayID.NotFound",
        "internetGateway ID";
    Address: ADDRESS,
        "InvalidAllocationID.NotFound", "InvalidAllocationID.NotFound", "allocation ID";
    NatGateway: NAT_GATEWAY,
        "NatGatewayMalformed", "NatGatewayNotFound", "NAT gateway";
    Endpoint: ENDPOINT,
        "InvalidVpcEndpointId.Malformed", "InvalidVpcEndpointId.NotFound", "VPC endpoint ID";
    Peering: PEERING,
        "InvalidVpcPeeringConnectionId.Malformed", "InvalidVpcPeeringConnectionID.NotFound",
        "vpcPeeringConnection ID";
    DhcpOptions: DHCP_OPTIONS,
        "InvalidDhcpOptionsId.Malformed", "InvalidDhcpOptionID.NotFound", "dhcpOption ID";
    Interface: INTERFACE,
        "InvalidNetworkInterfaceId.Malformed", "InvalidNetworkInterfaceID.NotFound",
        "networkInterface ID";
    FlowLog: FLOW_LOG,
        "InvalidFlowLogId.Malformed", "InvalidFlowLogId.NotFound", "flow log ID";
}

impl Form {
    /// Of a kind, if it is one of EC2's.
    pub fn of(kind: Kind) -> Option<&'static Self> {
        FORMS.iter().find(|form| form.kind == kind)
    }

    /// Of the kind whose ids look like one.
    pub fn of_id(id: &str) -> Option<&'static Self> {
        FORMS.iter().find(|form| form.id.is_well_formed(id))
    }

    /// No such resource.
    fn not_found(&self, id: &str) -> ApiError {
        let Self { words, .. } = self;
        ApiError::new(self.not_found, format!("The {words} '{id}' does not exist"))
    }

    /// No such resource, or what is no id of one.
    fn absent(&self, id: &str) -> ApiError {
        if self.id.is_well_formed(id) {
            self.not_found(id)
        } else {
            self.malformed(id)
        }
    }

    /// What is no id of such a resource.
    fn malformed(&self, id: &str) -> ApiError {
        let message = format!(
            "Invalid id: \"{id}\" (expecting \"{}-...\")",
            self.id.prefix()
        );
        ApiError::new(self.malformed, message)
    }

    /// The record with an id, if an account may see it.
    pub fn record<'s>(
        &self,
        state: &'s State,
        account: Account,
        id: &str,
    ) -> Result<&'s Record, ApiError> {
        if !self.id.is_well_formed(id) {
            return Err(self.malformed(id));
        }
        let record = state.record(&Key::new(self.kind, id));
        let record = record.filter(|record| is_visible(record, account));
        record.ok_or_else(|| self.not_found(id))
    }
}

/// Whether an account may see a resource: its own, and peering connections with it.
fn is_visible(record: &Record, account: Account) -> bool {
    let of_peering = |peering: &Peering| {
        let sides = [&peering.requester_vpc, &peering.accepter_vpc];
        sides.iter().any(|side| side.owner_id == account)
    };
    record.account() == account || Peering::of(record).is_some_and(of_peering)
}

/// The resource with an id, if an account may see it.
pub fn find<'s, T: Typed>(state: &'s State, account: Account, id: &str) -> Result<&'s T, ApiError> {
    let Some(form) = Form::of(T::KIND) else {
        return Err(invalid_id(id));
    };
    let record = form.record(state, account, id)?;
    T::of(record).ok_or_else(|| form.not_found(id))
}

/// A resource that something else still uses.
pub fn in_use<T: Typed>(id: &str) -> ApiError {
    let words = Form::of(T::KIND).map_or("resource", |form| form.words);
    let word = words.strip_suffix(" ID").unwrap_or(words);
    let message = format!("The {word} '{id}' has dependencies and cannot be deleted.");
    ApiError::new("DependencyViolation", message)
}

/// The id of a kind of resource, which may or may not be there.
pub fn id(kind: Kind, text: &str) -> Result<Id, ApiError> {
    let form = Form::of(kind).ok_or_else(|| invalid_id(text))?;
    let id = Id::new(text).ok().filter(|_| form.id.is_well_formed(text));
    id.ok_or_else(|| form.malformed(text))
}

/// No such resource, or what is no id of one.
pub fn absent(kind: Kind, id: &str) -> ApiError {
    Form::of(kind).map_or_else(|| invalid_id(id), |form| form.absent(id))
}

/// No such resource.
pub fn not_found(kind: Kind, id: &str) -> ApiError {
    Form::of(kind).map_or_else(|| invalid_id(id), |form| form.not_found(id))
}

/// What is the id of nothing.
pub fn invalid_id(id: &str) -> ApiError {
    ApiError::new("InvalidID", format!("The ID '{id}' is not valid"))
}

/// No such association.
pub fn no_association(id: &str) -> ApiError {
    let message = format!("The association ID '{id}' does not exist");
    ApiError::new("InvalidAssociationID.NotFound", message)
}

/// Two resources of different VPCs.
pub fn different_networks(one: &str, other: &str) -> ApiError {
    ApiError::invalid(format!("{one} and {other} belong to different networks"))
}

/// Refuses when there are as many as there may be.
pub fn within(code: &'static str, what: &str, count: usize, quota: u32) -> Result<(), ApiError> {
    if count <= quota as usize {
        return Ok(());
    }
    let message = format!("The maximum number of {what} has been reached ({quota}).");
    Err(ApiError::new(code, message))
}
