//! Giving what is sealed the seals that the configuration wants: by KMS `ReEncrypt` where that leads, so that the plaintext
//! is never here; into another Region it does not lead.

use super::Token;
use super::parts::{Layer, Parts};
use super::pins::Decision;
use super::seal::stored_context;
use super::token_key::stored_token_key_context;
use crate::error::{Cause, Result};
use crate::store::{ObjectId, ObjectRecord, SealedKey};

impl Token {
    /// Whether an object is sealed by other KMS keys than the configuration wants.
    pub fn wants_rewrap(&self, object: &ObjectRecord) -> bool {
        object.sealed.as_ref().is_some_and(|sealed| self.wants_other_seals(sealed))
    }

    /// Whether an object is sealed, and by none of the KMS keys that the configuration names.
    pub fn is_sealed_by_strangers(&self, object: &ObjectRecord) -> bool {
        object.sealed.as_ref().is_some_and(|sealed| !sealed.kms_key_arns().any(|arn| self.kms.knows(arn)))
    }

    fn wants_other_seals(&self, sealed: &SealedKey) -> bool {
        self.kms.wants_rewrap(sealed.kms_key_arns())
    }

    /// Seals the key of an object by the KMS keys that the configuration names. The object as it is then; `None` if there
    /// was nothing to do, or it is gone.
    ///
    /// Killed at any instant, the object has the old seals or the new ones.
    pub fn rewrap(&self, id: &ObjectId) -> Result<Option<ObjectRecord>> {
        let moved = self.update(id, |object| {
            // Else the new MAC would vouch for what somebody else wrote.
            self.check_vouched(&object)?;
            let Some(sealed) = object.sealed.as_ref().filter(|sealed| self.wants_other_seals(sealed)) else {
                return Ok(None);
            };
            let record = self.initialised()?;
            let (context, token_key) = (stored_context(&record, &object, sealed)?, self.token_key(&record)?);
            let layer = || Some(Layer { token_key: &token_key, id: object.id });
            let Parts { seals, body } = Parts::of(sealed, layer())?;
            let Some(seals) = self.kms.rewrap(&seals, &context)? else { return Ok(None) };
            let sealed = Parts { seals, body }.stored(layer(), sealed.context_version, sealed.user_context.clone())?;
            let mut moved = ObjectRecord { sealed: Some(sealed), ..object };
            self.vouch(&record, &mut moved)?;
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
        let Some(sealed) = record.sealed_token_key.as_ref().filter(|sealed| self.wants_other_seals(sealed)) else {
            return Ok(false);
        };
        let (context, _) = stored_token_key_context(&record, sealed)?;
        let Parts { seals, body } = Parts::of(sealed, None)?;
        let Some(seals) = self.kms.rewrap(&seals, &context)? else { return Ok(false) };
        let moved = Parts { seals, body }.stored(None, sealed.context_version, sealed.user_context.clone())?;
        self.change_record(|record| {
            if record.sealed_token_key.as_ref() != Some(sealed) {
                return Err(Cause::StoreConflict.with("the token was initialised anew meanwhile"));
            }
            record.sealed_token_key = Some(moved.clone());
            Ok(Decision::Write)
        })
    }
}
