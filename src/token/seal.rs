//! Sealing keys and opening seals.
//!
//! A key is sealed by KMS under the encryption context of its object, and once more under the token key.
//! KMS takes 4096 bytes at most; a longer key is encrypted under a data key, and that is sealed.

use super::{Token, TokenKey};
use crate::crypto::{Secret, seal_box};
use crate::error::{Cause, Result};
use crate::kms::{DataKeySize, EncryptionContext, MAX_PLAINTEXT};
use crate::object::{Look, policy};
use crate::store::{Attributes, ObjectId, ObjectRecord, SealForm, SealedKey, TokenRecord};
use cryptoki_sys::CKA_UNIQUE_ID;
use std::collections::BTreeMap;

impl Token {
    /// Seals the plaintext of a key for the object that is to have these attributes: one KMS call.
    pub(super) fn seal(
        &self,
        record: &TokenRecord,
        token_key: &TokenKey,
        id: ObjectId,
        attributes: &Attributes,
        plaintext: &Secret,
    ) -> Result<SealedKey> {
        let form = if plaintext.len() <= MAX_PLAINTEXT { SealForm::Kms } else { SealForm::Envelope };
        let user = &self.config.kms.encryption_context;
        let context = policy::encryption_context(&record.serial, attributes, None, form, user)?;
        let (blob, kms_key_arn) = match form {
            SealForm::Kms => {
                let made = self.kms.encrypt(plaintext, &context)?;
                (made.sealed, made.kms_key_arn)
            }
            SealForm::Envelope => {
                let made = self.kms.generate_data_key(DataKeySize::AES_256, &context)?;
                let data_key = made.plaintext.ok_or_else(|| Cause::KmsBadResponse.with("no plaintext data key"))?;
                let body = seal_box::seal(data_key.expose(), id.as_bytes(), plaintext.expose())?;
                (envelope(&made.sealed, &body), made.kms_key_arn)
            }
        };
        self.sealed(token_key, id, form, &blob, kms_key_arn)
    }

    /// What KMS made, as it is stored.
    pub(super) fn sealed(
        &self,
        token_key: &TokenKey,
        id: ObjectId,
        form: SealForm,
        blob: &[u8],
        kms_key_arn: String,
    ) -> Result<SealedKey> {
        Ok(SealedKey {
            form,
            blob: token_key.seal(id.as_bytes(), blob)?,
            context_version: policy::VERSION,
            user_context: self.user_context(),
            kms_key_arn,
        })
    }

    /// Seals the key of an object anew, for the object `id` with these attributes: one KMS `ReEncrypt`, and the
    /// plaintext is never here. Only a copy of a key in an envelope takes its `Decrypt` and another seal.
    pub(super) fn reseal(&self, object: &ObjectRecord, id: ObjectId, attributes: &Attributes) -> Result<SealedKey> {
        let record = self.initialised()?;
        let sealed = object.sealed.as_ref().ok_or_else(|| Cause::RecordCorrupt.with("a key without its blob"))?;
        let token_key = self.token_key(&record)?;
        if sealed.form == SealForm::Envelope && id != object.id {
            let (plaintext, _) = self.open(object)?;
            return self.seal(&record, &token_key, id, attributes, &plaintext);
        }
        let from = stored_context(&record, object, sealed)?;
        let user = &self.config.kms.encryption_context;
        let to = policy::encryption_context(&record.serial, attributes, None, sealed.form, user)?;
        let blob = token_key.open(object.id.as_bytes(), &sealed.blob)?;
        let (blob, kms_key_arn) = match sealed.form {
            SealForm::Kms => {
                let made = self.kms.re_encrypt_stored(&sealed.kms_key_arn, blob.expose(), &from, &to)?;
                (made.sealed, made.kms_key_arn)
            }
            SealForm::Envelope => {
                let (data_key, body) = split_envelope(blob.expose()).ok_or(Cause::SealBroken)?;
                let made = self.kms.re_encrypt_stored(&sealed.kms_key_arn, data_key, &from, &to)?;
                (envelope(&made.sealed, body), made.kms_key_arn)
            }
        };
        self.sealed(&token_key, id, sealed.form, &blob, kms_key_arn)
    }

    /// Opens the seal of an object: one KMS `Decrypt`. The plaintext and the request id.
    pub(super) fn open(&self, object: &ObjectRecord) -> Result<(Secret, Option<String>)> {
        let record = self.initialised()?;
        let sealed = object.sealed.as_ref().ok_or_else(|| Cause::RecordCorrupt.with("a key without its blob"))?;
        let context = stored_context(&record, object, sealed)?;
        self.compare_pairs(&object.id.to_string(), sealed);
        let blob = self.token_key(&record)?.open(object.id.as_bytes(), &sealed.blob)?;
        match sealed.form {
            SealForm::Kms => {
                let opened = self.kms.decrypt_stored(&sealed.kms_key_arn, blob.expose(), &context)?;
                Ok((opened.plaintext, opened.request_id))
            }
            SealForm::Envelope => {
                let (data_key, body) = split_envelope(blob.expose()).ok_or(Cause::SealBroken)?;
                let opened = self.kms.decrypt_stored(&sealed.kms_key_arn, data_key, &context)?;
                if opened.plaintext.len() != seal_box::KEY_LEN {
                    return Err(Cause::SealBroken.with("the envelope's data key has another length"));
                }
                let plaintext = seal_box::open(opened.plaintext.expose(), object.id.as_bytes(), body);
                Ok((plaintext.map_err(|_| Cause::SealBroken.with("the envelope"))?, opened.request_id))
            }
        }
    }

    /// Says so where a key was sealed under other pairs of the user's than the configuration has. It stays usable: a
    /// change of the configuration locks no key away. But it may also have been put there by somebody whom IAM lets
    /// use those other pairs only.
    pub(super) fn compare_pairs(&self, object: &str, sealed: &SealedKey) {
        let configured = self.config.kms.encryption_context.iter();
        let differs = !sealed.user_context.iter().map(|(key, value)| (key, value)).eq(configured);
        if differs {
            tracing::warn!(object, "it is sealed under other pairs than those of encryption_context");
        }
    }
}

/// The encryption context that a stored key was sealed under.
pub(super) fn stored_context(
    record: &TokenRecord,
    object: &ObjectRecord,
    sealed: &SealedKey,
) -> Result<EncryptionContext> {
    if object.attributes.bytes(CKA_UNIQUE_ID) != object.id.to_string().as_bytes() {
        return Err(Cause::RecordCorrupt.with("CKA_UNIQUE_ID is not the record's"));
    }
    if sealed.context_version != policy::VERSION {
        return Err(Cause::SealBroken.with("sealed under an unknown version of the encryption context"));
    }
    let user = stored_pairs(sealed)?;
    policy::encryption_context(&record.serial, &object.attributes, None, sealed.form, &user)
}

/// The user's pairs that a sealed key was sealed under. The configuration lets nobody name a pair of the
/// module's own, so one that is stored was put there behind the module's back.
pub(super) fn stored_pairs(sealed: &SealedKey) -> Result<BTreeMap<String, String>> {
    let pairs = sealed.user_context.iter().cloned().collect();
    match EncryptionContext::new(&pairs) {
        Ok(_) => Ok(pairs),
        Err(error) => Err(Cause::SealBroken.with(format!("a stored encryption context: {}", error.detail()))),
    }
}

/// The sealed data key with its length (2 bytes, big-endian), then what the data key encrypts.
fn envelope(data_key: &[u8], body: &[u8]) -> Vec<u8> {
    // KMS makes blobs of at most 6144 bytes.
    let len = (data_key.len() as u16).to_be_bytes();
    [&len[..], data_key, body].concat()
}

fn split_envelope(envelope: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = envelope.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}
