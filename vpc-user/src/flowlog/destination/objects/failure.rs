//! What errors of stores mean.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>

use std::{error::Error as StdError, io};

use object_store::{
    Error,
    client::{HttpError, HttpErrorKind},
};

use super::{
    super::{DeliveryError, DeliveryFailure, aws, error},
    place::Kind,
};

/// Credentials that were good, or never were.
const CREDENTIAL_CODES: [&str; 6] = [
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
];

/// Too much at once, of S3, Azure and others.
const RATE_CODES: [&str; 6] = [
    "RequestLimitExceeded",
    "ServerBusy",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
];

/// An object was not written.
pub fn of(what: &str, kind: Kind, error: &Error) -> DeliveryError {
    if let Some(error) = aws::no_credentials(what, error) {
        return error;
    }
    if let Some(failure) = cause::<HttpError>(error) {
        let why = match failure.kind() {
            HttpErrorKind::Timeout => "no answer in time".to_owned(),
            _ => error::innermost(failure),
        };
        return DeliveryError::transport(what, &why);
    }
    if kind == Kind::Directory {
        return of_file(what, error);
    }
    refusal(what, error)
}

/// A store could not be made of what it was asked for, such as a file of credentials.
pub fn of_opening(what: &str, error: &Error) -> DeliveryError {
    let why = error::one_line(&error.to_string());
    let remedy = "correct the options of the destination";
    DeliveryError::new(DeliveryFailure::AccessError, what, why, remedy)
}

fn of_file(what: &str, error: &Error) -> DeliveryError {
    use DeliveryFailure::{AccessError, Unknown};
    use io::ErrorKind::{
        NotADirectory, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    let (kind, remedy) = match cause::<io::Error>(error).map(io::Error::kind) {
        Some(NotFound | NotADirectory) => (AccessError, "make the folder, or mount it"),
        Some(PermissionDenied) => (AccessError, "let the user of this process write there"),
        Some(ReadOnlyFilesystem) => (AccessError, "mount it to be written to"),
        Some(StorageFull | QuotaExceeded) => (Unknown, "make room"),
        _ => (Unknown, "check the folder and its file system"),
    };
    DeliveryError::new(kind, what, error::innermost(error), remedy)
}

/// The server did answer. object_store's type of that is not public: its text tells.
fn refusal(what: &str, error: &Error) -> DeliveryError {
    use DeliveryFailure::{AccessError, RateLimited, Unknown};
    let text = innermost_text(error);
    let status = status(&text);
    let code = element(&text, "Code").unwrap_or_default();
    let is_word = code.chars().all(|c| c.is_ascii_alphanumeric());
    let code = if is_word { code } else { "" };
    let (kind, remedy) = if RATE_CODES.contains(&code) || status == Some(429) {
        (RateLimited, "raise the store's limit, or record less")
    } else if CREDENTIAL_CODES.contains(&code) {
        (
            AccessError,
            "renew the credentials, and check region and clock",
        )
    } else if text.contains("incorrectly configured region") || status == Some(301) {
        (AccessError, "name the region of the bucket")
    } else {
        match status {
            Some(401 | 403) => (AccessError, "permit these credentials to write there"),
            Some(404) => (AccessError, "make the bucket, or name one that there is"),
            _ => (Unknown, "see whether the store is well"),
        }
    };
    DeliveryError::new(kind, what, said(&text, status, code), remedy)
}

/// What the server said, shortly.
fn said(text: &str, status: Option<u16>, code: &str) -> String {
    let said = match (code, element(text, "Message"), status) {
        ("", _, Some(status)) => format!("status {status}"),
        ("", _, None) => text.to_owned(),
        (code, Some(message), _) => format!("{code}: {message}"),
        (code, None, _) => code.to_owned(),
    };
    error::one_line(&said)
}

/// The HTTP status in object_store's text.
fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// The text of the first XML element of that name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inner)
}

fn innermost_text(error: &(dyn StdError + 'static)) -> String {
    match error.source() {
        Some(source) => innermost_text(source),
        None => error.to_string(),
    }
}

fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    match error.downcast_ref() {
        Some(found) => Some(found),
        None => cause(error.source()?),
    }
}
