//! What the driver of an interface can do with XDP, by the kernel's own account: the
//! generic netlink family `netdev` (Linux 6.3; Documentation/netlink/specs/netdev.yaml).

use std::io;

use rtnetlink::sys::protocols::NETLINK_GENERIC;

use super::question::{self, Questions, attribute, word};

/// The family that knows the others, and its question for one by name.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// The question about one interface, and the attributes of question and answer.
const DEVICE_GET: u8 = 1;
const DEVICE_IFINDEX: u16 = 1;
const DEVICE_XDP_FEATURES: u16 = 3;
/// Bytes of a generic message's head: command, version, two of padding.
const HEAD: usize = 4;

/// What a driver can do with XDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XdpFeatures(u64);

impl XdpFeatures {
    const BASIC: u64 = 1;
    const REDIRECT: u64 = 2;
    const NDO_XMIT: u64 = 4;

    /// Runs programs natively and redirects what they say.
    #[cfg(test)]
    pub const NATIVE: Self = Self(Self::BASIC | Self::REDIRECT);
    /// Nothing.
    #[cfg(test)]
    pub const NONE: Self = Self(0);

    /// Whether programs run natively and may redirect.
    pub const fn native(self) -> bool {
        self.0 & (Self::BASIC | Self::REDIRECT) == Self::BASIC | Self::REDIRECT
    }

    /// Whether frames that are redirected into it leave it. Many drivers say so only
    /// while a program of their own runs; a veth, while its far end is ready.
    pub const fn takes_redirected(self) -> bool {
        self.0 & Self::NDO_XMIT != 0
    }
}

/// Asks for features, in the namespace of the thread that opened it.
pub struct FeatureQuestions {
    questions: Questions,
    family: u16,
}

impl FeatureQuestions {
    /// Opens a socket; `None` if the kernel does not know the question.
    pub fn open() -> io::Result<Option<Self>> {
        let mut questions = Questions::open(NETLINK_GENERIC)?;
        let name = attribute(FAMILY_NAME, b"netdev\0");
        let answers = match questions.ask(CONTROL, 0, &generic(GET_FAMILY, &name)) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            other => other?,
        };
        let id = answers.first().and_then(|answer| {
            let id = question::find(answer.get(HEAD..)?, FAMILY_ID)?;
            Some(u16::from_ne_bytes(id.try_into().ok()?))
        });
        Ok(id.map(|family| Self { questions, family }))
    }

    /// The features of an interface; `None` if the kernel does not tell.
    pub fn of(&mut self, ifindex: u32) -> Option<XdpFeatures> {
        let interface = attribute(DEVICE_IFINDEX, &ifindex.to_ne_bytes());
        let question = generic(DEVICE_GET, &interface);
        let answers = self.questions.ask(self.family, 0, &question).ok()?;
        let attributes = answers.first()?.get(HEAD..)?;
        let value = question::find(attributes, DEVICE_XDP_FEATURES)?;
        let (low, high) = (word(value, 0)?, word(value, 4)?);
        Some(XdpFeatures(u64::from(low) | u64::from(high) << 32))
    }
}

fn generic(command: u8, attributes: &[u8]) -> Vec<u8> {
    let mut bytes = vec![command, 1, 0, 0];
    bytes.extend_from_slice(attributes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_no_native_xdp() {
        // Before Linux 6.3 there is nobody to ask.
        if let Some(mut questions) = FeatureQuestions::open().expect("a netlink socket") {
            let features = questions.of(1).expect("every namespace has it");
            assert!(!features.native());
            assert_eq!(questions.of(u32::MAX / 2), None);
        }
    }
}
