//! Whether an interface can carry a program, and making it do so: the part that
//! environments and uplinks have in common.

use super::{
    cause::Cause,
    netlink::{Interface, InterfaceKind, Netlink},
    peer::PeerError,
    programs::{LinkKind, Programs, ProgramsError},
};
use crate::model::Hook;

/// The largest IP MTU of an interface whose hook is XDP: native XDP keeps a frame in
/// one page, with room before it and the kernel's own after it, and so does the buffer
/// in which a frame is handed to the agent.
pub const MTU_MAX: u32 = 3_498;

const _: () = assert!(MTU_MAX as usize + 14 <= vpc_common::layout::PUNT_FRAME);

/// Why an interface cannot carry a program.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// No such interface.
    #[error("there is no interface {interface}: create it first, or correct the name")]
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// The interfaces cannot be asked for.
    #[error("the interface {interface} cannot be looked up ({source}): run the agent as root")]
    Netlink {
        /// Its name.
        interface: String,
        /// Why.
        source: std::io::Error,
    },
    /// Neither veth nor tap.
    #[error(
        "{interface} is neither a veth nor a tap: attach the host end of a veth pair, or the \
         microVM's tap"
    )]
    WrongKind {
        /// Its name.
        interface: String,
    },
    /// No Ethernet.
    #[error(
        "{interface} carries no Ethernet frames: name an interface that does (a NIC, a VLAN, a \
         bridge, a VXLAN, a veth)"
    )]
    NotEthernet {
        /// Its name.
        interface: String,
    },
    /// Somebody else's program.
    #[error(
        "{interface} already runs an XDP program (id {program}) that is not this agent's: remove \
         it with `ip link set dev {interface} xdp off`, or ask for the hook tc, which lies behind it"
    )]
    ForeignProgram {
        /// Its name.
        interface: String,
        /// The program.
        program: u32,
    },
    /// Another agent's program.
    #[error(
        "{interface} already carries the TC program of another agent: detach it there first (where \
         no other agent runs, `tc filter del dev {interface} ingress prio 1` removes what one left), \
         or name another interface"
    )]
    OtherAgent {
        /// Its name.
        interface: String,
    },
    /// Somebody else's filter.
    #[error(
        "{interface} has a filter of another kind at priority 1, where the agent's must be: remove \
         it with `tc filter del dev {interface} ingress prio 1`"
    )]
    ForeignFilter {
        /// Its name.
        interface: String,
    },
    /// No TCX.
    #[error(
        "no TCX link can be made on {interface}, because this kernel has none: set `tc` to \"auto\" \
         or \"filter\", or run Linux 6.6 or later"
    )]
    NoTcx {
        /// Its name.
        interface: String,
    },
    /// No driver support.
    #[error(
        "{interface} does not support native XDP: ask for the hook tc, or use an interface whose \
         driver does (veth, tap, most NICs; not a bridge or VLAN)"
    )]
    NotNative {
        /// Its name.
        interface: String,
    },
    /// Frames that are redirected into it are lost.
    #[error(
        "the driver of {interface} does not take redirected frames: ask for the hook tc, or look \
         whether it needs more queues (`ethtool -L {interface}`)"
    )]
    NoRedirect {
        /// Its name.
        interface: String,
    },
    /// Too large an MTU.
    #[error(
        "{interface} has MTU {mtu} and native XDP carries at most {MTU_MAX}: run \
         `ip link set dev {interface} mtu {MTU_MAX}`, or ask for the hook tc"
    )]
    MtuTooLarge {
        /// Its name.
        interface: String,
        /// Its MTU.
        mtu: u32,
    },
    /// Too large an MTU, or too many queues, at the other end.
    #[error(
        "the far end of {interface} has an MTU or a receive path that native XDP cannot serve \
         ({source}): set the MTU at both ends to {MTU_MAX} or less, or ask for the hook tc"
    )]
    FarEnd {
        /// Its name.
        interface: String,
        /// Why.
        source: Box<ProgramsError>,
    },
    /// The far end is not ready for redirected frames.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// What is to be done to the far end could not be given back after a crash.
    #[error(
        "what is to be done to the far end of {interface} cannot be noted ({}): try again, or ask \
         for the hook tc", Cause(.source)
    )]
    Note {
        /// Its name.
        interface: String,
        /// Why.
        source: aya::maps::MapError,
    },
    /// What runs on it could not outlive the agent.
    #[error(
        "no program can be attached to {interface}, because it cannot be pinned ({source}): the \
         agent's BPF filesystem was unmounted or its folder removed; mount it again and restart \
         the agent"
    )]
    NoPins {
        /// Its name.
        interface: String,
        /// Why.
        source: Box<ProgramsError>,
    },
    /// Any other refusal.
    #[error(
        "no program can be attached to {interface} ({source}): see the kernel log for the driver's \
         reason"
    )]
    Attach {
        /// Its name.
        interface: String,
        /// Why.
        source: Box<ProgramsError>,
    },
}

/// The interface of a name.
pub fn find(netlink: &mut Netlink, interface: &str) -> Result<Interface, PortError> {
    match netlink.by_name(interface) {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(PortError::NoInterface {
            interface: interface.to_owned(),
        }),
        Err(source) => Err(PortError::Netlink {
            interface: interface.to_owned(),
            source,
        }),
    }
}

/// The interface of a number, which was called `name` when it was attached.
pub fn at(netlink: &mut Netlink, ifindex: u32, name: &str) -> Result<Interface, PortError> {
    let interface = || name.to_owned();
    match netlink.by_index(ifindex) {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(PortError::NoInterface {
            interface: interface(),
        }),
        Err(source) => Err(PortError::Netlink {
            interface: interface(),
            source,
        }),
    }
}

/// Whether it is of a kind that a link can be, whatever the hook.
pub fn check(interface: &Interface, kind: LinkKind) -> Result<(), PortError> {
    let name = interface.name.clone();
    match (kind, interface.kind) {
        (_, InterfaceKind::Veth | InterfaceKind::Tap) => Ok(()),
        (LinkKind::Environment, _) => Err(PortError::WrongKind { interface: name }),
        (LinkKind::Uplink, InterfaceKind::NotEthernet) => {
            Err(PortError::NotEthernet { interface: name })
        }
        (LinkKind::Uplink, InterfaceKind::Nic | InterfaceKind::Virtual) => Ok(()),
    }
}

/// Attaches the program of a hook and says what a refusal means.
pub fn attach(
    programs: &mut Programs,
    kind: LinkKind,
    index: u32,
    hook: Hook,
    interface: &Interface,
) -> Result<(), PortError> {
    programs
        .attach(kind, index, hook, interface.ifindex)
        .map_err(|error| match hook {
            Hook::Xdp => xdp_refusal(interface, error),
            Hook::Tc => tc_refusal(interface, error),
        })
}

fn xdp_refusal(interface: &Interface, error: ProgramsError) -> PortError {
    let (name, errno) = (interface.name.clone(), error.errno());
    let source = Box::new(error);
    match errno {
        Some(libc::EBUSY | libc::EEXIST) => PortError::ForeignProgram {
            interface: name,
            program: 0,
        },
        Some(libc::EOPNOTSUPP) => PortError::NotNative { interface: name },
        Some(libc::ERANGE | libc::ENOSPC) => PortError::FarEnd {
            interface: name,
            source,
        },
        _ => refusal(interface, errno, source),
    }
}

fn tc_refusal(interface: &Interface, error: ProgramsError) -> PortError {
    let interface_name = interface.name.clone();
    match error {
        ProgramsError::OtherAgent => PortError::OtherAgent {
            interface: interface_name,
        },
        ProgramsError::ForeignFilter => PortError::ForeignFilter {
            interface: interface_name,
        },
        ProgramsError::NoTcx => PortError::NoTcx {
            interface: interface_name,
        },
        other => refusal(interface, other.errno(), Box::new(other)),
    }
}

fn refusal(interface: &Interface, errno: Option<i32>, source: Box<ProgramsError>) -> PortError {
    let name = interface.name.clone();
    match errno {
        Some(libc::ENODEV | libc::EINVAL) if interface_is_gone(interface.ifindex) => {
            PortError::NoInterface { interface: name }
        }
        _ if matches!(*source, ProgramsError::Pin { .. }) => PortError::NoPins {
            interface: name,
            source,
        },
        _ => PortError::Attach {
            interface: name,
            source,
        },
    }
}

fn interface_is_gone(ifindex: u32) -> bool {
    super::interface_name(ifindex).is_empty()
}

#[cfg(test)]
mod tests {
    use vpc_common::addr::Mac;

    use super::*;

    fn interface(kind: InterfaceKind) -> Interface {
        Interface {
            ifindex: 4,
            name: "if4".to_owned(),
            kind,
            mac: Mac::new([2, 0, 0, 0, 0, 4]),
            mtu: 1_500,
            peer_ifindex: None,
            peer_netns_id: None,
            xdp: None,
            xdp_features: None,
        }
    }

    #[test]
    fn environments_are_veths_and_taps_and_uplinks_any_ethernet() {
        use InterfaceKind::{Nic, NotEthernet, Tap, Veth, Virtual};
        let refusal = |kind, of| check(&interface(kind), of).err().map(|e| e.to_string());
        for kind in [Veth, Tap] {
            assert_eq!(refusal(kind, LinkKind::Environment), None);
            assert_eq!(refusal(kind, LinkKind::Uplink), None);
        }
        for kind in [Nic, Virtual] {
            let sentence = refusal(kind, LinkKind::Environment).expect("refused");
            assert!(
                sentence.contains("attach the host end of a veth pair"),
                "{sentence}"
            );
            assert_eq!(refusal(kind, LinkKind::Uplink), None);
        }
        let sentence = refusal(NotEthernet, LinkKind::Uplink).expect("refused");
        assert!(
            sentence.starts_with("if4 carries no Ethernet frames: "),
            "{sentence}"
        );
    }

    #[test]
    fn every_refusal_names_the_interface_and_the_remedy() {
        let interface = || "if4".to_owned();
        let sentences = [
            (
                PortError::ForeignProgram {
                    interface: interface(),
                    program: 31,
                },
                "`ip link set dev if4 xdp off`",
            ),
            (
                PortError::MtuTooLarge {
                    interface: interface(),
                    mtu: 9_000,
                },
                "`ip link set dev if4 mtu 3498`, or ask for the hook tc",
            ),
            (
                PortError::NotNative {
                    interface: interface(),
                },
                "ask for the hook tc",
            ),
            (
                PortError::NoTcx {
                    interface: interface(),
                },
                "set `tc` to \"auto\"",
            ),
        ];
        for (error, remedy) in sentences {
            let sentence = error.to_string();
            assert!(
                sentence.contains("if4") && sentence.contains(remedy),
                "{sentence}"
            );
        }
    }
}
