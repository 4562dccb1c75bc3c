//! Whether an interface can carry a program, and making it do so: the part that
//! environments and uplinks have in common.

use super::{
    netlink::{Interface, InterfaceKind, Netlink},
    peer::{self, PeerError, PreparedPeer},
    programs::{Hook, Programs, ProgramsError},
};

/// The largest IP MTU of an interface: native XDP keeps a frame in one page, with
/// room before it and the kernel's own after it, and so does the buffer in which
/// a frame is handed to the agent.
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
    /// Somebody else's program.
    #[error(
        "{interface} already runs an XDP program (id {program}) that is not this agent's: remove \
         it with `ip link set dev {interface} xdp off`, or stop what attached it"
    )]
    ForeignProgram {
        /// Its name.
        interface: String,
        /// The program.
        program: u32,
    },
    /// No driver support.
    #[error(
        "{interface} does not support native XDP: use an interface whose driver does (veth, tap, \
         most NICs; not a bridge or VLAN)"
    )]
    NotNative {
        /// Its name.
        interface: String,
    },
    /// Too large an MTU.
    #[error(
        "{interface} has MTU {mtu} and native XDP carries at most {MTU_MAX}: run \
         `ip link set dev {interface} mtu {MTU_MAX}`"
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
         ({source}): set the MTU at both ends to {MTU_MAX} or less"
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

/// What can be said against an interface without touching it.
pub fn check(interface: &Interface, hook: Hook) -> Result<(), PortError> {
    let name = || interface.name.clone();
    if hook == Hook::Environment && interface.kind == InterfaceKind::Other {
        return Err(PortError::WrongKind { interface: name() });
    }
    if let Some(program) = interface.xdp {
        return Err(PortError::ForeignProgram {
            interface: name(),
            program,
        });
    }
    if interface.mtu > MTU_MAX {
        return Err(PortError::MtuTooLarge {
            interface: name(),
            mtu: interface.mtu,
        });
    }
    Ok(())
}

/// Prepares a veth's far end.
pub fn prepare(
    netlink: &mut Netlink,
    interface: &Interface,
    netns: Option<&str>,
) -> Result<Option<PreparedPeer>, PortError> {
    Ok(peer::prepare(netlink, interface, netns)?)
}

/// Attaches a hook's program and says what a refusal means.
pub fn attach(
    programs: &mut Programs,
    hook: Hook,
    index: u32,
    interface: &Interface,
) -> Result<(), PortError> {
    let refused = |error: ProgramsError| {
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
            Some(libc::ENODEV | libc::EINVAL) if interface_is_gone(interface.ifindex) => {
                PortError::NoInterface { interface: name }
            }
            _ => PortError::Attach {
                interface: name,
                source,
            },
        }
    };
    programs
        .attach(hook, index, interface.ifindex)
        .map_err(refused)
}

fn interface_is_gone(ifindex: u32) -> bool {
    super::interface_name(ifindex).is_empty()
}

#[cfg(test)]
mod tests {
    use vpc_common::addr::Mac;

    use super::*;

    fn interface() -> Interface {
        Interface {
            ifindex: 4,
            name: "tap4".to_owned(),
            kind: InterfaceKind::Tap,
            mac: Mac::new([2, 0, 0, 0, 0, 4]),
            mtu: 1_500,
            peer_ifindex: None,
            peer_netns_id: None,
            xdp: None,
        }
    }

    #[test]
    fn every_refusal_names_the_interface_and_the_remedy() {
        let refuse = |change: fn(&mut Interface)| {
            let mut interface = interface();
            change(&mut interface);
            check(&interface, Hook::Environment)
                .expect_err("refused")
                .to_string()
        };
        let sentences = [
            (
                refuse(|i| i.kind = InterfaceKind::Other),
                "attach the host end of a veth pair",
            ),
            (refuse(|i| i.xdp = Some(31)), "(id 31)"),
            (refuse(|i| i.xdp = Some(31)), "ip link set dev tap4 xdp off"),
            (refuse(|i| i.mtu = 9_000), "ip link set dev tap4 mtu 3498"),
        ];
        for (sentence, remedy) in sentences {
            assert!(
                sentence.starts_with("tap4 ") && sentence.contains(remedy),
                "{sentence}"
            );
        }
    }

    #[test]
    fn a_good_interface_is_not_refused() {
        check(&interface(), Hook::Environment).expect("a tap");
        let nic = Interface {
            kind: InterfaceKind::Other,
            ..interface()
        };
        check(&nic, Hook::Uplink).expect("a NIC");
    }
}
