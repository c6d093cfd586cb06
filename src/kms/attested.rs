//! Calls whose answers are encrypted for this enclave alone.

use super::answer;
use super::call::Limits;
use super::client::Kms;
use crate::attestation::Recipient;
use crate::crypto::Secret;
use crate::error::{Cause, Error, Result};
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{KeyEncryptionMechanism, RecipientInfo};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use std::future::Future;
use std::sync::Arc;

/// Whom the answer of one call is encrypted for: nobody, where the token has no `attestation`.
pub(super) struct Addressee(Option<Arc<Recipient>>);

impl Addressee {
    /// For a request.
    pub(super) fn to_sdk(&self) -> Option<RecipientInfo> {
        let recipient = self.0.as_ref()?;
        let info = RecipientInfo::builder().attestation_document(Blob::new(recipient.document()));
        Some(info.key_encryption_algorithm(KeyEncryptionMechanism::RsaesOaepSha256).build())
    }

    /// The secret in an answer, of 1 to `limit` bytes: its plaintext, or what was encrypted for this enclave. There is
    /// no way from the one to the other: an answer in plaintext to a request for none is refused.
    pub(super) fn secret(
        &self,
        what: &str,
        plaintext: Option<Blob>,
        encrypted: Option<Blob>,
        limit: usize,
    ) -> Result<Secret> {
        // First of all into memory that is wiped, whatever else is wrong with the answer.
        let plaintext = Secret::new(plaintext.map(Blob::into_inner).unwrap_or_default());
        let secret = match &self.0 {
            None => plaintext,
            Some(_) if !plaintext.is_empty() => return Err(Cause::AttestationBypassed.into()),
            Some(recipient) => match encrypted.map(Blob::into_inner) {
                Some(encrypted) if !encrypted.is_empty() => recipient.open(&encrypted)?,
                _ => Secret::new(Vec::new()),
            },
        };
        answer::check_length(what, secret.len(), limit)?;
        Ok(secret)
    }
}

impl Kms {
    /// Whether an attestation document can be had, where the token needs one: with what it says of the enclave's image
    /// (PCR0).
    pub fn attestation(&self) -> Option<Result<Option<Vec<u8>>>> {
        let recipient = self.attestor.as_ref()?.recipient();
        Some(recipient.map(|recipient| recipient.image()))
    }

    /// Whom the answer of a call that begins now is encrypted for.
    pub(super) fn addressee(&self) -> Result<Addressee> {
        self.attestor.as_ref().map(|attestor| attestor.recipient()).transpose().map(Addressee)
    }

    /// A call whose answer holds a secret. Where that is plaintext, the connection that brought it is closed at once:
    /// its buffers (of TLS most of all) keep what they held until something else is read into them.
    pub(super) fn call_for_secret<T, E, F>(
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
        let Some(attestor) = &self.attestor else {
            self.forget_own_connections();
            return answer;
        };
        answer.map_err(|error| match error.cause() {
            // Neither tells whether it is because of the document.
            Cause::KmsRejected | Cause::KmsAccessDenied => {
                attestor.forget_document();
                error.context("asked with an attestation document, whose measurements and age KMS judges")
            }
            _ => error,
        })
    }

    /// What is wrong with an answer that was to hold no plaintext and does: its connection is closed as well.
    pub(super) fn close_if_bypassed(&self, error: &Error) {
        if error.cause() == Cause::AttestationBypassed {
            self.forget_own_connections();
        }
    }

    fn forget_own_connections(&self) {
        if self.embedded().is_none() {
            self.forget_connections();
        }
    }
}
