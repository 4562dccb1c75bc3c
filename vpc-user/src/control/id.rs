//! Ids of resources: a prefix that says the kind, and 17 hexadecimal digits.

use super::Entropy;
use crate::model::ObjectName;

/// An id. The names of the compiled configuration are ids, so that whoever reads a
/// verdict finds the resource.
pub type Id = ObjectName;

/// Hexadecimal digits of an id.
const DIGITS: usize = 17;

/// What an id belongs to, by its prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdKind(&'static str);

macro_rules! id_kinds {
    ($($name:ident = $prefix:literal,)+) => {
        /// The prefixes.
        #[expect(missing_docs, reason = "each is the prefix that it stands for")]
        impl IdKind {
            $(pub const $name: Self = Self($prefix);)+
        }
    };
}

id_kinds! {
    VPC = "vpc",
    CIDR_ASSOCIATION = "vpc-cidr-assoc",
    SUBNET = "subnet",
    SECURITY_GROUP = "sg",
    SECURITY_GROUP_RULE = "sgr",
    NETWORK_ACL = "acl",
    NETWORK_ACL_ASSOCIATION = "aclassoc",
    ROUTE_TABLE = "rtb",
    ROUTE_TABLE_ASSOCIATION = "rtbassoc",
    PREFIX_LIST = "pl",
    INTERNET_GATEWAY = "igw",
    ADDRESS = "eipalloc",
    ADDRESS_ASSOCIATION = "eipassoc",
    NAT_GATEWAY = "nat",
    ENDPOINT = "vpce",
    PEERING = "pcx",
    DHCP_OPTIONS = "dopt",
    INTERFACE = "eni",
    INTERFACE_ATTACHMENT = "ela-attach",
    FLOW_LOG = "fl",
    ENI_GROUP = "enigroup",
}

impl IdKind {
    /// The prefix, without the hyphen.
    pub const fn prefix(self) -> &'static str {
        self.0
    }

    /// A fresh id.
    ///
    /// # Panics
    ///
    /// Never: a prefix and digits are a name.
    pub fn fresh(self, entropy: &mut Entropy) -> Id {
        let digits = format!("{:032x}", entropy.next_u128());
        self.of_digits(&digits[..DIGITS])
    }

    /// The id with these digits.
    fn of_digits(self, digits: &str) -> Id {
        let text = format!("{}-{digits}", self.0);
        Id::new(text).unwrap_or_else(|_| unreachable!("a prefix and digits are a name"))
    }

    /// Whether a text has the form of such an id: the prefix, then 8 or 17 digits.
    pub fn is_well_formed(self, text: &str) -> bool {
        let digits = text
            .strip_prefix(self.0)
            .and_then(|rest| rest.strip_prefix('-'));
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        digits.is_some_and(|digits| {
            matches!(digits.len(), 8 | DIGITS) && digits.bytes().all(is_digit)
        })
    }
}
