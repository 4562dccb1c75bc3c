//! `[flow_logs]`: how flow logs are kept and delivered.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    ConfigError, Problem, RawConfig,
    error::Place,
    validate::{absolute, in_range, name},
};
use crate::{
    flowlog::{LogFormat, Target, TrafficType},
    model::{BucketConfig, ControlConfig, ExportConfig, FlowLogsConfig, StreamConfig},
};

/// The folder, beside the store of resources unless told otherwise; without one:
const DEFAULT_DIR: &str = "/var/lib/vpc/flow-logs";
const MIB: u64 = 1 << 20;
const DAY_SECS: u64 = 24 * 3_600;
/// A terabyte.
const MIB_MAX: i64 = 1 << 20;

/// `[flow_logs]` as written; what is absent has its default.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `FlowLogsConfig`")]
pub struct RawFlowLogs {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    pub period_secs: Option<i64>,
    pub spool_mib: Option<i64>,
    pub index_days: Option<i64>,
    pub index_mib: Option<i64>,
    pub timeout_secs: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(default, rename = "bucket", skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<RawBucket>,
    #[serde(default, rename = "stream", skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<RawStream>,
    #[serde(default, rename = "export", skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<RawExport>,
}

/// One `[[flow_logs.bucket]]`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `BucketConfig`")]
pub struct RawBucket {
    pub name: String,
    pub url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
}

/// One `[[flow_logs.stream]]`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `StreamConfig`")]
pub struct RawStream {
    pub name: String,
    pub url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
}

/// One `[[flow_logs.export]]`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `ExportConfig`")]
pub struct RawExport {
    pub name: String,
    pub to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<String>,
    #[serde(default)]
    pub parquet: bool,
    #[serde(default)]
    pub hive_compatible: bool,
    #[serde(default)]
    pub per_hour: bool,
}

/// Where resources are kept flow logs are, too, whether anything is said of them or not.
pub(super) fn flow_logs(
    raw: &RawConfig,
    control: Option<&ControlConfig>,
) -> Result<Option<FlowLogsConfig>, ConfigError> {
    let written = match (&raw.flow_logging, control) {
        (Some(written), _) => written.clone(),
        (None, Some(_)) => RawFlowLogs::default(),
        (None, None) => return Ok(None),
    };
    let place = Place::flow_logs();
    let number = |key, value: Option<i64>, default: u32, max| match value {
        Some(value) => in_range(&place, key, value, 1, max),
        None => Ok(default),
    };
    let beside = control.and_then(|control| Some(control.store.parent()?.join("flow-logs")));
    let dir = written.dir.clone().or(beside);
    let config = FlowLogsConfig {
        dir: absolute(&place, "dir", dir, DEFAULT_DIR)?,
        period_secs: number("period_secs", written.period_secs, 60, 600)?,
        spool_bytes: u64::from(number("spool_mib", written.spool_mib, 1_024, MIB_MAX)?) * MIB,
        index_age_secs: u64::from(number("index_days", written.index_days, 30, 3_650)?) * DAY_SECS,
        index_bytes: u64::from(number("index_mib", written.index_mib, 20_480, MIB_MAX)?) * MIB,
        timeout_secs: number("timeout_secs", written.timeout_secs, 30, 600)?,
        endpoint: written.endpoint.clone(),
        buckets: written.buckets.iter().map(bucket).collect(),
        streams: written.streams.iter().map(stream).collect(),
        exports: exports(&place, &written.exports)?,
    };
    check_destinations(&place, &config)?;
    Ok(Some(config))
}

fn bucket(raw: &RawBucket) -> BucketConfig {
    BucketConfig {
        name: raw.name.clone(),
        url: raw.url.clone(),
        endpoint: raw.endpoint.clone(),
        settings: raw.settings.clone(),
    }
}

fn stream(raw: &RawStream) -> StreamConfig {
    StreamConfig {
        name: raw.name.clone(),
        url: raw.url.clone(),
        access_key: raw.access_key.clone(),
    }
}

fn exports(place: &Place, raw: &[RawExport]) -> Result<Vec<ExportConfig>, ConfigError> {
    let mut exports: Vec<ExportConfig> = Vec::new();
    for (index, one) in raw.iter().enumerate() {
        let name = name("export", index, &one.name)?;
        if exports.iter().any(|other| other.name == name) {
            let problem = Problem::NameTaken { kind: "export" };
            return Err(place.refuse("export", &one.name, problem));
        }
        let refuse = |value: &str, why: String| {
            let problem = Problem::NotADestination { why };
            place.refuse(&format!("export {:?}", one.name), value, problem)
        };
        let format = match &one.format {
            Some(text) => {
                LogFormat::parse(text).map_err(|error| refuse(text, error.to_string()))?
            }
            None => LogFormat::default(),
        };
        let traffic = match one.traffic.as_deref() {
            Some(word) => TrafficType::from_word(word)
                .ok_or_else(|| refuse(word, "write ACCEPT, REJECT or ALL".to_owned()))?,
            None => TrafficType::All,
        };
        exports.push(ExportConfig {
            name,
            to: one.to.clone(),
            format,
            traffic,
            parquet: one.parquet,
            hive_compatible: one.hive_compatible,
            per_hour: one.per_hour,
        });
    }
    Ok(exports)
}

/// Whether destinations can be made of what is written. Nothing is reached for.
fn check_destinations(place: &Place, config: &FlowLogsConfig) -> Result<(), ConfigError> {
    let refuse = |key: &str, value: &str, why: String| {
        Err(place.refuse(key, value, Problem::NotADestination { why }))
    };
    for bucket in &config.buckets {
        let target = Target::Bucket(format!("arn:aws:s3:::{}", bucket.name));
        if let Err(error) = target.destination(config, None) {
            return refuse("bucket", &bucket.name, error.to_string());
        }
    }
    for stream in &config.streams {
        let arn = format!("arn:aws:firehose:-:-:deliverystream/{}", stream.name);
        if let Err(error) = Target::DeliveryStream(arn).destination(config, None) {
            return refuse("stream", &stream.name, error.to_string());
        }
    }
    for export in &config.exports {
        if let Err(error) = Target::of_export(&export.to).destination(config, None) {
            return refuse("export", &export.to, error.to_string());
        }
    }
    Ok(())
}

impl From<&FlowLogsConfig> for RawFlowLogs {
    fn from(config: &FlowLogsConfig) -> Self {
        let number = |number: u64| i64::try_from(number).ok();
        Self {
            dir: Some(config.dir.clone()),
            period_secs: Some(config.period_secs.into()),
            spool_mib: number(config.spool_bytes / MIB),
            index_days: number(config.index_age_secs / DAY_SECS),
            index_mib: number(config.index_bytes / MIB),
            timeout_secs: Some(config.timeout_secs.into()),
            endpoint: config.endpoint.clone(),
            buckets: config.buckets.iter().map(RawBucket::from).collect(),
            streams: config.streams.iter().map(RawStream::from).collect(),
            exports: config.exports.iter().map(RawExport::from).collect(),
        }
    }
}

impl From<&BucketConfig> for RawBucket {
    fn from(bucket: &BucketConfig) -> Self {
        Self {
            name: bucket.name.clone(),
            url: bucket.url.clone(),
            endpoint: bucket.endpoint.clone(),
            settings: bucket.settings.clone(),
        }
    }
}

impl From<&StreamConfig> for RawStream {
    fn from(stream: &StreamConfig) -> Self {
        Self {
            name: stream.name.clone(),
            url: stream.url.clone(),
            access_key: stream.access_key.clone(),
        }
    }
}

impl From<&ExportConfig> for RawExport {
    fn from(export: &ExportConfig) -> Self {
        Self {
            name: export.name.to_string(),
            to: export.to.clone(),
            format: Some(export.format.to_string()),
            traffic: Some(export.traffic.word().to_owned()),
            parquet: export.parquet,
            hive_compatible: export.hive_compatible,
            per_hour: export.per_hour,
        }
    }
}
