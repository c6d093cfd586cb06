//! Asking KMS whether it would do a thing (`DryRun`): nothing is made, opened or counted against a quota of keys.

use super::client::Kms;
use super::context::EncryptionContext;
use super::spec::KeyPairSpec;
use crate::error::Result;
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::{Blob, DateTime, DateTimeFormat};
use aws_sdk_kms::types::{DataKeySpec, DryRunModifierType};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use std::time::SystemTime;

/// What KMS answers to a dry run of what it would do.
const WOULD_SUCCEED: &str = "DryRunOperationException";

/// An operation that can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// `GenerateDataKeyPair`.
    GenerateDataKeyPair,
    /// `GenerateDataKeyPairWithoutPlaintext`.
    GenerateDataKeyPairWithoutPlaintext,
    /// `GenerateDataKey`.
    GenerateDataKey,
    /// `GenerateDataKeyWithoutPlaintext`.
    GenerateDataKeyWithoutPlaintext,
    /// `Encrypt`.
    Encrypt,
    /// `Decrypt`, of no ciphertext in particular.
    Decrypt,
    /// `ReEncrypt`, of no ciphertext in particular, from the configured key to the same.
    ReEncrypt,
}

/// What came of a trial that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Whether it was only tried. Emulators do what AWS would only try.
    pub only_tried: bool,
    /// The time that the answer gives for itself, if it does.
    pub answered_at: Option<SystemTime>,
}

impl Kms {
    /// Tries an operation with the configured key under this context.
    ///
    /// # Errors
    /// Those of the operation itself: `KmsAccessDenied` where the caller may not do it.
    pub fn try_out(&self, trial: Trial, context: &EncryptionContext) -> Result<Tried> {
        let (key, tokens) = (|| Some(self.key_id.clone()), || self.grant_tokens.clone());
        let context = || context.to_sdk();
        let ignored = DryRunModifierType::IgnoreCiphertext;
        let addressee = self.addressee()?;
        match trial {
            Trial::GenerateDataKeyPair => self.dry("GenerateDataKeyPair", |kms| {
                let call = kms.generate_data_key_pair().set_key_id(key()).set_encryption_context(context());
                let call = call.key_pair_spec(KeyPairSpec::EccNistP256.to_sdk()).set_recipient(addressee.to_sdk());
                call.set_grant_tokens(tokens()).dry_run(true).send()
            }),
            Trial::GenerateDataKeyPairWithoutPlaintext => self.dry("GenerateDataKeyPairWithoutPlaintext", |kms| {
                let call = kms.generate_data_key_pair_without_plaintext().set_key_id(key());
                let call = call.key_pair_spec(KeyPairSpec::EccNistP256.to_sdk()).set_encryption_context(context());
                call.set_grant_tokens(tokens()).dry_run(true).send()
            }),
            Trial::GenerateDataKey => self.dry("GenerateDataKey", |kms| {
                let call = kms.generate_data_key().set_key_id(key()).key_spec(DataKeySpec::Aes256);
                let call = call.set_recipient(addressee.to_sdk());
                call.set_encryption_context(context()).set_grant_tokens(tokens()).dry_run(true).send()
            }),
            Trial::GenerateDataKeyWithoutPlaintext => self.dry("GenerateDataKeyWithoutPlaintext", |kms| {
                let call = kms.generate_data_key_without_plaintext().set_key_id(key()).key_spec(DataKeySpec::Aes256);
                call.set_encryption_context(context()).set_grant_tokens(tokens()).dry_run(true).send()
            }),
            Trial::Encrypt => self.dry("Encrypt", |kms| {
                let call = kms.encrypt().set_key_id(key()).plaintext(Blob::new(*b"a dry run"));
                call.set_encryption_context(context()).set_grant_tokens(tokens()).dry_run(true).send()
            }),
            Trial::Decrypt => self.dry("Decrypt", |kms| {
                let call = kms.decrypt().set_key_id(key()).set_encryption_context(context());
                let call = call.set_recipient(addressee.to_sdk());
                call.set_grant_tokens(tokens()).dry_run(true).dry_run_modifiers(ignored.clone()).send()
            }),
            Trial::ReEncrypt => self.dry("ReEncrypt", |kms| {
                let call = kms.re_encrypt().set_source_key_id(key()).set_destination_key_id(key());
                let call = call.set_source_encryption_context(context()).set_destination_encryption_context(context());
                call.set_grant_tokens(tokens()).dry_run(true).dry_run_modifiers(ignored.clone()).send()
            }),
        }
    }

    fn dry<T, E, F>(&self, operation: &'static str, send: impl Fn(Client) -> F + Send) -> Result<Tried>
    where
        F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + 'static,
    {
        // Where the dry run is not known, the answer may hold a key that was made, and in plaintext where nobody knows
        // attestation either.
        let tried = self.call_for_secret(operation, self.use_of_key(), move |kms| {
            let answer = send(kms);
            async {
                match answer.await {
                    Ok(_) => Ok(Tried { only_tried: false, answered_at: None }),
                    Err(SdkError::ServiceError(error)) if error.err().code() == Some(WOULD_SUCCEED) => {
                        Ok(Tried { only_tried: true, answered_at: date(error.raw()) })
                    }
                    Err(error) => Err(error),
                }
            }
        })?;
        if !tried.only_tried {
            self.forget_connections();
        }
        Ok(tried)
    }
}

/// The `Date` of an answer.
fn date(answer: &HttpResponse) -> Option<SystemTime> {
    let text = answer.headers().get("date")?;
    DateTime::from_str(text, DateTimeFormat::HttpDate).ok()?.try_into().ok()
}
