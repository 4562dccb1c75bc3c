//! What a request for flow logs must be like.

use super::{super::request::invalid_parameter, CreateFlowLogs};
use crate::{
    control::{ApiError, Kind, State, resource::FlowLog},
    flowlog::LogFormat,
};

/// Resources of one request.
const RESOURCES_MAX: usize = 300;

/// The format of a flow log that names none.
pub fn default_format() -> String {
    LogFormat::default().to_string()
}

/// Checks a request by itself; the kind of its resources.
pub fn request(request: &CreateFlowLogs, region: &str) -> Result<Kind, ApiError> {
    let kind = match request.resource_type.as_str() {
        "VPC" => Kind::Vpc,
        "Subnet" => Kind::Subnet,
        "NetworkInterface" => Kind::Interface,
        other => {
            let message = format!("ResourceType {other} is not supported.");
            return Err(invalid_parameter(message));
        }
    };
    if request.resource_ids.is_empty() {
        let message = "The request must contain the parameter ResourceId";
        return Err(ApiError::new("MissingParameter", message));
    }
    if request.resource_ids.len() > RESOURCES_MAX {
        let message = format!("At most {RESOURCES_MAX} resources can be specified.");
        return Err(invalid_parameter(message));
    }
    match request.traffic_type.as_deref() {
        Some("ACCEPT" | "REJECT" | "ALL") => {}
        Some(_) => {
            return Err(invalid_parameter(
                "TrafficType must be ACCEPT, REJECT or ALL.",
            ));
        }
        None => {
            let message = "The request must contain the parameter TrafficType";
            return Err(ApiError::new("MissingParameter", message));
        }
    }
    destination(request, region)?;
    if !matches!(request.max_aggregation_interval, None | Some(60 | 600)) {
        return Err(invalid_parameter(
            "Invalid Flow Log Max Aggregation Interval",
        ));
    }
    if let Some(format) = &request.log_format {
        LogFormat::parse(format).map_err(|error| invalid_parameter(error.to_string()))?;
    }
    options(request)?;
    Ok(kind)
}

fn destination(request: &CreateFlowLogs, region: &str) -> Result<(), ApiError> {
    let kind = request.destination_type();
    if !["cloud-watch-logs", "s3", "kinesis-data-firehose"].contains(&kind) {
        let message = format!("LogDestinationType {kind} is not supported.");
        return Err(invalid_parameter(message));
    }
    let refused = match (&request.log_group_name, &request.log_destination) {
        (Some(_), Some(_)) => "Please only provide LogGroupName or only provide LogDestination.",
        (None, None) => "LogDestination can't be empty if LogGroupName is not provided.",
        (Some(_), None) if kind != "cloud-watch-logs" => {
            "LogDestination type must be cloud-watch-logs if LogGroupName is provided."
        }
        _ if kind == "cloud-watch-logs" && request.deliver_logs_permission_arn.is_none() => {
            "DeliverLogsPermissionArn can't be empty if LogDestinationType is cloud-watch-logs."
        }
        _ => "",
    };
    if !refused.is_empty() {
        return Err(invalid_parameter(refused));
    }
    match &request.log_destination {
        Some(arn) => destination_arn(kind, arn, region),
        None => Ok(()),
    }
}

/// The ARN of a destination has the form of its kind.
fn destination_arn(kind: &str, arn: &str, region: &str) -> Result<(), ApiError> {
    let is_well_formed = match kind {
        "s3" => arn.strip_prefix("arn:aws:s3:::").is_some_and(|path| {
            let mut folders = path.trim_end_matches('/').split('/');
            let bucket = folders.next().unwrap_or_default();
            // `AWSLogs` is what follows the folder that is named.
            (3..=63).contains(&bucket.len()) && folders.all(|folder| folder != "AWSLogs")
        }),
        "cloud-watch-logs" => group_of_arn(arn).is_some_and(|name| !name.is_empty()),
        _ => arn.strip_prefix("arn:aws:firehose:").is_some_and(|rest| {
            rest.starts_with(&format!("{region}:")) && rest.contains(":deliverystream/")
        }),
    };
    if is_well_formed {
        return Ok(());
    }
    let message = format!("LogDestination {arn} is not an ARN of type {kind}.");
    Err(invalid_parameter(message))
}

/// The log group, by its name or its ARN.
pub fn log_group(request: &CreateFlowLogs) -> Option<String> {
    let by_arn = || group_of_arn(request.log_destination.as_deref()?);
    request
        .log_group_name
        .clone()
        .or_else(|| by_arn().map(str::to_owned))
}

fn group_of_arn(arn: &str) -> Option<&str> {
    let rest = arn.strip_prefix("arn:aws:logs:")?;
    let (_, name) = rest.split_once(":log-group:")?;
    Some(name.strip_suffix(":*").unwrap_or(name))
}

fn options(request: &CreateFlowLogs) -> Result<(), ApiError> {
    let Some(options) = &request.destination_options else {
        return Ok(());
    };
    if request.destination_type() != "s3" {
        let message = "DestinationOptions can only be provided if LogDestinationType is s3.";
        return Err(invalid_parameter(message));
    }
    if !matches!(
        options.file_format.as_deref(),
        None | Some("plain-text" | "parquet")
    ) {
        return Err(invalid_parameter(
            "FileFormat must be plain-text or parquet.",
        ));
    }
    Ok(())
}

/// The same is not recorded twice to the same place.
pub fn is_new(state: &State, log: &FlowLog) -> Result<(), ApiError> {
    let mut others = state.of_account::<FlowLog>(log.owner_id);
    let is_same = |other: &FlowLog| {
        other.resource_id == log.resource_id
            && other.log_destination_type == log.log_destination_type
            && other.log_group_name == log.log_group_name
            && other.log_destination == log.log_destination
    };
    if others.any(is_same) {
        let message = "Error. There is an existing Flow Log with the same configuration and \
                       log destination.";
        return Err(ApiError::new("FlowLogAlreadyExists", message));
    }
    Ok(())
}
