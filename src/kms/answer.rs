//! What KMS hands out, and the checks that it makes sense before anything is built on it.

use super::call::Name;
use super::spec::{DataKeySize, KeyPairSpec};
use crate::crypto::Secret;
use crate::error::{Cause, Result};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{DataKeyPairSpec, EncryptionAlgorithmSpec};

/// The longest `CiphertextBlob` that KMS makes or takes, in bytes.
pub(super) const MAX_SEALED: usize = 6144;
/// The longest plaintext that KMS encrypts, in bytes.
pub const MAX_PLAINTEXT: usize = 4096;
/// The longest public key that the service model allows, in bytes.
const MAX_PUBLIC_KEY: usize = 8192;

/// A new data key pair.
pub struct DataKeyPair {
    /// The public key: DER `SubjectPublicKeyInfo`.
    pub public_key: Vec<u8>,
    /// The private key: DER PKCS#8, version 1 or 2. `None` where it was asked for without plaintext.
    pub private_key: Option<Secret>,
    /// The private key as KMS sealed it, at most 6144 bytes; opaque.
    pub sealed: Vec<u8>,
    /// The ARN of the KMS key that sealed it.
    pub kms_key_arn: String,
    /// The request id, for CloudTrail.
    pub request_id: Option<String>,
}

/// A new data key.
pub struct DataKey {
    /// The key, as long as it was asked for. `None` where it was asked for without plaintext.
    pub plaintext: Option<Secret>,
    /// The key as KMS sealed it.
    pub sealed: Vec<u8>,
    /// The ARN of the KMS key that sealed it.
    pub kms_key_arn: String,
    /// The request id, for CloudTrail.
    pub request_id: Option<String>,
}

/// A sealed secret: what `Encrypt` and `ReEncrypt` answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The `CiphertextBlob`, at most 6144 bytes; opaque.
    pub sealed: Vec<u8>,
    /// The ARN of the KMS key that sealed it.
    pub kms_key_arn: String,
    /// The request id, for CloudTrail.
    pub request_id: Option<String>,
}

/// A sealed secret opened: what `Decrypt` answers.
pub struct Opened {
    /// What was sealed, 1 to 4096 bytes.
    pub plaintext: Secret,
    /// The request id, for CloudTrail.
    pub request_id: Option<String>,
    /// The ARN of the KMS key that opened it.
    pub kms_key_arn: String,
}

impl Opened {
    /// As an error begins that is about what was opened.
    pub fn about(&self) -> String {
        Name { operation: "Decrypt", key_id: &self.kms_key_arn }.about(self.request_id.as_deref())
    }
}

/// The KMS key that seals a token's keys, as `DescribeKey` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDescription {
    /// Its ARN.
    pub arn: String,
    /// `Enabled`, `Disabled`, `PendingDeletion`, …
    pub state: String,
    /// `SYMMETRIC_DEFAULT` where it can seal.
    pub key_spec: String,
    /// `ENCRYPT_DECRYPT` where it can seal.
    pub key_usage: String,
    /// `AWS_KMS`, `EXTERNAL`, `AWS_CLOUDHSM`, …; a custom key store makes no data key pairs.
    pub origin: String,
    /// When it will be deleted, in seconds since 1970, if it is pending deletion.
    pub deletion_date: Option<i64>,
    /// Whether it is a multi-Region key.
    pub multi_region: bool,
    /// The request id, for CloudTrail.
    pub request_id: Option<String>,
}

/// Bytes that must be there, and not more than `limit` of them.
pub(super) fn bytes(what: &str, blob: Option<Blob>, limit: usize) -> Result<Vec<u8>> {
    let bytes = blob.map(Blob::into_inner).unwrap_or_default();
    check_length(what, bytes.len(), limit)?;
    Ok(bytes)
}

/// A data key is exactly as long as it was asked for.
pub(super) fn check_data_key(size: DataKeySize, key: &Secret) -> Result<()> {
    let (got, asked) = (key.len(), size.len());
    match got == asked {
        true => Ok(()),
        false => Err(Cause::KmsBadResponse
            .with(format!("the answer has a data key of {got} bytes where {asked} were asked for"))),
    }
}

pub(super) fn sealed(blob: Option<Blob>) -> Result<Vec<u8>> {
    bytes("sealed key", blob, MAX_SEALED)
}

pub(super) fn public_key(blob: Option<Blob>) -> Result<Vec<u8>> {
    bytes("public key", blob, MAX_PUBLIC_KEY)
}

pub(super) fn check_length(what: &str, len: usize, limit: usize) -> Result<()> {
    match len {
        0 => Err(Cause::KmsBadResponse.with(format!("the answer has no {what}"))),
        len if len > limit => Err(Cause::KmsBadResponse.with(format!("the answer has a {what} of {len} bytes"))),
        _ => Ok(()),
    }
}

/// The ARN of the key that KMS used. Where the configuration names a key and not an alias, it must be
/// that key: an answer about another one means that the blob is not ours.
pub(super) fn key_arn(configured: &str, answered: Option<String>) -> Result<String> {
    let arn = answered.unwrap_or_default();
    check_length("key ARN", arn.len(), 2048)?;
    if !configured.is_empty() && !is_alias(configured) && !is_alias(&arn) && bare_id(configured) != bare_id(&arn) {
        let arn = super::errors::plain(&arn, 200);
        return Err(Cause::SealWrongKey.with(format!("KMS answered with key {arn} where {configured} was asked for")));
    }
    Ok(arn)
}

pub(super) fn is_alias(name: &str) -> bool {
    name.starts_with("alias/") || name.contains(":alias/")
}

/// The key id of a key id or a key ARN: a multi-Region key has the same one in every Region.
pub(super) fn bare_id(key: &str) -> &str {
    key.rsplit_once(":key/").map_or(key, |(_, id)| id)
}

/// The algorithm, where the answer names one, is the one that a symmetric key has.
pub(super) fn algorithm(answered: Option<&EncryptionAlgorithmSpec>) -> Result<()> {
    match answered {
        None | Some(EncryptionAlgorithmSpec::SymmetricDefault) => Ok(()),
        Some(other) => Err(Cause::KmsBadResponse
            .with(format!("the answer names encryption algorithm {}", super::errors::plain(other.as_str(), 60)))),
    }
}

/// The kind of key pair, where the answer names one, is the one that was asked for.
pub(super) fn spec(asked: KeyPairSpec, answered: Option<&DataKeyPairSpec>) -> Result<()> {
    match answered {
        Some(answered) if answered.as_str() != asked.name() => {
            let answered = super::errors::plain(answered.as_str(), 60);
            Err(Cause::KmsBadResponse.with(format!("the answer has a {answered} where {asked} was asked for")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/mrk-1";

    #[test]
    fn a_key_that_was_not_asked_for_is_refused_and_an_alias_is_anybodys() {
        for configured in ["mrk-1", ARN, "arn:aws:kms:us-east-1:111122223333:key/mrk-1", "alias/web", ""] {
            assert_eq!(key_arn(configured, Some(ARN.to_owned())).unwrap(), ARN, "{configured}");
        }
        let error = key_arn("mrk-2", Some(ARN.to_owned())).unwrap_err();
        assert_eq!(error.cause(), Cause::SealWrongKey);
        assert_eq!(key_arn("mrk-1", None).unwrap_err().cause(), Cause::KmsBadResponse);
    }

    #[test]
    fn empty_and_oversized_fields_are_no_answer() {
        assert!(sealed(Some(Blob::new(vec![0; MAX_SEALED]))).is_ok());
        for bad in [None, Some(Blob::new(vec![])), Some(Blob::new(vec![0; MAX_SEALED + 1]))] {
            assert_eq!(sealed(bad).unwrap_err().cause(), Cause::KmsBadResponse);
        }
        for bad in [15, 17] {
            let refused = check_data_key(DataKeySize::AES_128, &Secret::zeroed(bad)).unwrap_err();
            assert_eq!(refused.cause(), Cause::KmsBadResponse);
        }
        assert_eq!(spec(KeyPairSpec::Rsa2048, Some(&"RSA_3072".into())).unwrap_err().cause(), Cause::KmsBadResponse);
        assert_eq!(
            algorithm(Some(&EncryptionAlgorithmSpec::RsaesOaepSha1)).unwrap_err().cause(),
            Cause::KmsBadResponse
        );
    }
}
