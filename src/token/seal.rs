//! Sealing keys and opening seals.
//!
//! A key is sealed by KMS under the encryption context of its object, and once more under the token key.
//! KMS takes 4096 bytes at most; a longer key is encrypted under a data key, and that is sealed.

use super::parts::{Layer, Parts};
use super::{Token, TokenKey};
use crate::crypto::{Secret, seal_box};
use crate::error::{Cause, Result};
use crate::kms::{DataKeySize, EncryptionContext, MAX_PLAINTEXT, Opened, Seal};
use crate::object::{Look, policy};
use crate::store::{Attributes, ObjectId, ObjectRecord, SealForm, SealedKey, TokenRecord};
use cryptoki_sys::CKA_UNIQUE_ID;
use std::collections::BTreeMap;

impl Token {
    /// Seals the plaintext of a key for the object that is to have these attributes: one KMS call for each KMS key.
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
        let wrapping = self.kms.wrapping();
        let parts = match form {
            SealForm::Kms => {
                let first = wrapping.encrypt(plaintext, &context)?.into();
                Parts { seals: self.kms.complete(first, Some(plaintext), &context)?, body: None }
            }
            SealForm::Envelope => {
                let made = wrapping.generate_data_key(DataKeySize::AES_256, &context)?;
                let data_key = made.plaintext.ok_or_else(|| Cause::KmsBadResponse.with("no plaintext data key"))?;
                let body = seal_box::seal(data_key.expose(), id.as_bytes(), plaintext.expose())?;
                let first = Seal { kms_key_arn: made.kms_key_arn, blob: made.sealed };
                Parts { seals: self.kms.complete(first, Some(&data_key), &context)?, body: Some(body) }
            }
        };
        self.sealed(token_key, id, parts)
    }

    /// What KMS made for a new object, with the seals of the additional KMS keys, as it is stored.
    pub(super) fn sealed_by_all(
        &self,
        token_key: &TokenKey,
        id: ObjectId,
        first: Seal,
        plaintext: Option<&Secret>,
        context: &EncryptionContext,
    ) -> Result<SealedKey> {
        self.sealed(token_key, id, Parts { seals: self.kms.complete(first, plaintext, context)?, body: None })
    }

    fn sealed(&self, token_key: &TokenKey, id: ObjectId, parts: Parts) -> Result<SealedKey> {
        parts.stored(Some(Layer { token_key, id }), policy::VERSION, self.user_context())
    }

    fn parts(&self, record: &TokenRecord, object: &ObjectRecord, sealed: &SealedKey) -> Result<Parts> {
        Parts::of(sealed, Some(Layer { token_key: &*self.token_key(record)?, id: object.id }))
    }

    /// Seals the key of an object anew, for the object `id` with these attributes: one KMS `ReEncrypt` for each seal, and
    /// the plaintext is never here. Only a copy of a key in an envelope takes its `Decrypt` and another seal.
    pub(super) fn reseal(&self, object: &ObjectRecord, id: ObjectId, attributes: &Attributes) -> Result<SealedKey> {
        let record = self.initialised()?;
        let sealed = sealed_key(object)?;
        let token_key = self.token_key(&record)?;
        if sealed.form == SealForm::Envelope && id != object.id {
            let opened = self.open(object)?;
            return self.seal(&record, &token_key, id, attributes, &opened.plaintext);
        }
        let from = stored_context(&record, object, sealed)?;
        let user = &self.config.kms.encryption_context;
        let to = policy::encryption_context(&record.serial, attributes, None, sealed.form, user)?;
        let Parts { seals, body } = Parts::of(sealed, Some(Layer { token_key: &token_key, id: object.id }))?;
        self.sealed(&token_key, id, Parts { seals: self.kms.re_encrypt(&seals, &from, &to)?, body })
    }

    /// Opens the seal of an object: one KMS `Decrypt`.
    pub(super) fn open(&self, object: &ObjectRecord) -> Result<Opened> {
        let record = self.initialised()?;
        let sealed = sealed_key(object)?;
        let context = stored_context(&record, object, sealed)?;
        self.compare_pairs(&object.id.to_string(), sealed);
        let Parts { seals, body } = self.parts(&record, object, sealed)?;
        opened(object, body.as_deref(), self.kms.open(&seals, &context)?)
    }

    /// Opens it by each KMS key of the token, by itself. Each key's name and what came of it.
    pub fn open_by_each_key(&self, object: &ObjectRecord) -> Result<Vec<(String, Result<Secret>)>> {
        let record = self.initialised()?;
        let sealed = sealed_key(object)?;
        let context = stored_context(&record, object, sealed)?;
        let Parts { seals, body } = self.parts(&record, object, sealed)?;
        let each = self.kms.open_each(&seals, &context).map(|(key_id, answer)| {
            let plaintext = answer.and_then(|answer| opened(object, body.as_deref(), answer));
            (key_id.to_owned(), plaintext.map(|opened| opened.plaintext))
        });
        Ok(each.collect())
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

fn sealed_key(object: &ObjectRecord) -> Result<&SealedKey> {
    object.sealed.as_ref().ok_or_else(|| Cause::RecordCorrupt.with("a key without its blob"))
}

/// The key of an object, of what KMS opened.
fn opened(object: &ObjectRecord, body: Option<&[u8]>, answer: Opened) -> Result<Opened> {
    let Some(body) = body else { return Ok(answer) };
    if answer.plaintext.len() != seal_box::KEY_LEN {
        return Err(Cause::SealBroken.with("the envelope's data key has another length"));
    }
    let plaintext = seal_box::open(answer.plaintext.expose(), object.id.as_bytes(), body);
    Ok(Opened { plaintext: plaintext.map_err(|_| Cause::SealBroken.with("the envelope"))?, ..answer })
}
