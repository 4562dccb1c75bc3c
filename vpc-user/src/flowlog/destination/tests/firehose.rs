//! Records for an HTTP endpoint.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{DeliveryFailure, Destination, Firehose, FirehoseOptions},
    SHORT, parcel, refused,
    server::{Answer, Request, Server},
};

const ARN: &str = "arn:aws:firehose:us-east-1:123456789012:deliverystream/flows";

fn endpoint(port: u16) -> Destination {
    with(port, FirehoseOptions::new(ARN.to_owned()))
}

fn with(port: u16, options: FirehoseOptions) -> Destination {
    let url = format!("http://127.0.0.1:{port}/intake?token=secret");
    Destination::Firehose(Firehose::new(&url, options).unwrap())
}

fn acknowledge(request: &Request, _: usize) -> Answer {
    let id = request.header("x-amz-firehose-request-id").unwrap();
    let answer = json!({"requestId": id, "timestamp": 1});
    Answer::Http(200, answer.to_string())
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn records(request: &Request) -> Vec<Vec<u8>> {
    let body = body(request);
    let records = body["records"].as_array().unwrap().iter();
    records
        .map(|record| {
            BASE64_STANDARD
                .decode(record["data"].as_str().unwrap())
                .unwrap()
        })
        .collect()
}

#[tokio::test]
async fn a_request_is_as_firehose_makes_it() {
    let server = Server::start(acknowledge).await;
    let options = FirehoseOptions {
        access_key: Some("letmein".to_owned()),
        ..FirehoseOptions::new(ARN.to_owned())
    };
    assert!(!format!("{options:?}").contains("letmein"));
    let mut endpoint = with(server.port, options);
    endpoint
        .deliver(&parcel("1", "one\ntwo words\n"))
        .await
        .unwrap();
    let seen = server.seen();
    let request = &seen[0];
    assert_eq!(request.line, "POST /intake?token=secret HTTP/1.1");
    let id = request.header("x-amz-firehose-request-id").unwrap();
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-amz-firehose-protocol-version", "1.0"),
        ("x-amz-firehose-source-arn", ARN),
        ("x-amz-firehose-access-key", "letmein"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert!(body(request)["timestamp"].as_u64().unwrap() > 1_700_000_000_000);
    assert_eq!(body(request)["requestId"], id);
    assert_eq!(records(request), [&b"one"[..], b"two words"]);
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn a_parcel_that_is_delivered_again_has_the_same_ids() {
    let failures = AtomicUsize::new(0);
    let server = Server::start(move |request, before| match before {
        1 => {
            failures.fetch_add(1, Ordering::Relaxed);
            Answer::Http(500, r#"{"errorMessage": "full\n up"}"#.to_owned())
        }
        _ => acknowledge(request, before),
    })
    .await;
    let mut endpoint = endpoint(server.port);
    // Three requests of less than a MiB each.
    let parcel = parcel("1", format!("{}\n", "x".repeat(700)).repeat(3_000));
    let words = ["/intake ", "500", "full up", "endpoint's log"];
    let error = refused(&mut endpoint, &parcel, DeliveryFailure::Unknown, &words).await;
    assert!(!error.message().contains("secret"), "{error}");
    endpoint.deliver(&parcel).await.unwrap();
    let seen = server.seen();
    let ids: Vec<_> = seen
        .iter()
        .map(|request| request.header("x-amz-firehose-request-id").unwrap())
        .collect();
    assert_eq!((ids[0], ids[1], ids.len()), (ids[2], ids[3], 5));
    assert!(ids[2] != ids[3] && ids[3] != ids[4] && ids[2] != ids[4]);
    assert!(seen.iter().all(|request| request.body.len() <= 1_048_576));
    let records: Vec<_> = seen[2..].iter().flat_map(records).collect();
    assert_eq!(records.len(), 3_000);
}

#[tokio::test]
async fn only_an_acknowledgement_is_one() {
    use DeliveryFailure::{AccessError, RateLimited, Unknown};
    for (answer, kind, word) in [
        (
            Answer::Http(200, String::new()),
            Unknown,
            "no acknowledgement",
        ),
        (
            Answer::Http(200, "{}".to_owned()),
            Unknown,
            "no acknowledgement",
        ),
        (
            Answer::Http(200, r#"{"requestId": "x"}"#.to_owned()),
            Unknown,
            "another id",
        ),
        (
            Answer::Http(200, "<html>".repeat(300_000)),
            Unknown,
            "no acknowledgement",
        ),
        (Answer::Http(204, String::new()), Unknown, "204"),
        (Answer::Http(302, String::new()), Unknown, "302"),
        (
            Answer::Http(401, "no".to_owned()),
            AccessError,
            "access key",
        ),
        (Answer::Http(403, String::new()), AccessError, "403"),
        (Answer::Http(429, String::new()), RateLimited, "429"),
        (Answer::Http(500, "<html>".to_owned()), Unknown, "500"),
        (Answer::Raw(b"SSH-2.0-no\r\n"), Unknown, "reaches it"),
        (
            Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"),
            Unknown,
            "reaches it",
        ),
        (Answer::Nothing, Unknown, "reaches it"),
        (Answer::Silence, Unknown, "no answer within 0.4 s"),
    ] {
        let shown = format!("{answer:?}");
        let server = Server::start(move |_, _| answer.clone()).await;
        let options = FirehoseOptions {
            timeout: SHORT,
            ..FirehoseOptions::new(ARN.to_owned())
        };
        let mut endpoint = with(server.port, options);
        let parcel = parcel("1", "one\n");
        let error = refused(&mut endpoint, &parcel, kind, &[word]).await;
        assert!(error.message().len() < 1_000, "{shown:.60}: {error}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_away_is_an_error_and_then_is_not() {
    let server = Server::start(acknowledge).await;
    let port = server.port;
    drop(server);
    let mut endpoint = endpoint(port);
    let parcel = parcel("1", "one\n");
    let words = ["reaches it"];
    refused(&mut endpoint, &parcel, DeliveryFailure::Unknown, &words).await;
}

#[test]
fn options_that_cannot_be_sent_are_refused() {
    let options = |arn: &str, key: &str| FirehoseOptions {
        access_key: Some(key.to_owned()),
        ..FirehoseOptions::new(arn.to_owned())
    };
    let url = "https://example.com/";
    for (url, options, word) in [
        ("example.com", options(ARN, ""), "example.com"),
        ("ftp://example.com", options(ARN, ""), "http"),
        (url, options("arn\n", ""), "ARN"),
        (url, options(ARN, "a\r\nb: c"), "access key"),
    ] {
        let error = Firehose::new(url, options).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_line_is_in_one_bounded_request(
        lengths in prop::collection::vec(prop_oneof![1..100_usize, 1..400_000_usize], 0..40),
    ) {
        let lines: Vec<Vec<u8>> = lengths.iter().map(|&length| vec![b'x'; length]).collect();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let seen = runtime.block_on(async {
            let server = Server::start(acknowledge).await;
            let parcel = parcel("1", lines.join(&b'\n'));
            endpoint(server.port).deliver(&parcel).await.unwrap();
            server.seen()
        });
        prop_assert!(seen.iter().all(|request| request.body.len() <= 1_048_576));
        let found: Vec<Vec<u8>> = seen.iter().flat_map(records).collect();
        prop_assert!(found == lines);
    }
}
