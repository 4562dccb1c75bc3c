//! ADD and DEL.

use std::{io, os::fd::AsFd as _};

use serde_json::Value;

use super::{
    Attachment, CniError, Code, Device, Invocation, NetworkConfig, agent, link,
    result::{self, End},
    tap,
};
use crate::{
    dataplane::{
        netlink::{Interface, InterfaceKind, Netlink},
        netns::Netns,
    },
    model::FunctionAttachRequest,
};

/// Makes a link and attaches it, or leaves nothing behind.
pub(super) fn add(config: &NetworkConfig, invocation: &Invocation) -> Result<Value, CniError> {
    let (function, account) = config.function(invocation)?;
    let attachment = attachment(config, invocation)?;
    let made = match config.device {
        Device::Veth => make_veth(config, invocation, &attachment),
        Device::Tap => make_tap(config, invocation, &attachment),
    };
    let (host, inside) = made.map_err(|error| not_made(&attachment, invocation, &error))?;
    let request = FunctionAttachRequest {
        name: attachment.environment.clone(),
        function,
        account,
        interface: attachment.link.clone(),
        address: config.address,
        gateway: config.gateway,
        zone: config.zone.clone(),
        mac: None,
        netns: (config.device == Device::Veth).then(|| invocation.netns.clone()),
        hook: config.hook,
        flow_quota: config.flow_quota,
        flow_rate: config.flow_rate,
        flow_burst: config.flow_burst,
    };
    // Before the agent is asked: what comes after that would have to be undone there.
    let document = result::document(config, &host, &inside);
    let attached = document.and_then(|document| {
        agent::attach(&config.socket, request)?;
        Ok(document)
    });
    if attached.is_err() {
        take_back(&attachment.link);
    }
    attached
}

/// Detaches and removes what ADD made, as far as it is there.
pub(super) fn del(config: &NetworkConfig, invocation: &Invocation) -> Result<(), CniError> {
    release(config, &attachment(config, invocation)?)
}

/// Detaches an environment and removes its link, even if the one fails the other.
pub(super) fn release(config: &NetworkConfig, attachment: &Attachment) -> Result<(), CniError> {
    let detached = agent::detach(&config.socket, attachment);
    let removed = remove(&attachment.link).map_err(|error| {
        let link = &attachment.link;
        let message = format!("the interface {link} cannot be removed ({error}): see `ip link`");
        CniError::new(Code::Left, message)
    });
    detached.and(removed)
}

/// What the container's interface is called.
pub(super) fn attachment(
    config: &NetworkConfig,
    invocation: &Invocation,
) -> Result<Attachment, CniError> {
    let attachment = config
        .network
        .attachment(&invocation.container, &invocation.interface);
    attachment.map_err(|error| CniError::new(Code::Variables, error.to_string()))
}

fn make_veth(
    config: &NetworkConfig,
    invocation: &Invocation,
    attachment: &Attachment,
) -> io::Result<(End, End)> {
    let netns = open_netns(&invocation.netns)?;
    let mut netlink = Netlink::open()?;
    let far = (invocation.interface.as_str(), netns.as_fd());
    link::make_veth(&mut netlink, &attachment.link, far, config.mtu)?;
    let mut set_up = || {
        let alias = Some(attachment.environment.as_str());
        let host = set_up(&mut netlink, &attachment.link, alias, None)?;
        let inside = netns.within(|| {
            let mut netlink = Netlink::open()?;
            let inside = set_up(&mut netlink, &invocation.interface, None, None)?;
            link::configure(&mut netlink, inside.ifindex, config.address, config.gateway)?;
            Ok(inside)
        })?;
        Ok((end(&host, None), end(&inside, Some(&invocation.netns))))
    };
    set_up().inspect_err(|_| take_back(&attachment.link))
}

/// The guest's interface is reported as the runtime calls it; its monitor makes it.
fn make_tap(
    config: &NetworkConfig,
    invocation: &Invocation,
    attachment: &Attachment,
) -> io::Result<(End, End)> {
    tap::make(&attachment.link, config.owner)?;
    let set_up = || {
        let mut netlink = Netlink::open()?;
        let alias = Some(attachment.environment.as_str());
        let host = end(
            &set_up(&mut netlink, &attachment.link, alias, config.mtu)?,
            None,
        );
        let inside = End {
            name: invocation.interface.clone(),
            mac: None,
            mtu: host.mtu,
            sandbox: Some(invocation.container.clone()),
        };
        Ok((host, inside))
    };
    set_up().inspect_err(|_| take_back(&attachment.link))
}

/// Opens the container's namespace, which is another than the host's: a link of which
/// both ends are the host's would be no container's.
pub(super) fn open_netns(path: &str) -> io::Result<Netns> {
    let netns = Netns::open(path)?;
    if netns.inode()? == Netns::open("/proc/thread-self/ns/net")?.inode()? {
        return Err(io::Error::other(format!(
            "{path} is the host's own namespace"
        )));
    }
    Ok(netns)
}

fn set_up(
    netlink: &mut Netlink,
    name: &str,
    alias: Option<&str>,
    mtu: Option<u32>,
) -> io::Result<Interface> {
    let gone = || io::Error::from_raw_os_error(libc::ENODEV);
    let ifindex = netlink.link(name)?.ok_or_else(gone)?.interface.ifindex;
    link::set_up(netlink, ifindex, alias, mtu)?;
    Ok(netlink.link(name)?.ok_or_else(gone)?.interface)
}

fn end(interface: &Interface, sandbox: Option<&str>) -> End {
    End {
        name: interface.name.clone(),
        mac: Some(interface.mac),
        mtu: interface.mtu,
        sandbox: sandbox.map(str::to_owned),
    }
}

fn not_made(attachment: &Attachment, invocation: &Invocation, error: &io::Error) -> CniError {
    let (link, netns, interface) = (&attachment.link, &invocation.netns, &invocation.interface);
    let message = format!(
        "{interface} in {netns} cannot be made, with {link} on the host ({error}): see whether \
         one of them is there already, and whether this runs as root"
    );
    CniError::new(Code::Link, message)
}

/// Removes a link after something failed, which is what is told.
fn take_back(link: &str) {
    if let Err(error) = remove(link) {
        eprintln!("the interface {link} stays behind: {error}");
    }
}

/// Removes a link of ours, if it is there. An interface of another kind that has its name
/// is somebody else's.
fn remove(name: &str) -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    match netlink.link(name)? {
        Some(found)
            if matches!(
                found.interface.kind,
                InterfaceKind::Veth | InterfaceKind::Tap
            ) =>
        {
            link::remove(&mut netlink, found.interface.ifindex)
        }
        _ => Ok(()),
    }
}
