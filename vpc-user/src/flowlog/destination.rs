//! Where the records of a flow log are delivered: object stores, CloudWatch Logs, an HTTP
//! endpoint as Amazon Data Firehose calls it, or standard output.
//!
//! One parcel at a time, and how it went. Nothing is kept here: who delivers keeps a parcel
//! until it is delivered, waits as long as it sees fit and asks again. Making a destination
//! reaches for nothing; whatever may be missing for a while is looked for at each delivery.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs.html>

mod aws;
mod batch;
mod cloudwatch;
mod error;
mod firehose;
mod ipfix;
mod objects;
mod stdout;
mod tls;

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

pub use aws::{AccessKey, AwsOptions};
pub use cloudwatch::CloudWatch;
pub use error::{DeliveryError, DeliveryFailure, DestinationError};
pub use firehose::{Firehose, FirehoseOptions};
pub use ipfix::Ipfix;
pub use objects::{ObjectOptions, Objects};
pub use stdout::Stdout;

/// How long a server may take to answer, unless said otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// What is delivered at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parcel {
    /// The key of an object, or what tells this parcel from all others.
    pub name: String,
    /// The object, or lines.
    pub body: Bytes,
}

/// A place that parcels are delivered to.
#[derive(Debug)]
pub enum Destination {
    /// A bucket or folder: each parcel an object.
    Objects(Objects),
    /// A log group: each line an event.
    CloudWatch(CloudWatch),
    /// An HTTP endpoint: each line a record.
    Firehose(Firehose),
    /// An IPFIX collector: each line an event of the NAT.
    Ipfix(Ipfix),
    /// Standard output: the lines.
    Stdout(Stdout),
}

impl Destination {
    /// Delivers a parcel. After an error nothing, a part or all of it may have arrived, and the
    /// same parcel is delivered again: an object then is the same object, a request to an
    /// endpoint has the same id; events and lines may be there twice.
    pub async fn deliver(&mut self, parcel: &Parcel) -> Result<(), DeliveryError> {
        match self {
            Self::Objects(objects) => objects.deliver(parcel).await,
            Self::CloudWatch(group) => group.deliver(parcel).await,
            Self::Firehose(endpoint) => endpoint.deliver(parcel).await,
            Self::Ipfix(collector) => collector.deliver(parcel).await,
            Self::Stdout(stdout) => stdout.deliver(parcel).await,
        }
    }
}

/// The lines of a body, without their ends.
fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
}

/// The URL of a server.
fn endpoint(text: &str) -> Result<url::Url, DestinationError> {
    let url = url::Url::parse(text).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| DestinationError::NotEndpoint(text.to_owned()))
}
