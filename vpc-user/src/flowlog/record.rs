//! One record, and its line.

use std::{net::Ipv4Addr, sync::Arc};

use serde::{Deserialize, Serialize};
use vpc_common::drop::DropReason;

use super::{Environment, Field, LogFormat};

/// In a line: what is not there, or does not apply.
const ABSENT: &str = "-";

/// The ENI that a record is of, as it does not change.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Its account.
    pub account_id: String,
    /// Its id.
    pub interface_id: String,
    /// Its primary address.
    pub address: Ipv4Addr,
    /// Its VPC.
    pub vpc_id: String,
    /// Its subnet.
    pub subnet_id: String,
    /// Its Region.
    pub region: String,
    /// The id of its zone.
    pub az_id: String,
}

impl Place {
    /// Nowhere that is known.
    pub fn unknown() -> Self {
        let absent = || ABSENT.to_owned();
        Self {
            account_id: "unknown".to_owned(),
            interface_id: absent(),
            address: Ipv4Addr::UNSPECIFIED,
            vpc_id: absent(),
            subnet_id: absent(),
            region: absent(),
            az_id: absent(),
        }
    }
}

/// Which way, seen from the ENI.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FlowDirection {
    /// Into the VPC.
    Egress,
    /// Answers.
    Ingress,
}

/// Whether it was let through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// It was.
    Accept,
    /// It was not.
    Reject(DropReason),
}

/// Who is behind the ENI's address and port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inside {
    /// The environment.
    pub of: Arc<Environment>,
    /// The environment's own port; absent where it is not known.
    pub port: Option<u16>,
}

/// What crossed the ENI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flow {
    /// Which way.
    pub direction: FlowDirection,
    /// IP protocol number.
    pub protocol: u8,
    /// The other end.
    pub remote: Ipv4Addr,
    /// The other end's port.
    pub remote_port: u16,
    /// The port on the ENI; of what was refused before it had one, the environment's own.
    pub local_port: u16,
    /// Packets.
    pub packets: u64,
    /// Bytes of IP packets.
    pub bytes: u64,
    /// Whether it was let through.
    pub action: Action,
    /// TCP flags as AWS folds them.
    pub tcp_flags: u8,
    /// The way out, of what left: 1 inside the VPC, 4 by a peering connection.
    pub traffic_path: Option<u8>,
    /// Who is behind it.
    pub inside: Option<Inside>,
}

/// What a record tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// Traffic.
    Flow(Flow),
    /// That there was none.
    NoData,
    /// That this many packets could not be recorded.
    SkipData(u64),
}

/// A record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The ENI.
    pub place: Arc<Place>,
    /// First packet in the interval, Unix seconds.
    pub start: u64,
    /// Last packet in the interval, Unix seconds.
    pub end: u64,
    /// What happened.
    pub what: What,
}

/// What a field says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// A number.
    Number(u64),
    /// An address.
    Address(Ipv4Addr),
}

impl Value<'_> {
    /// Appends it as a text. Lines are written by the million: what `Display` does for any
    /// width and alignment costs several times as much.
    pub fn push_to(self, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(text),
            Self::Number(number) => out.push_str(itoa::Buffer::new().format(number)),
            Self::Address(address) => {
                for (at, octet) in address.octets().into_iter().enumerate() {
                    if at != 0 {
                        out.push('.');
                    }
                    out.push_str(itoa::Buffer::new().format(octet));
                }
            }
        }
    }
}

impl Record {
    /// Appends its line, without the end of the line.
    pub fn write(&self, format: &LogFormat, out: &mut String) {
        for (at, field) in format.fields().iter().enumerate() {
            if at != 0 {
                out.push(' ');
            }
            match self.value(*field, format) {
                Some(value) => value.push_to(out),
                None => out.push_str(ABSENT),
            }
        }
    }

    /// Its line.
    pub fn line(&self, format: &LogFormat) -> String {
        let mut line = String::with_capacity(128);
        self.write(format, &mut line);
        line
    }

    /// What one field says; nothing: it is not there, or does not apply.
    pub fn value(&self, field: Field, format: &LogFormat) -> Option<Value<'_>> {
        let place = &self.place;
        let value = match field {
            Field::Version => Value::Number(format.version().into()),
            Field::AccountId => Value::Text(&place.account_id),
            Field::InterfaceId => Value::Text(&place.interface_id),
            Field::VpcId => Value::Text(&place.vpc_id),
            Field::SubnetId => Value::Text(&place.subnet_id),
            Field::Region => Value::Text(&place.region),
            Field::AzId => Value::Text(&place.az_id),
            Field::Start => Value::Number(self.start),
            Field::End => Value::Number(self.end),
            Field::LogStatus => Value::Text(match self.what {
                What::Flow(_) => "OK",
                What::NoData => "NODATA",
                What::SkipData(_) => "SKIPDATA",
            }),
            field => match &self.what {
                What::Flow(flow) => return flow.value(field, place.address),
                What::SkipData(packets) if field == Field::SkippedPackets => {
                    Value::Number(*packets)
                }
                What::NoData | What::SkipData(_) => return None,
            },
        };
        // A place may say so of itself.
        (value != Value::Text(ABSENT)).then_some(value)
    }
}

impl Flow {
    fn value(&self, field: Field, own: Ipv4Addr) -> Option<Value<'_>> {
        let is_egress = self.direction == FlowDirection::Egress;
        let ends = |egress, ingress| Value::Address(if is_egress { egress } else { ingress });
        let ports =
            |egress: u16, ingress| Value::Number(if is_egress { egress } else { ingress }.into());
        let inside = self.inside.as_ref();
        Some(match field {
            // It ends here: what the packet has is what the ENI has.
            Field::SrcAddr | Field::PktSrcAddr => ends(own, self.remote),
            Field::DstAddr | Field::PktDstAddr => ends(self.remote, own),
            Field::SrcPort => ports(self.local_port, self.remote_port),
            Field::DstPort => ports(self.remote_port, self.local_port),
            Field::Protocol => Value::Number(self.protocol.into()),
            Field::Packets => Value::Number(self.packets),
            Field::Bytes => Value::Number(self.bytes),
            Field::Action => Value::Text(match self.action {
                Action::Accept => "ACCEPT",
                Action::Reject(_) => "REJECT",
            }),
            Field::TcpFlags => Value::Number(self.tcp_flags.into()),
            Field::TrafficType => Value::Text("IPv4"),
            Field::FlowDirection => Value::Text(if is_egress { "egress" } else { "ingress" }),
            Field::TrafficPath => Value::Number(self.traffic_path?.into()),
            Field::FunctionArn => Value::Text(inside?.function_arn()?),
            Field::FunctionVersion => Value::Text(inside?.version()?),
            Field::EnvironmentId => Value::Text(&inside?.of.name),
            Field::InsideAddr => Value::Address(inside?.of.address),
            Field::InsidePort => Value::Number(inside?.port?.into()),
            Field::OutsidePort => match (self.action, self.direction) {
                // It was refused before it had one.
                (Action::Reject(_), FlowDirection::Egress) => return None,
                _ => Value::Number(self.local_port.into()),
            },
            Field::DropReason => match self.action {
                Action::Accept => return None,
                Action::Reject(reason) => Value::Text(reason.label()),
            },
            // AWS has a word for BPA and encryption controls alone, and the rest is of
            // places and services that are not here.
            _ => return None,
        })
    }
}

impl Inside {
    /// The function's ARN, without the version.
    fn function_arn(&self) -> Option<&str> {
        let qualified = self.of.function.as_deref()?;
        qualified.rsplit_once(':').map(|(arn, _)| arn)
    }

    fn version(&self) -> Option<&str> {
        let qualified = self.of.function.as_deref()?;
        qualified.rsplit_once(':').map(|(_, version)| version)
    }
}
