//! From what a flow log names as its destination to the destination on this host.

use std::time::Duration;

use super::destination::{
    AwsOptions, CloudWatch, Destination, DestinationError, Firehose, FirehoseOptions, Ipfix,
    ObjectOptions, Objects, Stdout,
};
use super::ipfix::{Collector, Protocol};
use crate::model::{BucketConfig, FlowLogsConfig};

/// What begins the ARN of a bucket.
const BUCKET_ARN: &str = "arn:aws:s3:::";
/// Before the name of a log group in the destination of an export.
const LOG_GROUP: &str = "log-group:";

/// Where a flow log goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A bucket, by its ARN.
    Bucket(String),
    /// A store, by its URL.
    Store(String),
    /// A log group of CloudWatch Logs.
    LogGroup(String),
    /// A delivery stream, by its ARN.
    DeliveryStream(String),
    /// An HTTP endpoint, by its URL.
    Endpoint(String),
    /// An IPFIX collector, by its URL.
    Ipfix(String),
    /// Standard output.
    Stdout,
}

impl Target {
    /// What the destination of an export means.
    pub fn of_export(to: &str) -> Self {
        if to == "stdout" {
            return Self::Stdout;
        }
        if let Some(group) = to.strip_prefix(LOG_GROUP) {
            return Self::LogGroup(group.to_owned());
        }
        match to.split_once("://") {
            Some(("http" | "https", _)) => Self::Endpoint(to.to_owned()),
            Some(("ipfix+udp" | "ipfix+tcp", _)) => Self::Ipfix(to.to_owned()),
            _ => Self::Store(to.to_owned()),
        }
    }

    /// The destination on this host. Nothing is reached for.
    pub fn destination(
        &self,
        config: &FlowLogsConfig,
        region: Option<&str>,
    ) -> Result<Destination, DestinationError> {
        let timeout = Duration::from_secs(config.timeout_secs.into());
        let aws = AwsOptions {
            region: region.map(str::to_owned),
            endpoint: config.endpoint.clone(),
            key: None,
            timeout,
        };
        Ok(match self {
            Self::Bucket(arn) => Destination::Objects(bucket(arn, config, aws)?),
            Self::Store(url) => Destination::Objects(Objects::new(
                url,
                ObjectOptions {
                    aws,
                    settings: Vec::new(),
                },
            )?),
            Self::LogGroup(group) => Destination::CloudWatch(CloudWatch::new(group.clone(), aws)),
            Self::DeliveryStream(arn) => {
                let name = arn.rsplit_once('/').map_or(arn.as_str(), |(_, name)| name);
                let stream = config.streams.iter().find(|stream| stream.name == name);
                let stream = stream.ok_or_else(|| DestinationError::NoStream(name.to_owned()))?;
                let options = FirehoseOptions {
                    access_key: stream.access_key.clone(),
                    timeout,
                    ..FirehoseOptions::new(arn.clone())
                };
                Destination::Firehose(Firehose::new(&stream.url, options)?)
            }
            Self::Endpoint(url) => {
                let options = FirehoseOptions {
                    timeout,
                    ..FirehoseOptions::new(String::new())
                };
                Destination::Firehose(Firehose::new(url, options)?)
            }
            Self::Ipfix(url) => Destination::Ipfix(Ipfix::new(collector(url, timeout)?)),
            Self::Stdout => Destination::Stdout(Stdout),
        })
    }
}

fn collector(url: &str, timeout: Duration) -> Result<Collector, DestinationError> {
    let wrong = || DestinationError::NotCollector(url.to_owned());
    let (protocol, address) = match url.split_once("://").ok_or_else(wrong)? {
        ("ipfix+udp", address) => (Protocol::Udp, address),
        ("ipfix+tcp", address) => (Protocol::Tcp, address),
        _ => return Err(wrong()),
    };
    let address = address.parse().map_err(|_| wrong())?;
    Ok(Collector::new(address, protocol, timeout))
}

/// A bucket is S3's, unless the host has another of that name.
fn bucket(
    arn: &str,
    config: &FlowLogsConfig,
    aws: AwsOptions,
) -> Result<Objects, DestinationError> {
    let name = arn.strip_prefix(BUCKET_ARN).unwrap_or(arn);
    let Some(bucket) = config.buckets.iter().find(|bucket| bucket.name == name) else {
        return Objects::new(
            arn,
            ObjectOptions {
                aws,
                settings: Vec::new(),
            },
        );
    };
    let BucketConfig {
        url,
        endpoint,
        settings,
        ..
    } = bucket;
    let options = ObjectOptions {
        aws: AwsOptions {
            endpoint: endpoint.clone().or(aws.endpoint),
            ..aws
        },
        settings: settings.clone().into_iter().collect(),
    };
    Objects::new(url, options)
}
