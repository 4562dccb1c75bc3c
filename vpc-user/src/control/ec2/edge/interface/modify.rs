//! Changes of interfaces.

use serde::{Deserialize, Serialize};

use super::{
    super::{
        Act, Answer,
        lookup::{groups, own},
        request::{done, not_permitted},
    },
    customers_own,
};
use crate::control::{
    ApiError, Context, Transaction,
    resource::{ConnectionTracking, Interface, Subnet},
};

/// Changes one attribute of an interface.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifyNetworkInterfaceAttribute {
    /// The interface.
    pub network_interface_id: String,
    /// What it is for.
    pub description: Option<TextValue>,
    /// Whether packets must be from or to its own addresses.
    pub source_dest_check: Option<BooleanValue>,
    /// Its security groups.
    pub groups: Option<Vec<String>>,
    /// Idle timeouts.
    pub connection_tracking_specification: Option<ConnectionTrackingSpecification>,
}

/// A text as an attribute.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TextValue {
    /// The text.
    pub value: String,
}

/// A yes or no as an attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct BooleanValue {
    /// Yes or no.
    pub value: bool,
}

/// Idle timeouts of tracked connections, in seconds; those that are not named stay.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html>
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ConnectionTrackingSpecification {
    /// 60 to 432,000.
    pub tcp_established_timeout: Option<u32>,
    /// 30 to 60.
    pub udp_timeout: Option<u32>,
    /// 60 to 180.
    pub udp_stream_timeout: Option<u32>,
}

impl ConnectionTrackingSpecification {
    /// What holds if this is set over what held before, AWS's defaults at first.
    pub(super) fn over(
        self,
        before: Option<ConnectionTracking>,
    ) -> Result<ConnectionTracking, ApiError> {
        let before = before.unwrap_or(ConnectionTracking {
            tcp_established_timeout: 432_000,
            udp_timeout: 30,
            udp_stream_timeout: 180,
        });
        let checked = |name: &str, given: Option<u32>, before, min, max| match given {
            Some(seconds) if !(min..=max).contains(&seconds) => Err(ApiError::invalid(format!(
                "{name} must be between {min} and {max} seconds."
            ))),
            given => Ok(given.unwrap_or(before)),
        };
        let tcp = (self.tcp_established_timeout, before.tcp_established_timeout);
        let stream = (self.udp_stream_timeout, before.udp_stream_timeout);
        Ok(ConnectionTracking {
            tcp_established_timeout: checked("TcpEstablishedTimeout", tcp.0, tcp.1, 60, 432_000)?,
            udp_timeout: checked("UdpTimeout", self.udp_timeout, before.udp_timeout, 30, 60)?,
            udp_stream_timeout: checked("UdpStreamTimeout", stream.0, stream.1, 60, 180)?,
        })
    }
}

impl Act for ModifyNetworkInterfaceAttribute {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let account = context.caller.account;
        let mut interface: Interface = own(transaction, account, &self.network_interface_id)?;
        self.checked(&interface)?;
        if let Some(TextValue { value }) = &self.description {
            if value.chars().count() > 255 {
                let message = "The description must be at most 255 characters long.";
                return Err(ApiError::invalid(message));
            }
            interface.description.clone_from(value);
        }
        if let Some(BooleanValue { value }) = self.source_dest_check {
            interface.source_dest_check = value;
        }
        if let Some(ids) = &self.groups {
            let subnet: Subnet = own(transaction, account, interface.subnet_id.as_str())?;
            if ids.is_empty() {
                let message = "At least one security group must be specified.";
                return Err(ApiError::invalid(message));
            }
            interface.groups = groups(transaction, &subnet, ids, &context.settings)?;
        }
        if let Some(given) = self.connection_tracking_specification {
            let before = interface.connection_tracking_configuration;
            interface.connection_tracking_configuration = Some(given.over(before)?);
        }
        transaction.put(interface);
        Ok(done())
    }
}

impl ModifyNetworkInterfaceAttribute {
    /// One attribute, and of an interface that is the customer's own.
    fn checked(&self, interface: &Interface) -> Result<(), ApiError> {
        let named = [
            self.description.is_some(),
            self.source_dest_check.is_some(),
            self.groups.is_some(),
            self.connection_tracking_specification.is_some(),
        ];
        let message = match named.iter().filter(|is_named| **is_named).count() {
            0 => "No attributes specified.",
            1 => "",
            _ => "Fields for multiple attribute types specified",
        };
        if !message.is_empty() {
            return Err(ApiError::new("InvalidParameterCombination", message));
        }
        if self.groups.is_some() && customers_own(interface).is_err() {
            let message = "The security group can not be modified for this type of interface";
            return Err(not_permitted(message));
        }
        customers_own(interface)
    }
}
