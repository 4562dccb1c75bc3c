//! CHECK: whether what ADD made is still there.

use std::io;

use super::{
    Attachment, CniError, Code, Device, Invocation, NetworkConfig, agent,
    link::{self, Route},
    result::Previous,
    verbs,
};
use crate::dataplane::netlink::{InterfaceKind, Link, Netlink};

/// One error that names everything that is missing.
pub(super) fn check(config: &NetworkConfig, invocation: &Invocation) -> Result<(), CniError> {
    let attachment = verbs::attachment(config, invocation)?;
    let previous = Previous::of(config)?;
    let sandbox = match config.device {
        Device::Veth => &invocation.netns,
        Device::Tap => &invocation.container,
    };
    let inside = previous.interface(&invocation.interface, Some(sandbox));
    let (Some(inside), Some(_)) = (inside, previous.interface(&attachment.link, None)) else {
        let (link, name) = (&attachment.link, &invocation.interface);
        let message = format!(
            "\"prevResult\" has not both {link} of the host and {name} of {sandbox}: CHECK needs \
             what ADD answered for this container"
        );
        return Err(CniError::new(Code::Configuration, message));
    };
    let mut missing = Vec::new();
    let host = host_link(config, &attachment, &mut missing)?;
    if let (Device::Veth, Some(host)) = (config.device, &host) {
        let wanted = Wanted {
            config,
            invocation,
            previous: &previous,
            number: inside,
        };
        match wanted.missing_inside(host) {
            Ok(more) => missing.extend(more),
            Err(error) => missing.push(format!(
                "{} cannot be looked into ({error})",
                invocation.netns
            )),
        }
    }
    let (name, link) = (attachment.environment.as_str(), &attachment.link);
    let environments = agent::environments(&config.socket)?;
    if !environments
        .iter()
        .any(|one| one.name == name && one.interface == *link)
    {
        missing.push(format!("the agent has no environment {name} on {link}"));
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(CniError::new(Code::Missing, missing.join("; ")))
}

/// The link on the host, and what is wrong with it.
fn host_link(
    config: &NetworkConfig,
    attachment: &Attachment,
    missing: &mut Vec<String>,
) -> Result<Option<Link>, CniError> {
    let name = &attachment.link;
    let found = Netlink::open().and_then(|mut netlink| netlink.link(name));
    let found = found.map_err(|error| {
        CniError::new(Code::Link, format!("{name} cannot be looked up ({error})"))
    })?;
    let (kind, word) = match config.device {
        Device::Veth => (InterfaceKind::Veth, "veth"),
        Device::Tap => (InterfaceKind::Tap, "tap"),
    };
    let found = found.filter(|link| link.interface.kind == kind);
    match &found {
        None => missing.push(format!("there is no {word} {name} on the host")),
        Some(link) if !link.is_up => missing.push(format!("{name} is down")),
        Some(_) => {}
    }
    Ok(found)
}

/// What is to be in the container's namespace.
struct Wanted<'a> {
    config: &'a NetworkConfig,
    invocation: &'a Invocation,
    previous: &'a Previous,
    /// Of the interface, in the result of ADD.
    number: usize,
}

impl Wanted<'_> {
    fn missing_inside(&self, host: &Link) -> io::Result<Vec<String>> {
        verbs::open_netns(&self.invocation.netns)?.within(|| self.missing_here(host))
    }

    /// What is missing in this thread's namespace.
    fn missing_here(&self, host: &Link) -> io::Result<Vec<String>> {
        let name = &self.invocation.interface;
        let mut netlink = Netlink::open()?;
        let inside = netlink.link(name)?;
        let is_far_end = |link: &Link| {
            link.interface.peer_ifindex == Some(host.interface.ifindex)
                && host.interface.peer_ifindex == Some(link.interface.ifindex)
        };
        let Some(inside) = inside.filter(is_far_end) else {
            let (netns, host) = (&self.invocation.netns, &host.interface.name);
            return Ok(vec![format!(
                "the far end of {host} is not {name} of {netns}"
            )]);
        };
        let mut missing = Vec::new();
        if !inside.is_up {
            missing.push(format!("{name} is down"));
        }
        let ifindex = inside.interface.ifindex;
        let addresses = link::addresses(&mut netlink, ifindex)?;
        for wanted in self.previous.addresses(self.number) {
            if !addresses.contains(&(wanted.addr(), wanted.prefix_len())) {
                missing.push(format!("{name} has not the address {wanted}"));
            }
        }
        let routes = link::routes(&mut netlink, ifindex)?;
        for wanted in self.routes() {
            if !routes.contains(&wanted) {
                missing.push(format!("{name} has not the route to {wanted}"));
            }
        }
        Ok(missing)
    }

    /// The routes that ADD made. The default route may have been taken over by a plugin
    /// behind in the chain; then it is not in the result.
    fn routes(&self) -> impl Iterator<Item = Route> {
        let gateway = self.config.gateway;
        let default = Some(Route::by_gateway(gateway));
        let default = default.filter(|route| self.previous.has_route(*route));
        std::iter::once(Route::to_gateway(gateway)).chain(default)
    }
}
