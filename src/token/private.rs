//! The use of a private key: unwrap, check, cache.

use super::Token;
use crate::error::{Cause, Result};
use crate::host::protected;
use crate::kms::EncryptionContext;
use crate::object::{Look, keypair, policy};
use crate::store::{ObjectRecord, SealedKey};
use crate::unwrap::{self, Opened, Use};
use cryptoki_sys::{CKA_ALWAYS_AUTHENTICATE, CKA_ID, CKA_LABEL, CKA_PUBLIC_KEY_INFO, CKA_UNIQUE_ID};
use std::collections::BTreeMap;

impl Token {
    /// The private key of an object, ready to use; counts as one use.
    ///
    /// One KMS `Decrypt` unless the key is cached under the same `seal_tag`
    /// ([`policy::seal_tag`]). A key with `CKA_ALWAYS_AUTHENTICATE` never is.
    pub fn private_key(&self, object: &ObjectRecord, seal_tag: policy::SealTag) -> Result<Use> {
        let unwrap = || self.unwrap(object).map_err(|error| error.context(describe(object)));
        if object.attributes.is(CKA_ALWAYS_AUTHENTICATE) {
            return unwrap().map(Use::from);
        }
        self.cache.key(object.id, seal_tag, unwrap)
    }

    fn unwrap(&self, object: &ObjectRecord) -> Result<Opened> {
        let record = self.initialised()?;
        let attributes = &object.attributes;
        let sealed =
            object.sealed.as_ref().ok_or_else(|| Cause::RecordCorrupt.with("a private key without its blob"))?;
        if attributes.bytes(CKA_UNIQUE_ID) != object.id.to_string().as_bytes() {
            return Err(Cause::RecordCorrupt.with("CKA_UNIQUE_ID is not the record's"));
        }
        if sealed.context_version != policy::VERSION {
            return Err(Cause::SealBroken.with("sealed under an unknown version of the encryption context"));
        }
        let user = stored_pairs(sealed)?;
        let context = policy::encryption_context(&record.serial, attributes, None, &user)?;
        let key = self.token_key(&record)?;
        let blob = key.open(object.id.as_bytes(), &sealed.blob)?;
        let opened = self.kms.decrypt(blob.expose(), &context)?;
        tracing::info!(object = %object.id, request_id = opened.request_id.as_deref().unwrap_or("-"), "unwrapped a private key");
        if protected::take_lock_warning() {
            tracing::warn!("key memory cannot be locked (RLIMIT_MEMLOCK): private keys in use may be swapped out");
        }
        let private = unwrap::checked_key(&opened.plaintext, attributes.bytes(CKA_PUBLIC_KEY_INFO))?;
        if !keypair::describes(attributes, private.public_key())? {
            return Err(Cause::SealKeyMismatch.with("the object's attributes describe another public key"));
        }
        Ok(Opened { key: private, request_id: opened.request_id })
    }
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

/// An object as the log names it.
pub(super) fn describe(object: &ObjectRecord) -> String {
    let label = String::from_utf8_lossy(object.attributes.bytes(CKA_LABEL)).into_owned();
    let id: String = object.attributes.bytes(CKA_ID).iter().take(20).map(|byte| format!("{byte:02x}")).collect();
    let arn = object.sealed.as_ref().map_or("", |sealed| sealed.kms_key_arn.as_str());
    format!("object {} (CKA_LABEL {label:?}, CKA_ID {id}, sealed by {arn})", object.id)
}
