//! The way to AWS by the configuration: Region, credentials, proxy, root certificates.
//!
//! What the configuration leaves open comes from AWS's own chain: environment, profile, web identity, ECS
//! and EKS, the instance's metadata. A process with more privilege than its caller believes neither the
//! environment nor the caller's files: there the configuration and the instance's metadata are all.

use super::chain::Chain;
use super::credentials::Cached;
use super::text::chain;
use super::transport::{Roots, Transport};
use super::{HostRules, Resolver};
use crate::config::KmsConfig;
use crate::error::{Cause, Result};
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_http_client::proxy::ProxyConfig;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// The metadata service answers in milliseconds where there is one, and not at all where there is none.
const METADATA_PATIENCE: Duration = Duration::from_secs(1);
/// With an address given, the SDK does not ask the environment for one.
const METADATA_ADDRESS: &str = "http://169.254.169.254";
/// The longest answer of what gives credentials.
const MAX_CREDENTIALS: usize = 256 * 1024;
/// Below the attempt's own deadline, so that a dead address leaves time for another one.
pub const CONNECT: Duration = Duration::from_millis(1500);

/// The way to one service of AWS.
pub struct Access {
    /// What a client of the service begins with. It has the credentials as they come, and a transport of its own.
    pub sdk: SdkConfig,
    /// The credentials, fetched before a call.
    pub credentials: Cached,
    /// For requests to the service.
    pub service: Transport,
    for_credentials: Transport,
}

impl Access {
    /// Lets go of all connections. Those in use end with their calls.
    pub fn forget_connections(&self) {
        self.service.forget();
        self.for_credentials.forget();
    }
}

/// The way to a service whose answers are not longer than `longest`. Nothing is asked of it yet.
///
/// # Errors
/// `RegionMissing`, `KmsSetup`, `CredentialsMissing`.
pub async fn access(config: &KmsConfig, rules: HostRules, longest: usize) -> Result<Access> {
    let resolver = Resolver { threads_allowed: rules.threads_allowed };
    let roots = roots(config, rules)?;
    let proxy = proxy(config, rules)?;
    let for_credentials = Transport::new(resolver, proxy.clone(), false, roots.clone(), MAX_CREDENTIALS)?;
    let service = Transport::new(resolver, proxy, true, roots, longest)?;
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
    Ok(Access { sdk, credentials: Cached::new(source), service, for_credentials })
}

/// The SDK's behaviour that this house is built on.
pub fn behaviour() -> BehaviorVersion {
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
        .map_err(|error| Cause::KmsSetup.with(chain(error.as_ref())))?
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

/// Whether it is the system's root certificates that are believed, as they are found for all programs.
pub fn wants_native_roots(config: &KmsConfig, rules: HostRules) -> bool {
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
            // Looked for where a connection is made that needs them (`kms/warm.rs`).
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

/// The SDK takes any text for a URL and fails at each call.
pub fn is_endpoint(url: &str) -> bool {
    url.parse::<hyper::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    })
}
