//! Who has which address on which uplink.

use std::{collections::BTreeMap, net::Ipv4Addr};

use super::error::AddressUser;
use crate::model::ObjectName;

/// The addresses that the configuration has given away. An uplink is one network:
/// what stands on it has an address that nothing else on it has.
#[derive(Default)]
pub(super) struct Addresses(BTreeMap<(ObjectName, Ipv4Addr), AddressUser>);

impl Addresses {
    /// Who has an address.
    pub(super) fn user(&self, uplink: &ObjectName, address: Ipv4Addr) -> Option<&AddressUser> {
        self.0.get(&(uplink.clone(), address))
    }

    /// Gives an address away, unless someone has it, who then is the answer.
    pub(super) fn claim(
        &mut self,
        uplink: &ObjectName,
        address: Ipv4Addr,
        user: AddressUser,
    ) -> Result<(), AddressUser> {
        if let Some(other) = self.user(uplink, address) {
            return Err(other.clone());
        }
        self.0.insert((uplink.clone(), address), user);
        Ok(())
    }

    /// Notes a user of an address that may have others: routers serve many.
    pub(super) fn share(&mut self, uplink: &ObjectName, address: Ipv4Addr, user: AddressUser) {
        let key = (uplink.clone(), address);
        self.0.entry(key).or_insert(user);
    }
}
