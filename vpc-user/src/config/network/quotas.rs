//! `[quotas]`, and what counts against them.

use std::fmt;

use super::{Checked, InVpc, Scope, Table};
use crate::{
    config::{Problem, error::Place, raw_network::RawQuotas, validate::in_range},
    model::Quotas,
};

/// The most that a quota may be raised to, ten times and more what AWS grants: the
/// tables of the kernel are sized for it.
const QUOTA_MAX: i64 = 10_000;

pub(in crate::config) fn quotas(raw: &RawQuotas) -> Checked<Quotas> {
    let place = Place::quotas();
    let mut quotas = Quotas::default();
    macro_rules! read {
        ($($key:ident),+) => {
            $(if let Some(value) = raw.$key {
                quotas.$key = in_range(&place, stringify!($key), value, 1, QUOTA_MAX)?;
            })+
        };
    }
    read!(
        security_groups_per_interface,
        rules_per_security_group,
        rules_per_interface,
        security_groups,
        network_acls_per_vpc,
        entries_per_network_acl,
        route_tables_per_vpc,
        routes_per_table,
        subnets_per_vpc,
        cidrs_per_vpc,
        prefix_lists,
        entries_per_prefix_list
    );
    Ok(quotas)
}

/// A quota: its key and its value.
pub(super) type Quota = (&'static str, u32);

/// Refuses more of something than a quota allows.
pub(super) fn within(
    (key, quota): Quota,
    count: u64,
    what: &'static str,
    of: impl fmt::Display,
) -> Checked<()> {
    if count <= u64::from(quota) {
        return Ok(());
    }
    let of = of.to_string();
    let problem = Problem::QuotaExceeded { count, what, of };
    Err(Place::quotas().refuse_plain(key, quota, problem))
}

/// Refuses more objects of a kind in one VPC than a quota allows.
pub(super) fn within_each_vpc<T: InVpc>(
    scope: &Scope,
    quota: Quota,
    table: &Table<T>,
    what: &'static str,
) -> Checked<()> {
    for vpc in scope.vpcs.items() {
        let of = Place::named("vpc", vpc.name.as_str());
        within(quota, table.count_in(&vpc.name), what, of)?;
    }
    Ok(())
}
