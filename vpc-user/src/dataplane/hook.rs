//! Which hook a link gets: what was asked for, or, if that is left to the agent,
//! by what the interface can do. Pure; `docs/configuration.md` has the same rules
//! as a table, with the measurements they rest on.

use std::fmt;

use vpc_common::layout::{Environment, Uplink};

use super::{
    netlink::{Interface, InterfaceKind},
    port::{MTU_MAX, PortError},
};
use crate::model::{Hook, HookWish};

/// A hook, and why it is that one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The hook.
    pub hook: Hook,
    /// Why.
    pub why: Why,
}

/// Why a link has the hook it has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// It is what was asked for.
    Asked,
    /// A veth or tap carries whole segments and half-made checksums.
    Segments(&'static str),
    /// An interface made of others.
    Virtual,
    /// A NIC whose driver runs programs and takes redirected frames.
    Native,
    /// A NIC whose driver runs none.
    NotNative,
    /// A NIC of which this kernel does not say what it can.
    NotTold,
    /// Its frames may be larger than a page.
    Mtu(u32),
    /// Somebody else's XDP program is on it.
    Foreign,
    /// XDP was tried, and refused for this reason.
    Refused(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("asked for"),
            Self::Segments(what) => write!(
                f,
                "a {what} hands over whole segments, which XDP would have it cut first"
            ),
            Self::Virtual => f.write_str("an interface made of others has no native XDP"),
            Self::Native => f.write_str(
                "a NIC whose driver has native XDP drops and forwards there at least cost",
            ),
            Self::NotNative => f.write_str("the NIC's driver has no native XDP with redirection"),
            Self::NotTold => {
                f.write_str("this kernel does not tell whether the NIC's driver has native XDP")
            }
            Self::Mtu(mtu) => write!(f, "native XDP carries an MTU of {MTU_MAX}, not {mtu}"),
            Self::Foreign => f.write_str("another XDP program is on the interface"),
            Self::Refused(sentence) => write!(f, "XDP was tried and refused: {sentence}"),
        }
    }
}

/// The flags by which an environment's entry keeps what was asked for.
pub const fn environment_flags(wish: HookWish) -> u16 {
    match wish {
        HookWish::Auto => 0,
        HookWish::Xdp => Environment::WANTS_XDP,
        HookWish::Tc => Environment::WANTS_TC,
    }
}

/// The inverse of [`environment_flags`]; other flags are left aside.
pub const fn environment_wish(flags: u16) -> HookWish {
    if flags & Environment::WANTS_XDP != 0 {
        HookWish::Xdp
    } else if flags & Environment::WANTS_TC != 0 {
        HookWish::Tc
    } else {
        HookWish::Auto
    }
}

/// As [`environment_flags`], of an uplink.
pub const fn uplink_flags(wish: HookWish) -> u16 {
    match wish {
        HookWish::Auto => 0,
        HookWish::Xdp => Uplink::WANTS_XDP,
        HookWish::Tc => Uplink::WANTS_TC,
    }
}

/// As [`environment_wish`], of an uplink.
pub const fn uplink_wish(flags: u16) -> HookWish {
    if flags & Uplink::WANTS_XDP != 0 {
        HookWish::Xdp
    } else if flags & Uplink::WANTS_TC != 0 {
        HookWish::Tc
    } else {
        HookWish::Auto
    }
}

/// What is known of an interface besides its own description.
#[derive(Clone, Copy, Default, Debug)]
pub struct Known<'a> {
    /// The XDP program on it is this agent's.
    pub ours: bool,
    /// Why XDP was refused when it was tried.
    pub refused: Option<&'a str>,
}

/// The hook of a link. A refusal only of what was asked for by name: left to the
/// agent, there is always one.
pub fn choose(
    wish: HookWish,
    interface: &Interface,
    known: Known<'_>,
) -> Result<Choice, PortError> {
    let choice = |hook, why| Ok(Choice { hook, why });
    match wish {
        HookWish::Tc => choice(Hook::Tc, Why::Asked),
        HookWish::Xdp => {
            check_xdp(interface, known.ours)?;
            choice(Hook::Xdp, Why::Asked)
        }
        HookWish::Auto => match against_xdp(interface, known) {
            Some(why) => choice(Hook::Tc, why),
            None => choice(Hook::Xdp, Why::Native),
        },
    }
}

/// What speaks against XDP where the agent may choose.
fn against_xdp(interface: &Interface, known: Known<'_>) -> Option<Why> {
    let native = interface.xdp_features.map(|features| features.native());
    match interface.kind {
        InterfaceKind::Veth => Some(Why::Segments("veth")),
        InterfaceKind::Tap => Some(Why::Segments("tap")),
        InterfaceKind::Virtual | InterfaceKind::NotEthernet => Some(Why::Virtual),
        InterfaceKind::Nic => match native {
            None => Some(Why::NotTold),
            Some(false) => Some(Why::NotNative),
            Some(true) if interface.mtu > MTU_MAX => Some(Why::Mtu(interface.mtu)),
            Some(true) if interface.xdp.is_some() && !known.ours => Some(Why::Foreign),
            Some(true) => known
                .refused
                .map(|sentence| Why::Refused(sentence.to_owned())),
        },
    }
}

/// What can be said against XDP on an interface without touching it.
fn check_xdp(interface: &Interface, ours: bool) -> Result<(), PortError> {
    let name = || interface.name.clone();
    if let Some(program) = interface.xdp.filter(|_| !ours) {
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
    // A kernel that does not tell leaves it to the driver.
    match interface.xdp_features {
        Some(features) if !features.native() => Err(PortError::NotNative { interface: name() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use vpc_common::addr::Mac;

    use super::*;
    use crate::dataplane::features::XdpFeatures;

    fn interface(kind: InterfaceKind, xdp_features: Option<XdpFeatures>) -> Interface {
        Interface {
            ifindex: 4,
            name: "if4".to_owned(),
            kind,
            mac: Mac::new([2, 0, 0, 0, 0, 4]),
            mtu: 1_500,
            peer_ifindex: None,
            peer_netns_id: None,
            xdp: None,
            xdp_features,
        }
    }

    fn auto(interface: &Interface, known: Known<'_>) -> Choice {
        choose(HookWish::Auto, interface, known).expect("auto is never refused")
    }

    #[test]
    fn the_agent_chooses_xdp_for_a_nic_that_can_and_for_nothing_else() {
        use InterfaceKind::{Nic, NotEthernet, Tap, Veth, Virtual};
        let native = Some(XdpFeatures::NATIVE);
        let cases = [
            (Veth, native, Hook::Tc, Why::Segments("veth")),
            (Tap, native, Hook::Tc, Why::Segments("tap")),
            (Virtual, native, Hook::Tc, Why::Virtual),
            (NotEthernet, None, Hook::Tc, Why::Virtual),
            (Nic, native, Hook::Xdp, Why::Native),
            (Nic, Some(XdpFeatures::NONE), Hook::Tc, Why::NotNative),
            (Nic, None, Hook::Tc, Why::NotTold),
        ];
        for (kind, features, hook, why) in cases {
            let choice = auto(&interface(kind, features), Known::default());
            assert_eq!(choice, Choice { hook, why }, "{kind:?} {features:?}");
        }
    }

    #[test]
    fn what_is_on_a_nic_may_speak_against_it() {
        let nic = interface(InterfaceKind::Nic, Some(XdpFeatures::NATIVE));
        let jumbo = Interface {
            mtu: 9_000,
            ..nic.clone()
        };
        assert_eq!(auto(&jumbo, Known::default()).why, Why::Mtu(9_000));
        let taken = Interface {
            xdp: Some(31),
            ..nic.clone()
        };
        assert_eq!(auto(&taken, Known::default()).why, Why::Foreign);
        let ours = Known {
            ours: true,
            ..Known::default()
        };
        assert_eq!(auto(&taken, ours).hook, Hook::Xdp);
        let refused = Known {
            refused: Some("too many queues"),
            ..Known::default()
        };
        assert_eq!(auto(&nic, refused).hook, Hook::Tc);
    }

    #[test]
    fn what_was_asked_for_survives_in_the_flags() {
        for wish in [HookWish::Auto, HookWish::Xdp, HookWish::Tc] {
            let flags = environment_flags(wish) | Environment::XDP | Environment::PEER;
            assert_eq!(environment_wish(flags), wish);
            let flags = uplink_flags(wish) | Uplink::XDP | Uplink::SHARED;
            assert_eq!(uplink_wish(flags), wish);
        }
    }

    #[test]
    fn what_is_asked_for_by_name_is_done_or_refused() {
        let tap = interface(InterfaceKind::Tap, Some(XdpFeatures::NATIVE));
        let xdp = |interface: &Interface| choose(HookWish::Xdp, interface, Known::default());
        assert_eq!(xdp(&tap).expect("it can").hook, Hook::Xdp);
        let unknown = interface(InterfaceKind::Tap, None);
        assert_eq!(xdp(&unknown).expect("the driver decides").hook, Hook::Xdp);
        let jumbo = Interface { mtu: 9_000, ..tap };
        let refusals = [
            (xdp(&jumbo), "if4 has MTU 9000"),
            (
                xdp(&interface(InterfaceKind::Virtual, Some(XdpFeatures::NONE))),
                "if4 does not support native XDP",
            ),
        ];
        for (refusal, sentence) in refusals {
            let text = refusal.expect_err("refused").to_string();
            assert!(text.starts_with(sentence), "{text}");
        }
        let tc = choose(HookWish::Tc, &jumbo, Known::default());
        assert_eq!(tc.expect("TC takes any").why, Why::Asked);
    }
}
