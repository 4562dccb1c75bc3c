//! `[control]`: where resources are kept, and the times and quotas of functions and their
//! ENIs.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use vpc_common::{
    layout::{ENI_CONNECTIONS, GROUP_ENIS},
    state::Timeouts,
};

use super::{
    ConfigError, Problem, RawConfig, RawVpc,
    error::Place,
    groups::timeouts,
    timeouts_as_written,
    validate::{absolute, in_range},
};
use crate::{
    control::Settings,
    model::{ControlConfig, Quotas},
};

/// File of the store unless told otherwise.
pub const DEFAULT_STORE: &str = "/var/lib/vpc/state.redb";
/// A hundred years: never, for all that anybody waits.
const SECS_MAX: i64 = 100 * 365 * 24 * 3_600;
/// The most that a quota may be raised to.
const QUOTA_MAX: i64 = 1_000_000;
/// The longest name of a Region or zone.
const REGION_MAX: usize = 32;

/// `[control]` as written; what is absent has AWS's value.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `Settings`")]
pub struct RawControl {
    /// File in which resources are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<PathBuf>,
    pub region: Option<String>,
    pub zones: Option<Vec<String>>,
    pub idle_secs: Option<i64>,
    pub stuck_secs: Option<i64>,
    pub drain_secs: Option<i64>,
    pub shown_after_end_secs: Option<i64>,
    pub vpcs: Option<i64>,
    pub hyperplane_enis_per_vpc: Option<i64>,
    pub enis_per_group: Option<i64>,
    pub connections_per_eni: Option<i64>,
    pub interfaces_per_zone: Option<i64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub timeouts: BTreeMap<String, i64>,
}

pub(super) fn control(
    raw: &RawConfig,
    quotas: Quotas,
    profile: Timeouts,
) -> Result<Option<ControlConfig>, ConfigError> {
    let Some(written) = &raw.control else {
        return Ok(None);
    };
    let place = Place::control();
    if let Some((key, count)) = resources(raw).into_iter().find(|(_, count)| *count != 0) {
        return Err(Place::top().refuse_plain(key, format!("[{count}]"), Problem::KeptInStore));
    }
    let number = |key, value: Option<i64>, default: u32, max| match value {
        Some(value) => in_range(&place, key, value, 1, max),
        None => Ok(default),
    };
    let default = Settings::default();
    let seconds = |key, value: Option<i64>, default: Duration| match value {
        Some(value) => in_range(&place, key, value, 0, SECS_MAX.min(u32::MAX.into()))
            .map(|secs| Duration::from_secs(secs.into())),
        None => Ok(default),
    };
    let region = written
        .region
        .clone()
        .unwrap_or_else(|| default.region.clone());
    let zones = written.zones.clone().unwrap_or_else(|| {
        ["a", "b", "c"]
            .map(|zone| format!("{region}{zone}"))
            .to_vec()
    });
    let places = std::iter::once(("region", &region)).chain(zones.iter().map(|one| ("zones", one)));
    for (key, name) in places {
        if !is_place(name) {
            return Err(place.refuse(key, name, Problem::NotARegion));
        }
    }
    if zones.is_empty() {
        return Err(place.refuse_plain("zones", "[]", Problem::NotARegion));
    }
    let settings = Settings {
        region,
        zones,
        quotas,
        timeouts: timeouts(&place, &written.timeouts, profile)?,
        idle_after: seconds("idle_secs", written.idle_secs, default.idle_after)?,
        stuck_after: seconds("stuck_secs", written.stuck_secs, default.stuck_after)?,
        drain: seconds("drain_secs", written.drain_secs, default.drain)?,
        shown_after_end: seconds(
            "shown_after_end_secs",
            written.shown_after_end_secs,
            default.shown_after_end,
        )?,
        vpcs: number("vpcs", written.vpcs, default.vpcs, QUOTA_MAX)?,
        hyperplane_enis_per_vpc: number(
            "hyperplane_enis_per_vpc",
            written.hyperplane_enis_per_vpc,
            default.hyperplane_enis_per_vpc,
            QUOTA_MAX,
        )?,
        enis_per_group: number(
            "enis_per_group",
            written.enis_per_group,
            default.enis_per_group,
            GROUP_ENIS as i64,
        )?,
        connections_per_eni: number(
            "connections_per_eni",
            written.connections_per_eni,
            default.connections_per_eni,
            ENI_CONNECTIONS.into(),
        )?,
        interfaces_per_zone: number(
            "interfaces_per_zone",
            written.interfaces_per_zone,
            default.interfaces_per_zone,
            QUOTA_MAX,
        )?,
        ..default
    };
    let store = written.store.clone();
    Ok(Some(ControlConfig {
        store: absolute(&place, "store", store, DEFAULT_STORE)?,
        settings,
    }))
}

/// Refuses in the agent's own file what only the control plane can make.
pub(super) fn is_of_agent(raw: &RawConfig) -> Result<(), ConfigError> {
    let vpcs = |has: fn(&RawVpc) -> bool| raw.vpcs.iter().filter(|vpc| has(vpc)).count();
    let declared = [
        ("vpc.dhcp_options", vpcs(|vpc| vpc.dhcp_options.is_some())),
        ("vpc.dns_support", vpcs(|vpc| vpc.dns_support.is_some())),
        ("vpc.dns_hostnames", vpcs(|vpc| vpc.dns_hostnames.is_some())),
        ("dhcp_options", raw.dhcp_options.len()),
        ("internet_gateway", raw.internet_gateways.len()),
        ("address", raw.addresses.len()),
        ("nat_gateway", raw.nat_gateways.len()),
        ("endpoint", raw.endpoints.len()),
        ("flow_log", raw.flow_logs.len()),
        ("role", raw.roles.len()),
        ("function", raw.functions.len()),
    ];
    match declared.into_iter().find(|(_, count)| *count != 0) {
        Some((key, count)) => {
            Err(Place::top().refuse_plain(key, format!("[{count}]"), Problem::Declared))
        }
        None => Ok(()),
    }
}

/// What the store keeps, by the key of the file, and how many of each are written.
fn resources(raw: &RawConfig) -> [(&'static str, usize); 9] {
    [
        ("vpc", raw.vpcs.len()),
        ("prefix_list", raw.prefix_lists.len()),
        ("security_group", raw.security_groups.len()),
        ("network_acl", raw.network_acls.len()),
        ("route_table", raw.route_tables.len()),
        ("subnet", raw.subnets.len()),
        ("interface", raw.interfaces.len()),
        ("peering", raw.peerings.len()),
        ("group", raw.groups.len()),
    ]
}

/// Whether a text can name a Region or a zone.
fn is_place(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=REGION_MAX).contains(&name.len()) && name.bytes().all(is_allowed)
}

impl From<&ControlConfig> for RawControl {
    fn from(control: &ControlConfig) -> Self {
        let settings = &control.settings;
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).ok();
        let number = |number: u32| Some(i64::from(number));
        Self {
            store: Some(control.store.clone()),
            region: Some(settings.region.clone()),
            zones: Some(settings.zones.clone()),
            idle_secs: seconds(settings.idle_after),
            stuck_secs: seconds(settings.stuck_after),
            drain_secs: seconds(settings.drain),
            shown_after_end_secs: seconds(settings.shown_after_end),
            vpcs: number(settings.vpcs),
            hyperplane_enis_per_vpc: number(settings.hyperplane_enis_per_vpc),
            enis_per_group: number(settings.enis_per_group),
            connections_per_eni: number(settings.connections_per_eni),
            interfaces_per_zone: number(settings.interfaces_per_zone),
            timeouts: timeouts_as_written(&settings.timeouts),
        }
    }
}
