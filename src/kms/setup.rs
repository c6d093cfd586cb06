//! The SDK client by the configuration: Region, endpoint, credentials, proxy, root certificates.
//!
//! What the configuration leaves open comes from AWS's own chain: environment, profile, web identity, ECS
//! and EKS, the instance's metadata. A process with more privilege than its caller believes neither the
//! environment nor the caller's files: there the configuration and the instance's metadata are all.

use super::HostRules;
use super::chain::Chain;
use super::credentials::Cached;
use super::dns::Resolver;
use super::embedded::{Embedded, InProcess};
use super::transport::{Roots, Transport};
use crate::config::KmsConfig;
use crate::error::{Cause, Result};
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::config::{Builder, IdentityCache, Region, StalledStreamProtectionConfig};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_runtime_api::client::http::HttpClient;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The Region that the embedded KMS is in, where the configuration names none.
const EMBEDDED_REGION: &str = "us-east-1";
/// The metadata service answers in milliseconds where there is one, and not at all where there is none.
const METADATA_PATIENCE: Duration = Duration::from_secs(1);
/// With an address given, the SDK does not ask the environment for one.
const METADATA_ADDRESS: &str = "http://169.254.169.254";
/// Below the attempt's own deadline, so that a dead address leaves time for another one.
const CONNECT: Duration = Duration::from_millis(1500);

/// A client of KMS that is ready for calls.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) credentials: Cached,
    /// For the other services of AWS; `None` where there are none.
    pub(super) sdk: Option<SdkConfig>,
    transports: Vec<Transport>,
}

impl Session {
    pub(super) fn forget_connections(&self) {
        self.transports.iter().for_each(Transport::forget);
    }
}

/// A session with the embedded KMS.
pub(super) fn embedded(config: &KmsConfig, embedded: Arc<Embedded>) -> Session {
    tracing::info!("keys are sealed by the embedded KMS ({embedded}), which is not for production");
    let region = config.region.clone().unwrap_or_else(|| EMBEDDED_REGION.to_owned());
    let credentials = Cached::new(Credentials::new("EMBEDDED", "embedded", None, None, "embedded KMS"));
    let builder = Builder::new()
        .region(Region::new(region))
        .time_source(SystemTimeSource::new())
        .sleep_impl(TokioSleep::new())
        .http_client(InProcess::new(embedded));
    Session { client: client(builder, &credentials), credentials, sdk: None, transports: Vec::new() }
}

/// A client that reaches nobody.
pub(super) fn stand_in(http: impl HttpClient + 'static) -> Client {
    let credentials = Cached::new(Credentials::new("NOBODY", "nobody", None, None, "nobody"));
    let builder = Builder::new()
        .region(Region::new(EMBEDDED_REGION))
        .time_source(SystemTimeSource::new())
        .sleep_impl(TokioSleep::new())
        .http_client(http);
    client(builder, &credentials)
}

/// A provider of a role's credentials that reaches nobody: STS has endpoint rules of its own.
pub(super) async fn stand_in_role(http: impl HttpClient + 'static) -> AssumeRoleProvider {
    let sdk = SdkConfig::builder()
        .behavior_version(behaviour())
        .region(Region::new(EMBEDDED_REGION))
        .time_source(SystemTimeSource::new())
        .sleep_impl(TokioSleep::new())
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .build();
    let nobody = Credentials::new("NOBODY", "nobody", None, None, "nobody");
    let role = AssumeRoleProvider::builder("arn:aws:iam::123456789012:role/nobody").session_name("nobody");
    role.configure(&sdk).build_from_provider(nobody).await
}

/// A session with AWS, or with what answers at the endpoint.
///
/// # Errors
/// `RegionMissing`, `KmsSetup`.
pub(super) async fn aws(config: &KmsConfig, rules: HostRules) -> Result<Session> {
    let resolver = Resolver { threads_allowed: rules.threads_allowed };
    let roots = roots(config, rules)?;
    let proxy = proxy(config, rules)?;
    let for_credentials = Transport::new(resolver, proxy.clone(), false, roots.clone())?;
    let for_kms = Transport::new(resolver, proxy, true, roots)?;
    let sdk = if rules.secure_mode {
        privileged(config, for_credentials.clone()).await?
    } else {
        ordinary(config, for_credentials.clone()).await?
    };
    let source = match (&config.role_arn, sdk.credentials_provider()) {
        (Some(role), _) => SharedCredentialsProvider::new(assume(role, config, &sdk).await),
        (None, Some(source)) => source,
        (None, None) => return Err(Cause::CredentialsMissing.with("no provider of credentials")),
    };
    let credentials = Cached::new(source);
    let mut builder = Builder::from(&sdk).http_client(for_kms.clone());
    if let Some(url) = &config.endpoint_url {
        check_endpoint(url)?;
        // Who answers there sees no plaintext in a request, but makes the one in the answer.
        tracing::info!("KMS is asked at endpoint_url {url}");
        builder = builder.endpoint_url(url);
    }
    let transports = vec![for_kms, for_credentials];
    Ok(Session { client: client(builder, &credentials), credentials, sdk: Some(sdk), transports })
}

/// What is the same for all clients. One attempt and no deadline: both are ours (`call.rs`).
fn client(builder: Builder, credentials: &Cached) -> Client {
    let config = builder
        .behavior_version(behaviour())
        .credentials_provider(credentials.clone())
        .identity_cache(IdentityCache::no_cache())
        .retry_config(RetryConfig::disabled())
        // The ordinary partitions are kept behind a lock of the whole process, which a fork could catch taken.
        .retry_partition(RetryPartition::custom("datakey-pkcs11").build())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    Client::from_conf(config)
}

fn behaviour() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// The whole chain.
async fn ordinary(config: &KmsConfig, transport: Transport) -> Result<SdkConfig> {
    let provider = provider(transport.clone());
    let region = match &config.region {
        Some(region) => Region::new(region.clone()),
        None => {
            let mut profile = ProfileFileRegionProvider::builder().configure(&provider);
            if let Some(name) = &config.profile {
                profile = profile.profile_name(name);
            }
            let instance =
                ImdsRegionProvider::builder().configure(&provider).imds_client(metadata(&provider).build()).build();
            // A profile that the configuration names is nearer than the environment.
            let chain =
                match &config.profile {
                    Some(_) => RegionProviderChain::first_try(profile.build())
                        .or_else(EnvironmentVariableRegionProvider::new()),
                    None => RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                        .or_else(profile.build()),
                };
            match Box::pin(chain.or_else(instance).region()).await {
                Some(region) => region,
                None => return Err(Cause::RegionMissing.into()),
            }
        }
    };
    let chain = Chain::new(transport.clone(), region.clone(), config.profile.clone());
    let mut loader = aws_config::defaults(behaviour())
        .region(region)
        .http_client(transport)
        .retry_config(retries())
        .timeout_config(patience())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
    }
    if config.fips {
        loader = loader.use_fips(true);
    }
    if config.dual_stack {
        loader = loader.use_dual_stack(true);
    }
    Ok(Box::pin(loader.credentials_provider(chain).load()).await)
}

/// Only what the environment and the caller's files have no say in.
async fn privileged(config: &KmsConfig, transport: Transport) -> Result<SdkConfig> {
    let refused =
        |what: &str| Err(Cause::KmsSetup.with(format!("{what}, and this process has more privilege than its caller")));
    if config.profile.is_some() {
        return refused("profile names a section of the user's own AWS files");
    }
    // The SDK reads this variable by itself, and it decides where requests go.
    if std::env::var_os("SMITHY_CLIENT_SDK_CUSTOM_PARTITION").is_some() {
        return refused("SMITHY_CLIENT_SDK_CUSTOM_PARTITION is set");
    }
    let provider = ProviderConfig::empty()
        .with_behavior_version(Some(behaviour()))
        .with_http_client(transport.clone())
        .with_sleep_impl(TokioSleep::new())
        .with_retry_config(retries());
    let metadata = metadata(&provider)
        .endpoint(METADATA_ADDRESS)
        .map_err(|error| Cause::KmsSetup.with(super::errors::chain(error.as_ref())))?
        .build();
    let region = match &config.region {
        Some(region) => Some(Region::new(region.clone())),
        None => ImdsRegionProvider::builder().configure(&provider).imds_client(metadata.clone()).build().region().await,
    };
    let Some(region) = region else {
        return Err(Cause::RegionMissing.into());
    };
    let credentials = ImdsCredentialsProvider::builder().configure(&provider).imds_client(metadata).build();
    Ok(SdkConfig::builder()
        .behavior_version(behaviour())
        .region(region)
        .http_client(transport)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(retries())
        .timeout_config(patience())
        .time_source(SystemTimeSource::new())
        .sleep_impl(TokioSleep::new())
        .use_fips(config.fips)
        .use_dual_stack(config.dual_stack)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build())
}

/// What sources of credentials and the Region are made with.
pub(super) fn provider(transport: Transport) -> ProviderConfig {
    ProviderConfig::without_region()
        .with_behavior_version(Some(behaviour()))
        .with_http_client(transport)
        .with_sleep_impl(TokioSleep::new())
        .with_retry_config(retries())
}

/// A client of the instance's metadata that does not wait for what is not there.
pub(super) fn metadata(provider: &ProviderConfig) -> aws_config::imds::client::Builder {
    aws_config::imds::Client::builder()
        .configure(provider)
        .connect_timeout(METADATA_PATIENCE)
        .read_timeout(METADATA_PATIENCE)
        .operation_attempt_timeout(METADATA_PATIENCE)
        .operation_timeout(3 * METADATA_PATIENCE)
        .max_attempts(2)
}

async fn assume(role: &str, config: &KmsConfig, sdk: &SdkConfig) -> AssumeRoleProvider {
    let mut builder = AssumeRoleProvider::builder(role)
        .session_name(config.role_session_name.as_deref().unwrap_or("datakey-pkcs11"))
        .configure(sdk);
    if let Some(id) = &config.external_id {
        builder = builder.external_id(id);
    }
    Box::pin(builder.build()).await
}

/// For the services that give credentials. Set, so that `AWS_MAX_ATTEMPTS` is not read: the SDK panics
/// where it is 0.
fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(100))
}

/// The SDK itself sets no limit to waiting for an answer.
fn patience() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(Duration::from_secs(5)).build()
}

/// The SDK takes any text for a URL and fails at each call.
fn check_endpoint(url: &str) -> Result<()> {
    let sound = url.parse::<hyper::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if sound { Ok(()) } else { Err(Cause::KmsSetup.with(format!("endpoint_url {url:?} is no http or https URL"))) }
}

/// Whether it is the system's root certificates that are believed, as they are found for all programs.
pub(super) fn wants_native_roots(config: &KmsConfig, rules: HostRules) -> bool {
    config.ca_bundle.is_none() && !rules.secure_mode && named_bundle().is_none()
}

fn named_bundle() -> Option<OsString> {
    std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty())
}

fn roots(config: &KmsConfig, rules: HostRules) -> Result<Roots> {
    match &config.ca_bundle {
        Some(path) => Roots::bundle(path),
        None if rules.secure_mode => Roots::system(),
        None => match named_bundle() {
            Some(path) => {
                tracing::info!(
                    "AWS_CA_BUNDLE replaces the system's root certificates by {}",
                    Path::new(&path).display()
                );
                Roots::bundle(Path::new(&path))
            }
            // Looked for where a connection is made that needs them (`warm.rs`).
            None => Ok(Roots::Native),
        },
    }
}

fn proxy(config: &KmsConfig, rules: HostRules) -> Result<ProxyConfig> {
    match &config.proxy {
        // The URL may hold a password and is not repeated.
        Some(url) => ProxyConfig::all(url.as_str()).map_err(|_| Cause::KmsSetup.with("proxy is not a URL")),
        None if rules.secure_mode => Ok(ProxyConfig::disabled()),
        None => Ok(ProxyConfig::from_env()),
    }
}
