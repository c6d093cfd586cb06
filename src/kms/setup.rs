//! The SDK client of KMS by the configuration.

use super::HostRules;
use super::embedded::{Embedded, InProcess};
use crate::config::KmsConfig;
use crate::error::{Cause, Result};
use crate::net::{self, Access, CONNECT, Cached, behaviour};
use aws_config::SdkConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::config::{Builder, IdentityCache, Region, StalledStreamProtectionConfig};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_runtime_api::client::http::HttpClient;
use std::sync::Arc;

/// The Region that the embedded KMS is in, where the configuration names none.
const EMBEDDED_REGION: &str = "us-east-1";
/// The longest answer that is read. The longest that KMS sends is some 20 kB.
const MAX_ANSWER: usize = 256 * 1024;

/// A client of KMS that is ready for calls.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) credentials: Cached,
    /// The way to AWS, and its other services; `None` where there are none.
    access: Option<Access>,
}

impl Session {
    /// For the other services of AWS; `None` where there are none.
    pub(super) fn sdk(&self) -> Option<&SdkConfig> {
        self.access.as_ref().map(|access| &access.sdk)
    }

    pub(super) fn forget_connections(&self) {
        self.access.iter().for_each(Access::forget_connections);
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
    Session { client: client(builder, &credentials), credentials, access: None }
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
    let access = net::access(config, rules, MAX_ANSWER).await?;
    let mut builder = Builder::from(&access.sdk).http_client(access.service.clone());
    if let Some(url) = &config.endpoint_url {
        if !net::is_endpoint(url) {
            return Err(Cause::KmsSetup.with(format!("endpoint_url {url:?} is no http or https URL")));
        }
        // Who answers there sees no plaintext in a request, but makes the one in the answer.
        tracing::info!("KMS is asked at endpoint_url {url}");
        builder = builder.endpoint_url(url);
    }
    let credentials = access.credentials.clone();
    Ok(Session { client: client(builder, &credentials), credentials, access: Some(access) })
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
