//! Peering connections.
//! <https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html>
//!
//! As on AWS, a request that cannot become a connection, because the other VPC is not
//! there or addresses overlap, makes one that is `failed`: nobody learns by an error what
//! another account has.

use std::{net::Ipv4Addr, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Act, Answer, TagSpecification,
    lookup::{absent, own},
    request::{not_permitted, present, tag_list, tags},
};
use crate::control::{
    Account, ApiError, Context, Id, IdKind, Key, Kind, Settings, State, Time, Transaction,
    resource::{Peering, PeeringStatus, PeeringVpc, Vpc},
};

/// How long an offer holds.
const OFFER: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Asks for a peering connection.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateVpcPeeringConnection {
    /// The VPC that asks.
    pub vpc_id: String,
    /// The VPC that is asked.
    pub peer_vpc_id: String,
    /// Its account, if it is another one.
    pub peer_owner_id: Option<Account>,
    /// Its Region: this one.
    pub peer_region: Option<String>,
    /// Ours: the router on the asking VPC's uplink by which the other's packets reach it.
    pub router: Option<Ipv4Addr>,
    /// Ours: the same of the other VPC, if it is of the same account.
    pub peer_router: Option<Ipv4Addr>,
    /// Its tags, of `vpc-peering-connection`.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// Accepts a peering connection.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AcceptVpcPeeringConnection {
    /// The connection.
    pub vpc_peering_connection_id: String,
    /// Ours: the router on the accepting VPC's uplink by which the other's packets reach
    /// it.
    pub router: Option<Ipv4Addr>,
}

/// Rejects a peering connection.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RejectVpcPeeringConnection {
    /// The connection.
    pub vpc_peering_connection_id: String,
}

/// Ends a peering connection.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteVpcPeeringConnection {
    /// The connection.
    pub vpc_peering_connection_id: String,
}

impl Act for CreateVpcPeeringConnection {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let account = context.caller.account;
        let peer_account = self.peer_owner_id.unwrap_or(account);
        let vpc: Vpc = own(transaction, account, &self.vpc_id)?;
        let peer = transaction.get::<Vpc>(&self.peer_vpc_id);
        let peer = peer.filter(|peer| peer.owner_id == peer_account).cloned();
        let peer_id = self.checked(account, peer.as_ref(), &context.settings)?;
        let tags = tags(
            &self.tag_specifications,
            "vpc-peering-connection",
            &context.settings,
        )?;
        let can_be = peer.is_some_and(|peer| !overlap(&vpc, &peer));
        if can_be {
            check_unique(transaction, &vpc.vpc_id, &peer_id)?;
            check_pending(transaction, account, &context.settings)?;
        }
        let status = if can_be {
            PeeringStatus::PendingAcceptance
        } else {
            PeeringStatus::Failed
        };
        let peering = Peering {
            vpc_peering_connection_id: IdKind::PEERING.fresh(&mut context.entropy),
            owner_id: account,
            requester_vpc: PeeringVpc {
                owner_id: account,
                vpc_id: vpc.vpc_id,
                router: self.router,
            },
            accepter_vpc: PeeringVpc {
                owner_id: peer_account,
                vpc_id: peer_id,
                router: self.peer_router,
            },
            status,
            expiration_time: context.now.after(OFFER),
            ended: (!can_be).then_some(context.now),
            deleted_by: None,
            tags,
        };
        transaction.put(peering.clone());
        Ok(answer(transaction, &peering))
    }
}

impl CreateVpcPeeringConnection {
    /// What is wrong with the request by itself; the id of the VPC that is asked.
    fn checked(
        &self,
        account: Account,
        peer: Option<&Vpc>,
        settings: &Settings,
    ) -> Result<Id, ApiError> {
        if self
            .peer_region
            .as_ref()
            .is_some_and(|region| *region != settings.region)
        {
            let message = format!("PeerRegion must be {}.", settings.region);
            return Err(ApiError::invalid(message));
        }
        check_router(self.router)?;
        check_router(self.peer_router)?;
        if self.peer_router.is_some() && self.peer_owner_id.is_some_and(|peer| peer != account) {
            let message = "PeerRouter is the other account's to say: see the acceptance.";
            return Err(ApiError::invalid(message));
        }
        // One that is there may be called as its operator likes.
        if let Some(peer) = peer {
            return Ok(peer.vpc_id.clone());
        }
        let malformed = |_| absent(Kind::Vpc, &self.peer_vpc_id);
        if !IdKind::VPC.is_well_formed(&self.peer_vpc_id) {
            return Err(absent(Kind::Vpc, &self.peer_vpc_id));
        }
        Id::new(self.peer_vpc_id.as_str()).map_err(malformed)
    }
}

/// A router is a host: nothing that names none, or many.
fn check_router(router: Option<Ipv4Addr>) -> Result<(), ApiError> {
    let is_host = |one: Ipv4Addr| {
        !one.is_unspecified() && !one.is_multicast() && !one.is_broadcast() && !one.is_loopback()
    };
    match router.filter(|one| !is_host(*one)) {
        None => Ok(()),
        Some(one) => Err(ApiError::invalid(format!(
            "{one} cannot be a router's address."
        ))),
    }
}

fn overlap(one: &Vpc, other: &Vpc) -> bool {
    one.cidrs().any(|a| {
        other
            .cidrs()
            .any(|b| a.contains(&b.network()) || b.contains(&a.network()))
    })
}

/// Two VPCs have one connection at most, asked for or active.
fn check_unique(state: &State, one: &Id, other: &Id) -> Result<(), ApiError> {
    let joins_both = |peering: &Peering| {
        let ids = [&peering.requester_vpc.vpc_id, &peering.accepter_vpc.vpc_id];
        !is_over(peering) && ids.contains(&one) && ids.contains(&other)
    };
    match state.all::<Peering>().find(|peering| joins_both(peering)) {
        None => Ok(()),
        Some(peering) => {
            let id = &peering.vpc_peering_connection_id;
            let message = format!("The VPC peering connection {id} already exists.");
            Err(ApiError::new("VpcPeeringConnectionAlreadyExists", message))
        }
    }
}

fn check_pending(state: &State, account: Account, settings: &Settings) -> Result<(), ApiError> {
    let pending = state.of_account::<Peering>(account);
    let pending = pending.filter(|one| one.status == PeeringStatus::PendingAcceptance);
    if pending.count() as u64 >= u64::from(settings.pending_peerings) {
        let message = "The maximum number of outstanding VPC peering connection requests has \
                       been reached.";
        let code = "OutstandingVpcPeeringConnectionLimitExceeded";
        return Err(ApiError::new(code, message));
    }
    Ok(())
}

impl Act for AcceptVpcPeeringConnection {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let id = &self.vpc_peering_connection_id;
        let mut peering = offer(transaction, context, id, "accept")?;
        check_router(self.router)?;
        let (requester, accepter) = (&peering.requester_vpc, &peering.accepter_vpc);
        let one: Vpc = own(transaction, requester.owner_id, requester.vpc_id.as_str())?;
        let other: Vpc = own(transaction, accepter.owner_id, accepter.vpc_id.as_str())?;
        if overlap(&one, &other) {
            let message = format!(
                "The addresses of {} and {} overlap.",
                one.vpc_id, other.vpc_id
            );
            return Err(not_permitted(message));
        }
        for vpc in [&one.vpc_id, &other.vpc_id] {
            check_active(transaction, vpc, &context.settings)?;
        }
        peering.status = PeeringStatus::Active;
        peering.accepter_vpc.router = self.router.or(peering.accepter_vpc.router);
        transaction.put(peering.clone());
        Ok(answer(transaction, &peering))
    }
}

fn check_active(state: &State, vpc: &Id, settings: &Settings) -> Result<(), ApiError> {
    let is_of = |peering: &&Peering| {
        let ids = [&peering.requester_vpc.vpc_id, &peering.accepter_vpc.vpc_id];
        peering.status == PeeringStatus::Active && ids.contains(&vpc)
    };
    if state.all::<Peering>().filter(is_of).count() as u64 >= u64::from(settings.peerings_per_vpc) {
        let message = format!(
            "The maximum number of active VPC peering connections of {vpc} has been reached."
        );
        let code = "ActiveVpcPeeringConnectionPerVpcLimitExceeded";
        return Err(ApiError::new(code, message));
    }
    Ok(())
}

impl Act for RejectVpcPeeringConnection {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let id = &self.vpc_peering_connection_id;
        let mut peering = offer(transaction, context, id, "reject")?;
        peering.status = PeeringStatus::Rejected;
        peering.ended = Some(context.now);
        transaction.put(peering);
        Ok(json!({ "Return": true }))
    }
}

impl Act for DeleteVpcPeeringConnection {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let account = context.caller.account;
        let id = &self.vpc_peering_connection_id;
        let peering = seen_by(transaction, account, id)?;
        match status_at(&peering, context.now) {
            PeeringStatus::Active => {}
            PeeringStatus::PendingAcceptance if peering.owner_id == account => {}
            PeeringStatus::PendingAcceptance => {
                let message = format!("User {account} cannot delete peering {id}");
                return Err(not_permitted(message));
            }
            PeeringStatus::Rejected
            | PeeringStatus::Failed
            | PeeringStatus::Expired
            | PeeringStatus::Deleted => return Err(wrong_state(id)),
        }
        end(transaction, peering, account, context.now);
        Ok(json!({ "Return": true }))
    }
}

/// An offer that this account may accept or reject.
fn offer(state: &State, context: &Context, id: &str, verb: &str) -> Result<Peering, ApiError> {
    let account = context.caller.account;
    let peering = seen_by(state, account, id)?;
    if peering.accepter_vpc.owner_id != account {
        let message = format!("User {account} cannot {verb} peering {id}");
        return Err(not_permitted(message));
    }
    if status_at(&peering, context.now) != PeeringStatus::PendingAcceptance {
        return Err(wrong_state(id));
    }
    Ok(peering)
}

/// A connection is seen by both accounts; a failed one only by the one that asked.
fn seen_by(state: &State, account: Account, id: &str) -> Result<Peering, ApiError> {
    let sees = |peering: &&Peering| {
        let is_asked = peering.accepter_vpc.owner_id == account;
        peering.owner_id == account || is_asked && peering.status != PeeringStatus::Failed
    };
    let peering = state.get::<Peering>(id).filter(sees);
    peering.cloned().ok_or_else(|| absent(Kind::Peering, id))
}

fn wrong_state(id: &str) -> ApiError {
    let message =
        format!("VpcPeeringConnectionID {id} is not in the correct state for the request.");
    ApiError::new("InvalidStateTransition", message)
}

/// An offer whose time is over has expired, even if nothing has noted that yet.
fn status_at(peering: &Peering, now: Time) -> PeeringStatus {
    match peering.status {
        PeeringStatus::PendingAcceptance if peering.expiration_time <= now => {
            PeeringStatus::Expired
        }
        status => status,
    }
}

const fn is_over(peering: &Peering) -> bool {
    !matches!(
        peering.status,
        PeeringStatus::PendingAcceptance | PeeringStatus::Active
    )
}

/// A VPC goes, and takes its peering connections along: routes by them become blackholes.
pub fn end_with_vpc(transaction: &mut Transaction<'_>, vpc_id: &str, now: Time) {
    let peerings = transaction
        .all::<Peering>()
        .filter(|peering| !is_over(peering));
    let ended: Vec<(Peering, Account)> = peerings
        .filter_map(|peering| {
            let sides = [&peering.requester_vpc, &peering.accepter_vpc];
            let side = sides
                .into_iter()
                .find(|side| side.vpc_id.as_str() == vpc_id)?;
            Some((peering.clone(), side.owner_id))
        })
        .collect();
    for (peering, account) in ended {
        end(transaction, peering, account, now);
    }
}

fn end(transaction: &mut Transaction<'_>, mut peering: Peering, by: Account, now: Time) {
    peering.status = PeeringStatus::Deleted;
    peering.ended = Some(now);
    peering.deleted_by = Some(by);
    transaction.put(peering);
}

/// What has become of every peering connection by now.
pub fn tick(transaction: &mut Transaction<'_>, context: &Context) {
    let peerings: Vec<Peering> = transaction.all::<Peering>().cloned().collect();
    for mut peering in peerings {
        if next(&peering, &context.settings).is_none_or(|due| due > context.now) {
            continue;
        }
        if is_over(&peering) {
            let id = peering.vpc_peering_connection_id;
            transaction.remove(Key::of::<Peering>(id.as_str()));
        } else {
            peering.status = PeeringStatus::Expired;
            peering.ended = Some(context.now);
            transaction.put(peering);
        }
    }
}

/// When something becomes of a peering connection next.
pub fn next_tick(state: &State, settings: &Settings) -> Option<Time> {
    let peerings = state.all::<Peering>();
    peerings.filter_map(|peering| next(peering, settings)).min()
}

fn next(peering: &Peering, settings: &Settings) -> Option<Time> {
    match peering.status {
        PeeringStatus::PendingAcceptance => Some(peering.expiration_time),
        PeeringStatus::Active => None,
        PeeringStatus::Rejected
        | PeeringStatus::Failed
        | PeeringStatus::Expired
        | PeeringStatus::Deleted => Some(peering.ended?.after(settings.shown_after_end)),
    }
}

fn answer(state: &State, peering: &Peering) -> Value {
    json!({ "VpcPeeringConnection": shown(state, peering) })
}

/// As DescribeVpcPeeringConnections shows it, with our routers besides. Addresses of the
/// other VPC are shown once both agree.
pub(super) fn shown(state: &State, peering: &Peering) -> Value {
    let is_active = peering.status == PeeringStatus::Active;
    let is_pending = peering.status == PeeringStatus::PendingAcceptance;
    present(json!({
        "AccepterVpcInfo": side(state, &peering.accepter_vpc, is_active),
        "ExpirationTime": is_pending.then(|| peering.expiration_time.to_string()),
        "RequesterVpcInfo": side(state, &peering.requester_vpc, true),
        "Status": { "Code": peering.status, "Message": message(peering) },
        "Tags": tag_list(&peering.tags),
        "VpcPeeringConnectionId": peering.vpc_peering_connection_id,
    }))
}

fn side(state: &State, side: &PeeringVpc, with_addresses: bool) -> Value {
    let vpc = state
        .get::<Vpc>(side.vpc_id.as_str())
        .filter(|_| with_addresses);
    let cidrs = vpc.map(|vpc| {
        let cidrs = vpc.cidrs().map(|cidr| json!({ "CidrBlock": cidr }));
        cidrs.collect::<Vec<_>>()
    });
    present(json!({
        "CidrBlock": vpc.and_then(|vpc| vpc.cidrs().next()),
        "CidrBlockSet": cidrs,
        "OwnerId": side.owner_id,
        "Router": side.router,
        "VpcId": side.vpc_id,
    }))
}

fn message(peering: &Peering) -> String {
    match peering.status {
        PeeringStatus::PendingAcceptance => {
            format!("Pending Acceptance by {}", peering.accepter_vpc.owner_id)
        }
        PeeringStatus::Active => "Active".to_owned(),
        PeeringStatus::Rejected => "Inactive".to_owned(),
        PeeringStatus::Expired => "Expired".to_owned(),
        PeeringStatus::Failed => "Failed due to incorrect information. Verify the VPC ID, \
                                  account ID, and CIDR range."
            .to_owned(),
        PeeringStatus::Deleted => {
            let by = peering.deleted_by.unwrap_or(peering.owner_id);
            format!("Deleted by {by}")
        }
    }
}
