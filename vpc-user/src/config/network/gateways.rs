//! `[[internet_gateway]]` and `[[nat_gateway]]`, as far as routes name them: the control
//! plane knows the rest.

use super::{
    Checked,
    table::{Kind, Table},
};
use crate::model::ObjectName;

/// The name of an internet gateway.
pub(in crate::config) struct InternetGateway(pub ObjectName);
/// The name of a NAT gateway.
pub(in crate::config) struct NatGateway(pub ObjectName);

/// The gateways of these names.
pub(super) fn named<'r, T: Kind>(
    names: impl Iterator<Item = &'r String>,
    make: fn(ObjectName) -> T,
) -> Checked<Table<T>> {
    let mut table = Table::default();
    for (index, text) in names.enumerate() {
        let name = table.name(index, text)?;
        table.push(&name, make(name.clone()));
    }
    Ok(table)
}
