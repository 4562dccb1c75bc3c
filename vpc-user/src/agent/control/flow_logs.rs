//! Flow logs of the state, and what deliveries have come to.

use super::ControlPlane;
use crate::{
    control::{
        Change, Id, Kind,
        life::Event,
        resource::{DeliveryError, FlowLog},
    },
    dataplane::Dataplane,
    flowlog::{Form, Log, LogFormat, ObjectNames, Outcome, Scope, Target, TrafficType},
};

/// What a flow log's interval is divided by: the shortest that AWS has, seconds.
const PERIOD_SECS: u32 = 60;

impl ControlPlane {
    /// Every flow log.
    pub fn flow_logs(&self) -> Vec<Log> {
        let logs = self.state.all::<FlowLog>();
        logs.map(|log| self.flow_log(log)).collect()
    }

    /// Whether flow logs were made or deleted since this was asked last.
    pub const fn take_flow_logs_changed(&mut self) -> bool {
        std::mem::replace(&mut self.flow_logs_changed, false)
    }

    fn flow_log(&self, log: &FlowLog) -> Log {
        let id = log.resource_id.to_string();
        let scope = match log.subject().kind {
            Kind::Vpc => Scope::Vpc(id),
            Kind::Subnet => Scope::Subnet(id),
            _ => Scope::Interface(id),
        };
        let destination = log.log_destination.clone().unwrap_or_default();
        let (bucket, folder) = destination.split_once('/').unwrap_or((&destination, ""));
        let names = || ObjectNames {
            folder: folder.trim_matches('/').to_owned(),
            account: log.owner_id.to_string(),
            region: self.settings.region.clone(),
            flow_log_id: log.flow_log_id.to_string(),
            hive_compatible: log.hive_compatible_partitions,
            per_hour: log.per_hour_partition,
            parquet: log.file_format == "parquet",
        };
        let (form, target) = match log.log_destination_type.as_str() {
            "s3" => (Form::Files(names()), Target::Bucket(bucket.to_owned())),
            "kinesis-data-firehose" => (Form::Lines, Target::DeliveryStream(destination)),
            _ => {
                let group = log.log_group_name.clone().unwrap_or_default();
                (Form::Events, Target::LogGroup(group))
            }
        };
        Log {
            id: log.flow_log_id.to_string(),
            scope,
            traffic: TrafficType::from_word(&log.traffic_type).unwrap_or_default(),
            periods: u64::from(log.max_aggregation_interval / PERIOD_SECS).max(1),
            // What is kept was accepted once.
            format: LogFormat::parse(&log.log_format).unwrap_or_default(),
            form,
            target,
        }
    }

    /// Takes note of what deliveries have come to, if it is news.
    pub fn delivery(&mut self, dataplane: &mut Dataplane, id: &str, outcome: &Outcome) {
        let error = match outcome {
            Outcome::Delivered => None,
            Outcome::Failed { failure, message } => Some(DeliveryError {
                failure: failure.clone(),
                detail: message.clone(),
            }),
        };
        let log = self.state.get::<FlowLog>(id);
        if log.is_some_and(|log| log.delivery_error != error)
            && let Ok(flow_log_id) = Id::new(id)
        {
            let event = Event::FlowLogDelivery { flow_log_id, error };
            self.report(dataplane, vec![event]);
        }
    }
}

/// Whether flow logs were made or deleted.
pub(super) fn have_changed(changes: &[Change]) -> bool {
    let has = |change: &Change| {
        change.key.kind == Kind::FlowLog && change.before.is_some() != change.after.is_some()
    };
    changes.iter().any(has)
}
