//! Events in CloudWatch Logs.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    super::{AwsOptions, CloudWatch, DeliveryFailure, Destination},
    SHORT, key,
    moto::Moto,
    options, parcel, refused,
    server::{Answer, Request, Server},
};

fn group(name: &str, options: AwsOptions) -> Destination {
    Destination::CloudWatch(CloudWatch::new(name.to_owned(), options))
}

/// Unix milliseconds: the service keeps no old events.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_millis().try_into().unwrap()
}

/// Which action a request is.
fn action(request: &Request) -> &str {
    let target = request.header("x-amz-target").unwrap();
    target.strip_prefix("Logs_20140328.").unwrap()
}

fn refusal(code: &str) -> Answer {
    let body = format!(r#"{{"__type": "{code}", "message": "so it is"}}"#);
    Answer::Http(400, body)
}

#[tokio::test]
async fn events_are_there_in_streams_that_were_missing() {
    let moto = Moto::shared();
    let mut group = group("flows", options(moto.port));
    let now = now();
    let mut body = String::new();
    let mut expected = BTreeMap::<String, Vec<(u64, String)>>::new();
    // Newest first, and more than a batch of them.
    for at in (0..12_000).rev() {
        let (timestamp, stream) = (now - 20_000 + at, format!("eni-{}-all", at % 2));
        body += &format!("{timestamp} {stream} 2 - record {at}\n");
        let events = expected.entry(stream).or_default();
        events.insert(0, (timestamp, format!("2 - record {at}")));
    }
    group.deliver(&parcel("1", body)).await.unwrap();
    let (first, second) = (
        format!("{now} eni-0-all again\n"),
        format!("{now} eni-2-all new\n"),
    );
    group.deliver(&parcel("2", first + &second)).await.unwrap();
    expected
        .entry("eni-0-all".to_owned())
        .or_default()
        .push((now, "again".to_owned()));
    expected.insert("eni-2-all".to_owned(), vec![(now, "new".to_owned())]);
    assert!(moto.events("flows") == expected);
}

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back_gets_the_rest() {
    let moto = Moto::start(0, &[]);
    let port = moto.port;
    let mut group = group("flows", options(port));
    let line = |text: &str| format!("{} eni-1-all {text}\n", now());
    group.deliver(&parcel("1", line("one"))).await.unwrap();
    let texts = |moto: &Moto| -> Vec<String> {
        let streams = moto.events("flows");
        streams["eni-1-all"]
            .iter()
            .map(|(_, text)| text.clone())
            .collect()
    };
    assert_eq!(texts(&moto), ["one"]);
    drop(moto);
    let second = parcel("2", line("two"));
    let words = ["log group flows ", "refused", "reaches it"];
    refused(&mut group, &second, DeliveryFailure::Unknown, &words).await;
    let moto = Moto::start(port, &[]);
    group.deliver(&second).await.unwrap();
    group.deliver(&parcel("3", line("three"))).await.unwrap();
    assert_eq!(texts(&moto), ["two", "three"]);
}

#[tokio::test]
async fn credentials_that_are_refused_are_an_access_error() {
    let moto = Moto::start(0, &[("INITIAL_NO_AUTH_ACTION_COUNT", "3")]);
    let [id, secret]: [String; 2] = moto.ask(&["user", "nobody", ""]);
    let parcel = parcel("1", format!("{} s t\n", now()));
    for key in [
        key(&id, &secret),
        key(&id, "wrong"),
        key("AKIAWRONG", "wrong"),
    ] {
        let options = AwsOptions {
            key: Some(key),
            ..options(moto.port)
        };
        let mut group = group("flows", options);
        // moto says why as another protocol has it.
        let words = ["log group flows ", "403", "logs:PutLogEvents"];
        refused(&mut group, &parcel, DeliveryFailure::AccessError, &words).await;
    }
}

#[tokio::test]
async fn what_the_service_says_becomes_awss_words() {
    use DeliveryFailure::{AccessError, RateLimited, Unknown};
    for (answer, kind, word) in [
        (
            refusal("AccessDeniedException"),
            AccessError,
            "permit these credentials",
        ),
        (
            refusal("UnrecognizedClientException"),
            AccessError,
            "or use others",
        ),
        (
            refusal("InvalidSignatureException"),
            AccessError,
            "so it is",
        ),
        (refusal("ExpiredTokenException"), AccessError, "so it is"),
        (refusal("ThrottlingException"), RateLimited, "quota"),
        (Answer::Http(429, "{}".to_owned()), RateLimited, "429"),
        (
            refusal("InvalidParameterException"),
            Unknown,
            "name of the group",
        ),
        (Answer::Http(500, "<html>\n".repeat(9_999)), Unknown, "500"),
        (Answer::Http(200, "<html>".to_owned()), Unknown, "flows"),
        (Answer::Raw(b"SSH-2.0-no\r\n"), Unknown, "reaches it"),
        (Answer::Nothing, Unknown, "reaches it"),
    ] {
        let server = Server::start(move |_, _| answer.clone()).await;
        let mut group = group("flows", options(server.port));
        let parcel = parcel("1", "1 s t\n");
        let error = refused(&mut group, &parcel, kind, &[word]).await;
        assert!(error.message().chars().count() < 600, "{error}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let silent = Server::start(|_, _| Answer::Silence).await;
    let options = AwsOptions {
        timeout: SHORT,
        ..options(silent.port)
    };
    let mut group = group("flows", options);
    let words = ["log group flows ", "no answer within 0.4 s"];
    refused(
        &mut group,
        &parcel("1", "1 s t\n"),
        DeliveryFailure::Unknown,
        &words,
    )
    .await;
}

#[tokio::test]
async fn batches_that_have_arrived_are_not_sent_again() {
    // The second batch is refused twice: once, and once more by the client's own attempt.
    let server = Server::start(|request, before| match before {
        1..=4 => {
            assert!(String::from_utf8_lossy(&request.body).contains("two"));
            refusal("ThrottlingException")
        }
        _ => Answer::Http(200, "{}".to_owned()),
    })
    .await;
    let mut group = group("flows", options(server.port));
    let parcel = parcel("1", "1 a one\n2 b two\n3 c three\n");
    for _ in 0..2 {
        let words = ["ThrottlingException: so it is", "quota"];
        refused(&mut group, &parcel, DeliveryFailure::RateLimited, &words).await;
    }
    group.deliver(&parcel).await.unwrap();
    let streams: Vec<String> = server
        .seen()
        .iter()
        .map(|request| {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            body["logStreamName"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(streams, ["a", "b", "b", "b", "b", "b", "c"]);
}

#[tokio::test]
async fn what_another_has_made_meanwhile_is_fine() {
    let server = Server::start(|request, before| match (action(request), before) {
        ("PutLogEvents", 0) | ("CreateLogStream", 1) => refusal("ResourceNotFoundException"),
        ("PutLogEvents", 4) => Answer::Http(200, "{}".to_owned()),
        _ => refusal("ResourceAlreadyExistsException"),
    })
    .await;
    let mut group = group("flows", options(server.port));
    group.deliver(&parcel("1", "1 s t\n")).await.unwrap();
    let seen = server.seen();
    let actions: Vec<&str> = seen.iter().map(action).collect();
    let expected = [
        "PutLogEvents",
        "CreateLogStream",
        "CreateLogGroup",
        "CreateLogStream",
    ];
    assert_eq!(actions[..4], expected);
    assert_eq!(actions[4..], ["PutLogEvents"]);
}

#[tokio::test]
async fn a_group_that_may_not_be_made_is_an_access_error() {
    let server = Server::start(|request, _| match action(request) {
        "CreateLogGroup" => refusal("AccessDeniedException"),
        _ => refusal("ResourceNotFoundException"),
    })
    .await;
    let mut group = group("flows", options(server.port));
    let parcel = parcel("1", "1 s t\n");
    let words = ["AccessDeniedException", "logs:CreateLogGroup"];
    refused(&mut group, &parcel, DeliveryFailure::AccessError, &words).await;
}

#[tokio::test]
async fn events_that_the_service_no_longer_takes_are_not_kept() {
    let moto = Moto::shared();
    let mut group = group("late", options(moto.port));
    let now = now();
    let old = now - 15 * 86_400_000;
    let body = format!(
        "{old} s old\n{now} s new\n{} s early\n",
        now + 3 * 3_600_000
    );
    group.deliver(&parcel("1", body)).await.unwrap();
    let texts: Vec<String> = moto.events("late")["s"]
        .iter()
        .map(|(_, text)| text.clone())
        .collect();
    assert_eq!(texts, ["new"]);
}

#[tokio::test]
async fn nothing_is_sent_of_a_body_without_events() {
    let server = Server::start(|_, _| Answer::Nothing).await;
    let mut group = group("flows", options(server.port));
    group.deliver(&parcel("1", "")).await.unwrap();
    group.deliver(&parcel("2", "no event\n")).await.unwrap();
    assert!(server.seen().is_empty());
}
