//! What is there and the file does not have.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Wish, Work, object};
use crate::{
    control::{
        ApiError, Key, Kind, record_name,
        resource::{Interface, LATEST},
    },
    model::Network,
};

/// Kinds in the order in which they can go: users before what they use.
const ORDER: [(Kind, &str, &str, &str); 9] = [
    (Kind::Function, "lambda", "DeleteFunction", "FunctionName"),
    (
        Kind::Peering,
        "ec2",
        "DeleteVpcPeeringConnection",
        "VpcPeeringConnectionId",
    ),
    (
        Kind::Interface,
        "ec2",
        "DeleteNetworkInterface",
        "NetworkInterfaceId",
    ),
    (Kind::Subnet, "ec2", "DeleteSubnet", "SubnetId"),
    (Kind::RouteTable, "ec2", "DeleteRouteTable", "RouteTableId"),
    (Kind::NetworkAcl, "ec2", "DeleteNetworkAcl", "NetworkAclId"),
    (Kind::SecurityGroup, "ec2", "DeleteSecurityGroup", "GroupId"),
    (Kind::Vpc, "ec2", "DeleteVpc", "VpcId"),
    (
        Kind::PrefixList,
        "ec2",
        "DeleteManagedPrefixList",
        "PrefixListId",
    ),
];

impl Work<'_, '_, '_> {
    /// Deletes what has a name that the file does not have. What Hyperplane ENIs that
    /// still carry flows keep is left for the next time, and told of.
    pub(super) fn prune(&mut self, wish: &Wish<'_>, network: &Network) -> Result<(), ApiError> {
        let wanted = wanted(wish, network);
        for (kind, service, action, member) in ORDER {
            let mut gone: Vec<(String, String)> = Vec::new();
            for ((of, name), id) in &self.ids {
                if *of == kind && !wanted.contains(&(kind, name.clone())) {
                    gone.push((name.clone(), id.clone()));
                }
            }
            for (name, id) in gone {
                if self.is_kept(kind, &name, &id) {
                    continue;
                }
                if let Some(eni) = self.keeper(kind, &id) {
                    let detail = format!("{eni} still uses it: apply again once that is gone");
                    self.step("keep", kind, &name, Some(detail));
                    continue;
                }
                let value = if kind == Kind::Function { &name } else { &id };
                let members = json!({ member: value });
                self.send(&object(kind, &name), (service, action), members)?;
                self.step("delete", kind, &name, None);
                self.ids.remove(&(kind, name));
            }
        }
        Ok(())
    }

    /// What goes with something else, or is of its own life.
    fn is_kept(&self, kind: Kind, name: &str, id: &str) -> bool {
        let Some(record) = self.transaction.record(&Key::new(kind, id)) else {
            return true;
        };
        match record {
            crate::control::Record::Interface(eni) => {
                eni.hyperplane.is_some() || eni.interface_type != "interface"
            }
            crate::control::Record::Function(function) => function.version != LATEST,
            // Defaults of a VPC go with it.
            crate::control::Record::SecurityGroup(group) => group.group_name == "default",
            crate::control::Record::NetworkAcl(acl) => acl.is_default,
            crate::control::Record::RouteTable(table) => table.main_association_id.is_some(),
            record => record_name(record).as_deref() != Some(name),
        }
    }

    /// A Hyperplane ENI that something cannot go before.
    fn keeper(&self, kind: Kind, id: &str) -> Option<String> {
        let key = Key::new(kind, id);
        if kind == Kind::Vpc {
            let mut enis = self.transaction.all::<Interface>();
            let eni = enis.find(|eni| eni.vpc_id.as_str() == id && eni.hyperplane.is_some());
            return eni.map(|eni| eni.network_interface_id.to_string());
        }
        let mut users = self.transaction.referring::<Interface>(&key);
        let eni = users.find(|eni| eni.hyperplane.is_some());
        eni.map(|eni| eni.network_interface_id.to_string())
    }
}

/// What the file has, by kind and name.
fn wanted(wish: &Wish<'_>, network: &Network) -> BTreeSet<(Kind, String)> {
    let mut wanted = BTreeSet::new();
    let functions = wish.file.functions.iter();
    wanted.extend(functions.map(|it| (Kind::Function, it.name.clone())));
    macro_rules! names {
        ($($list:ident = $kind:ident),+) => {
            $(wanted.extend(network.$list.iter().map(|it| (Kind::$kind, it.name.to_string())));)+
        };
    }
    names! {
        vpcs = Vpc, subnets = Subnet, security_groups = SecurityGroup,
        network_acls = NetworkAcl, route_tables = RouteTable, prefix_lists = PrefixList,
        interfaces = Interface, peerings = Peering
    }
    wanted
}
