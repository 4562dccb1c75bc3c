//! One record, and its line.

use std::{
    fmt::{self, Display, Write},
    net::Ipv4Addr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use vpc_common::drop::DropReason;

use super::{Environment, Field, LogFormat};

/// What is not there, or does not apply.
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
    /// That something could not be recorded.
    SkipData,
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

impl Record {
    /// Appends its line, without the end of the line.
    pub fn write(&self, format: &LogFormat, out: &mut String) {
        for (at, field) in format.fields().iter().enumerate() {
            if at != 0 {
                out.push(' ');
            }
            // A `String` takes everything.
            let _ = self.write_field(*field, format, out);
        }
    }

    /// Its line.
    pub fn line(&self, format: &LogFormat) -> String {
        let mut line = String::with_capacity(128);
        self.write(format, &mut line);
        line
    }

    /// Writes one field.
    pub fn write_field(
        &self,
        field: Field,
        format: &LogFormat,
        out: &mut impl Write,
    ) -> fmt::Result {
        let place = &self.place;
        match field {
            Field::Version => write!(out, "{}", format.version()),
            Field::AccountId => out.write_str(&place.account_id),
            Field::InterfaceId => out.write_str(&place.interface_id),
            Field::VpcId => out.write_str(&place.vpc_id),
            Field::SubnetId => out.write_str(&place.subnet_id),
            Field::Region => out.write_str(&place.region),
            Field::AzId => out.write_str(&place.az_id),
            Field::Start => write!(out, "{}", self.start),
            Field::End => write!(out, "{}", self.end),
            Field::LogStatus => out.write_str(match self.what {
                What::Flow(_) => "OK",
                What::NoData => "NODATA",
                What::SkipData => "SKIPDATA",
            }),
            field => match &self.what {
                What::Flow(flow) => flow.write_field(field, place.address, out),
                What::NoData | What::SkipData => out.write_str(ABSENT),
            },
        }
    }
}

impl Flow {
    fn write_field(&self, field: Field, own: Ipv4Addr, out: &mut impl Write) -> fmt::Result {
        let is_egress = self.direction == FlowDirection::Egress;
        let ends = |egress: Ipv4Addr, ingress| if is_egress { egress } else { ingress };
        let ports = |egress: u16, ingress| if is_egress { egress } else { ingress };
        let inside = self.inside.as_ref();
        match field {
            // It ends here: what the packet has is what the ENI has.
            Field::SrcAddr | Field::PktSrcAddr => write!(out, "{}", ends(own, self.remote)),
            Field::DstAddr | Field::PktDstAddr => write!(out, "{}", ends(self.remote, own)),
            Field::SrcPort => write!(out, "{}", ports(self.local_port, self.remote_port)),
            Field::DstPort => write!(out, "{}", ports(self.remote_port, self.local_port)),
            Field::Protocol => write!(out, "{}", self.protocol),
            Field::Packets => write!(out, "{}", self.packets),
            Field::Bytes => write!(out, "{}", self.bytes),
            Field::Action => out.write_str(match self.action {
                Action::Accept => "ACCEPT",
                Action::Reject(_) => "REJECT",
            }),
            Field::TcpFlags => write!(out, "{}", self.tcp_flags),
            Field::TrafficType => out.write_str("IPv4"),
            Field::FlowDirection => out.write_str(if is_egress { "egress" } else { "ingress" }),
            Field::TrafficPath => optional(out, self.traffic_path),
            Field::FunctionArn => optional(out, inside.and_then(Inside::function_arn)),
            Field::FunctionVersion => optional(out, inside.and_then(Inside::version)),
            Field::EnvironmentId => optional(out, inside.map(|it| &it.of.name)),
            Field::InsideAddr => optional(out, inside.map(|it| it.of.address)),
            Field::InsidePort => optional(out, inside.and_then(|it| it.port)),
            Field::OutsidePort => match (self.action, self.direction) {
                // It was refused before it had one.
                (Action::Reject(_), FlowDirection::Egress) => out.write_str(ABSENT),
                _ => write!(out, "{}", self.local_port),
            },
            Field::DropReason => match self.action {
                Action::Accept => out.write_str(ABSENT),
                Action::Reject(reason) => out.write_str(reason.label()),
            },
            // AWS has a word for BPA and encryption controls alone, and the rest is of
            // places and services that are not here.
            _ => out.write_str(ABSENT),
        }
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

fn optional(out: &mut impl Write, value: Option<impl Display>) -> fmt::Result {
    match value {
        Some(value) => write!(out, "{value}"),
        None => out.write_str(ABSENT),
    }
}
