//! Objects in S3.

use std::collections::BTreeMap;

use super::{
    super::{AwsOptions, DeliveryFailure, Destination, ObjectOptions, Objects, Parcel},
    SHORT, key,
    moto::Moto,
    options, parcel, refused,
    server::{Answer, Server},
};

fn bucket(url: &str, aws: AwsOptions) -> Destination {
    let options = ObjectOptions {
        aws,
        settings: Vec::new(),
    };
    Destination::Objects(Objects::new(url, options).unwrap())
}

fn of_parcels<'a>(
    prefix: &str,
    parcels: impl IntoIterator<Item = &'a Parcel>,
) -> BTreeMap<String, Vec<u8>> {
    let parcels = parcels.into_iter();
    parcels
        .map(|parcel| (format!("{prefix}{}", parcel.name), parcel.body.to_vec()))
        .collect()
}

#[tokio::test]
async fn objects_are_there_under_their_names() {
    let moto = Moto::shared();
    moto.make_bucket("names");
    // Names of every form that flow logs have, and a body that is no text.
    let parcels = [
        parcel(
            "AWSLogs/1/vpcflowlogs/us-east-1/2026/11/26/a_20261126T1620Z_0f.log.gz",
            "one",
        ),
        parcel(
            "AWSLogs/aws-account-id=1/year=2026/b.log.parquet",
            vec![0, 255, 10],
        ),
        parcel("with space+plus%2F&ü", "two"),
        parcel("empty", ""),
    ];
    for (url, prefix) in [
        ("s3://names", ""),
        ("s3://names/by url/", "by url/"),
        ("arn:aws:s3:::names/by-arn", "by-arn/"),
        ("arn:aws-cn:s3:::names/by-arn/deeper/", "by-arn/deeper/"),
    ] {
        let mut bucket = bucket(url, options(moto.port));
        for parcel in &parcels {
            bucket.deliver(parcel).await.unwrap();
            bucket.deliver(parcel).await.unwrap();
        }
        let found = moto.objects("names");
        for (name, body) in of_parcels(prefix, &parcels) {
            assert_eq!(
                found.get(&name),
                Some(&body),
                "{name} in {:?}",
                found.keys()
            );
        }
    }
    assert_eq!(moto.objects("names").len(), 4 * parcels.len());
}

#[tokio::test]
async fn a_large_object_is_whole() {
    let moto = Moto::shared();
    moto.make_bucket("large");
    let body: Vec<u8> = (0..20_000_000_u32)
        .map(|at| (at ^ (at >> 7)) as u8)
        .collect();
    let parcel = parcel("large", body);
    let mut bucket = bucket("s3://large", options(moto.port));
    bucket.deliver(&parcel).await.unwrap();
    assert!(moto.objects("large") == of_parcels("", [&parcel]));
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named() {
    let moto = Moto::shared();
    let mut bucket = bucket("s3://nowhere/flows", options(moto.port));
    let words = ["s3://nowhere/flows/a ", "NoSuchBucket", "make the bucket"];
    let parcel = parcel("a", "a");
    refused(&mut bucket, &parcel, DeliveryFailure::AccessError, &words).await;
    // It is looked at again.
    moto.make_bucket("nowhere");
    bucket.deliver(&parcel).await.unwrap();
    assert_eq!(moto.objects("nowhere"), of_parcels("flows/", [&parcel]));
}

#[tokio::test]
async fn a_name_that_is_no_key_is_an_error() {
    let mut bucket = bucket("s3://any", options(1));
    for name in ["", "/", "a//b", "../a", "a/./b"] {
        let parcel = parcel(name, "a");
        refused(
            &mut bucket,
            &parcel,
            DeliveryFailure::Unknown,
            &["fault of the program"],
        )
        .await;
    }
}

/// As a spool does: each parcel until it is delivered.
#[tokio::test]
async fn a_server_that_is_killed_and_comes_back_gets_everything_once() {
    let moto = Moto::start(0, &[]);
    let port = moto.port;
    moto.make_bucket("killed");
    let mut bucket = bucket("s3://killed", options(port));
    let parcels: Vec<Parcel> = (0..6)
        .map(|at| parcel(&format!("part-{at}"), format!("body {at}")))
        .collect();
    for parcel in &parcels[..3] {
        bucket.deliver(parcel).await.unwrap();
    }
    assert_eq!(moto.objects("killed"), of_parcels("", &parcels[..3]));
    drop(moto);
    let words = ["s3://killed/part-3 ", "refused", "reaches it"];
    for _ in 0..2 {
        refused(&mut bucket, &parcels[3], DeliveryFailure::Unknown, &words).await;
    }
    // moto forgets all; what was delivered before has been seen.
    let moto = Moto::start(port, &[]);
    let words = ["NoSuchBucket"];
    refused(
        &mut bucket,
        &parcels[3],
        DeliveryFailure::AccessError,
        &words,
    )
    .await;
    moto.make_bucket("killed");
    for parcel in &parcels[3..] {
        bucket.deliver(parcel).await.unwrap();
    }
    assert_eq!(moto.objects("killed"), of_parcels("", &parcels[3..]));
}

#[tokio::test]
async fn credentials_that_are_refused_are_an_access_error() {
    // What makes the bucket and the user is not asked for credentials: three requests, and one
    // with a policy.
    let moto = Moto::start(0, &[("INITIAL_NO_AUTH_ACTION_COUNT", "3")]);
    let [id, secret]: [String; 2] = moto.ask(&["user", "nobody", ""]);
    let parcel = parcel("a", "a");
    for (key, words) in [
        (
            key(&id, &secret),
            ["AccessDenied", "permit these credentials"],
        ),
        (
            key(&id, "wrong"),
            ["SignatureDoesNotMatch", "renew the credentials"],
        ),
        (
            key("AKIAWRONG", "wrong"),
            ["InvalidAccessKeyId", "renew the credentials"],
        ),
    ] {
        let options = AwsOptions {
            key: Some(key),
            ..options(moto.port)
        };
        let mut bucket = bucket("s3://private", options);
        refused(&mut bucket, &parcel, DeliveryFailure::AccessError, &words).await;
    }
}

#[tokio::test]
async fn credentials_that_are_permitted_are_enough() {
    let moto = Moto::start(0, &[("INITIAL_NO_AUTH_ACTION_COUNT", "4")]);
    let policy = r#"{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::private/flows/*"}]}"#;
    let [id, secret]: [String; 2] = moto.ask(&["user", "writer", policy]);
    let options = AwsOptions {
        key: Some(key(&id, &secret)),
        ..options(moto.port)
    };
    let parcel = parcel("a", "a");
    let mut permitted = bucket("s3://private/flows", options.clone());
    permitted.deliver(&parcel).await.unwrap();
    let mut refusing = bucket("s3://private/elsewhere", options);
    let words = ["AccessDenied"];
    refused(&mut refusing, &parcel, DeliveryFailure::AccessError, &words).await;
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let silent = Server::start(|_, _| Answer::Silence).await;
    let options = AwsOptions {
        timeout: SHORT,
        ..options(silent.port)
    };
    let mut bucket = bucket("s3://any", options);
    let words = ["s3://any/a ", "no answer within 0.4 s", "firewall"];
    refused(
        &mut bucket,
        &parcel("a", "a"),
        DeliveryFailure::Unknown,
        &words,
    )
    .await;
    assert_eq!(silent.seen().len(), 1);
}

#[tokio::test]
async fn a_connection_that_was_closed_is_tried_once_more() {
    let answer = |_: &_, before| match before {
        0 => Answer::Nothing,
        _ => Answer::Http(200, String::new()),
    };
    let closing = Server::start(answer).await;
    let mut bucket = bucket("s3://any", options(closing.port));
    bucket.deliver(&parcel("a", "a")).await.unwrap();
    assert_eq!(closing.seen().len(), 2);
}

#[tokio::test]
async fn what_a_store_says_becomes_awss_words() {
    use DeliveryFailure::{AccessError, RateLimited, Unknown};
    let xml = |code: &str| format!("<Error><Code>{code}</Code><Message>so it is</Message></Error>");
    for (status, body, kind, word) in [
        (503, xml("SlowDown"), RateLimited, "SlowDown: so it is"),
        (429, String::new(), RateLimited, "status 429"),
        (
            503,
            xml("ServiceUnavailable"),
            Unknown,
            "ServiceUnavailable",
        ),
        (
            500,
            "<Code>\u{0}\n<Code></Code>".repeat(9_999),
            Unknown,
            "500",
        ),
        (
            400,
            xml("ExpiredToken"),
            AccessError,
            "renew the credentials",
        ),
        (
            400,
            xml("AuthorizationHeaderMalformed"),
            AccessError,
            "region",
        ),
        (401, "no".to_owned(), AccessError, "status 401"),
        (403, xml("AccessDenied"), AccessError, "permit"),
        (
            301,
            xml("PermanentRedirect"),
            AccessError,
            "region of the bucket",
        ),
        (204, String::new(), Unknown, ""),
    ] {
        let answer = Answer::Http(status, body);
        let server = Server::start(move |_, _| answer.clone()).await;
        let mut bucket = bucket("s3://any", options(server.port));
        let parcel = parcel("a", "a");
        if status == 204 {
            bucket.deliver(&parcel).await.unwrap();
            continue;
        }
        let error = refused(&mut bucket, &parcel, kind, &[word]).await;
        assert!(error.message().chars().count() < 600, "{error}");
        assert!(server.seen().len() <= 2);
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_http_is_an_error() {
    let server = Server::start(|_, _| Answer::Raw(b"SSH-2.0-no\r\n")).await;
    let mut bucket = bucket("s3://any", options(server.port));
    refused(
        &mut bucket,
        &parcel("a", "a"),
        DeliveryFailure::Unknown,
        &["endpoint"],
    )
    .await;
}
