//! Moving what former KMS keys sealed to the wrapping key, by KMS `ReEncrypt`: the plaintext is never here.

use super::Token;
use super::token_key::stored_token_key_context;
use crate::error::{Cause, Result};
use crate::store::{ObjectId, ObjectRecord, SealedKey};

impl Token {
    /// Whether a key that the configuration calls a former one sealed the object.
    pub fn is_of_former_key(&self, object: &ObjectRecord) -> bool {
        object.sealed.as_ref().is_some_and(|sealed| self.kms.former(&sealed.kms_key_arn).is_some())
    }

    /// Seals the key of an object under the wrapping key, if a former one sealed it: one KMS call. The object as it is
    /// then; `None` if there was nothing to do, or it is gone.
    ///
    /// Killed at any instant, the object has the one seal or the other.
    pub fn rewrap(&self, id: &ObjectId) -> Result<Option<ObjectRecord>> {
        let moved = self.update(id, |object| {
            // Else the new MAC would vouch for what somebody else wrote.
            self.check_vouched(&object)?;
            if !self.is_of_former_key(&object) {
                return Ok(None);
            }
            let sealed = self.reseal(&object, object.id, &object.attributes)?;
            let mut moved = ObjectRecord { sealed: Some(sealed), ..object };
            self.vouch(&*self.initialised()?, &mut moved)?;
            Ok(Some(moved))
        })?;
        if moved.is_some() {
            self.forget_key(*id);
        }
        Ok(moved)
    }

    /// The same for the token key of a token without PINs. Whether there was anything to do.
    pub fn rewrap_token_key(&self) -> Result<bool> {
        let record = self.initialised()?;
        let Some(sealed) = record.sealed_token_key.as_ref() else { return Ok(false) };
        if self.kms.former(&sealed.kms_key_arn).is_none() {
            return Ok(false);
        }
        let (context, _) = stored_token_key_context(&record, sealed)?;
        let made = self.kms.re_encrypt_stored(&sealed.kms_key_arn, &sealed.blob, &context, &context)?;
        let moved = SealedKey { blob: made.sealed, kms_key_arn: made.kms_key_arn, ..sealed.clone() };
        self.change_record(|record| {
            if record.sealed_token_key.as_ref() != Some(sealed) {
                return Err(Cause::StoreConflict.with("the token was initialised anew meanwhile"));
            }
            record.sealed_token_key = Some(moved.clone());
            Ok(())
        })?;
        Ok(true)
    }
}
