//! Events of a log group in CloudWatch Logs.

use std::{error::Error as StdError, fmt};

use aws_sdk_cloudwatchlogs::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::put_log_events::{PutLogEventsError, PutLogEventsOutput},
    types::{InputLogEvent, RejectedLogEventsInfo},
};

use super::{
    AwsOptions, DeliveryError, DeliveryFailure, Parcel, aws,
    batch::{self, Batch},
    error,
};

/// A log group. A parcel's body is lines `<Unix milliseconds> <stream> <text>`; the group and its
/// streams are made when they are missing.
#[derive(Debug)]
pub struct CloudWatch {
    group: String,
    options: AwsOptions,
    client: Option<Client>,
    begun: Option<Begun>,
}

/// A parcel of which some batches have arrived: they are not sent again.
#[derive(Debug)]
struct Begun {
    name: String,
    batches: usize,
}

/// Codes of refused credentials, and of what they do not permit.
const ACCESS_CODES: [&str; 9] = [
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "UnrecognizedClientException",
];

/// Codes of too much at once.
const RATE_CODES: [&str; 5] = [
    "LimitExceededException",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

impl CloudWatch {
    /// The group of that name.
    pub const fn new(group: String, options: AwsOptions) -> Self {
        Self {
            group,
            options,
            client: None,
            begun: None,
        }
    }

    /// Delivers a parcel, see [`Destination::deliver`](super::Destination::deliver). Events that
    /// the service no longer takes, or not yet, are lost and counted in the log.
    pub(super) async fn deliver(&mut self, parcel: &Parcel) -> Result<(), DeliveryError> {
        let client = self.client().await?;
        let body = batch::of_body(&parcel.body);
        if body.refused != 0 {
            let lines = body.refused;
            tracing::warn!(
                group = self.group,
                parcel.name,
                lines,
                "lines are no events"
            );
        }
        let arrived = match self.begun.take() {
            Some(begun) if begun.name == parcel.name => begun.batches,
            _ => 0,
        };
        for (index, batch) in body.batches.iter().enumerate().skip(arrived) {
            if let Err(error) = self.put(&client, batch).await {
                self.begun = Some(Begun {
                    name: parcel.name.clone(),
                    batches: index,
                });
                if error.kind() == DeliveryFailure::AccessError {
                    // Next time with credentials that are looked for again.
                    self.client = None;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    async fn client(&mut self) -> Result<Client, DeliveryError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let configuration = aws::configuration(&self.options).await;
        if configuration.region().is_none() {
            return Err(aws::no_region(self.what()));
        }
        Ok(self.client.insert(Client::new(&configuration)).clone())
    }

    async fn put(&self, client: &Client, batch: &Batch<'_>) -> Result<(), DeliveryError> {
        let mut put = self.put_once(client, batch).await;
        if put.as_ref().is_err_and(is_missing) {
            self.create(client, batch.stream).await?;
            put = self.put_once(client, batch).await;
        }
        let put = put.map_err(|error| self.failure(&error))?;
        if let Some(info) = &put.rejected_log_events_info {
            let events = rejected(info, batch.events.len());
            let (group, stream) = (&self.group, batch.stream);
            tracing::warn!(group, stream, events, "events are too old or too new");
        }
        Ok(())
    }

    async fn put_once(
        &self,
        client: &Client,
        batch: &Batch<'_>,
    ) -> Result<PutLogEventsOutput, SdkError<PutLogEventsError>> {
        let mut put = client
            .put_log_events()
            .log_group_name(&self.group)
            .log_stream_name(batch.stream);
        for event in &batch.events {
            let event = InputLogEvent::builder()
                .timestamp(event.timestamp.cast_signed())
                .message(event.text)
                .build()
                .map_err(SdkError::construction_failure)?;
            put = put.log_events(event);
        }
        put.send().await
    }

    /// Makes the stream, and the group if there is none. Others may make them meanwhile.
    async fn create(&self, client: &Client, stream: &str) -> Result<(), DeliveryError> {
        let make_stream = || {
            let request = client.create_log_stream();
            request.log_group_name(&self.group).log_stream_name(stream)
        };
        match make_stream().send().await {
            Err(error) if has_code(&error, "ResourceNotFoundException") => {}
            other => return self.made(other),
        }
        let group = client.create_log_group().log_group_name(&self.group);
        self.made(group.send().await)?;
        self.made(make_stream().send().await)
    }

    fn made<T, E>(&self, outcome: Result<T, SdkError<E>>) -> Result<(), DeliveryError>
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        match outcome {
            Err(error) if !has_code(&error, "ResourceAlreadyExistsException") => {
                Err(self.failure(&error))
            }
            _ => Ok(()),
        }
    }

    fn what(&self) -> impl fmt::Display + use<> {
        format!("log group {}", self.group)
    }

    fn failure<E>(&self, error: &SdkError<E>) -> DeliveryError
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        let what = self.what();
        if let Some(error) = aws::no_credentials(&what, error) {
            return error;
        }
        match error {
            SdkError::TimeoutError(_) => DeliveryError::timeout(what, self.options.timeout),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                DeliveryError::timeout(what, self.options.timeout)
            }
            SdkError::ServiceError(refusal) => {
                let status = refusal.raw().status().as_u16();
                self.refusal(status, refusal.err().meta())
            }
            error => DeliveryError::transport(what, &error::innermost(error)),
        }
    }

    fn refusal(
        &self,
        status: u16,
        said: &aws_sdk_cloudwatchlogs::error::ErrorMetadata,
    ) -> DeliveryError {
        let code = said.code().unwrap_or_default();
        let (kind, remedy) = if ACCESS_CODES.contains(&code) || matches!(status, 401 | 403) {
            (
                DeliveryFailure::AccessError,
                "permit these credentials logs:CreateLogGroup, logs:CreateLogStream and \
                 logs:PutLogEvents, or use others",
            )
        } else if RATE_CODES.contains(&code) || status == 429 {
            (
                DeliveryFailure::RateLimited,
                "ask AWS for a higher quota of CloudWatch Logs, or record less",
            )
        } else {
            (
                DeliveryFailure::Unknown,
                "check the name of the group and whether the service is well",
            )
        };
        let why = match (code, said.message().unwrap_or_default()) {
            ("", "") => format!("status {status}"),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {message}"),
        };
        DeliveryError::new(kind, self.what(), error::one_line(&why), remedy)
    }
}

fn is_missing(error: &SdkError<PutLogEventsError>) -> bool {
    has_code(error, "ResourceNotFoundException")
}

fn has_code<E: ProvideErrorMetadata>(error: &SdkError<E>, code: &str) -> bool {
    error.as_service_error().and_then(|error| error.code()) == Some(code)
}

/// How many of a batch were refused: those before one index, and from another on.
fn rejected(info: &RejectedLogEventsInfo, events: usize) -> usize {
    let place = |index: Option<i32>| index.and_then(|index| usize::try_from(index).ok());
    let too_old = place(info.too_old_log_event_end_index)
        .max(place(info.expired_log_event_end_index))
        .unwrap_or(0);
    let too_new = place(info.too_new_log_event_start_index).unwrap_or(events);
    (too_old + events.saturating_sub(too_new)).min(events)
}
