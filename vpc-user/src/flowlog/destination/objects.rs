//! Objects in a bucket, or files in a folder.

mod failure;
mod place;

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt as _, RetryConfig,
    aws::AmazonS3Builder, azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder,
    local::LocalFileSystem, path::Path,
};

use super::{AwsOptions, DeliveryError, DeliveryFailure, DestinationError, Parcel, aws, tls};
use place::{Kind, Place};

/// What a store is reached with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ObjectOptions {
    /// Endpoint and timeout are for every kind of store, region and credentials for S3.
    pub aws: AwsOptions,
    /// What else object_store's configuration of that kind of store has, by its keys:
    /// `virtual_hosted_style_request`, `account_name`, `service_account`, `proxy_url` and so on.
    /// For GCS and Azure their environment variables come first.
    pub settings: Vec<(String, String)>,
}

/// A bucket with a prefix, or a folder.
#[derive(Debug)]
pub struct Objects {
    place: Place,
    options: ObjectOptions,
    store: Option<Arc<dyn ObjectStore>>,
}

impl Objects {
    /// The place that a URL names: `s3://bucket/prefix`, `gs://…`, `az://…`, `file:///folder`, or
    /// an ARN: `arn:aws:s3:::bucket/prefix`. Nothing is reached for.
    pub fn new(url: &str, options: ObjectOptions) -> Result<Self, DestinationError> {
        let place = Place::parse(url)?;
        place.check_settings(&options.settings)?;
        if let Some(endpoint) = &options.aws.endpoint {
            super::endpoint(endpoint)?;
        }
        Ok(Self {
            place,
            options,
            store: None,
        })
    }

    /// Delivers a parcel, see [`Destination::deliver`](super::Destination::deliver): the whole
    /// object under its name, behind the prefix. A file is on the disk when this returns.
    pub(super) async fn deliver(&mut self, parcel: &Parcel) -> Result<(), DeliveryError> {
        let what = format!("{}/{}", self.place, parcel.name);
        let key = self.place.key(&parcel.name).map_err(|error| {
            let remedy = "this is a fault of the program: please report it";
            DeliveryError::new(DeliveryFailure::Unknown, &what, error, remedy)
        })?;
        let timeout = self.options.aws.timeout;
        let outcome = tokio::time::timeout(timeout, self.put(&what, &key, parcel)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(DeliveryError::timeout(&what, timeout)));
        if let Err(error) = &outcome
            && error.kind() == DeliveryFailure::AccessError
        {
            // Next time with credentials that are looked for again.
            self.store = None;
        }
        outcome
    }

    async fn put(&mut self, what: &str, key: &Path, parcel: &Parcel) -> Result<(), DeliveryError> {
        let kind = self.place.kind;
        let store = match &self.store {
            Some(store) => store.clone(),
            None => self.open(what).await?,
        };
        let put = store.put(key, parcel.body.clone().into()).await;
        put.map_err(|error| failure::of(what, kind, &error))?;
        Ok(())
    }

    async fn open(&mut self, what: &str) -> Result<Arc<dyn ObjectStore>, DeliveryError> {
        tls::provide();
        let opened: object_store::Result<Arc<dyn ObjectStore>> = match self.place.kind {
            Kind::S3 => {
                let store = self.s3(what).await?;
                store.build().map(|store| Arc::new(store) as _)
            }
            Kind::Google => self.google().build().map(|store| Arc::new(store) as _),
            Kind::Azure => self.azure().build().map(|store| Arc::new(store) as _),
            // Not kept, so that a folder that is gone, with what was mounted there, is missed.
            Kind::Directory => {
                let folder = folder(self.place.folder.clone()).await;
                let folder = folder.map(|store| Arc::new(store) as _);
                return folder.map_err(|error| failure::of(what, Kind::Directory, &error));
            }
        };
        let store = opened.map_err(|error| failure::of_opening(what, &error))?;
        Ok(self.store.insert(store).clone())
    }

    async fn s3(&self, what: &str) -> Result<AmazonS3Builder, DeliveryError> {
        let configuration = aws::configuration(&self.options.aws).await;
        let variable = || std::env::var("AWS_ENDPOINT_URL_S3").ok();
        let named = self.options.aws.endpoint.clone();
        let endpoint = named
            .or_else(variable)
            .or_else(|| configuration.endpoint_url().map(str::to_owned));
        let region = match (configuration.region(), &endpoint) {
            (Some(region), _) => region.to_string(),
            // Other stores have none, and sign with this one.
            (None, Some(_)) => "us-east-1".to_owned(),
            (None, None) => return Err(aws::no_region(what)),
        };
        let mut builder = AmazonS3Builder::new()
            .with_url(&self.place.url)
            .with_client_options(self.client_options(endpoint.as_deref()))
            .with_retry(retries())
            .with_region(region);
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(provider) = configuration.credentials_provider() {
            builder = builder.with_credentials(Arc::new(aws::Chain::new(provider)));
        }
        let settings = self.settings();
        Ok(settings.fold(builder, |builder, (key, value)| {
            builder.with_config(key, value)
        }))
    }

    fn google(&self) -> GoogleCloudStorageBuilder {
        let endpoint = self.options.aws.endpoint.as_deref();
        let mut builder = GoogleCloudStorageBuilder::from_env()
            .with_url(&self.place.url)
            .with_client_options(self.client_options(endpoint))
            .with_retry(retries());
        if let Some(endpoint) = endpoint {
            builder = builder.with_base_url(endpoint.trim_end_matches('/'));
        }
        let settings = self.settings();
        settings.fold(builder, |builder, (key, value)| {
            builder.with_config(key, value)
        })
    }

    fn azure(&self) -> MicrosoftAzureBuilder {
        let endpoint = self.options.aws.endpoint.as_deref();
        let mut builder = MicrosoftAzureBuilder::from_env()
            .with_url(&self.place.url)
            .with_client_options(self.client_options(endpoint))
            .with_retry(retries());
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint.to_owned());
        }
        let settings = self.settings();
        settings.fold(builder, |builder, (key, value)| {
            builder.with_config(key, value)
        })
    }

    /// The options that the kind of store knows: all, as [`Objects::new`] has seen.
    fn settings<K: FromStr>(&self) -> impl Iterator<Item = (K, &str)> {
        let settings = self.options.settings.iter();
        settings.filter_map(|(key, value)| Some((key.parse().ok()?, value.as_str())))
    }

    /// The whole delivery has its timeout; that of a request would be another.
    fn client_options(&self, endpoint: Option<&str>) -> ClientOptions {
        ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(self.options.aws.connect_timeout())
            .with_allow_http(endpoint.is_some_and(|url| url.starts_with("http://")))
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

/// One more attempt, for a connection that the server has closed meanwhile. Whoever delivers
/// waits and asks again.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(50),
            ..BackoffConfig::default()
        },
        max_retries: 1,
        ..RetryConfig::default()
    }
}

async fn folder(path: PathBuf) -> object_store::Result<LocalFileSystem> {
    let opened = tokio::task::spawn_blocking(move || LocalFileSystem::new_with_prefix(path)).await;
    let folder = opened.map_err(|source| object_store::Error::JoinError { source })??;
    // What was delivered is kept nowhere else.
    Ok(folder.with_fsync(true))
}
