//! What an attachment is called. Names follow from the network's name, the container's id
//! and the interface's name alone, so that a plugin without a memory finds again what it
//! made; and that of an environment tells its network, so that GC finds all of one.

use crate::model::{NameError, ObjectName};

/// Hexadecimal digits that a name has of a hash.
const DIGITS: usize = 12;

/// A network, by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    name: String,
    prefix: String,
}

impl Network {
    /// From its name.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            prefix: format!("cni-{}-", digest(&[name])),
        }
    }

    /// Whether an environment is one of this network's, by its name.
    pub fn has(&self, environment: &str) -> bool {
        environment.starts_with(&self.prefix)
    }

    /// The attachment of a container's interface.
    pub fn attachment(&self, container: &str, interface: &str) -> Result<Attachment, NameError> {
        let digest = digest(&[&self.name, container, interface]);
        Ok(Attachment {
            environment: ObjectName::new(format!("{}{digest}", self.prefix))?,
            link: format!("vpc{digest}"),
        })
    }

    /// That of an environment of this network.
    pub fn attachment_of(&self, environment: &str) -> Option<Attachment> {
        let digest = environment.strip_prefix(&self.prefix)?;
        Some(Attachment {
            environment: ObjectName::new(environment).ok()?,
            link: format!("vpc{digest}"),
        })
    }
}

/// A container's interface in a network, as host and agent know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// `cni-<network>-<attachment>`: the environment, and the alias of the link.
    pub environment: ObjectName,
    /// `vpc<attachment>`: the host's end of the veth, or the tap. 15 characters, the most
    /// that an interface can have.
    pub link: String,
}

/// Twelve hexadecimal digits of texts that hold no zero byte: FNV-1a, folded. The same in
/// every release.
fn digest(texts: &[&str]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for text in texts {
        for byte in text.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    let bits = 4 * DIGITS;
    let folded = (hash >> bits ^ hash) & ((1 << bits) - 1);
    format!("{folded:0DIGITS$x}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::config::is_interface_name;

    #[test]
    fn names_are_the_same_in_every_release() {
        let one = Network::new("vpc")
            .attachment("4f3a", "eth0")
            .expect("names");
        assert_eq!(one.environment.as_str(), "cni-3e014201312a-d2ffdaeccb3f");
        assert_eq!(one.link, "vpcd2ffdaeccb3f");
    }

    #[test]
    fn a_hundred_thousand_containers_have_a_hundred_thousand_names() {
        let network = Network::new("vpc");
        let mut links = HashSet::new();
        for number in 0..50_000 {
            for interface in ["eth0", "eth1"] {
                let id = format!("{number:064x}");
                links.insert(network.attachment(&id, interface).expect("names").link);
            }
        }
        assert_eq!(links.len(), 100_000);
    }

    proptest! {
        #[test]
        fn names_are_valid_and_tell_their_network(
            name in "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,200}",
            container in "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,200}",
            interface in "[!-.0-9;-~]{1,15}",
        ) {
            let network = Network::new(&name);
            let one = network.attachment(&container, &interface).expect("names");
            prop_assert!(is_interface_name(&one.link));
            prop_assert!(network.has(one.environment.as_str()));
            prop_assert_eq!(network.attachment_of(one.environment.as_str()), Some(one.clone()));
            prop_assert_eq!(network.attachment(&container, &interface).ok(), Some(one));
        }

        #[test]
        fn different_attachments_have_different_names(
            one in ("[a-c0-9]{1,3}", "[a-c0-9]{1,4}", "[a-c0-9]{1,3}"),
            other in ("[a-c0-9]{1,3}", "[a-c0-9]{1,4}", "[a-c0-9]{1,3}"),
        ) {
            let names = |(network, container, interface): &(String, String, String)| {
                Network::new(network).attachment(container, interface).expect("names")
            };
            prop_assert_eq!(one == other, names(&one).link == names(&other).link);
            let [first, second] = [&one, &other].map(|one| names(one).environment);
            prop_assert_eq!(one == other, first == second);
            prop_assert_eq!(one.0 == other.0, Network::new(&one.0).has(second.as_str()));
        }
    }
}
