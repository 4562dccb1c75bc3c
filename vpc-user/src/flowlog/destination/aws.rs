//! The usual chain of AWS: where region and credentials come from, alike for every service.
//! <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>

use std::{
    error::Error,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use aws_config::{
    BehaviorVersion, Region, SdkConfig, default_provider::credentials::DefaultCredentialsChain,
    environment::EnvironmentVariableRegionProvider, imds, meta::region::RegionProviderChain,
    profile::ProfileFileRegionProvider, provider_config::ProviderConfig, retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials as _, SharedCredentialsProvider, error::CredentialsError},
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use object_store::{CredentialProvider, aws::AwsCredential};
use tokio::sync::Mutex;

use super::{DeliveryError, DeliveryFailure, TIMEOUT, error};

/// The instance metadata service is one hop away or not there.
const IMDS_TIMEOUT: Duration = Duration::from_secs(1);

/// For the whole chain: roles of profiles are assumed over the network.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(5);

/// Credentials are asked for again this long before they expire.
const BEFORE_EXPIRY: Duration = Duration::from_secs(60);

/// And after this long in any case, so that a changed file is seen.
const CREDENTIALS_AGE_MAX: Duration = Duration::from_secs(15 * 60);

/// The part of a timeout that connecting may take.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// What the usual chain is overridden with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AwsOptions {
    /// The region, in place of `AWS_REGION`, that of the profile or of the instance.
    pub region: Option<String>,
    /// The endpoint: for other stores than AWS's. `http://` is plain.
    pub endpoint: Option<String>,
    /// Credentials, in place of the chain's.
    pub key: Option<AccessKey>,
    /// How long a server may take to answer.
    pub timeout: Duration,
}

impl Default for AwsOptions {
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            key: None,
            timeout: TIMEOUT,
        }
    }
}

impl AwsOptions {
    /// How long connecting may take.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.timeout.min(CONNECT_TIMEOUT_MAX)
    }
}

/// Credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// `AWS_ACCESS_KEY_ID`.
    pub id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret: String,
    /// `AWS_SESSION_TOKEN`, of temporary ones.
    pub session_token: Option<String>,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets do not belong in logs.
        f.debug_struct("AccessKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What clients of AWS's services are made of. The region may be unknown.
pub async fn configuration(options: &AwsOptions) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let provider = ProviderConfig::default().with_http_client(http.clone());
    let imds = imds::Client::builder()
        .configure(&provider)
        .connect_timeout(IMDS_TIMEOUT)
        .read_timeout(IMDS_TIMEOUT)
        .max_attempts(1)
        .build();
    let region = match &options.region {
        Some(region) => Some(Region::new(region.clone())),
        None => region(&provider, &imds).await,
    };
    let credentials = match &options.key {
        Some(key) => SharedCredentialsProvider::new(key.credentials()),
        None => {
            // Without a region the chain would look for it once more; no service is asked
            // for credentials in this one.
            let region = region.clone().unwrap_or(Region::from_static("us-east-1"));
            let chain = DefaultCredentialsChain::builder()
                .configure(provider)
                .region(region)
                .imds_client(imds);
            SharedCredentialsProvider::new(chain.build().await)
        }
    };
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(options.connect_timeout())
        .operation_timeout(options.timeout);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .credentials_provider(credentials)
        .region(RegionProviderChain::first_try(region))
        // Whoever delivers waits and asks again; the second attempt is for a connection that
        // the server has closed meanwhile.
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        .timeout_config(timeouts.build());
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    loader.load().await
}

async fn region(provider: &ProviderConfig, imds: &imds::Client) -> Option<Region> {
    let profile = ProfileFileRegionProvider::builder().configure(provider);
    let instance = imds::region::ImdsRegionProvider::builder()
        .configure(provider)
        .imds_client(imds.clone());
    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(profile.build())
        .or_else(instance.build())
        .region()
        .await
}

impl AccessKey {
    fn credentials(&self) -> Credentials {
        let token = self.session_token.clone();
        Credentials::new(&self.id, &self.secret, token, None, "configuration")
    }
}

/// There is no region.
pub fn no_region(what: impl fmt::Display) -> DeliveryError {
    let remedy = "set AWS_REGION, or a region in the configuration or in AWS's profile";
    DeliveryError::new(DeliveryFailure::AccessError, what, "no AWS region", remedy)
}

/// What became of the look for credentials, if that is how it failed.
pub fn no_credentials(
    what: impl fmt::Display,
    error: &(dyn Error + 'static),
) -> Option<DeliveryError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(failure) = error.downcast_ref::<CredentialsError>() {
            return Some(refused_credentials(what, failure));
        }
        cause = error.source();
    }
    None
}

fn refused_credentials(what: impl fmt::Display, failure: &CredentialsError) -> DeliveryError {
    let why = match failure {
        CredentialsError::CredentialsNotLoaded(_) => "no AWS credentials".to_owned(),
        failure => format!("no AWS credentials: {}", error::innermost(failure)),
    };
    let remedy = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile, a web identity \
                  or a role of this task or instance";
    DeliveryError::new(DeliveryFailure::AccessError, what, why, remedy)
}

/// The chain's credentials as `object_store` asks for them: at each request.
#[derive(Debug)]
pub struct Chain {
    provider: SharedCredentialsProvider,
    last: Mutex<Option<Lasting>>,
}

#[derive(Clone, Debug)]
struct Lasting {
    credential: Arc<AwsCredential>,
    until: SystemTime,
}

impl Chain {
    /// Of that provider.
    pub fn new(provider: SharedCredentialsProvider) -> Self {
        Self {
            provider,
            last: Mutex::default(),
        }
    }

    async fn ask(&self) -> Result<Lasting, CredentialsError> {
        let asked = self.provider.provide_credentials();
        let credentials = tokio::time::timeout(CREDENTIALS_TIMEOUT, asked)
            .await
            .map_err(|_| CredentialsError::provider_timed_out(CREDENTIALS_TIMEOUT))??;
        let oldest = SystemTime::now() + CREDENTIALS_AGE_MAX;
        let until = credentials
            .expiry()
            .and_then(|expiry| expiry.checked_sub(BEFORE_EXPIRY))
            .map_or(oldest, |expiry| expiry.min(oldest));
        let credential = AwsCredential {
            key_id: credentials.access_key_id().to_owned(),
            secret_key: credentials.secret_access_key().to_owned(),
            token: credentials.session_token().map(str::to_owned),
        };
        Ok(Lasting {
            credential: Arc::new(credential),
            until,
        })
    }
}

#[async_trait]
impl CredentialProvider for Chain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut last = self.last.lock().await;
        if let Some(lasting) = &*last
            && SystemTime::now() < lasting.until
        {
            return Ok(lasting.credential.clone());
        }
        let asked = self.ask().await;
        let lasting = asked.map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(error),
        })?;
        Ok(last.insert(lasting).credential.clone())
    }
}
