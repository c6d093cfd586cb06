//! The client that the floors above use: one per token.

use super::HostRules;
use super::answer::{self, bare_id};
use super::call::{self, Limits, Name, is_silence};
use super::context::EncryptionContext;
use super::embedded::{self, Embedded};
use super::setup::{self, Session};
use super::warm;
use crate::attestation::Attestor;
use crate::config::{KmsBackend, KmsConfig};
use crate::counters::{Count, Counters};
use crate::error::{Cause, Result};
use crate::host::lock::lock;
use crate::net::{self, Breaker, Driver};
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use std::future::Future;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::time::Instant;

/// A client of AWS KMS, or of the embedded KMS, for one token.
///
/// May be shared by threads. It belongs to the process that made it: after a fork the child forgets it
/// (without dropping it, which would reach into the parent's sockets) and makes its own.
pub struct Kms {
    pub(super) config: KmsConfig,
    rules: HostRules,
    pub(super) key_id: String,
    pub(super) grant_tokens: Option<Vec<String>>,
    embedded: Option<Arc<Embedded>>,
    driver: Mutex<Option<Arc<Driver>>>,
    session: Mutex<Option<Arc<Session>>>,
    loading: tokio::sync::Mutex<()>,
    cancelled: watch::Sender<bool>,
    pub(super) attestor: Option<Attestor>,
    breaker: Breaker,
    counters: Arc<Counters>,
}

impl Kms {
    /// A client by this configuration. Does no I/O, reads no file and starts no thread.
    pub fn new(config: &KmsConfig, rules: HostRules) -> Self {
        Self::counting(config, rules, Arc::default())
    }

    /// The same, with what it does added to these numbers.
    pub(super) fn counting(config: &KmsConfig, rules: HostRules, counters: Arc<Counters>) -> Self {
        let embedded = match &config.backend {
            KmsBackend::Aws => None,
            KmsBackend::Embedded(file) => Some(Arc::new(Embedded::new(file))),
        };
        let key_id = match &embedded {
            Some(_) if config.key_id.is_empty() => embedded::DEFAULT_ALIAS.to_owned(),
            _ => config.key_id.clone(),
        };
        Self {
            rules,
            key_id,
            grant_tokens: (!config.grant_tokens.is_empty()).then(|| config.grant_tokens.clone()),
            embedded,
            driver: Mutex::new(None),
            session: Mutex::new(None),
            loading: tokio::sync::Mutex::new(()),
            cancelled: watch::Sender::new(false),
            attestor: config.attestation.as_ref().map(Attestor::new),
            breaker: Breaker::new("KMS"),
            counters,
            config: config.clone(),
        }
    }

    /// The KMS key that opens what the one with this ARN sealed: a former one if it is that, else the wrapping key. KMS
    /// refuses a blob of any other.
    pub(super) fn opener(&self, sealed_by: &str) -> &str {
        self.former(sealed_by).unwrap_or(&self.key_id)
    }

    /// Whether the wrapping key is named by an alias, which tells nothing of the key.
    pub(super) fn is_by_alias(&self) -> bool {
        self.key_id.is_empty() || answer::is_alias(&self.key_id)
    }

    /// The configured former key that has this ARN.
    pub fn former(&self, sealed_by: &str) -> Option<&str> {
        let former = self.config.former_key_ids.iter();
        former.map(String::as_str).find(|key| bare_id(key) == bare_id(sealed_by))
    }

    /// What the token that it belongs to has done.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The wrapping key as the configuration names it.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// An encryption context that begins with the configuration's own pairs. Nothing is added to a
    /// context later: what was sealed under other pairs must be opened under those.
    ///
    /// # Errors
    /// `ConfigInvalid` where the configuration uses a reserved key.
    pub fn context(&self) -> Result<EncryptionContext> {
        EncryptionContext::new(&self.config.encryption_context)
    }

    /// Drops all connections, and with them every buffer that an answer was read into. Calls in flight go
    /// on; theirs are dropped when they end. Credentials are kept.
    pub fn forget_connections(&self) {
        let driver = lock(&self.driver).take();
        if let Some(session) = &*lock(&self.session) {
            session.forget_connections();
        }
        drop(driver);
    }

    /// Ends all calls in flight soon with `NotInitialized`, and every later one at once.
    pub fn cancel(&self) {
        self.cancelled.send_replace(true);
        self.forget_connections();
    }

    /// The embedded KMS's controls, if this client is on it.
    pub fn embedded(&self) -> Option<&embedded::Control> {
        self.embedded.as_deref().map(Embedded::control)
    }

    fn uses_tls(&self) -> bool {
        let plain = |url: &String| url.to_ascii_lowercase().starts_with("http://");
        self.embedded.is_none() && !self.config.endpoint_url.as_ref().is_some_and(plain)
    }

    /// One call, from start to end on the calling thread.
    pub(super) fn call<T, E, F>(
        &self,
        operation: &'static str,
        limits: Limits,
        send: impl Fn(Client) -> F + Send,
    ) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + 'static,
        T: Send,
    {
        let name = Name { operation, key_id: &self.key_id };
        let mut permit = self.breaker.admit().map_err(|why| {
            self.counters.add(Count::KmsNotTried);
            Cause::KmsNotTried.with(format!("{}: {why}", name.about(None)))
        })?;
        self.counters.add(Count::KmsCalls);
        let answer = self.run(async {
            let deadline = Instant::now() + limits.total;
            let session = call::within(deadline, name, self.session()).await?;
            call::until_answered(name, limits, deadline, &session, &mut permit, &self.counters, send).await
        });
        if let Err(error) = &answer
            && is_silence(error.cause())
        {
            permit.unanswered(error.detail());
        }
        answer.inspect_err(|_| self.counters.add(Count::KmsFailures))
    }

    /// Runs `work` from start to end on the calling thread, unless and until the client is cancelled.
    pub(super) fn run<T: Send>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let tls = self.uses_tls();
        warm::once(tls, tls && net::wants_native_roots(&self.config, self.rules))?;
        let driver = self.driver()?;
        driver.block_on(call::unless(self.cancelled.subscribe(), work), self.rules.threads_allowed)?
    }

    fn driver(&self) -> Result<Arc<Driver>> {
        let mut driver = lock(&self.driver);
        if let Some(driver) = &*driver {
            return Ok(Arc::clone(driver));
        }
        let new = Arc::new(Driver::new()?);
        *driver = Some(Arc::clone(&new));
        Ok(new)
    }

    /// The SDK client, made at the first call, by one caller for all.
    pub(super) async fn session(&self) -> Result<Arc<Session>> {
        if let Some(session) = &*lock(&self.session) {
            return Ok(Arc::clone(session));
        }
        let _guard = self.loading.lock().await;
        if let Some(session) = &*lock(&self.session) {
            return Ok(Arc::clone(session));
        }
        let new = Arc::new(match &self.embedded {
            Some(embedded) => setup::embedded(&self.config, Arc::clone(embedded)),
            None => setup::aws(&self.config, self.rules).await?,
        });
        *lock(&self.session) = Some(Arc::clone(&new));
        Ok(new)
    }
}
