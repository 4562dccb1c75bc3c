//! From [`RawConfig`] to [`Config`]: every check there is.

use std::{net::Ipv4Addr, path::PathBuf};

use ipnet::Ipv4Net;
use vpc_common::{
    addr::V4,
    layout::{BLOCK_PORTS, Hop, Limits, SLAB_BLOCKS_MAX},
    state::Timeouts,
};

use super::{
    ConfigError, DEFAULT_PIN_DIR, DEFAULT_SOCKET, INTERFACE_NAME_MAX, Problem, RawConfig,
    RawLimits, RawUplink, SOCKET_PATH_MAX,
    addresses::Addresses,
    control::control,
    error::Place,
    flow_logs::flow_logs,
    groups::Groups,
    network::{Scope, interfaces_are_reached, quotas::quotas},
};
use crate::model::{Config, HookWish, ObjectName, TcAttachment, UplinkConfig};

/// Indices of environments, uplinks, ENIs and next hops are 16 bits wide in the
/// kernel's tables.
const INDEX_MAX: i64 = (1 << 16) - 1;
/// A datagram in fragments costs a table entry for two seconds.
const FRAGMENTS_MAX: i64 = 1 << 20;
/// 1 GiB.
const POLICY_WORDS_MAX: i64 = 1 << 27;
/// A refused tuple costs a table entry until the agent takes it.
const REFUSALS_MAX: i64 = 1 << 20;

/// Names that a refusal lists.
const KNOWN_NAMES: usize = 20;

type Checked<T> = Result<T, ConfigError>;

pub(super) fn config(mut raw: RawConfig) -> Checked<Config> {
    let top = Place::top();
    let pin_dir = absolute(&top, "pin_dir", raw.pin_dir.take(), DEFAULT_PIN_DIR)?;
    let socket = absolute(&top, "socket", raw.socket.take(), DEFAULT_SOCKET)?;
    let length = socket.as_os_str().len();
    if length > SOCKET_PATH_MAX {
        let problem = Problem::SocketPathTooLong { length };
        return Err(top.refuse("socket", &socket.to_string_lossy(), problem));
    }
    let profile = profile(&top, raw.profile.as_deref(), Timeouts::AWS)?;
    let tc = attachment(&top, raw.tc.as_deref())?;
    let limits = limits(&raw.limits)?;
    let uplinks = uplinks(std::mem::take(&mut raw.uplinks))?;
    let control = control(&raw, quotas(&raw.quotas)?, profile)?;
    let flow_logs = flow_logs(&raw, control.as_ref())?;
    let mut addresses = Addresses::default();
    let scope = Scope::check(&raw, &uplinks, &mut addresses)?;
    let groups = Groups {
        uplinks: &uplinks,
        scope: &scope,
        profile,
        known: Vec::new(),
        addresses,
    }
    .check(raw.groups)?;
    interfaces_are_reached(&scope, &groups)?;
    let config = Config {
        pin_dir,
        socket,
        limits,
        tc,
        uplinks,
        groups,
        network: scope.into_network(),
        control,
        flow_logs,
    };
    tables_suffice(&config)?;
    Ok(config)
}

pub(super) fn absolute(
    place: &Place,
    key: &str,
    path: Option<PathBuf>,
    default: &str,
) -> Checked<PathBuf> {
    let path = path.unwrap_or_else(|| default.into());
    if path.is_absolute() {
        return Ok(path);
    }
    Err(place.refuse(key, &path.to_string_lossy(), Problem::NotAbsolute))
}

pub(super) fn profile(place: &Place, name: Option<&str>, default: Timeouts) -> Checked<Timeouts> {
    match name {
        None => Ok(default),
        Some("aws") => Ok(Timeouts::AWS),
        Some("rfc") => Ok(Timeouts::RFC),
        Some(other) => Err(place.refuse("profile", other, Problem::NotAProfile)),
    }
}

fn attachment(place: &Place, word: Option<&str>) -> Checked<TcAttachment> {
    let Some(word) = word else {
        return Ok(TcAttachment::default());
    };
    TcAttachment::from_word(word).ok_or_else(|| place.refuse("tc", word, Problem::NotAnAttachment))
}

fn hook(place: &Place, word: Option<&str>) -> Checked<HookWish> {
    let Some(word) = word else {
        return Ok(HookWish::default());
    };
    HookWish::from_word(word).ok_or_else(|| place.refuse("hook", word, Problem::NotAHook))
}

pub(super) fn in_range(place: &Place, key: &str, value: i64, min: i64, max: i64) -> Checked<u32> {
    match u32::try_from(value) {
        Ok(number) if (min..=max).contains(&value) => Ok(number),
        _ => Err(place.refuse_plain(key, value, Problem::OutOfRange { min, max })),
    }
}

fn limits(raw: &RawLimits) -> Checked<Limits> {
    let place = Place::limits();
    let number = |key, value: Option<i64>, default: u32, min, max| {
        value.map_or(Ok(default), |value| in_range(&place, key, value, min, max))
    };
    let default = Limits::DEFAULT;
    let flows_max = SLAB_BLOCKS_MAX as i64 * i64::from(BLOCK_PORTS);
    let flows = number("flows", raw.flows, default.slots(), 1, flows_max)?;
    Ok(Limits {
        environments: number(
            "environments",
            raw.environments,
            default.environments,
            1,
            INDEX_MAX,
        )?,
        uplinks: number("uplinks", raw.uplinks, default.uplinks, 1, INDEX_MAX)?,
        enis: number("enis", raw.enis, default.enis, 1, INDEX_MAX)?,
        // Index 0 is never used.
        next_hops: number(
            "next_hops",
            raw.next_hops,
            default.next_hops,
            2,
            Hop::COUNT.into(),
        )?,
        blocks: flows.div_ceil(BLOCK_PORTS),
        fragments: number(
            "fragments",
            raw.fragments,
            default.fragments,
            1,
            FRAGMENTS_MAX,
        )?,
        policy_words: number(
            "policy_words",
            raw.policy_words,
            default.policy_words,
            1,
            POLICY_WORDS_MAX,
        )?,
        refusals: number("refusals", raw.refusals, default.refusals, 1, REFUSALS_MAX)?,
    })
}

fn tables_suffice(config: &Config) -> Checked<()> {
    let enis = config.groups.iter().map(|group| group.enis.len()).sum();
    for (key, limit, count, what) in [
        (
            "uplinks",
            config.limits.uplinks,
            config.uplinks.len(),
            "uplinks",
        ),
        ("enis", config.limits.enis, enis, "ENIs"),
    ] {
        if count > limit as usize {
            let problem = Problem::TableTooSmall { count, what };
            return Err(Place::limits().refuse_plain(key, limit, problem));
        }
    }
    Ok(())
}

pub(super) fn name(kind: &'static str, index: usize, text: &str) -> Checked<ObjectName> {
    ObjectName::new(text)
        .map_err(|_| Place::numbered(kind, index).refuse("name", text, Problem::NotAName))
}

fn uplinks(raw: Vec<RawUplink>) -> Checked<Vec<UplinkConfig>> {
    let mut uplinks: Vec<UplinkConfig> = Vec::with_capacity(raw.len());
    for (index, raw) in raw.into_iter().enumerate() {
        let name = name("uplink", index, &raw.name)?;
        let place = Place::named("uplink", &raw.name);
        if uplinks.iter().any(|other| other.name == name) {
            let numbered = Place::numbered("uplink", index);
            return Err(numbered.refuse("name", &raw.name, Problem::NameTaken { kind: "uplink" }));
        }
        if !is_interface_name(&raw.interface) {
            return Err(place.refuse("interface", &raw.interface, Problem::NotAnInterface));
        }
        if let Some(other) = uplinks
            .iter()
            .find(|other| other.interface == raw.interface)
        {
            let problem = Problem::InterfaceTaken {
                by: other.name.to_string(),
            };
            return Err(place.refuse("interface", &raw.interface, problem));
        }
        if let Some(netns) = raw.peer_netns.as_deref().filter(|netns| !is_netns(netns)) {
            return Err(place.refuse("peer_netns", netns, Problem::NotANamespace));
        }
        let hook = hook(&place, raw.hook.as_deref())?;
        let RawUplink {
            interface,
            shared,
            peer_netns,
            ..
        } = raw;
        uplinks.push(UplinkConfig {
            name,
            interface,
            shared,
            hook,
            peer_netns,
        });
    }
    Ok(uplinks)
}

/// The uplink that a key refers to.
pub(super) fn uplink_named(
    uplinks: &[UplinkConfig],
    place: &Place,
    text: &str,
) -> Checked<ObjectName> {
    match uplinks.iter().find(|uplink| uplink.name.as_str() == text) {
        Some(uplink) => Ok(uplink.name.clone()),
        None => {
            let known = known(uplinks.iter().map(|uplink| uplink.name.as_str()));
            Err(place.refuse("uplink", text, Problem::UnknownUplink { known }))
        }
    }
}

/// The names that there are, for the refusal of one that there is not.
pub(super) fn known<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(KNOWN_NAMES);
    let names: Vec<_> = names.take(KNOWN_NAMES).collect();
    match (names.as_slice(), more) {
        ([], _) => "there is none".to_owned(),
        (names, 0) => format!("there is {}", names.join(", ")),
        (names, more) => format!("there is {} and {more} more", names.join(", ")),
    }
}

/// Whether the kernel would let an interface be called so (`dev_valid_name`).
pub fn is_interface_name(name: &str) -> bool {
    let forbidden = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    (1..=INTERFACE_NAME_MAX).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.contains(forbidden)
}

/// A path, or a name that `ip netns` could have made.
pub fn is_netns(netns: &str) -> bool {
    let is_name = !netns.contains('/') && !matches!(netns, "" | "." | "..");
    (netns.starts_with('/') || is_name) && !netns.contains('\0')
}

pub(super) fn is_unicast(address: Ipv4Addr) -> bool {
    V4::new(address.octets()).is_unicast()
}

pub(super) fn host_address(
    place: &Place,
    key: &str,
    text: &str,
    subnet: Ipv4Net,
) -> Checked<Ipv4Addr> {
    let refuse = |problem| Err(place.refuse(key, text, problem));
    let Ok(address) = text.parse::<Ipv4Addr>() else {
        return refuse(Problem::NotAnAddress);
    };
    if !is_unicast(address) {
        refuse(Problem::NotUnicast { subnet })
    } else if !subnet.contains(&address) {
        refuse(Problem::OutsideSubnet { subnet })
    } else if address == subnet.network() {
        refuse(Problem::NetworkAddress { subnet })
    } else if address == subnet.broadcast() {
        refuse(Problem::BroadcastAddress { subnet })
    } else {
        Ok(address)
    }
}
