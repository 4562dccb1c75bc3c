//! One row of the state: a resource of some kind.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Account, resource::*};

macro_rules! records {
    ($($(#[$doc:meta])* $kind:ident = $word:literal,)+) => {
        /// The kinds of resources.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Kind {
            $($(#[$doc])* $kind,)+
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// The word of the command line and of the store.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$kind => $word,)+ }
            }

            /// The kind of a word.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$kind),)+ _ => None }
            }
        }

        /// A resource of any kind.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(tag = "Kind", rename_all = "kebab-case")]
        pub enum Record {
            $($(#[$doc])* $kind($kind),)+
        }

        impl Record {
            fn resource(&self) -> &dyn Resource {
                match self { $(Self::$kind(resource) => resource,)+ }
            }

            /// What identifies it.
            pub fn key(&self) -> Key {
                let kind = match self { $(Self::$kind(_) => Kind::$kind,)+ };
                Key::new(kind, self.resource().id())
            }

            /// A record from its kind and JSON.
            pub fn decode(kind: Kind, json: &[u8]) -> serde_json::Result<Self> {
                Ok(match kind {
                    $(Kind::$kind => Self::$kind(serde_json::from_slice(json)?),)+
                })
            }

            /// Its JSON, without the kind.
            pub fn encode(&self) -> serde_json::Result<Vec<u8>> {
                match self { $(Self::$kind(resource) => serde_json::to_vec(resource),)+ }
            }

            /// As a JSON value, without the kind.
            pub fn to_value(&self) -> serde_json::Result<serde_json::Value> {
                match self { $(Self::$kind(resource) => serde_json::to_value(resource),)+ }
            }
        }

        $(
            impl Typed for $kind {
                const KIND: Kind = Kind::$kind;
                fn of(record: &Record) -> Option<&Self> {
                    match record { Record::$kind(resource) => Some(resource), _ => None }
                }
            }

            impl From<$kind> for Record {
                fn from(resource: $kind) -> Self {
                    Self::$kind(resource)
                }
            }
        )+
    };
}

records! {
    /// A VPC.
    Vpc = "vpc",
    /// A subnet.
    Subnet = "subnet",
    /// A security group.
    SecurityGroup = "security-group",
    /// A network ACL.
    NetworkAcl = "network-acl",
    /// A route table.
    RouteTable = "route-table",
    /// A managed prefix list.
    PrefixList = "prefix-list",
    /// An internet gateway.
    InternetGateway = "internet-gateway",
    /// An elastic address.
    Address = "address",
    /// A NAT gateway.
    NatGateway = "nat-gateway",
    /// A VPC endpoint.
    Endpoint = "endpoint",
    /// A peering connection.
    Peering = "peering",
    /// A set of DHCP options.
    DhcpOptions = "dhcp-options",
    /// A network interface, Hyperplane ENIs among them.
    Interface = "interface",
    /// A flow log.
    FlowLog = "flow-log",
    /// The Hyperplane ENIs of one (account, subnet, security-group set).
    EniGroup = "eni-group",
    /// A function's version, `$LATEST` among them.
    Function = "function",
    /// An alias of a function.
    Alias = "alias",
    /// An IAM role.
    Role = "role",
    /// An execution environment.
    Environment = "environment",
}

/// A resource, as the state and the store see it.
pub trait Resource {
    /// Its id, unique in its kind.
    fn id(&self) -> String;

    /// Whose it is.
    fn account(&self) -> Account;

    /// What it refers to: none of these may be removed while it is there.
    fn references(&self) -> Vec<Key>;
}

/// A [`Resource`] of a kind that is known.
pub trait Typed: Resource + Clone + Serialize + DeserializeOwned + 'static {
    /// The kind.
    const KIND: Kind;
    /// The resource in a record of that kind.
    fn of(record: &Record) -> Option<&Self>;
}

impl Record {
    /// Whose it is.
    pub fn account(&self) -> Account {
        self.resource().account()
    }

    /// What it refers to.
    pub fn references(&self) -> Vec<Key> {
        self.resource().references()
    }
}

/// What identifies a resource.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its id in that kind.
    pub id: String,
}

impl Key {
    /// A key.
    pub fn new(kind: Kind, id: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
        }
    }

    /// The key of a typed resource.
    pub fn of<T: Typed>(id: impl Into<String>) -> Self {
        Self::new(T::KIND, id)
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.word(), self.id)
    }
}

impl Kind {
    /// What packets notice of it, in one sentence.
    pub const fn effect(self) -> &'static str {
        match self {
            Self::Vpc => "Its addresses, on one uplink of this host.",
            Self::Subnet => "Where ENIs have their addresses; its router, ACL and route table.",
            Self::SecurityGroup => "Egress rules; ingress rules have nothing to decide.",
            Self::NetworkAcl => "Both ways.",
            Self::RouteTable => {
                "Local routes, interfaces and peering connections; other targets are blackholes."
            }
            Self::PrefixList => "In rules and routes.",
            Self::Peering => "Out by the other VPC's uplink, once it is active.",
            Self::Interface => {
                "Hyperplane ENIs; others as members of groups and targets of routes."
            }
            Self::EniGroup => "What environments are bound to. Ours: AWS has no name for it.",
            Self::Function => "Which ENIs its environments leave by.",
            Self::Alias => "Which version an environment runs.",
            Self::Role => "Whether ENIs may be made and deleted for a function.",
            Self::Environment => "Everything: it is where packets come from. Ours.",
            Self::InternetGateway
            | Self::Address
            | Self::NatGateway
            | Self::Endpoint
            | Self::DhcpOptions => "**Nothing yet.**",
            Self::FlowLog => {
                "Records of its VPC, subnet or interface: [flow-logs.md](flow-logs.md)."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "<!-- begin of the table of kinds -->\n";
    const END: &str = "<!-- end of the table of kinds -->\n";

    #[test]
    fn the_table_in_the_documentation_is_that_of_the_kinds() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/control-plane.md");
        let text = std::fs::read_to_string(path).expect("the document");
        let (before, rest) = text.split_once(BEGIN).expect("the beginning");
        let (table, after) = rest.split_once(END).expect("the end");
        let rows = Kind::ALL
            .iter()
            .map(|kind| format!("| `{}` | {} |\n", kind.word(), kind.effect()));
        let head = "| Kind | What packets notice |\n| --- | --- |\n";
        let expected: String = std::iter::once(head.to_owned()).chain(rows).collect();
        if std::env::var_os("VPC_BLESS").is_some() {
            std::fs::write(path, format!("{before}{BEGIN}{expected}{END}{after}"))
                .expect("written");
            return;
        }
        assert_eq!(table, expected, "run it with VPC_BLESS=1");
    }
}
