//! The use of a private or secret key: unwrap, check, cache.

use super::Token;
use crate::error::Result;
use crate::host::protected;
use crate::object::{Look, opened_key, policy};
use crate::store::ObjectRecord;
use crate::unwrap::{Opened, Use};
use cryptoki_sys::{CKA_ALWAYS_AUTHENTICATE, CKA_ID, CKA_LABEL};

impl Token {
    /// The key of an object that is sealed, ready to use; counts as one use.
    ///
    /// One KMS `Decrypt` unless the key is cached under the same `seal_tag`
    /// ([`policy::seal_tag`]). A key with `CKA_ALWAYS_AUTHENTICATE` never is.
    pub fn key(&self, object: &ObjectRecord, seal_tag: policy::SealTag) -> Result<Use> {
        let unwrap = || self.unwrap(object).map_err(|error| error.context(describe(object)));
        if object.attributes.is(CKA_ALWAYS_AUTHENTICATE) {
            return self.cache.unkept(unwrap);
        }
        self.cache.key(object.id, seal_tag, unwrap)
    }

    fn unwrap(&self, object: &ObjectRecord) -> Result<Opened> {
        let opened = self.open(object)?;
        tracing::info!(object = %object.id, request_id = opened.request_id.as_deref().unwrap_or("-"), "unwrapped a key");
        if protected::take_lock_warning() {
            tracing::warn!("key memory cannot be locked (RLIMIT_MEMLOCK): keys in use may be swapped out");
        }
        let key = opened_key(&object.attributes, &opened.plaintext).map_err(|error| error.context(opened.about()))?;
        Ok(Opened { key, request_id: opened.request_id })
    }
}

/// An object as the log names it.
pub(super) fn describe(object: &ObjectRecord) -> String {
    let label = String::from_utf8_lossy(object.attributes.bytes(CKA_LABEL)).into_owned();
    let id: String = object.attributes.bytes(CKA_ID).iter().take(20).map(|byte| format!("{byte:02x}")).collect();
    let arn = object.sealed.as_ref().map_or("", |sealed| sealed.kms_key_arn.as_str());
    format!("object {} (CKA_LABEL {label:?}, CKA_ID {id}, sealed by {arn})", object.id)
}
