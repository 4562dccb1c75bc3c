//! Records for an HTTP endpoint, as Amazon Data Firehose delivers them.
//! <https://docs.aws.amazon.com/firehose/latest/dev/httpdeliveryrequestresponse.html>

use std::{
    error::Error as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    DeliveryError, DeliveryFailure, DestinationError, Parcel, TIMEOUT, endpoint, error, tls,
};

/// Bytes of a request's body. A record that is longer by itself is sent all the same.
const REQUEST_MAX: usize = 1_048_576;
/// What surrounds the records of a request at most: two names, an id, a number.
const REQUEST_OVERHEAD: usize = 128;
/// What surrounds the data of a record: `{"data":""},`.
const RECORD_OVERHEAD: usize = 12;
/// Bytes of a response that are read; Firehose reads no more either.
const RESPONSE_MAX: usize = 1_048_576;

/// How an endpoint is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct FirehoseOptions {
    /// The ARN of the delivery stream: `X-Amz-Firehose-Source-Arn`.
    pub source_arn: String,
    /// What the endpoint knows its sender by: `X-Amz-Firehose-Access-Key`.
    pub access_key: Option<String>,
    /// How long the endpoint may take to answer a request.
    pub timeout: Duration,
}

impl FirehoseOptions {
    /// The stream of that ARN, without a key.
    pub const fn new(source_arn: String) -> Self {
        Self {
            source_arn,
            access_key: None,
            timeout: TIMEOUT,
        }
    }
}

impl std::fmt::Debug for FirehoseOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret.
        f.debug_struct("FirehoseOptions")
            .field("source_arn", &self.source_arn)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// An HTTP endpoint. A parcel's body is lines, each a record without its end of line; what does
/// not fit one request goes in several, and a parcel is delivered when all are acknowledged.
#[derive(Debug)]
pub struct Firehose {
    url: Url,
    options: FirehoseOptions,
    headers: HeaderMap,
    client: Option<Client>,
}

/// A request's body.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    request_id: &'a str,
    /// Unix milliseconds.
    timestamp: u64,
    records: &'a [Record],
}

#[derive(Serialize)]
struct Record {
    /// Base64 (RFC 4648 section 4).
    data: String,
}

/// A response's body.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    request_id: Option<String>,
    error_message: Option<String>,
}

impl Firehose {
    /// The endpoint of that URL. Nothing is reached for.
    pub fn new(url: &str, options: FirehoseOptions) -> Result<Self, DestinationError> {
        Ok(Self {
            url: endpoint(url)?,
            headers: headers(&options)?,
            options,
            client: None,
        })
    }

    /// Delivers a parcel, see [`Destination::deliver`](super::Destination::deliver).
    pub(super) async fn deliver(&mut self, parcel: &Parcel) -> Result<(), DeliveryError> {
        let client = self.client()?;
        for (part, records) in requests(&parcel.body).enumerate() {
            let id = self.request_id(&parcel.name, part);
            self.send(&client, &id, &records).await?;
        }
        Ok(())
    }

    fn client(&mut self) -> Result<Client, DeliveryError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        tls::provide();
        let client = Client::builder()
            .timeout(self.options.timeout)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| self.failure(&error))?;
        Ok(self.client.insert(client).clone())
    }

    /// The same whenever this part of this parcel is sent, so that the endpoint can tell.
    fn request_id(&self, parcel: &str, part: usize) -> String {
        let name = format!("{}/{parcel}/{part}", self.options.source_arn);
        Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
    }

    async fn send(
        &self,
        client: &Client,
        id: &str,
        records: &[Record],
    ) -> Result<(), DeliveryError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let timestamp = now.unwrap_or_default().as_millis();
        let request = Request {
            request_id: id,
            timestamp: u64::try_from(timestamp).unwrap_or(u64::MAX),
            records,
        };
        let body = serde_json::to_vec(&request)
            .map_err(|error| self.answered(DeliveryFailure::Unknown, &error.to_string()))?;
        let response = client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header("X-Amz-Firehose-Request-Id", id)
            .body(body)
            .send()
            .await
            .map_err(|error| self.failure(&error))?;
        self.acknowledged(id, response).await
    }

    async fn acknowledged(&self, id: &str, response: Response) -> Result<(), DeliveryError> {
        let status = response.status();
        let body = read(response).await.map_err(|error| self.failure(&error))?;
        let answer: Option<Answer> = serde_json::from_slice(&body).ok();
        let message = answer
            .as_ref()
            .and_then(|answer| answer.error_message.as_deref());
        if status != StatusCode::OK {
            let kind = match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => DeliveryFailure::AccessError,
                StatusCode::TOO_MANY_REQUESTS => DeliveryFailure::RateLimited,
                _ => DeliveryFailure::Unknown,
            };
            let why = match message {
                Some(message) => format!("{status}: {message}"),
                None => status.to_string(),
            };
            return Err(self.answered(kind, &why));
        }
        match answer.and_then(|answer| answer.request_id) {
            Some(acknowledged) if acknowledged == id => Ok(()),
            Some(_) => Err(self.answered(DeliveryFailure::Unknown, "it acknowledged another id")),
            None => {
                Err(self.answered(DeliveryFailure::Unknown, "its answer is no acknowledgement"))
            }
        }
    }

    /// The endpoint without what may be secret in its URL.
    fn what(&self) -> String {
        let (origin, path) = (self.url.origin().ascii_serialization(), self.url.path());
        format!("{origin}{path}")
    }

    fn answered(&self, kind: DeliveryFailure, why: &str) -> DeliveryError {
        let remedy = match kind {
            DeliveryFailure::AccessError => "give the access key that the endpoint expects",
            DeliveryFailure::RateLimited => "raise the endpoint's limit, or record less",
            DeliveryFailure::Unknown => {
                "see the endpoint's log, and that it speaks Firehose's protocol"
            }
        };
        DeliveryError::new(kind, self.what(), error::one_line(why), remedy)
    }

    fn failure(&self, error: &reqwest::Error) -> DeliveryError {
        if error.is_timeout() {
            return DeliveryError::timeout(self.what(), self.options.timeout);
        }
        let why = match error.source() {
            Some(source) => error::innermost(source),
            None => error::one_line(&error.to_string()),
        };
        DeliveryError::transport(self.what(), &why)
    }
}

fn headers(options: &FirehoseOptions) -> Result<HeaderMap, DestinationError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let version = HeaderValue::from_static("1.0");
    headers.insert("X-Amz-Firehose-Protocol-Version", version);
    let arn = HeaderValue::from_str(&options.source_arn)
        .map_err(|_| DestinationError::NotHeader("the ARN of the delivery stream"))?;
    headers.insert("X-Amz-Firehose-Source-Arn", arn);
    if let Some(key) = &options.access_key {
        let mut key = HeaderValue::from_str(key)
            .map_err(|_| DestinationError::NotHeader("the access key of the endpoint"))?;
        key.set_sensitive(true);
        headers.insert("X-Amz-Firehose-Access-Key", key);
    }
    Ok(headers)
}

/// The records of each request, always the same of the same body.
fn requests(body: &[u8]) -> impl Iterator<Item = Vec<Record>> {
    let mut lines = super::lines(body).peekable();
    std::iter::from_fn(move || {
        let mut records = Vec::new();
        let mut size = REQUEST_OVERHEAD;
        while let Some(line) = lines.next_if(|line| {
            size += line.len().div_ceil(3) * 4 + RECORD_OVERHEAD;
            records.is_empty() || size <= REQUEST_MAX
        }) {
            records.push(Record {
                data: BASE64_STANDARD.encode(line),
            });
        }
        (!records.is_empty()).then_some(records)
    })
}

async fn read(mut response: Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > RESPONSE_MAX {
            break;
        }
    }
    Ok(body)
}
