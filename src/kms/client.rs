//! The client that the floors above use: one per token.

use super::HostRules;
use super::answer::{self, DataKey, DataKeyPair, KeyDescription, Opened, Sealed};
use super::call::{self, Limits, Name};
use super::context::EncryptionContext;
use super::driver::Driver;
use super::embedded::{self, Embedded};
use super::setup::{self, Session};
use super::spec::{DataKeySize, KeyPairSpec};
use super::warm;
use crate::config::{KmsBackend, KmsConfig};
use crate::crypto::Secret;
use crate::error::{Cause, Result};
use crate::host::lock::lock;
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId;
use aws_sdk_kms::primitives::Blob;
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
    config: KmsConfig,
    rules: HostRules,
    key_id: String,
    grant_tokens: Option<Vec<String>>,
    embedded: Option<Arc<Embedded>>,
    driver: Mutex<Option<Arc<Driver>>>,
    session: Mutex<Option<Arc<Session>>>,
    loading: tokio::sync::Mutex<()>,
    cancelled: watch::Sender<bool>,
}

impl Kms {
    /// A client by this configuration. Does no I/O, reads no file and starts no thread.
    pub fn new(config: &KmsConfig, rules: HostRules) -> Self {
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
            config: config.clone(),
        }
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

    /// `GenerateDataKeyPair`.
    ///
    /// # Errors
    /// Here and in all calls below: the causes 0x1xx and 0x2xx, and `NotInitialized` after
    /// [`Kms::cancel`].
    pub fn generate_data_key_pair(&self, spec: KeyPairSpec, context: &EncryptionContext) -> Result<DataKeyPair> {
        let answer = self.call_for_secret("GenerateDataKeyPair", self.generation(), |kms| {
            kms.generate_data_key_pair()
                .key_id(&self.key_id)
                .key_pair_spec(spec.to_sdk())
                .set_encryption_context(context.to_sdk())
                .set_grant_tokens(self.grant_tokens.clone())
                .send()
        })?;
        let request_id = answer.request_id().map(str::to_owned);
        // First of all into memory that is wiped, whatever else is wrong with the answer.
        let private_key = answer::secret("private key", answer.private_key_plaintext, answer::MAX_SEALED)?;
        answer::spec(spec, answer.key_pair_spec.as_ref())?;
        Ok(DataKeyPair {
            public_key: answer::public_key(answer.public_key)?,
            private_key: Some(private_key),
            sealed: answer::sealed(answer.private_key_ciphertext_blob)?,
            kms_key_arn: answer::key_arn(&self.key_id, answer.key_id)?,
            request_id,
        })
    }

    /// `GenerateDataKeyPairWithoutPlaintext`: the private key is never in this process.
    pub fn generate_data_key_pair_without_plaintext(
        &self,
        spec: KeyPairSpec,
        context: &EncryptionContext,
    ) -> Result<DataKeyPair> {
        let answer = self.call("GenerateDataKeyPairWithoutPlaintext", self.generation(), |kms| {
            kms.generate_data_key_pair_without_plaintext()
                .key_id(&self.key_id)
                .key_pair_spec(spec.to_sdk())
                .set_encryption_context(context.to_sdk())
                .set_grant_tokens(self.grant_tokens.clone())
                .send()
        })?;
        let request_id = answer.request_id().map(str::to_owned);
        answer::spec(spec, answer.key_pair_spec.as_ref())?;
        Ok(DataKeyPair {
            public_key: answer::public_key(answer.public_key)?,
            private_key: None,
            sealed: answer::sealed(answer.private_key_ciphertext_blob)?,
            kms_key_arn: answer::key_arn(&self.key_id, answer.key_id)?,
            request_id,
        })
    }

    /// `GenerateDataKey`: a symmetric key, or a secret for an HMAC.
    pub fn generate_data_key(&self, size: DataKeySize, context: &EncryptionContext) -> Result<DataKey> {
        let (key_spec, number_of_bytes) = size.to_sdk();
        let answer = self.call_for_secret("GenerateDataKey", self.generation(), |kms| {
            kms.generate_data_key()
                .key_id(&self.key_id)
                .set_key_spec(key_spec.clone())
                .set_number_of_bytes(number_of_bytes)
                .set_encryption_context(context.to_sdk())
                .set_grant_tokens(self.grant_tokens.clone())
                .send()
        })?;
        let request_id = answer.request_id().map(str::to_owned);
        Ok(DataKey {
            plaintext: Some(answer::data_key(size, answer.plaintext)?),
            sealed: answer::sealed(answer.ciphertext_blob)?,
            kms_key_arn: answer::key_arn(&self.key_id, answer.key_id)?,
            request_id,
        })
    }

    /// `GenerateDataKeyWithoutPlaintext`: the key is never in this process.
    pub fn generate_data_key_without_plaintext(
        &self,
        size: DataKeySize,
        context: &EncryptionContext,
    ) -> Result<DataKey> {
        let (key_spec, number_of_bytes) = size.to_sdk();
        let answer = self.call("GenerateDataKeyWithoutPlaintext", self.generation(), |kms| {
            kms.generate_data_key_without_plaintext()
                .key_id(&self.key_id)
                .set_key_spec(key_spec.clone())
                .set_number_of_bytes(number_of_bytes)
                .set_encryption_context(context.to_sdk())
                .set_grant_tokens(self.grant_tokens.clone())
                .send()
        })?;
        let request_id = answer.request_id().map(str::to_owned);
        Ok(DataKey {
            plaintext: None,
            sealed: answer::sealed(answer.ciphertext_blob)?,
            kms_key_arn: answer::key_arn(&self.key_id, answer.key_id)?,
            request_id,
        })
    }

    /// `Encrypt`: seals a secret of 1 to 4096 bytes. `KmsRejected` for any other length, without a call.
    pub fn encrypt(&self, plaintext: &Secret, context: &EncryptionContext) -> Result<Sealed> {
        if plaintext.is_empty() || plaintext.len() > answer::MAX_PLAINTEXT {
            let most = answer::MAX_PLAINTEXT;
            return Err(Cause::KmsRejected.with(format!("KMS seals 1 to {most} bytes, not {}", plaintext.len())));
        }
        let answer = self.call("Encrypt", self.use_of_key(), |kms| {
            kms.encrypt()
                .key_id(&self.key_id)
                .plaintext(Blob::new(plaintext.expose()))
                .set_encryption_context(context.to_sdk())
                .set_grant_tokens(self.grant_tokens.clone())
                .send()
        })?;
        let request_id = answer.request_id().map(str::to_owned);
        answer::algorithm(answer.encryption_algorithm.as_ref())?;
        Ok(Sealed {
            sealed: answer::sealed(answer.ciphertext_blob)?,
            kms_key_arn: answer::key_arn(&self.key_id, answer.key_id)?,
            request_id,
        })
    }

    /// `ReEncrypt` under the same key: changes the context of a sealed key; the plaintext stays in KMS.
    pub fn re_encrypt(&self, sealed: &[u8], from: &EncryptionContext, to: &EncryptionContext) -> Result<Sealed> {
        self.check_sealed(sealed)?;
        let answer = self.call("ReEncrypt", self.use_of_key(), |kms| {
            kms.re_encrypt()
                .ciphertext_blob(Blob::new(sealed))
                .source_key_id(&self.key_id)
                .set_source_encryption_context(from.to_sdk())
                .destination_key_id(&self.key_id)
                .set_destination_encryption_context(to.to_sdk())
                .set_grant_tokens(self.grant_tokens.clone())
                .send()
        })?;
        let request_id = answer.request_id().map(str::to_owned);
        answer::algorithm(answer.destination_encryption_algorithm.as_ref())?;
        answer::key_arn(&self.key_id, answer.source_key_id)?;
        Ok(Sealed {
            sealed: answer::sealed(answer.ciphertext_blob)?,
            kms_key_arn: answer::key_arn(&self.key_id, answer.key_id)?,
            request_id,
        })
    }

    /// `Decrypt`: opens a sealed key under the context that it was sealed under. The configured key is
    /// always named, so a blob that was sealed under anybody else's is refused (`SealWrongKey`); a blob
    /// or a context that was changed is `SealBroken`.
    pub fn decrypt(&self, sealed: &[u8], context: &EncryptionContext) -> Result<Opened> {
        self.check_sealed(sealed)?;
        let answer = self.call_for_secret("Decrypt", self.use_of_key(), |kms| {
            kms.decrypt()
                .key_id(&self.key_id)
                .ciphertext_blob(Blob::new(sealed))
                .set_encryption_context(context.to_sdk())
                .set_grant_tokens(self.grant_tokens.clone())
                .send()
        })?;
        let request_id = answer.request_id().map(str::to_owned);
        let plaintext = answer::secret("plaintext", answer.plaintext, answer::MAX_PLAINTEXT)?;
        answer::algorithm(answer.encryption_algorithm.as_ref())?;
        Ok(Opened { plaintext, request_id, kms_key_arn: answer::key_arn(&self.key_id, answer.key_id)? })
    }

    /// `DescribeKey`.
    pub fn describe_key(&self) -> Result<KeyDescription> {
        let answer = self.call("DescribeKey", self.use_of_key(), |kms| {
            kms.describe_key().key_id(&self.key_id).set_grant_tokens(self.grant_tokens.clone()).send()
        })?;
        let request_id = answer.request_id().map(str::to_owned);
        let Some(key) = answer.key_metadata else {
            return Err(Cause::KmsBadResponse.with("the answer to kms:DescribeKey describes no key"));
        };
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        Ok(KeyDescription {
            state: text(key.key_state.as_ref().map(|v| v.as_str())),
            key_spec: text(key.key_spec.as_ref().map(|v| v.as_str())),
            key_usage: text(key.key_usage.as_ref().map(|v| v.as_str())),
            origin: text(key.origin.as_ref().map(|v| v.as_str())),
            deletion_date: key.deletion_date.map(|date| date.secs()),
            multi_region: key.multi_region.unwrap_or(false),
            arn: answer::key_arn(&self.key_id, key.arn)?,
            request_id,
        })
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

    fn generation(&self) -> Limits {
        let limits = &self.config.timeouts;
        Limits { attempt: limits.generate_attempt, total: limits.generate_total }
    }

    fn use_of_key(&self) -> Limits {
        let limits = &self.config.timeouts;
        Limits { attempt: limits.attempt, total: limits.total }
    }

    /// KMS would refuse it as invalid input; to us it is a stored record that is not what it was.
    fn check_sealed(&self, sealed: &[u8]) -> Result<()> {
        match sealed.len() {
            1..=answer::MAX_SEALED => Ok(()),
            len => Err(Cause::SealBroken.with(format!("a sealed key of {len} bytes is none of KMS's"))),
        }
    }

    /// One call, from start to end on the calling thread.
    fn call<T, E, F>(&self, operation: &'static str, limits: Limits, send: impl Fn(Client) -> F + Send) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + 'static,
        T: Send,
    {
        let name = Name { operation, key_id: &self.key_id };
        let work = async {
            let deadline = Instant::now() + limits.total;
            let session = call::within(deadline, name, self.session()).await??;
            call::until_answered(name, limits, deadline, &session, send).await
        };
        warm::once(self.uses_tls())?;
        let driver = self.driver()?;
        driver.block_on(call::unless(self.cancelled.subscribe(), work), self.rules.threads_allowed)?
    }

    /// A call whose answer holds plaintext. The connection that brought it is closed at once: its buffers
    /// (of TLS most of all) keep what they held until something else is read into them.
    fn call_for_secret<T, E, F>(
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
        let answer = self.call(operation, limits, send);
        if self.embedded.is_none() {
            self.forget_connections();
        }
        answer
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
    async fn session(&self) -> Result<Arc<Session>> {
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
