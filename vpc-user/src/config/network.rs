//! From the raw tables of a tenant's network to [`Network`]: every check there is.
//! Each kind of object has a module; a later one looks up names in those before it,
//! which is the order of [`Scope::check`].

use crate::model::{
    Network, NetworkAcl, NetworkInterface, ObjectName, Peering, PrefixList, Quotas, RouteTable,
    SecurityGroup, Subnet, UplinkConfig, Vpc,
};

use super::{ConfigError, Problem, RawConfig, addresses::Addresses, error::Place};

mod acls;
mod gateways;
mod interfaces;
mod lists;
mod peerings;
mod prefixes;
pub(super) mod quotas;
mod routes;
mod security;
mod subnets;
mod table;
#[cfg(test)]
mod tests;
mod traffic;
mod vpcs;

use gateways::{InternetGateway, NatGateway};
pub(super) use prefixes::assignable;
pub(super) use routes::interfaces_are_reached;
pub(super) use security::carried_groups;
use table::{InVpc, Table};

type Checked<T> = Result<T, ConfigError>;

/// What has been checked so far, by name: where references are looked up.
#[derive(Default)]
pub(super) struct Scope {
    pub(super) quotas: Quotas,
    pub(super) vpcs: Table<Vpc>,
    pub(super) prefix_lists: Table<PrefixList>,
    pub(super) security_groups: Table<SecurityGroup>,
    pub(super) network_acls: Table<NetworkAcl>,
    pub(super) route_tables: Table<RouteTable>,
    pub(super) subnets: Table<Subnet>,
    pub(super) interfaces: Table<NetworkInterface>,
    pub(super) peerings: Table<Peering>,
    pub(super) internet_gateways: Table<InternetGateway>,
    pub(super) nat_gateways: Table<NatGateway>,
}

impl Scope {
    /// Checks everything but groups of ENIs.
    pub(super) fn check(
        raw: &RawConfig,
        uplinks: &[UplinkConfig],
        addresses: &mut Addresses,
    ) -> Checked<Self> {
        let mut scope = Self {
            quotas: quotas::quotas(&raw.quotas)?,
            ..Self::default()
        };
        scope.vpcs = vpcs::vpcs(&scope, &raw.vpcs, uplinks)?;
        scope.prefix_lists = lists::prefix_lists(&scope, &raw.prefix_lists)?;
        scope.security_groups = security::groups(&scope, &raw.security_groups)?;
        security::fill(&mut scope, &raw.security_groups)?;
        scope.network_acls = acls::network_acls(&scope, &raw.network_acls)?;
        scope.route_tables = routes::tables(&scope, &raw.route_tables)?;
        scope.subnets = subnets::subnets(&scope, raw, addresses)?;
        scope.interfaces = interfaces::interfaces(&scope, &raw.interfaces, addresses)?;
        scope.peerings = peerings::peerings(&scope, &raw.peerings, addresses)?;
        let gateways = raw.internet_gateways.iter().map(|raw| &raw.name);
        scope.internet_gateways = gateways::named(gateways, InternetGateway)?;
        let gateways = raw.nat_gateways.iter().map(|raw| &raw.name);
        scope.nat_gateways = gateways::named(gateways, NatGateway)?;
        routes::fill(&mut scope, &raw.route_tables)?;
        Ok(scope)
    }

    /// The checked objects, in the order of the file, defaults last.
    pub(super) fn into_network(self) -> Network {
        Network {
            vpcs: self.vpcs.into_items(),
            prefix_lists: self.prefix_lists.into_items(),
            security_groups: self.security_groups.into_items(),
            network_acls: self.network_acls.into_items(),
            route_tables: self.route_tables.into_items(),
            subnets: self.subnets.into_items(),
            interfaces: self.interfaces.into_items(),
            peerings: self.peerings.into_items(),
            quotas: self.quotas,
        }
    }

    /// Gives each VPC the object that it has from its creation on, `<vpc><suffix>`,
    /// unless the file declares one of that name.
    fn add_defaults<T: InVpc>(
        &self,
        table: &mut Table<T>,
        suffix: &'static str,
        make: impl Fn(ObjectName, ObjectName) -> T,
    ) -> Checked<()> {
        for vpc in self.vpcs.items() {
            let name = vpcs::default_name(&vpc.name, suffix)?;
            match table.get(name.as_str()) {
                None => table.push(&name, make(name.clone(), vpc.name.clone())),
                Some(other) if *other.vpc() != vpc.name => {
                    let problem = Problem::DefaultOfOther {
                        kind: T::KIND,
                        owner: vpc.name.to_string(),
                    };
                    let place = Place::named(T::KIND, name.as_str());
                    return Err(place.refuse("vpc", other.vpc().as_str(), problem));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}
