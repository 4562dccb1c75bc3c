//! VPCs and what is in them.

use serde_json::{Value, json};

use super::{EC2, Wish, Work, object};
use crate::{
    config::RawConfig,
    control::{
        ApiError, Key, Kind,
        resource::{
            Interface, NetworkAcl, Peering, PeeringStatus, PrefixList, RouteDestination,
            RouteTable, RouteTarget, SecurityGroup, Subnet, Vpc,
        },
    },
    model::{self, Destination, LocalDelivery, Network, ObjectName, Target},
};

/// Suffixes of what every VPC has without being asked: its default security group and
/// network ACL, and its main route table.
const DEFAULT: &str = "-default";
const MAIN: &str = "-main";

/// The network that a file declares, checked as the agent's own file is.
pub(super) fn wanted(wish: &Wish<'_>) -> Result<Network, ApiError> {
    let mut file = wish.file.clone();
    if !file.groups.is_empty() {
        let message = "group: ENIs are made for functions: declare [[function]] instead";
        return Err(ApiError::invalid(message));
    }
    file.control = None;
    file.uplinks = wish.host.uplinks.iter().map(Into::into).collect();
    // What the host has room for, and its quotas, are the agent's file's to say.
    file.limits = (&wish.host.limits).into();
    file.quotas = (&wish.host.network.quotas).into();
    let checked = file.validate();
    let checked = checked.map_err(|error| ApiError::invalid(error.to_string()))?;
    Ok(checked.network)
}

impl Work<'_, '_, '_> {
    pub(super) fn network(&mut self, file: &RawConfig, network: &Network) -> Result<(), ApiError> {
        for list in &network.prefix_lists {
            self.prefix_list(list)?;
        }
        for vpc in &network.vpcs {
            self.vpc(vpc)?;
        }
        for group in &network.security_groups {
            self.security_group(group)?;
        }
        for acl in &network.network_acls {
            self.network_acl(acl)?;
        }
        for table in &network.route_tables {
            self.route_table(table)?;
        }
        for subnet in &network.subnets {
            self.subnet(subnet)?;
        }
        for interface in &network.interfaces {
            self.interface(interface)?;
        }
        for peering in &network.peerings {
            self.peering(peering)?;
        }
        self.edge(file)?;
        for group in &network.security_groups {
            self.rules(group)?;
        }
        for table in &network.route_tables {
            self.routes(table)?;
        }
        Ok(())
    }

    fn prefix_list(&mut self, list: &model::PrefixList) -> Result<(), ApiError> {
        let name = list.name.as_str();
        let of = object(Kind::PrefixList, name);
        let entry = |cidr: &ipnet::Ipv4Net| json!({ "Cidr": cidr.to_string() });
        let Some(id) = self.id(Kind::PrefixList, name).map(str::to_owned) else {
            let entries: Vec<Value> = list.entries.iter().map(entry).collect();
            let members = json!({
                "PrefixListName": name,
                "MaxEntries": list.max_entries,
                "AddressFamily": "IPv4",
                "Entries": entries,
            });
            let (action, path) = ("CreateManagedPrefixList", "/PrefixList/PrefixListId");
            return self
                .make(Kind::PrefixList, name, action, members, path)
                .map(drop);
        };
        let is = self.transaction.get::<PrefixList>(&id).cloned();
        let Some(is) = is else { return Ok(()) };
        if is.max_entries != list.max_entries {
            let members = json!({ "PrefixListId": id, "MaxEntries": list.max_entries });
            self.send(&of, (EC2, "ModifyManagedPrefixList"), members)?;
            self.changed(
                Kind::PrefixList,
                name,
                format!("{} entries at most", list.max_entries),
            );
        }
        let has: Vec<_> = is.entries.iter().map(|entry| entry.cidr).collect();
        let add: Vec<_> = list
            .entries
            .iter()
            .filter(|cidr| !has.contains(cidr))
            .collect();
        let remove: Vec<_> = has
            .iter()
            .filter(|cidr| !list.entries.contains(cidr))
            .collect();
        if add.is_empty() && remove.is_empty() {
            return Ok(());
        }
        let version = self
            .transaction
            .get::<PrefixList>(&id)
            .map_or(0, |list| list.version);
        let detail = format!("{} entries added, {} removed", add.len(), remove.len());
        let members = json!({
            "PrefixListId": id,
            "CurrentVersion": version,
            "AddEntries": add.into_iter().map(entry).collect::<Vec<_>>(),
            "RemoveEntries": remove.into_iter().map(entry).collect::<Vec<_>>(),
        });
        self.send(&of, (EC2, "ModifyManagedPrefixList"), members)?;
        self.changed(Kind::PrefixList, name, detail);
        Ok(())
    }

    fn vpc(&mut self, vpc: &model::Vpc) -> Result<(), ApiError> {
        let name = vpc.name.as_str();
        let of = object(Kind::Vpc, name);
        let on_link = vpc.local == LocalDelivery::OnLink;
        let Some((primary, further)) = vpc.cidrs.split_first() else {
            return Err(ApiError::invalid(format!("{of}: it has no CIDR block")));
        };
        let id = match self.id(Kind::Vpc, name) {
            Some(id) => id.to_owned(),
            None => {
                let members = json!({
                    "CidrBlock": primary.to_string(),
                    "Uplink": vpc.uplink,
                    "OnLink": on_link,
                });
                self.make(Kind::Vpc, name, "CreateVpc", members, "/Vpc/VpcId")?
            }
        };
        let Some(is) = self.transaction.get::<Vpc>(&id).cloned() else {
            return Ok(());
        };
        let has: Vec<_> = is.cidrs().collect();
        if has.first() != Some(primary) {
            let message = format!(
                "{of}: its primary CIDR block is {} and cannot become {primary}: make another VPC",
                has.first().map(ToString::to_string).unwrap_or_default()
            );
            return Err(ApiError::invalid(message));
        }
        if is.uplink.as_ref() != Some(&vpc.uplink) {
            let members = json!({ "VpcId": id, "Uplink": { "Value": vpc.uplink } });
            self.send(&of, (EC2, "ModifyVpcAttribute"), members)?;
            self.changed(Kind::Vpc, name, format!("by uplink {}", vpc.uplink));
        }
        if is.on_link != on_link {
            let members = json!({ "VpcId": id, "OnLink": { "Value": on_link } });
            self.send(&of, (EC2, "ModifyVpcAttribute"), members)?;
            self.changed(Kind::Vpc, name, "how its subnets are reached");
        }
        for cidr in further.iter().filter(|cidr| !has.contains(cidr)) {
            let members = json!({ "VpcId": id, "CidrBlock": cidr.to_string() });
            self.send(&of, (EC2, "AssociateVpcCidrBlock"), members)?;
            self.changed(Kind::Vpc, name, format!("with {cidr}"));
        }
        for gone in is.cidr_block_association_set.iter().skip(1) {
            if !vpc.cidrs.contains(&gone.cidr_block) {
                let members = json!({ "AssociationId": gone.association_id });
                self.send(&of, (EC2, "DisassociateVpcCidrBlock"), members)?;
                self.changed(Kind::Vpc, name, format!("without {}", gone.cidr_block));
            }
        }
        self.note_defaults(name, &id);
        Ok(())
    }

    /// What a VPC has without being asked is called after it.
    fn note_defaults(&mut self, name: &str, id: &str) {
        let key = Key::of::<Vpc>(id);
        let state = &*self.transaction;
        let mut groups = state.referring::<SecurityGroup>(&key);
        let group = groups.find(|group| group.group_name == "default");
        let mut acls = state.referring::<NetworkAcl>(&key);
        let acl = acls.find(|acl| acl.is_default);
        let mut tables = state.referring::<RouteTable>(&key);
        let table = tables.find(|table| table.main_association_id.is_some());
        let found = [
            (
                Kind::SecurityGroup,
                DEFAULT,
                group.map(|it| it.group_id.to_string()),
            ),
            (
                Kind::NetworkAcl,
                DEFAULT,
                acl.map(|it| it.network_acl_id.to_string()),
            ),
            (
                Kind::RouteTable,
                MAIN,
                table.map(|it| it.route_table_id.to_string()),
            ),
        ];
        for (kind, suffix, id) in found {
            if let Some(id) = id {
                self.ids.insert((kind, format!("{name}{suffix}")), id);
            }
        }
    }

    fn security_group(&mut self, group: &model::SecurityGroup) -> Result<(), ApiError> {
        let name = group.name.as_str();
        if self.id(Kind::SecurityGroup, name).is_some() {
            return Ok(());
        }
        let members = json!({
            "GroupName": name,
            "Description": name,
            "VpcId": self.known(Kind::Vpc, group.vpc.as_str())?,
        });
        let action = "CreateSecurityGroup";
        self.make(Kind::SecurityGroup, name, action, members, "/GroupId")
            .map(drop)
    }

    fn route_table(&mut self, table: &model::RouteTable) -> Result<(), ApiError> {
        let name = table.name.as_str();
        if self.id(Kind::RouteTable, name).is_some() {
            return Ok(());
        }
        let members = json!({ "VpcId": self.known(Kind::Vpc, table.vpc.as_str())? });
        let (action, path) = ("CreateRouteTable", "/RouteTable/RouteTableId");
        self.make(Kind::RouteTable, name, action, members, path)
            .map(drop)
    }

    fn routes(&mut self, table: &model::RouteTable) -> Result<(), ApiError> {
        let name = table.name.as_str();
        let of = object(Kind::RouteTable, name);
        let id = self.known(Kind::RouteTable, name)?;
        let Some(is) = self.transaction.get::<RouteTable>(&id).cloned() else {
            return Ok(());
        };
        let mut kept = Vec::new();
        for route in &table.routes {
            let destination = self.destination(&route.destination)?;
            let target = self.target(&route.target)?;
            let before = is.routes.iter().find(|one| one.destination == destination);
            let action = match before {
                Some(before) if before.target == target => None,
                Some(_) => Some("ReplaceRoute"),
                None => Some("CreateRoute"),
            };
            if let Some(action) = action {
                let mut members = json!({ "RouteTableId": id });
                merge(&mut members, &destination)?;
                merge(&mut members, &target)?;
                self.send(&of, (EC2, action), members)?;
                let to = destination_words(&destination);
                self.changed(Kind::RouteTable, name, format!("route to {to}"));
            }
            kept.push(destination);
        }
        for route in &is.routes {
            // What an endpoint put there is the endpoint's.
            let is_endpoint = matches!(
                &route.target,
                RouteTarget::GatewayId(id) if id.as_str().starts_with("vpce-")
            );
            if !kept.contains(&route.destination) && !is_endpoint {
                let mut members = json!({ "RouteTableId": id });
                merge(&mut members, &route.destination)?;
                self.send(&of, (EC2, "DeleteRoute"), members)?;
                let to = destination_words(&route.destination);
                self.changed(Kind::RouteTable, name, format!("without the route to {to}"));
            }
        }
        Ok(())
    }

    fn destination(&self, destination: &Destination) -> Result<RouteDestination, ApiError> {
        Ok(match destination {
            Destination::Cidr(cidr) => RouteDestination::Cidr(*cidr),
            Destination::PrefixList(name) => {
                RouteDestination::PrefixList(self.known_id(Kind::PrefixList, name.as_str())?)
            }
        })
    }

    fn target(&self, target: &Target) -> Result<RouteTarget, ApiError> {
        Ok(match target {
            Target::Interface(name) => {
                RouteTarget::NetworkInterfaceId(self.known_id(Kind::Interface, name.as_str())?)
            }
            Target::Peering(name) => {
                RouteTarget::VpcPeeringConnectionId(self.known_id(Kind::Peering, name.as_str())?)
            }
            Target::InternetGateway(name) => {
                RouteTarget::GatewayId(self.known_id(Kind::InternetGateway, name.as_str())?)
            }
            Target::NatGateway(name) => {
                RouteTarget::NatGatewayId(self.known_id(Kind::NatGateway, name.as_str())?)
            }
            Target::Blackhole => RouteTarget::Blackhole(true),
        })
    }

    fn subnet(&mut self, subnet: &model::Subnet) -> Result<(), ApiError> {
        let name = subnet.name.as_str();
        let of = object(Kind::Subnet, name);
        let vpc = self.known(Kind::Vpc, subnet.vpc.as_str())?;
        let id = match self.id(Kind::Subnet, name) {
            Some(id) => id.to_owned(),
            None => {
                let members = json!({
                    "VpcId": vpc,
                    "CidrBlock": subnet.cidr.to_string(),
                    "Router": subnet.router,
                });
                let (action, path) = ("CreateSubnet", "/Subnet/SubnetId");
                self.make(Kind::Subnet, name, action, members, path)?
            }
        };
        let Some(is) = self.transaction.get::<Subnet>(&id).cloned() else {
            return Ok(());
        };
        if is.cidr_block != subnet.cidr || is.vpc_id.as_str() != vpc {
            let message = format!(
                "{of}: its CIDR block is {} and cannot become {}, nor its VPC another: make \
                 another subnet",
                is.cidr_block, subnet.cidr
            );
            return Err(ApiError::invalid(message));
        }
        if is.router != subnet.router {
            let members = json!({ "SubnetId": id, "Router": { "Value": subnet.router } });
            self.send(&of, (EC2, "ModifySubnetAttribute"), members)?;
            self.changed(Kind::Subnet, name, "its router");
        }
        let acl = self.known(Kind::NetworkAcl, subnet.network_acl.as_str())?;
        if is.network_acl_id.as_str() != acl {
            let members = json!({
                "AssociationId": is.network_acl_association_id,
                "NetworkAclId": acl,
            });
            self.send(&of, (EC2, "ReplaceNetworkAclAssociation"), members)?;
            self.changed(
                Kind::Subnet,
                name,
                format!("network ACL {}", subnet.network_acl),
            );
        }
        self.associate(subnet, &id)
    }

    /// The main table is that of the subnets that have no other.
    fn associate(&mut self, subnet: &model::Subnet, id: &str) -> Result<(), ApiError> {
        let name = subnet.name.as_str();
        let of = object(Kind::Subnet, name);
        let is_main = subnet.route_table.as_str() == format!("{}{MAIN}", subnet.vpc);
        let wanted = self.known(Kind::RouteTable, subnet.route_table.as_str())?;
        let key = Key::of::<Subnet>(id);
        let table = self.transaction.referring::<RouteTable>(&key).next();
        let own = table.and_then(|table| {
            let mut all = table.associations.iter();
            let own = all.find(|one| one.subnet_id.as_str() == id)?;
            let association = own.route_table_association_id.clone();
            Some((table.route_table_id.to_string(), association))
        });
        let (action, members) = match own {
            None if is_main => return Ok(()),
            Some((table, _)) if table == wanted => return Ok(()),
            None => {
                let members = json!({ "RouteTableId": wanted, "SubnetId": id });
                ("AssociateRouteTable", members)
            }
            Some((_, association)) if is_main => {
                let members = json!({ "AssociationId": association });
                ("DisassociateRouteTable", members)
            }
            Some((_, association)) => {
                let members = json!({ "AssociationId": association, "RouteTableId": wanted });
                ("ReplaceRouteTableAssociation", members)
            }
        };
        self.send(&of, (EC2, action), members)?;
        self.changed(
            Kind::Subnet,
            name,
            format!("route table {}", subnet.route_table),
        );
        Ok(())
    }

    fn interface(&mut self, interface: &model::NetworkInterface) -> Result<(), ApiError> {
        let name = interface.name.as_str();
        let of = object(Kind::Interface, name);
        let mut groups = Vec::new();
        for group in &interface.security_groups {
            groups.push(self.known(Kind::SecurityGroup, group.as_str())?);
        }
        groups.sort();
        let Some(id) = self.id(Kind::Interface, name).map(str::to_owned) else {
            let members = json!({
                "SubnetId": self.known(Kind::Subnet, interface.subnet.as_str())?,
                "PrivateIpAddress": interface.address,
                "Description": name,
                "Groups": groups,
            });
            let action = "CreateNetworkInterface";
            let path = "/NetworkInterface/NetworkInterfaceId";
            return self
                .make(Kind::Interface, name, action, members, path)
                .map(drop);
        };
        let Some(is) = self.transaction.get::<Interface>(&id).cloned() else {
            return Ok(());
        };
        if is.private_ip_address != interface.address {
            let message = format!(
                "{of}: its address is {} and cannot become {}: make another interface",
                is.private_ip_address, interface.address
            );
            return Err(ApiError::invalid(message));
        }
        if !is
            .groups
            .iter()
            .map(ObjectName::as_str)
            .eq(groups.iter().map(String::as_str))
        {
            let members = json!({ "NetworkInterfaceId": id, "Groups": groups });
            self.send(&of, (EC2, "ModifyNetworkInterfaceAttribute"), members)?;
            self.changed(Kind::Interface, name, "its security groups");
        }
        Ok(())
    }

    fn peering(&mut self, peering: &model::Peering) -> Result<(), ApiError> {
        let name = peering.name.as_str();
        let of = object(Kind::Peering, name);
        let known = self.id(Kind::Peering, name);
        let known = known.and_then(|id| self.transaction.get::<Peering>(id));
        if known.is_some_and(|known| known.status == PeeringStatus::Active) {
            return Ok(());
        }
        let [requester, accepter] = &peering.vpcs;
        let [requester_router, accepter_router] = peering.routers;
        let members = json!({
            "VpcId": self.known(Kind::Vpc, requester.as_str())?,
            "PeerVpcId": self.known(Kind::Vpc, accepter.as_str())?,
            "Router": requester_router,
            "PeerRouter": accepter_router,
        });
        let action = "CreateVpcPeeringConnection";
        let path = "/VpcPeeringConnection/VpcPeeringConnectionId";
        let id = self.make(Kind::Peering, name, action, members, path)?;
        let members = json!({ "VpcPeeringConnectionId": id });
        self.send(&of, (EC2, "AcceptVpcPeeringConnection"), members)?;
        Ok(())
    }
}

/// Puts the members of something into a request.
fn merge(request: &mut Value, value: &impl serde::Serialize) -> Result<(), ApiError> {
    let members = serde_json::to_value(value);
    let members = members.map_err(|error| ApiError::invalid(error.to_string()))?;
    if let (Some(request), Value::Object(members)) = (request.as_object_mut(), members) {
        request.extend(members);
    }
    Ok(())
}

fn destination_words(destination: &RouteDestination) -> String {
    match destination {
        RouteDestination::Cidr(cidr) => cidr.to_string(),
        RouteDestination::PrefixList(id) => id.to_string(),
    }
}
