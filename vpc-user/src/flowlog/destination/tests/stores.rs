//! The stores of Google and Azure, as far as a request shows.

use super::{
    super::{AwsOptions, DeliveryFailure, Destination, ObjectOptions, Objects},
    SHORT, parcel, refused,
    server::{Answer, Server},
};

fn store(url: &str, port: u16, settings: &[(&str, &str)]) -> Destination {
    let settings = settings.iter();
    let options = ObjectOptions {
        aws: AwsOptions {
            endpoint: Some(format!("http://127.0.0.1:{port}")),
            timeout: SHORT,
            ..AwsOptions::default()
        },
        settings: settings
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    };
    Destination::Objects(Objects::new(url, options).unwrap())
}

/// A token that is none, so that nobody is asked for one.
const GOOGLE: [(&str, &str); 1] = [(
    "service_account_key",
    r#"{"private_key": "", "private_key_id": "", "client_email": "", "disable_oauth": true}"#,
)];
const AZURE: [(&str, &str); 2] = [("account_name", "flows"), ("account_key", "c2VjcmV0")];

#[tokio::test]
async fn a_put_reaches_the_bucket_or_container() {
    for (url, settings, line) in [
        (
            "gs://bucket/prefix",
            &GOOGLE[..],
            "PUT /bucket/prefix%2Fa%2Fb HTTP/1.1",
        ),
        (
            "az://container/prefix",
            &AZURE,
            "PUT /container/prefix/a/b HTTP/1.1",
        ),
    ] {
        let server = Server::start(|_, _| Answer::Http(201, String::new())).await;
        let mut store = store(url, server.port, settings);
        store.deliver(&parcel("a/b", "one")).await.unwrap();
        let seen = server.seen();
        let bodies: Vec<(&str, &[u8])> = seen
            .iter()
            .map(|request| (request.line.as_str(), request.body.as_slice()))
            .collect();
        assert_eq!(bodies, [(line, &b"one"[..])]);
    }
}

#[tokio::test]
async fn what_they_say_becomes_awss_words() {
    use DeliveryFailure::{AccessError, RateLimited, Unknown};
    for (url, settings) in [("gs://bucket", &GOOGLE[..]), ("az://container", &AZURE)] {
        for (answer, kind) in [
            (
                Answer::Http(403, "<Code>AuthenticationFailed</Code>".to_owned()),
                AccessError,
            ),
            (
                Answer::Http(404, "<Code>ContainerNotFound</Code>".to_owned()),
                AccessError,
            ),
            (
                Answer::Http(503, "<Code>ServerBusy</Code>".to_owned()),
                RateLimited,
            ),
            (Answer::Http(500, String::new()), Unknown),
            (Answer::Silence, Unknown),
        ] {
            let server = Server::start(move |_, _| answer.clone()).await;
            let mut store = store(url, server.port, settings);
            refused(&mut store, &parcel("a", "one"), kind, &[url]).await;
        }
    }
}

#[tokio::test]
async fn credentials_that_cannot_be_read_are_an_access_error() {
    for (url, settings, word) in [
        (
            "gs://bucket",
            [("service_account", "/nonexistent/key.json")],
            "/nonexistent/key.json",
        ),
        (
            "az://container",
            [("account_key", "no base64!")],
            "az://container/a ",
        ),
    ] {
        let mut store = store(url, 1, &settings);
        refused(
            &mut store,
            &parcel("a", "one"),
            DeliveryFailure::AccessError,
            &[word],
        )
        .await;
    }
}
