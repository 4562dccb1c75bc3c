//! Route tables, and which subnet goes by which.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-route-tables.html>

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Act, done,
    lookup::{different_networks, find, in_use, no_association, within},
    routes,
    tags::{self, TagSpecification},
};
use crate::control::{
    Account, ApiError, Context, Id, IdKind, Key, State, Tags, Transaction,
    resource::{RouteTable, RouteTableAssociation, Subnet, Vpc},
};

/// Makes a route table, with the local routes alone.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateRouteTable.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateRouteTable {
    /// Its VPC.
    pub vpc_id: String,
    /// Its tags.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// Deletes a route table that is not the main one and that no subnet goes by.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteRouteTable.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteRouteTable {
    /// The table.
    pub route_table_id: String,
}

/// Has a subnet go by a table of its own choice.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateRouteTable.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AssociateRouteTable {
    /// The table.
    pub route_table_id: String,
    /// The subnet.
    pub subnet_id: String,
}

/// Has a subnet go by the main table again.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DisassociateRouteTable.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DisassociateRouteTable {
    /// `rtbassoc-…` of the subnet.
    pub association_id: String,
}

/// Has a subnet go by another table, or makes another table the main one.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReplaceRouteTableAssociation.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ReplaceRouteTableAssociation {
    /// `rtbassoc-…` of the subnet, or of the main table.
    pub association_id: String,
    /// The other table.
    pub route_table_id: String,
}

impl RouteTable {
    /// Whether subnets that choose none go by it.
    pub const fn is_main(&self) -> bool {
        self.main_association_id.is_some()
    }
}

impl Act for CreateRouteTable {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        let vpc_id = find::<Vpc>(transaction, account, &self.vpc_id)?
            .vpc_id
            .clone();
        let key = Key::of::<Vpc>(vpc_id.as_str());
        let count = transaction.referring::<RouteTable>(&key).count() + 1;
        let quota = context.settings.quotas.route_tables_per_vpc;
        within(
            "RouteTableLimitExceeded",
            "route tables of a VPC",
            count,
            quota,
        )?;
        let settings = &context.settings;
        let table = RouteTable {
            tags: tags::specified(&self.tag_specifications, "route-table", settings)?,
            ..bare(&vpc_id, context)
        };
        let answer = json!({ "RouteTable": shown(transaction, &table) });
        transaction.put(table);
        Ok(answer)
    }
}

/// The table that a VPC has from the beginning.
pub(super) fn main_of(vpc: &Id, context: &mut Context) -> RouteTable {
    RouteTable {
        main_association_id: Some(IdKind::ROUTE_TABLE_ASSOCIATION.fresh(&mut context.entropy)),
        ..bare(vpc, context)
    }
}

fn bare(vpc: &Id, context: &mut Context) -> RouteTable {
    RouteTable {
        route_table_id: IdKind::ROUTE_TABLE.fresh(&mut context.entropy),
        owner_id: context.caller.account,
        vpc_id: vpc.clone(),
        main_association_id: None,
        associations: Vec::new(),
        routes: Vec::new(),
        tags: Tags::new(),
    }
}

impl Act for DeleteRouteTable {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let id = &self.route_table_id;
        let table = find::<RouteTable>(transaction, context.caller.account, id)?;
        let key = Key::of::<RouteTable>(id);
        let is_used = table.is_main()
            || !table.associations.is_empty()
            || transaction.referrers_of(&key).next().is_some();
        if is_used {
            return Err(in_use::<RouteTable>(id));
        }
        transaction.remove(key);
        Ok(done())
    }
}

impl Act for AssociateRouteTable {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        let mut table = find::<RouteTable>(transaction, account, &self.route_table_id)?.clone();
        let subnet = find::<Subnet>(transaction, account, &self.subnet_id)?;
        in_one_network(&table, subnet)?;
        let id = &table.route_table_id;
        if let Some((other, association)) = chosen_by(transaction, subnet) {
            if other.route_table_id == *id {
                return Ok(associated("AssociationId", &association));
            }
            let message = format!(
                "the specified association for route table {id} conflicts with an existing \
                 association"
            );
            return Err(ApiError::new("Resource.AlreadyAssociated", message));
        }
        let association = RouteTableAssociation {
            route_table_association_id: IdKind::ROUTE_TABLE_ASSOCIATION.fresh(&mut context.entropy),
            subnet_id: subnet.subnet_id.clone(),
        };
        let answer = associated("AssociationId", &association.route_table_association_id);
        table.associations.push(association);
        transaction.put(table);
        Ok(answer)
    }
}

fn associated(member: &str, association: &Id) -> Value {
    json!({ member: association, "AssociationState": { "State": "associated" } })
}

fn in_one_network(table: &RouteTable, subnet: &Subnet) -> Result<(), ApiError> {
    if table.vpc_id == subnet.vpc_id {
        return Ok(());
    }
    let table = format!("route table {}", table.route_table_id);
    Err(different_networks(
        &table,
        &format!("subnet {}", subnet.subnet_id),
    ))
}

/// The table that a subnet chose, and the association with it.
fn chosen_by<'s>(state: &'s State, subnet: &Subnet) -> Option<(&'s RouteTable, Id)> {
    let key = Key::of::<Subnet>(subnet.subnet_id.as_str());
    let table = state.referring::<RouteTable>(&key).next()?;
    let is_it = |one: &&RouteTableAssociation| one.subnet_id == subnet.subnet_id;
    let association = table.associations.iter().find(is_it)?;
    Some((table, association.route_table_association_id.clone()))
}

/// The table that a subnet goes by: the one that it chose, or the main one of its VPC.
pub fn of_subnet<'s>(state: &'s State, subnet: &Subnet) -> Option<&'s RouteTable> {
    let chosen = chosen_by(state, subnet).map(|(table, _)| table);
    chosen.or_else(|| {
        let key = Key::of::<Vpc>(subnet.vpc_id.as_str());
        state
            .referring::<RouteTable>(&key)
            .find(|table| table.is_main())
    })
}

/// The table that has an association, and of which subnet; of none: it is the main table.
fn association(
    state: &State,
    account: Account,
    id: &str,
) -> Result<(RouteTable, Option<Id>), ApiError> {
    for table in state.of_account::<RouteTable>(account) {
        let main = table.main_association_id.as_ref();
        if main.is_some_and(|main| main.as_str() == id) {
            return Ok((table.clone(), None));
        }
        let is_it = |one: &&RouteTableAssociation| one.route_table_association_id.as_str() == id;
        if let Some(one) = table.associations.iter().find(is_it) {
            return Ok((table.clone(), Some(one.subnet_id.clone())));
        }
    }
    Err(no_association(id))
}

impl Act for DisassociateRouteTable {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let id = &self.association_id;
        let (mut table, subnet) = association(transaction, context.caller.account, id)?;
        if subnet.is_none() {
            let message = format!("cannot disassociate the main route table association {id}");
            return Err(ApiError::invalid(message));
        }
        table
            .associations
            .retain(|one| Some(&one.subnet_id) != subnet.as_ref());
        transaction.put(table);
        Ok(done())
    }
}

impl Act for ReplaceRouteTableAssociation {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        let (mut old, subnet) = association(transaction, account, &self.association_id)?;
        let new = find::<RouteTable>(transaction, account, &self.route_table_id)?;
        if new.vpc_id != old.vpc_id {
            let tables = [&new.route_table_id, &old.route_table_id];
            let [new, old] = tables.map(|id| format!("route table {id}"));
            return Err(different_networks(&new, &old));
        }
        let id = IdKind::ROUTE_TABLE_ASSOCIATION.fresh(&mut context.entropy);
        match &subnet {
            None => old.main_association_id = None,
            Some(subnet) => old.associations.retain(|one| one.subnet_id != *subnet),
        }
        transaction.put(old);
        transaction.update::<RouteTable>(&self.route_table_id, |new| match subnet {
            None => new.main_association_id = Some(id.clone()),
            Some(subnet_id) => new.associations.push(RouteTableAssociation {
                route_table_association_id: id.clone(),
                subnet_id,
            }),
        });
        Ok(associated("NewAssociationId", &id))
    }
}

/// As DescribeRouteTables shows it.
pub(super) fn shown(state: &State, table: &RouteTable) -> Value {
    let id = &table.route_table_id;
    let main = table.main_association_id.iter().map(|association| {
        json!({
            "Main": true,
            "RouteTableAssociationId": association,
            "RouteTableId": id,
            "AssociationState": { "State": "associated" },
        })
    });
    let explicit = table.associations.iter().map(|one| {
        json!({
            "Main": false,
            "RouteTableAssociationId": one.route_table_association_id,
            "RouteTableId": id,
            "SubnetId": one.subnet_id,
            "AssociationState": { "State": "associated" },
        })
    });
    json!({
        "RouteTableId": id,
        "VpcId": table.vpc_id,
        "OwnerId": table.owner_id,
        "Routes": routes::shown(state, table),
        "Associations": main.chain(explicit).collect::<Vec<_>>(),
        "PropagatingVgws": [],
        "Tags": tags::shown(&table.tags),
    })
}
