//! Flow logs: what shall be recorded, and where it goes.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs.html>

mod check;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Act, Answer, TagSpecification,
    lookup::absent,
    request::{client_token, made_before, present, tag_list, tags, unsuccessful},
};
use crate::control::{
    ApiError, Context, Id, IdKind, Key, Kind, State, Tags, Time, Transaction,
    resource::{ClientToken, DeliveryError, FlowLog},
};

/// Makes flow logs, one for each resource.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateFlowLogs {
    /// What of: at most 300.
    pub resource_ids: Vec<String>,
    /// `VPC`, `Subnet` or `NetworkInterface`.
    pub resource_type: String,
    /// `ACCEPT`, `REJECT` or `ALL`.
    pub traffic_type: Option<String>,
    /// `cloud-watch-logs`, unless said otherwise, `s3` or `kinesis-data-firehose`.
    pub log_destination_type: Option<String>,
    /// Where to, as an ARN.
    pub log_destination: Option<String>,
    /// Where to in CloudWatch Logs.
    pub log_group_name: Option<String>,
    /// The role that delivers to CloudWatch Logs.
    pub deliver_logs_permission_arn: Option<String>,
    /// The fields, `${field}` each; those of version 2 unless said otherwise.
    pub log_format: Option<String>,
    /// 60 or 600 seconds, which is the default.
    pub max_aggregation_interval: Option<u32>,
    /// Files in S3.
    pub destination_options: Option<DestinationOptions>,
    /// Makes it idempotent.
    pub client_token: Option<String>,
    /// Their tags, of `vpc-flow-log`.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// Files in S3.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DestinationOptions {
    /// `plain-text`, unless said otherwise, or `parquet`.
    pub file_format: Option<String>,
    /// Whether folders are `key=value`.
    #[serde(default)]
    pub hive_compatible_partitions: bool,
    /// Whether there is a folder an hour.
    #[serde(default)]
    pub per_hour_partition: bool,
}

/// Removes flow logs: all of them, or none.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteFlowLogs {
    /// The flow logs.
    pub flow_log_ids: Vec<String>,
}

impl Act for CreateFlowLogs {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let account = context.caller.account;
        let token = client_token(self.client_token.as_deref(), self)?;
        let made = made_before::<FlowLog>(transaction, account, token.as_ref())?;
        if !made.is_empty() {
            let ids = made.into_iter().map(|log| log.flow_log_id).collect();
            return Ok(self.answer(ids, Vec::new()));
        }
        let kind = check::request(self, &context.settings.region)?;
        let tags = tags(&self.tag_specifications, "vpc-flow-log", &context.settings)?;
        let mut made: Vec<Id> = Vec::new();
        let mut failed = Vec::new();
        for (index, resource) in self.resource_ids.iter().enumerate() {
            if self
                .resource_ids
                .iter()
                .take(index)
                .any(|earlier| earlier == resource)
            {
                continue;
            }
            match subject(transaction, context, kind, resource) {
                Ok(resource_id) => {
                    let log = self.log(context, resource_id, token.clone(), tags.clone());
                    check::is_new(transaction, &log)?;
                    made.push(log.flow_log_id.clone());
                    transaction.put(log);
                }
                Err(error) => failed.push(unsuccessful(resource, &error)),
            }
        }
        Ok(self.answer(made, failed))
    }
}

impl CreateFlowLogs {
    fn log(
        &self,
        context: &mut Context,
        resource_id: Id,
        client_token: Option<ClientToken>,
        tags: Tags,
    ) -> FlowLog {
        let text = |given: &Option<String>, default: &str| {
            given.clone().unwrap_or_else(|| default.to_owned())
        };
        let options = self.destination_options.clone().unwrap_or_default();
        FlowLog {
            flow_log_id: IdKind::FLOW_LOG.fresh(&mut context.entropy),
            owner_id: context.caller.account,
            resource_id,
            traffic_type: text(&self.traffic_type, "ALL"),
            log_destination_type: self.destination_type().to_owned(),
            log_destination: self.log_destination.clone(),
            log_group_name: check::log_group(self),
            deliver_logs_permission_arn: self.deliver_logs_permission_arn.clone(),
            log_format: self
                .log_format
                .clone()
                .unwrap_or_else(check::default_format),
            max_aggregation_interval: self.max_aggregation_interval.unwrap_or(600),
            file_format: text(&options.file_format, "plain-text"),
            hive_compatible_partitions: options.hive_compatible_partitions,
            per_hour_partition: options.per_hour_partition,
            delivery_error: None,
            creation_time: context.now,
            client_token,
            tags,
        }
    }

    fn destination_type(&self) -> &str {
        self.log_destination_type
            .as_deref()
            .unwrap_or("cloud-watch-logs")
    }

    fn answer(&self, made: Vec<Id>, failed: Vec<Value>) -> Value {
        present(json!({
            "ClientToken": self.client_token,
            "FlowLogIds": made,
            "Unsuccessful": failed,
        }))
    }
}

/// The resource of the caller's that is meant, if it may have one more.
fn subject(state: &State, context: &Context, kind: Kind, id: &str) -> Result<Id, ApiError> {
    let account = context.caller.account;
    let record = state.record(&Key::new(kind, id));
    let record = record.filter(|record| record.account() == account);
    let id = record
        .and_then(|record| Id::new(record.key().id).ok())
        .ok_or_else(|| absent(kind, id))?;
    let have = state
        .of_account::<FlowLog>(account)
        .filter(|log| log.resource_id == id)
        .count();
    if have as u64 >= u64::from(context.settings.flow_logs_per_resource) {
        let message = "The maximum number of flow logs of the resource has been reached.";
        return Err(ApiError::new("FlowLogsLimitExceeded", message));
    }
    Ok(id)
}

impl Act for DeleteFlowLogs {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        if self.flow_log_ids.is_empty() {
            let message = "The request must contain the parameter FlowLogId";
            return Err(ApiError::new("MissingParameter", message));
        }
        let account = context.caller.account;
        let is_own = |id: &str| {
            let log = transaction.get::<FlowLog>(id);
            log.is_some_and(|log| log.owner_id == account)
        };
        let ids = self.flow_log_ids.iter().map(String::as_str);
        let unknown: Vec<&str> = ids.filter(|id| !is_own(id)).collect();
        if !unknown.is_empty() {
            let message = format!(
                "These flow log ids in the input list are not found: [TotalCount: {}] {}",
                unknown.len(),
                unknown.join(" ")
            );
            return Err(ApiError::new("InvalidFlowLogId.NotFound", message));
        }
        for id in &self.flow_log_ids {
            transaction.remove(Key::of::<FlowLog>(id));
        }
        Ok(json!({ "Unsuccessful": [] }))
    }
}

/// What deliveries have come to; of one that was deleted meanwhile, nothing.
pub fn delivered(transaction: &mut Transaction<'_>, id: &Id, error: Option<DeliveryError>) {
    let log = transaction.get::<FlowLog>(id.as_str());
    if let Some(log) = log.filter(|log| log.delivery_error != error).cloned() {
        transaction.put(FlowLog {
            delivery_error: error,
            ..log
        });
    }
}

/// A flow log goes with what it is of.
pub fn tick(transaction: &mut Transaction<'_>) {
    let logs = transaction
        .all::<FlowLog>()
        .filter(|log| is_orphan(transaction, log));
    let gone: Vec<String> = logs.map(|log| log.flow_log_id.to_string()).collect();
    for id in gone {
        transaction.remove(Key::of::<FlowLog>(id));
    }
}

/// At once, if one is left of a resource that is gone.
pub fn next_tick(state: &State) -> Option<Time> {
    let logs = state.all::<FlowLog>().filter(|log| is_orphan(state, log));
    logs.map(|log| log.creation_time).min()
}

fn is_orphan(state: &State, log: &FlowLog) -> bool {
    state.record(&log.subject()).is_none()
}

/// As DescribeFlowLogs shows it; `DeliverLogsErrorDetail` is ours.
pub(super) fn shown(log: &FlowLog) -> Value {
    let error = log.delivery_error.as_ref();
    present(json!({
        "CreationTime": log.creation_time.to_string(),
        "DeliverLogsPermissionArn": log.deliver_logs_permission_arn,
        "DeliverLogsStatus": if error.is_some() { "FAILED" } else { "SUCCESS" },
        "DeliverLogsErrorMessage": error.map(|error| &error.failure),
        "DeliverLogsErrorDetail": error.map(|error| &error.detail),
        "DestinationOptions": {
            "FileFormat": log.file_format,
            "HiveCompatiblePartitions": log.hive_compatible_partitions,
            "PerHourPartition": log.per_hour_partition,
        },
        "FlowLogId": log.flow_log_id,
        "FlowLogStatus": "ACTIVE",
        "LogDestination": log.log_destination,
        "LogDestinationType": log.log_destination_type,
        "LogFormat": log.log_format,
        "LogGroupName": log.log_group_name,
        "MaxAggregationInterval": log.max_aggregation_interval,
        "ResourceId": log.resource_id,
        "Tags": tag_list(&log.tags),
        "TrafficType": log.traffic_type,
    }))
}
