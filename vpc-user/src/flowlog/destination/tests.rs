//! Deliveries to real servers: moto serves S3 and CloudWatch Logs, boto3 reads back.

mod cloudwatch;
mod credentials;
mod firehose;
mod folder;
mod limits;
mod moto;
mod places;
mod s3;
mod server;
mod stores;
mod trust;

use std::time::Duration;

use super::{AccessKey, AwsOptions, DeliveryError, DeliveryFailure, Destination, Parcel};

/// For servers that never answer.
const SHORT: Duration = Duration::from_millis(400);

fn parcel(name: &str, body: impl Into<bytes::Bytes>) -> Parcel {
    Parcel {
        name: name.to_owned(),
        body: body.into(),
    }
}

/// A server at a port of this host, with credentials that any mock takes.
fn options(port: u16) -> AwsOptions {
    AwsOptions {
        region: Some("us-east-1".to_owned()),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        key: Some(key("test", "test")),
        ..AwsOptions::default()
    }
}

fn key(id: &str, secret: &str) -> AccessKey {
    AccessKey {
        id: id.to_owned(),
        secret: secret.to_owned(),
        session_token: None,
    }
}

/// A task may deliver.
fn sent<T: Send>(value: T) -> T {
    value
}

/// Delivers in vain, and looks at the sentence.
async fn refused(
    destination: &mut Destination,
    parcel: &Parcel,
    kind: DeliveryFailure,
    words: &[&str],
) -> DeliveryError {
    let error = sent(destination.deliver(parcel)).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.message().contains(word), "{word:?} in {error}");
    }
    let sentence = error.message();
    assert!(
        !sentence.contains(char::is_control) && sentence.contains("): "),
        "{sentence:?}"
    );
    error
}
