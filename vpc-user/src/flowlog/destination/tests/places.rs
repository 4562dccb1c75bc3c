//! Which places there are.

use super::super::{AwsOptions, DestinationError, ObjectOptions, Objects};

fn shown(url: &str) -> Result<String, DestinationError> {
    let objects = Objects::new(url, ObjectOptions::default())?;
    Ok(objects.to_string())
}

#[test]
fn places_are_named_by_url_or_arn() {
    for (text, url) in [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/some/prefix/", "s3://bucket/some/prefix"),
        ("arn:aws:s3:::bucket", "s3://bucket"),
        ("arn:aws:s3:::bucket/prefix/", "s3://bucket/prefix"),
        ("arn:aws-us-gov:s3:::bucket/a/b", "s3://bucket/a/b"),
        ("gs://bucket/prefix", "gs://bucket/prefix"),
        ("az://container/prefix", "az://container/prefix"),
        ("file:///var/log/flows", "file:///var/log/flows"),
    ] {
        assert_eq!(shown(text).as_deref(), Ok(url));
    }
}

#[test]
fn what_is_no_place_is_named_in_one_sentence() {
    for text in [
        "",
        "bucket",
        "/var/log",
        "memory:///",
        "http://example.com/a",
        "s3:///prefix",
        "file://host/folder",
        "arn:aws:s3:us-east-1:1:accesspoint/a",
        "arn:aws:logs:us-east-1:1:log-group:a",
        "arn:x:y:s3:::bucket",
        "ftp://host",
        "s3://a b",
    ] {
        let error = shown(text).unwrap_err().to_string();
        assert!(
            error.contains(&format!("{text:?}")) && error.contains("): ")
                || error.contains(": use"),
            "{error}"
        );
    }
}

#[test]
fn an_option_of_another_kind_of_store_is_refused() {
    for (url, key, is_known) in [
        ("s3://bucket", "virtual_hosted_style_request", true),
        ("s3://bucket", "proxy_url", true),
        ("s3://bucket", "service_account", false),
        ("gs://bucket", "service_account", true),
        ("gs://bucket", "account_name", false),
        ("az://container", "account_name", true),
        ("file:///folder", "region", false),
    ] {
        let options = ObjectOptions {
            settings: vec![(key.to_owned(), "true".to_owned())],
            ..ObjectOptions::default()
        };
        let made = Objects::new(url, options);
        assert_eq!(made.is_ok(), is_known, "{url} {key}");
        if let Err(error) = made {
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}

#[test]
fn an_endpoint_is_an_http_url() {
    for (endpoint, is_one) in [
        ("http://127.0.0.1:9000", true),
        ("https://store.example.com/", true),
        ("store.example.com", false),
        ("localhost:9000", false),
        ("ftp://host", false),
        ("", false),
    ] {
        let aws = AwsOptions {
            endpoint: Some(endpoint.to_owned()),
            ..AwsOptions::default()
        };
        let options = ObjectOptions {
            aws,
            settings: Vec::new(),
        };
        assert_eq!(
            Objects::new("s3://bucket", options).is_ok(),
            is_one,
            "{endpoint}"
        );
    }
}
