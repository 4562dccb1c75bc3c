//! How flow logs are kept and delivered.

use std::{collections::BTreeMap, path::PathBuf};

use super::ObjectName;
use crate::flowlog::{LogFormat, TrafficType};

/// `[flow_logs]`: the journal, the index of bindings, the spools, and what destinations are
/// on this host.
#[derive(Clone, PartialEq, Debug)]
pub struct FlowLogsConfig {
    /// Folder of all of it.
    pub dir: PathBuf,
    /// Seconds of the shortest interval of a flow log; a flow log of AWS's 600 seconds has
    /// ten of them.
    pub period_secs: u32,
    /// Bytes of what a flow log has yet to deliver; more than that drops the oldest.
    pub spool_bytes: u64,
    /// Seconds that the index keeps a flow after its end.
    pub index_age_secs: u64,
    /// Bytes of the index.
    pub index_bytes: u64,
    /// Seconds that a destination may take to answer.
    pub timeout_secs: u32,
    /// Endpoint of S3 and CloudWatch Logs, in place of AWS's own.
    pub endpoint: Option<String>,
    /// What buckets are, unless they are S3's.
    pub buckets: Vec<BucketConfig>,
    /// What delivery streams are.
    pub streams: Vec<StreamConfig>,
    /// Flow logs of all ENIs of the host.
    pub exports: Vec<ExportConfig>,
}

/// What a bucket is on this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BucketConfig {
    /// Its name in a flow log's destination.
    pub name: String,
    /// Where it is: `s3://`, `gs://`, `az://` or `file:///`.
    pub url: String,
    /// Its server, if not that of the URL's kind.
    pub endpoint: Option<String>,
    /// Further settings of that kind of store, by `object_store`'s names.
    pub settings: BTreeMap<String, String>,
}

/// What a delivery stream is on this host: an HTTP endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// Its name in a flow log's destination.
    pub name: String,
    /// The endpoint.
    pub url: String,
    /// What the endpoint knows its sender by.
    pub access_key: Option<String>,
}

impl std::fmt::Debug for StreamConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret.
        f.debug_struct("StreamConfig")
            .field("name", &self.name)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A flow log of all ENIs of the host, the operator's.
#[derive(Clone, PartialEq, Debug)]
pub struct ExportConfig {
    /// What it is called.
    pub name: ObjectName,
    /// Where to: `stdout`, a URL of a store, an HTTP endpoint, or `log-group:` and a name.
    pub to: String,
    /// The fields of its records.
    pub format: LogFormat,
    /// Which traffic.
    pub traffic: TrafficType,
    /// Columns rather than lines, in a store.
    pub parquet: bool,
    /// Folders are `key=value`, in a store.
    pub hive_compatible: bool,
    /// A folder for each hour, in a store.
    pub per_hour: bool,
}
