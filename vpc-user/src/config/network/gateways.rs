//! `[[internet_gateway]]` and `[[nat_gateway]]`, as far as routes name them: the control
//! plane knows the rest.

use super::{
    Checked,
    table::{Kind, Table},
};
use crate::{config::error::Place, model::ObjectName};

/// An internet gateway.
pub(in crate::config) struct InternetGateway(ObjectName);
/// A NAT gateway.
pub(in crate::config) struct NatGateway(ObjectName);

/// What is known of a gateway.
pub(in crate::config) trait Gateway: Kind + From<ObjectName> {
    /// Its name.
    fn name(&self) -> &ObjectName;
}

macro_rules! gateways {
    ($($type:ident = $kind:literal),+) => {
        $(
            impl Kind for $type {
                const KIND: &'static str = $kind;
            }
            impl From<ObjectName> for $type {
                fn from(name: ObjectName) -> Self {
                    Self(name)
                }
            }
            impl Gateway for $type {
                fn name(&self) -> &ObjectName {
                    &self.0
                }
            }
        )+
    };
}

gateways!(
    InternetGateway = "internet_gateway",
    NatGateway = "nat_gateway"
);

/// The gateways of these names.
pub(super) fn named<'r, T: Gateway>(names: impl Iterator<Item = &'r String>) -> Checked<Table<T>> {
    let mut table = Table::default();
    for (index, text) in names.enumerate() {
        let name = table.name(index, text)?;
        table.push(&name, T::from(name.clone()));
    }
    Ok(table)
}

impl<T: Gateway> Table<T> {
    /// The name of the gateway that a key refers to.
    pub(super) fn named(&self, place: &Place, key: &str, text: &str) -> Checked<ObjectName> {
        self.find(place, key, text).map(|it| it.name().clone())
    }
}
