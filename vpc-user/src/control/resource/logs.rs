//! Flow logs.

use serde::{Deserialize, Serialize};

use super::{ClientToken, Interface, Subnet, Vpc};
use crate::control::{Account, Id, Key, Resource, Tags, Time};

/// A flow log.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_FlowLog.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FlowLog {
    /// `fl-…`.
    pub flow_log_id: Id,
    /// Its account.
    pub owner_id: Account,
    /// The VPC, subnet or interface that it is of.
    pub resource_id: Id,
    /// `ACCEPT`, `REJECT` or `ALL`.
    pub traffic_type: String,
    /// `cloud-watch-logs`, `s3` or `kinesis-data-firehose`.
    pub log_destination_type: String,
    /// Where to, as an ARN.
    pub log_destination: Option<String>,
    /// Where to in CloudWatch Logs.
    pub log_group_name: Option<String>,
    /// The role that delivers.
    pub deliver_logs_permission_arn: Option<String>,
    /// The fields, `${field}` each.
    pub log_format: String,
    /// 60 or 600 seconds.
    pub max_aggregation_interval: u32,
    /// `plain-text` or `parquet`.
    pub file_format: String,
    /// Whether folders are `key=value`.
    pub hive_compatible_partitions: bool,
    /// Whether there is a folder an hour.
    pub per_hour_partition: bool,
    /// Why what was recorded last could not be delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_error: Option<DeliveryError>,
    /// When it was made.
    pub creation_time: Time,
    /// Makes creation idempotent.
    pub client_token: Option<ClientToken>,
    /// Its tags.
    pub tags: Tags,
}

/// Why a delivery failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeliveryError {
    /// In AWS's words: `Rate limited`, `Access error` or `Unknown error`.
    pub failure: String,
    /// In ours: what, why, and what helps.
    pub detail: String,
}

impl Resource for FlowLog {
    fn id(&self) -> String {
        self.flow_log_id.to_string()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    /// It goes with what it is of: see [`FlowLog::subject`].
    fn references(&self) -> Vec<Key> {
        Vec::new()
    }
}

impl FlowLog {
    /// What it is of.
    pub fn subject(&self) -> Key {
        let id = self.resource_id.as_str();
        if id.starts_with("vpc-") {
            return Key::of::<Vpc>(id);
        }
        if id.starts_with("subnet-") {
            return Key::of::<Subnet>(id);
        }
        Key::of::<Interface>(id)
    }
}
