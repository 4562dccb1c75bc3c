//! Which store a URL or an ARN names.

use std::{fmt, path::PathBuf};

use object_store::{
    ObjectStoreScheme, aws::AmazonS3ConfigKey, azure::AzureConfigKey, gcp::GoogleConfigKey,
    path::Path,
};
use url::Url;

use super::super::DestinationError;

/// A kind of store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    S3,
    Google,
    Azure,
    Directory,
}

/// A bucket with a prefix, or a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub kind: Kind,
    /// As object_store reads it, without a slash at its end.
    pub url: String,
    /// Before each key.
    pub prefix: Path,
    /// Of a [`Kind::Directory`].
    pub folder: PathBuf,
}

impl Place {
    /// Reads a URL, or an ARN of a bucket.
    pub fn parse(text: &str) -> Result<Self, DestinationError> {
        let url = of_arn(text).unwrap_or_else(|| text.to_owned());
        let parsed = Url::parse(&url)
            .map_err(|error| DestinationError::NotUrl(text.to_owned(), error.to_string()))?;
        let no_store = || DestinationError::NoStore(text.to_owned());
        let (scheme, prefix) = ObjectStoreScheme::parse(&parsed).map_err(|_| no_store())?;
        let kind = match scheme {
            ObjectStoreScheme::AmazonS3 => Kind::S3,
            ObjectStoreScheme::GoogleCloudStorage => Kind::Google,
            ObjectStoreScheme::MicrosoftAzure => Kind::Azure,
            ObjectStoreScheme::Local => Kind::Directory,
            _ => return Err(no_store()),
        };
        let (folder, prefix) = match kind {
            Kind::Directory => {
                let folder = parsed.to_file_path().map_err(|()| no_store())?;
                (folder, Path::default())
            }
            _ => (PathBuf::new(), prefix),
        };
        Ok(Self {
            kind,
            url: url.trim_end_matches('/').to_owned(),
            prefix,
            folder,
        })
    }

    /// The key of a name: exactly that, behind the prefix.
    pub fn key(&self, name: &str) -> Result<Path, object_store::path::Error> {
        let name = match name {
            // object_store takes that for the bucket itself.
            "" => "/",
            name => name,
        };
        Path::parse(format!("{}/{name}", self.prefix))
    }

    /// Whether all options are of that kind of store.
    pub fn check_settings(&self, settings: &[(String, String)]) -> Result<(), DestinationError> {
        let (kind, is_known): (_, fn(&str) -> bool) = match self.kind {
            Kind::S3 => ("AmazonS3ConfigKey", |key| {
                key.parse::<AmazonS3ConfigKey>().is_ok()
            }),
            Kind::Google => ("GoogleConfigKey", |key| {
                key.parse::<GoogleConfigKey>().is_ok()
            }),
            Kind::Azure => ("AzureConfigKey", |key| {
                key.parse::<AzureConfigKey>().is_ok()
            }),
            Kind::Directory => ("no", |_| false),
        };
        match settings.iter().find(|(key, _)| !is_known(key)) {
            Some((key, _)) => Err(DestinationError::NoSuchSetting {
                url: self.url.clone(),
                key: key.clone(),
                kind,
            }),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// `arn:aws:s3:::bucket/prefix`, of any partition, as a URL.
fn of_arn(text: &str) -> Option<String> {
    let (partition, bucket) = text.strip_prefix("arn:")?.split_once(":s3:::")?;
    (!partition.contains(':')).then(|| format!("s3://{bucket}"))
}
