//! Keys that come sealed by another client of KMS, and what is told of any key's seal.

use super::Token;
use super::objects::{Prepared, new_id};
use super::seal::stored_context;
use crate::crypto::Secret;
use crate::error::{Cause, Error, Result};
use crate::object::vendor::*;
use crate::object::{Look, policy};
use crate::store::{Attributes, ObjectRecord, SealForm};
use cryptoki_sys::*;

impl Token {
    /// Takes over a key that another client of KMS sealed: one `ReEncrypt` from its encryption context to that
    /// of the new object. If the template does not say what key it is, one `Decrypt` tells.
    pub(super) fn prepare_foreign(&self, mut attributes: Attributes, foreign: &ForeignSeal) -> Result<Prepared> {
        let record = self.initialised()?;
        let token_key = self.token_key(&record)?;
        let kms = self.kms.wrapping();
        if is_unknown(&attributes) {
            let opened = kms.decrypt(&foreign.blob, &foreign.context).map_err(blame_the_caller)?;
            learn(&mut attributes, &opened.plaintext)?;
        } else {
            believe(&mut attributes)?;
        }
        let id = new_id()?;
        attributes.insert(CKA_UNIQUE_ID, id.to_string().into_bytes());
        let user = &self.config().kms.encryption_context;
        let context = policy::encryption_context(&record.serial, &attributes, None, SealForm::Kms, user)?;
        let made = kms.re_encrypt(&foreign.blob, &foreign.context, &context).map_err(blame_the_caller)?;
        let sealed = self.sealed_by_all(&token_key, id, made.into(), None, &context)?;
        let object = ObjectRecord { id, version: 1, attributes, sealed: Some(sealed), mac: None };
        let token = object.attributes.is(CKA_TOKEN).then_some(record);
        Ok(Prepared { object, key: None, token })
    }

    /// What is told of how an object is sealed, or the value of a private data object. No KMS call.
    ///
    /// `AttributeTypeInvalid` if it is not sealed, or sealed in an envelope, which has no blob of the key's own.
    pub fn about_seal(&self, object: &ObjectRecord, attribute: CK_ATTRIBUTE_TYPE) -> Result<Vec<u8>> {
        if attribute == CKA_VALUE {
            return Ok(self.value(object)?.expose().to_vec());
        }
        let sealed = object.sealed.as_ref().ok_or(Cause::AttributeTypeInvalid)?;
        let record = self.initialised()?;
        match attribute {
            CKA_DATAKEY_CIPHERTEXT_BLOB if sealed.form == SealForm::Kms => {
                let blob = self.token_key(&record)?.open(object.id.as_bytes(), &sealed.blob)?;
                Ok(blob.expose().to_vec())
            }
            CKA_DATAKEY_ENCRYPTION_CONTEXT => Ok(context_json(&stored_context(&record, object, sealed)?)),
            CKA_DATAKEY_KMS_KEY_ARN => Ok(sealed.kms_key_arn.clone().into_bytes()),
            CKA_DATAKEY_SPEC => Ok(spec(&object.attributes)),
            _ => Err(Cause::AttributeTypeInvalid.into()),
        }
    }

    /// Encrypts the value of a private data object under the token key, as it goes into the store.
    pub(super) fn seal_value(&self, object: &mut ObjectRecord) -> Result<()> {
        if !has_sealed_value(&object.attributes) {
            return Ok(());
        }
        let Some(value) = object.attributes.remove(&CKA_VALUE).map(Secret::new) else { return Ok(()) };
        let token_key = self.token_key(&*self.initialised()?)?;
        let sealed = token_key.seal(&value_aad(object), value.expose())?;
        object.attributes.insert(SEALED_VALUE, sealed);
        Ok(())
    }

    /// The value of a private data object.
    pub(super) fn value(&self, object: &ObjectRecord) -> Result<Secret> {
        let token_key = self.token_key(&*self.initialised()?)?;
        token_key.open(&value_aad(object), object.attributes.bytes(SEALED_VALUE))
    }
}

/// What the value is bound to: its object, and that it is a value.
fn value_aad(object: &ObjectRecord) -> Vec<u8> {
    [&object.id.as_bytes()[..], &CKA_VALUE.to_be_bytes()].concat()
}

/// A blob that does not open under the context that came with it is the caller's mistake here.
fn blame_the_caller(error: Error) -> Error {
    match error.cause() {
        Cause::SealBroken => {
            Cause::AttributeValueInvalid.with("the blob does not open under the encryption context that came with it")
        }
        _ => error,
    }
}
