//! `[[group]]`: groups of ENIs, in a prefix of an uplink or in a subnet of a VPC.

use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;
use vpc_common::{
    layout::{ENI_CONNECTIONS, GROUP_ENIS},
    state::Timeouts,
    time::ticks_from_secs,
};

use super::{
    ConfigError, Problem, RawGroup, TIMEOUT_SECS_MAX,
    addresses::Addresses,
    error::{AddressUser, Place},
    network::{Scope, assignable, carried_groups},
    timed_phases,
    validate::{host_address, in_range, is_unicast, name, profile, uplink_named},
};
use crate::model::{EniConfig, GroupConfig, ObjectName, Subnet, UplinkConfig};

type Checked<T> = Result<T, ConfigError>;

/// What is known of the groups before the one being checked.
pub(super) struct Groups<'a> {
    pub(super) uplinks: &'a [UplinkConfig],
    pub(super) scope: &'a Scope,
    pub(super) profile: Timeouts,
    pub(super) known: Vec<GroupConfig>,
    pub(super) addresses: Addresses,
}

/// Where a group's ENIs are.
struct Ground {
    uplink: ObjectName,
    subnet_name: Option<ObjectName>,
    security_groups: Vec<ObjectName>,
    subnet: Ipv4Net,
    router: Option<Ipv4Addr>,
}

impl Groups<'_> {
    pub(super) fn check(mut self, raw: Vec<RawGroup>) -> Checked<Vec<GroupConfig>> {
        for (index, raw) in raw.into_iter().enumerate() {
            let group = self.group(index, &raw)?;
            self.known.push(group);
        }
        Ok(self.known)
    }

    fn group(&mut self, index: usize, raw: &RawGroup) -> Checked<GroupConfig> {
        let name = name("group", index, &raw.name)?;
        let place = Place::named("group", &raw.name);
        if self.known.iter().any(|other| other.name == name) {
            let numbered = Place::numbered("group", index);
            return Err(numbered.refuse("name", &raw.name, Problem::NameTaken { kind: "group" }));
        }
        let scope = self.scope;
        let ground = match scope.subnets.get(&raw.subnet) {
            Some(subnet) => self.in_subnet(&place, raw, subnet)?,
            None => self.in_prefix(&place, raw)?,
        };
        let enis = self.enis(&place, raw, &ground)?;
        let connections = match raw.connections {
            Some(value) => in_range(&place, "connections", value, 1, ENI_CONNECTIONS.into())?,
            None => ENI_CONNECTIONS,
        };
        let timeouts = timeouts(
            &place,
            &raw.timeouts,
            profile(&place, raw.profile.as_deref(), self.profile)?,
        )?;
        Ok(GroupConfig {
            name,
            uplink: ground.uplink,
            subnet_name: ground.subnet_name,
            security_groups: ground.security_groups,
            subnet: ground.subnet.addr(),
            prefix_len: ground.subnet.prefix_len(),
            router: ground.router,
            enis,
            timeouts,
            connections,
        })
    }

    /// A group in a `[[subnet]]`, which knows uplink and router.
    fn in_subnet(&self, place: &Place, raw: &RawGroup, subnet: &Subnet) -> Checked<Ground> {
        for (key, text) in [("uplink", &raw.uplink), ("router", &raw.router)] {
            if let Some(text) = text {
                let subnet = subnet.name.to_string();
                return Err(place.refuse(key, text, Problem::KnownFromSubnet { subnet }));
            }
        }
        let vpc = self.scope.vpcs.get(subnet.vpc.as_str());
        let vpc = vpc.ok_or_else(|| self.neither_subnet(place, &raw.subnet))?;
        self.disjoint(place, &vpc.uplink, &raw.subnet, subnet.cidr)?;
        let groups = raw.security_groups.as_deref();
        Ok(Ground {
            uplink: vpc.uplink.clone(),
            subnet_name: Some(subnet.name.clone()),
            security_groups: carried_groups(self.scope, place, &vpc.name, groups)?,
            subnet: subnet.cidr,
            router: subnet.router,
        })
    }

    /// A group in a prefix: of no VPC, and without rules.
    fn in_prefix(&mut self, place: &Place, raw: &RawGroup) -> Checked<Ground> {
        if !raw.subnet.contains('/') && raw.subnet.parse::<Ipv4Addr>().is_err() {
            return Err(self.neither_subnet(place, &raw.subnet));
        }
        let Some(uplink) = &raw.uplink else {
            return Err(place.refuse("subnet", &raw.subnet, Problem::UplinkMissing));
        };
        if let Some(groups) = &raw.security_groups {
            let groups = format!("{groups:?}");
            return Err(place.refuse_plain("security_groups", groups, Problem::NoVpcForGroups));
        }
        let uplink = uplink_named(self.uplinks, place, uplink)?;
        let subnet = self.prefix(place, &uplink, &raw.subnet)?;
        let router = match &raw.router {
            Some(text) => Some(self.router(place, raw, text, &uplink, subnet)?),
            None => None,
        };
        Ok(Ground {
            uplink,
            subnet_name: None,
            security_groups: Vec::new(),
            subnet,
            router,
        })
    }

    fn neither_subnet(&self, place: &Place, text: &str) -> ConfigError {
        let known = self.scope.subnets.known();
        place.refuse("subnet", text, Problem::NeitherSubnet { known })
    }

    fn prefix(&self, place: &Place, uplink: &ObjectName, text: &str) -> Checked<Ipv4Net> {
        let refuse = |problem| Err(place.refuse("subnet", text, problem));
        let Ok(subnet) = text.parse::<Ipv4Net>() else {
            return refuse(Problem::NotAPrefix);
        };
        if !(8..=30).contains(&subnet.prefix_len()) {
            return refuse(Problem::PrefixLength);
        }
        if subnet.trunc() != subnet {
            return refuse(Problem::NotCanonical {
                network: subnet.trunc(),
            });
        }
        // From /8 on, the first octet decides for the whole subnet.
        if !is_unicast(subnet.addr()) {
            return refuse(Problem::SubnetNotUnicast);
        }
        self.disjoint(place, uplink, text, subnet)?;
        Ok(subnet)
    }

    fn disjoint(
        &self,
        place: &Place,
        uplink: &ObjectName,
        text: &str,
        subnet: Ipv4Net,
    ) -> Checked<()> {
        let neighbours = self.known.iter().filter(|group| group.uplink == *uplink);
        for group in neighbours {
            let Some(other) = super::subnet(group) else {
                continue;
            };
            if other != subnet && (other.contains(&subnet) || subnet.contains(&other)) {
                let by = group.name.to_string();
                let problem = Problem::SubnetOverlaps { other, by };
                return Err(place.refuse("subnet", text, problem));
            }
        }
        Ok(())
    }

    fn router(
        &mut self,
        place: &Place,
        raw: &RawGroup,
        text: &str,
        uplink: &ObjectName,
        subnet: Ipv4Net,
    ) -> Checked<Ipv4Addr> {
        let router = host_address(place, "router", text, subnet)?;
        let user = self.addresses.user(uplink, router);
        if let Some(user @ (AddressUser::Eni(_) | AddressUser::Interface(_))) = user {
            let problem = Problem::AddressTaken { user: user.clone() };
            return Err(place.refuse_address("router", router, problem));
        }
        let user = AddressUser::Router(raw.name.clone());
        self.addresses.share(uplink, router, user);
        Ok(router)
    }

    fn enis(&mut self, place: &Place, raw: &RawGroup, ground: &Ground) -> Checked<Vec<EniConfig>> {
        let count = raw.eni.len();
        if count == 0 {
            return Err(place.refuse_plain("eni", "[]", Problem::NoEni));
        }
        if count > GROUP_ENIS {
            let problem = Problem::TooManyEnis {
                count,
                max: GROUP_ENIS,
            };
            return Err(place.refuse_plain("eni", "[…]", problem));
        }
        let mut enis = Vec::with_capacity(count);
        for text in &raw.eni {
            let address = match ground.subnet_name {
                Some(_) => assignable(place, "eni", text, ground.subnet)?,
                None => host_address(place, "eni", text, ground.subnet)?,
            };
            let user = AddressUser::Eni(raw.name.clone());
            self.addresses
                .claim(&ground.uplink, address, user)
                .map_err(|user| {
                    place.refuse_address("eni", address, Problem::AddressTaken { user })
                })?;
            enis.push(address.into());
        }
        Ok(enis)
    }
}

/// Idle timeouts: those of a profile but for what is written, seconds by phase.
pub(super) fn timeouts(
    place: &Place,
    written: &BTreeMap<String, i64>,
    mut timeouts: Timeouts,
) -> Checked<Timeouts> {
    for (label, value) in written {
        let key = format!("timeouts.{label}");
        let Some(phase) = timed_phases().find(|phase| phase.label() == label) else {
            let known: Vec<_> = timed_phases().map(|phase| phase.label()).collect();
            let problem = Problem::UnknownPhase {
                known: known.join(", "),
            };
            return Err(place.refuse_plain(&key, value, problem));
        };
        let seconds = in_range(place, &key, *value, 1, TIMEOUT_SECS_MAX.into())?;
        timeouts.0[phase as usize] = ticks_from_secs(seconds);
    }
    Ok(timeouts)
}
