//! From [`RawConfig`] to [`Config`]: every check there is.

use std::{collections::HashMap, net::Ipv4Addr, path::PathBuf};

use ipnet::Ipv4Net;
use vpc_common::{
    addr::V4,
    layout::{BLOCK_PORTS, ENI_CONNECTIONS, GROUP_ENIS, Limits, SLAB_BLOCKS_MAX},
    state::Timeouts,
    time::ticks_from_secs,
};

use super::{
    ConfigError, DEFAULT_PIN_DIR, DEFAULT_SOCKET, INTERFACE_NAME_MAX, Problem, RawConfig, RawGroup,
    RawLimits, RawUplink, SOCKET_PATH_MAX, TIMEOUT_SECS_MAX,
    error::{AddressUser, Place},
    timed_phases,
};
use crate::model::{Config, GroupConfig, HookWish, ObjectName, TcAttachment, UplinkConfig};

/// Indices of environments, uplinks, ENIs and next hops are 16 bits wide in the
/// kernel's tables.
const INDEX_MAX: i64 = 1 << 16;
/// A datagram in fragments costs a table entry for two seconds.
const FRAGMENTS_MAX: i64 = 1 << 20;

type Checked<T> = Result<T, ConfigError>;

pub(super) fn config(raw: RawConfig) -> Checked<Config> {
    let top = Place::top();
    let pin_dir = absolute(&top, "pin_dir", raw.pin_dir, DEFAULT_PIN_DIR)?;
    let socket = absolute(&top, "socket", raw.socket, DEFAULT_SOCKET)?;
    let length = socket.as_os_str().len();
    if length > SOCKET_PATH_MAX {
        let problem = Problem::SocketPathTooLong { length };
        return Err(top.refuse("socket", &socket.to_string_lossy(), problem));
    }
    let profile = profile(&top, raw.profile.as_deref(), Timeouts::AWS)?;
    let tc = attachment(&top, raw.tc.as_deref())?;
    let limits = limits(&raw.limits)?;
    let uplinks = uplinks(raw.uplinks)?;
    let groups = Groups {
        uplinks: &uplinks,
        profile,
        known: Vec::new(),
        addresses: HashMap::new(),
    }
    .check(raw.groups)?;
    let config = Config {
        pin_dir,
        socket,
        limits,
        tc,
        uplinks,
        groups,
    };
    tables_suffice(&config)?;
    Ok(config)
}

fn absolute(place: &Place, key: &str, path: Option<PathBuf>, default: &str) -> Checked<PathBuf> {
    let path = path.unwrap_or_else(|| default.into());
    if path.is_absolute() {
        return Ok(path);
    }
    Err(place.refuse(key, &path.to_string_lossy(), Problem::NotAbsolute))
}

fn profile(place: &Place, name: Option<&str>, default: Timeouts) -> Checked<Timeouts> {
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

fn in_range(place: &Place, key: &str, value: i64, min: i64, max: i64) -> Checked<u32> {
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
        next_hops: number("next_hops", raw.next_hops, default.next_hops, 2, INDEX_MAX)?,
        blocks: flows.div_ceil(BLOCK_PORTS),
        fragments: number(
            "fragments",
            raw.fragments,
            default.fragments,
            1,
            FRAGMENTS_MAX,
        )?,
    })
}

fn tables_suffice(config: &Config) -> Checked<()> {
    let enis = config
        .groups
        .iter()
        .map(|group| group.addresses.len())
        .sum();
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

fn name(kind: &'static str, index: usize, text: &str) -> Checked<ObjectName> {
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

/// What is known of the groups before the one being checked.
struct Groups<'a> {
    uplinks: &'a [UplinkConfig],
    profile: Timeouts,
    known: Vec<GroupConfig>,
    /// Users of the addresses of each uplink: routers may be shared by groups.
    addresses: HashMap<(String, Ipv4Addr), AddressUser>,
}

impl Groups<'_> {
    fn check(mut self, raw: Vec<RawGroup>) -> Checked<Vec<GroupConfig>> {
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
        let uplink = self.uplink(&place, &raw.uplink)?;
        let subnet = self.subnet(&place, &uplink, &raw.subnet)?;
        let router = match &raw.router {
            Some(text) => Some(self.router(&place, raw, text, subnet)?),
            None => None,
        };
        let addresses = self.enis(&place, raw, subnet)?;
        let connections = match raw.connections {
            Some(value) => in_range(&place, "connections", value, 1, ENI_CONNECTIONS.into())?,
            None => ENI_CONNECTIONS,
        };
        let timeouts = timeouts(
            &place,
            raw,
            profile(&place, raw.profile.as_deref(), self.profile)?,
        )?;
        Ok(GroupConfig {
            name,
            uplink,
            subnet: subnet.addr(),
            prefix_len: subnet.prefix_len(),
            router,
            addresses,
            timeouts,
            connections,
        })
    }

    fn uplink(&self, place: &Place, text: &str) -> Checked<ObjectName> {
        match self
            .uplinks
            .iter()
            .find(|uplink| uplink.name.as_str() == text)
        {
            Some(uplink) => Ok(uplink.name.clone()),
            None => {
                let names: Vec<_> = self
                    .uplinks
                    .iter()
                    .map(|uplink| uplink.name.as_str())
                    .collect();
                let known = match names.as_slice() {
                    [] => "there is none".to_owned(),
                    names => format!("there is {}", names.join(", ")),
                };
                Err(place.refuse("uplink", text, Problem::UnknownUplink { known }))
            }
        }
    }

    fn subnet(&self, place: &Place, uplink: &ObjectName, text: &str) -> Checked<Ipv4Net> {
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
        let neighbours = self.known.iter().filter(|group| group.uplink == *uplink);
        for group in neighbours {
            let Some(other) = super::subnet(group) else {
                continue;
            };
            if other != subnet && (other.contains(&subnet) || subnet.contains(&other)) {
                return refuse(Problem::SubnetOverlaps {
                    other,
                    by: group.name.to_string(),
                });
            }
        }
        Ok(subnet)
    }

    fn router(
        &mut self,
        place: &Place,
        raw: &RawGroup,
        text: &str,
        subnet: Ipv4Net,
    ) -> Checked<Ipv4Addr> {
        let router = host_address(place, "router", text, subnet)?;
        let key = (raw.uplink.clone(), router);
        if let Some(user @ AddressUser::Eni(_)) = self.addresses.get(&key) {
            let problem = Problem::AddressTaken { user: user.clone() };
            return Err(place.refuse_address("router", router, problem));
        }
        self.addresses
            .entry(key)
            .or_insert_with(|| AddressUser::Router(raw.name.clone()));
        Ok(router)
    }

    fn enis(&mut self, place: &Place, raw: &RawGroup, subnet: Ipv4Net) -> Checked<Vec<Ipv4Addr>> {
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
        let mut addresses = Vec::with_capacity(count);
        for text in &raw.eni {
            let address = host_address(place, "eni", text, subnet)?;
            let key = (raw.uplink.clone(), address);
            if let Some(user) = self.addresses.get(&key) {
                let problem = Problem::AddressTaken { user: user.clone() };
                return Err(place.refuse_address("eni", address, problem));
            }
            self.addresses
                .insert(key, AddressUser::Eni(raw.name.clone()));
            addresses.push(address);
        }
        Ok(addresses)
    }
}

fn is_unicast(address: Ipv4Addr) -> bool {
    V4::new(address.octets()).is_unicast()
}

fn host_address(place: &Place, key: &str, text: &str, subnet: Ipv4Net) -> Checked<Ipv4Addr> {
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

fn timeouts(place: &Place, raw: &RawGroup, mut timeouts: Timeouts) -> Checked<Timeouts> {
    for (label, value) in &raw.timeouts {
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
