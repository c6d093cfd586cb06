//! The operations of KMS: requests from our terms, and answers checked before anything is built on them.

use super::answer::{self, DataKey, DataKeyPair, KeyDescription, Opened, Sealed};
use super::call::{Limits, Name};
use super::client::Kms;
use super::context::EncryptionContext;
use super::errors::plain;
use super::spec::{DataKeySize, KeyPairSpec};
use crate::crypto::Secret;
use crate::error::{Cause, Error, Result};
use aws_sdk_kms::operation::RequestId;
use aws_sdk_kms::primitives::Blob;

/// The longest name of a KMS key, in characters.
const MAX_KEY_ID: usize = 2048;

impl Kms {
    /// `GenerateDataKeyPair`.
    ///
    /// # Errors
    /// Here and in all calls below: the causes 0x1xx and 0x2xx, and `NotInitialized` after
    /// [`Kms::cancel`].
    pub fn generate_data_key_pair(&self, spec: KeyPairSpec, context: &EncryptionContext) -> Result<DataKeyPair> {
        let addressee = self.addressee()?;
        let answer = self.call_for_secret("GenerateDataKeyPair", self.generation(), |kms| {
            kms.generate_data_key_pair()
                .key_id(&self.key_id)
                .key_pair_spec(spec.to_sdk())
                .set_encryption_context(context.to_sdk())
                .set_grant_tokens(self.grant_tokens.clone())
                .set_recipient(addressee.to_sdk())
                .send()
        })?;
        let request_id = answer.request_id().map(str::to_owned);
        self.checked("GenerateDataKeyPair", request_id, |request_id| {
            let (plaintext, encrypted) = (answer.private_key_plaintext, answer.ciphertext_for_recipient);
            let private_key = addressee.secret("private key", plaintext, encrypted, answer::MAX_SEALED)?;
            answer::spec(spec, answer.key_pair_spec.as_ref())?;
            Ok(DataKeyPair {
                public_key: answer::public_key(answer.public_key)?,
                private_key: Some(private_key),
                sealed: answer::sealed(answer.private_key_ciphertext_blob)?,
                kms_key_arn: answer::key_arn(&self.key_id, answer.key_id)?,
                request_id,
            })
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
        self.checked("GenerateDataKeyPairWithoutPlaintext", request_id, |request_id| {
            answer::spec(spec, answer.key_pair_spec.as_ref())?;
            Ok(DataKeyPair {
                public_key: answer::public_key(answer.public_key)?,
                private_key: None,
                sealed: answer::sealed(answer.private_key_ciphertext_blob)?,
                kms_key_arn: answer::key_arn(&self.key_id, answer.key_id)?,
                request_id,
            })
        })
    }

    /// `GenerateDataKey`: a symmetric key, or a secret for an HMAC.
    pub fn generate_data_key(&self, size: DataKeySize, context: &EncryptionContext) -> Result<DataKey> {
        let (key_spec, number_of_bytes) = size.to_sdk();
        let addressee = self.addressee()?;
        let answer = self.call_for_secret("GenerateDataKey", self.generation(), |kms| {
            kms.generate_data_key()
                .key_id(&self.key_id)
                .set_key_spec(key_spec.clone())
                .set_number_of_bytes(number_of_bytes)
                .set_encryption_context(context.to_sdk())
                .set_grant_tokens(self.grant_tokens.clone())
                .set_recipient(addressee.to_sdk())
                .send()
        })?;
        let request_id = answer.request_id().map(str::to_owned);
        self.checked("GenerateDataKey", request_id, |request_id| {
            let (plaintext, encrypted) = (answer.plaintext, answer.ciphertext_for_recipient);
            let key = addressee.secret("data key", plaintext, encrypted, size.len())?;
            answer::check_data_key(size, &key)?;
            Ok(DataKey {
                plaintext: Some(key),
                sealed: answer::sealed(answer.ciphertext_blob)?,
                kms_key_arn: answer::key_arn(&self.key_id, answer.key_id)?,
                request_id,
            })
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
        self.checked("GenerateDataKeyWithoutPlaintext", request_id, |request_id| {
            Ok(DataKey {
                plaintext: None,
                sealed: answer::sealed(answer.ciphertext_blob)?,
                kms_key_arn: answer::key_arn(&self.key_id, answer.key_id)?,
                request_id,
            })
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
        self.checked("Encrypt", request_id, |request_id| {
            answer::algorithm(answer.encryption_algorithm.as_ref())?;
            Ok(Sealed {
                sealed: answer::sealed(answer.ciphertext_blob)?,
                kms_key_arn: answer::key_arn(&self.key_id, answer.key_id)?,
                request_id,
            })
        })
    }

    /// `ReEncrypt` of what the configured key sealed: changes the context of a sealed key; the plaintext stays in KMS.
    pub fn re_encrypt(&self, sealed: &[u8], from: &EncryptionContext, to: &EncryptionContext) -> Result<Sealed> {
        self.re_encrypt_between([&self.key_id, &self.key_id], sealed, from, to)
    }

    /// The same of what the key with this ARN sealed, as it is stored: by the configured key, or a former one.
    pub fn re_encrypt_stored(
        &self,
        sealed_by: &str,
        sealed: &[u8],
        from: &EncryptionContext,
        to: &EncryptionContext,
    ) -> Result<Sealed> {
        self.re_encrypt_between([self.opener(sealed_by), &self.key_id], sealed, from, to)
    }

    /// The same of what the key with this ARN sealed, under another KMS key of the Region: a second seal on one secret.
    pub(super) fn re_encrypt_to(
        &self,
        sealed_by: &str,
        destination_key_id: &str,
        sealed: &[u8],
        context: &EncryptionContext,
    ) -> Result<Sealed> {
        self.re_encrypt_between([self.opener(sealed_by), destination_key_id], sealed, context, context)
    }

    /// `ReEncrypt` of what another KMS key sealed, under the configured one.
    pub fn re_encrypt_from(
        &self,
        source_key_id: &str,
        sealed: &[u8],
        from: &EncryptionContext,
        to: &EncryptionContext,
    ) -> Result<Sealed> {
        self.re_encrypt_between([source_key_id, &self.key_id], sealed, from, to)
    }

    /// The source is always named, by key id, ARN, alias or alias ARN: a blob that was sealed under any other key is
    /// `SealWrongKey`.
    fn re_encrypt_between(
        &self,
        [source_key_id, destination_key_id]: [&str; 2],
        sealed: &[u8],
        from: &EncryptionContext,
        to: &EncryptionContext,
    ) -> Result<Sealed> {
        check_sealed(sealed)?;
        if !(1..=MAX_KEY_ID).contains(&source_key_id.len()) {
            return Err(Cause::KmsRejected.with(format!("a KMS key is named by 1 to {MAX_KEY_ID} characters")));
        }
        let answer = self.call("ReEncrypt", self.use_of_key(), |kms| {
            kms.re_encrypt()
                .ciphertext_blob(Blob::new(sealed))
                .source_key_id(source_key_id)
                .set_source_encryption_context(from.to_sdk())
                .destination_key_id(destination_key_id)
                .set_destination_encryption_context(to.to_sdk())
                .set_grant_tokens(self.grant_tokens.clone())
                .send()
        });
        let answer = answer.map_err(|error| self.by_another(source_key_id, error))?;
        let request_id = answer.request_id().map(str::to_owned);
        self.checked("ReEncrypt", request_id, |request_id| {
            answer::algorithm(answer.source_encryption_algorithm.as_ref())?;
            answer::algorithm(answer.destination_encryption_algorithm.as_ref())?;
            answer::key_arn(source_key_id, answer.source_key_id)?;
            Ok(Sealed {
                sealed: answer::sealed(answer.ciphertext_blob)?,
                kms_key_arn: answer::key_arn(destination_key_id, answer.key_id)?,
                request_id,
            })
        })
    }

    /// `Decrypt`: opens a sealed key under the context that it was sealed under. The configured key is
    /// always named, so a blob that was sealed under anybody else's is refused (`SealWrongKey`); a blob
    /// or a context that was changed is `SealBroken`.
    pub fn decrypt(&self, sealed: &[u8], context: &EncryptionContext) -> Result<Opened> {
        self.decrypt_by(&self.key_id, sealed, context, self.use_of_key())
    }

    /// The same of what the key with this ARN sealed, as it is stored: by the configured key, or a former one.
    pub fn decrypt_stored(&self, sealed_by: &str, sealed: &[u8], context: &EncryptionContext) -> Result<Opened> {
        self.decrypt_by(self.opener(sealed_by), sealed, context, self.use_of_key())
    }

    pub(super) fn decrypt_by(
        &self,
        key_id: &str,
        sealed: &[u8],
        context: &EncryptionContext,
        limits: Limits,
    ) -> Result<Opened> {
        check_sealed(sealed)?;
        let addressee = self.addressee()?;
        let answer = self.call_for_secret("Decrypt", limits, |kms| {
            kms.decrypt()
                .key_id(key_id)
                .ciphertext_blob(Blob::new(sealed))
                .set_encryption_context(context.to_sdk())
                .set_grant_tokens(self.grant_tokens.clone())
                .set_recipient(addressee.to_sdk())
                .send()
        });
        let answer = answer.map_err(|error| self.by_another(key_id, error))?;
        let request_id = answer.request_id().map(str::to_owned);
        self.checked("Decrypt", request_id, |request_id| {
            let (plaintext, encrypted) = (answer.plaintext, answer.ciphertext_for_recipient);
            let plaintext = addressee.secret("plaintext", plaintext, encrypted, answer::MAX_PLAINTEXT)?;
            answer::algorithm(answer.encryption_algorithm.as_ref())?;
            Ok(Opened { plaintext, request_id, kms_key_arn: answer::key_arn(key_id, answer.key_id)? })
        })
    }

    /// `DescribeKey`.
    pub fn describe_key(&self) -> Result<KeyDescription> {
        let answer = self.call("DescribeKey", self.use_of_key(), |kms| {
            kms.describe_key().key_id(&self.key_id).set_grant_tokens(self.grant_tokens.clone()).send()
        })?;
        let request_id = answer.request_id().map(str::to_owned);
        self.checked("DescribeKey", request_id, |request_id| {
            let Some(key) = answer.key_metadata else {
                return Err(Cause::KmsBadResponse.with("the answer describes no key"));
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
        })
    }

    /// Names the key that was to open a blob, where that is not the wrapping key.
    fn by_another(&self, key_id: &str, error: Error) -> Error {
        match key_id == self.key_id {
            true => error,
            false => error.context(format!("sealed by KMS key {}", plain(key_id, 200))),
        }
    }

    /// Checks an answer and makes of it what the floors above need. What is wrong with it is told as errors of KMS are.
    fn checked<T>(
        &self,
        operation: &'static str,
        request_id: Option<String>,
        check: impl FnOnce(Option<String>) -> Result<T>,
    ) -> Result<T> {
        let checked = check(request_id.clone()).inspect_err(|error| self.close_if_bypassed(error));
        checked.map_err(|error| error.context(self.about(operation, request_id.as_deref())))
    }

    /// A call that was answered, as errors name it that are found in its answer.
    pub fn about(&self, operation: &'static str, request_id: Option<&str>) -> String {
        Name { operation, key_id: &self.key_id }.about(request_id)
    }

    fn generation(&self) -> Limits {
        let limits = &self.config.timeouts;
        Limits { attempt: limits.generate_attempt, total: limits.generate_total }
    }

    pub(super) fn use_of_key(&self) -> Limits {
        let limits = &self.config.timeouts;
        Limits { attempt: limits.attempt, total: limits.total }
    }
}

/// KMS would refuse it as invalid input; to us it is a stored record that is not what it was.
fn check_sealed(sealed: &[u8]) -> Result<()> {
    match sealed.len() {
        1..=answer::MAX_SEALED => Ok(()),
        len => Err(Cause::SealBroken.with(format!("a sealed key of {len} bytes is none of KMS's"))),
    }
}
