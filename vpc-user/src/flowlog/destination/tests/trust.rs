//! Servers that offer no TLS, or that nobody vouches for: alike for every destination.

use super::{
    super::{
        AwsOptions, CloudWatch, DeliveryFailure, Destination, Firehose, FirehoseOptions,
        ObjectOptions, Objects,
    },
    moto::Moto,
    options, parcel, refused,
    server::{Answer, Server},
};

/// All that go to an endpoint.
fn destinations(endpoint: &str) -> [Destination; 3] {
    let aws = AwsOptions {
        endpoint: Some(endpoint.to_owned()),
        ..options(0)
    };
    let objects = ObjectOptions {
        aws: aws.clone(),
        settings: Vec::new(),
    };
    let firehose = FirehoseOptions::new("arn".to_owned());
    [
        Destination::Objects(Objects::new("s3://any", objects).unwrap()),
        Destination::CloudWatch(CloudWatch::new("any".to_owned(), aws)),
        Destination::Firehose(Firehose::new(endpoint, firehose).unwrap()),
    ]
}

#[tokio::test]
async fn a_certificate_of_its_own_is_not_trusted() {
    let server = Moto::untrusted();
    for mut destination in destinations(&format!("https://localhost:{}", server.port)) {
        let parcel = parcel("a", "1 s t\n");
        let words = [
            "invalid peer certificate: UnknownIssuer",
            "trust the issuer",
        ];
        refused(&mut destination, &parcel, DeliveryFailure::Unknown, &words).await;
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_one_that_is_away() {
    let server = Server::start(|_, _| Answer::Raw(b"HTTP/1.1 400 No\r\n\r\n")).await;
    for mut destination in destinations(&format!("https://localhost:{}", server.port)) {
        let parcel = parcel("a", "1 s t\n");
        let words = ["trust the issuer"];
        refused(&mut destination, &parcel, DeliveryFailure::Unknown, &words).await;
    }
}

#[tokio::test]
async fn a_host_that_has_no_address_is_named_as_unreachable() {
    for mut destination in destinations("http://no-such-host.invalid") {
        let parcel = parcel("a", "1 s t\n");
        let words = ["reaches it"];
        refused(&mut destination, &parcel, DeliveryFailure::Unknown, &words).await;
    }
}
