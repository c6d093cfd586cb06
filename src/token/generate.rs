//! `C_GenerateKeyPair` and `C_GenerateKey`: a data key pair of KMS becomes two objects, a data key one.

use super::{Made, Token, objects};
use crate::config::GenerateMode;
use crate::crypto::PublicKey;
use crate::error::{Cause, Result};
use crate::kms::{DataKey, DataKeyPair};
use crate::object::{Look, NewKeyPair, NewSecretKey, opened_key, policy};
use crate::store::{ObjectRecord, SealForm, TokenRecord};
use crate::unwrap::{Epoch, Opened};
use cryptoki_sys::{CKA_ALWAYS_AUTHENTICATE, CKA_TOKEN, CKA_UNIQUE_ID};

impl Token {
    /// Makes a key pair: one KMS call, then one transaction for what belongs on the token. Objects that
    /// belong to the session are only returned. Public key first. Any failure leaves neither.
    pub fn generate(&self, mut new: NewKeyPair) -> Result<(Made, Made)> {
        let epoch = self.cache.epoch();
        let record = self.initialised()?;
        // Before the call: without the token key its answer could not be kept.
        let token_key = self.token_key(&record)?;
        let (public_id, private_id) = (objects::new_id()?, objects::new_id()?);
        new.private.insert(CKA_UNIQUE_ID, private_id.to_string().into_bytes());
        let user = &self.config.kms.encryption_context;
        let spec = Some(new.spec.name());
        let context = policy::encryption_context(&record.serial, &new.private, spec, SealForm::Kms, user)?;

        let made = match self.config.generate {
            GenerateMode::WithPlaintext => self.kms.generate_data_key_pair(new.spec, &context)?,
            GenerateMode::WithoutPlaintext => self.kms.generate_data_key_pair_without_plaintext(new.spec, &context)?,
        };
        let DataKeyPair { public_key, private_key, sealed, kms_key_arn, request_id } = made;
        let public = PublicKey::from_spki(&public_key)
            .map_err(|error| Cause::KmsBadResponse.with(format!("the new public key: {error}")))?;
        new.complete(&public, public_id, private_id)?;
        // Checks that the two halves match; without the plaintext the first unwrap does.
        let private = private_key
            .map(|pkcs8| opened_key(&new.private, &pkcs8))
            .transpose()
            .map_err(|error| Cause::KmsBadResponse.with(format!("the new key pair: {error}")))?;
        let sealed = self.sealed(&token_key, private_id, SealForm::Kms, &sealed, kms_key_arn)?;
        let public = ObjectRecord { id: public_id, version: 1, attributes: new.public, sealed: None };
        let secret = ObjectRecord { id: private_id, version: 1, attributes: new.private, sealed: Some(sealed) };
        let on_token: Vec<_> =
            [&public, &secret].into_iter().filter(|half| half.attributes.is(CKA_TOKEN)).cloned().collect();
        self.insert(&record, &on_token)?;
        if let Some(key) = private {
            self.cache_new(&secret, Opened { key, request_id }, epoch);
        }
        Ok((public.into(), secret.into()))
    }

    /// Makes a secret key: one KMS call, then one transaction if it belongs on the token. If it belongs to the
    /// session it is only returned, sealed all the same. Any failure leaves nothing.
    pub fn generate_secret(&self, new: NewSecretKey) -> Result<Made> {
        let epoch = self.cache.epoch();
        let record = self.initialised()?;
        // Before the call: without the token key its answer could not be kept.
        let token_key = self.token_key(&record)?;
        let NewSecretKey { size, mut attributes } = new;
        let id = objects::new_id()?;
        attributes.insert(CKA_UNIQUE_ID, id.to_string().into_bytes());
        let user = &self.config.kms.encryption_context;
        let context = policy::encryption_context(&record.serial, &attributes, None, SealForm::Kms, user)?;

        let made = match self.config.generate {
            GenerateMode::WithPlaintext => self.kms.generate_data_key(size, &context)?,
            GenerateMode::WithoutPlaintext => self.kms.generate_data_key_without_plaintext(size, &context)?,
        };
        let DataKey { plaintext, sealed, kms_key_arn, request_id } = made;
        let key = plaintext
            .map(|bytes| opened_key(&attributes, &bytes))
            .transpose()
            .map_err(|error| Cause::KmsBadResponse.with(format!("the new key: {error}")))?;
        let sealed = self.sealed(&token_key, id, SealForm::Kms, &sealed, kms_key_arn)?;
        let object = ObjectRecord { id, version: 1, attributes, sealed: Some(sealed) };
        if object.attributes.is(CKA_TOKEN) {
            self.insert(&record, std::slice::from_ref(&object))?;
        }
        if let Some(key) = key {
            self.cache_new(&object, Opened { key, request_id }, epoch);
        }
        Ok(object.into())
    }

    /// Puts the key of an object that was just sealed into the cache, so that its first use costs no call.
    pub(super) fn cache_new(&self, object: &ObjectRecord, opened: Opened, epoch: Epoch) {
        if let Some(sealed) = &object.sealed
            && !object.attributes.is(CKA_ALWAYS_AUTHENTICATE)
        {
            self.cache.put(object.id, policy::seal_tag(&object.attributes, &sealed.blob), opened, epoch);
        }
    }

    /// Writes new objects of the token in one transaction.
    pub(super) fn insert(&self, record: &TokenRecord, objects: &[ObjectRecord]) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        self.store()?.insert(objects)?;
        self.check_still_this_token(record, objects)
    }

    /// Takes back what was just written if another process initialised the token anew meanwhile: it is
    /// sealed under a token key that is gone. (If that happens after this look, the objects are gone too.)
    fn check_still_this_token(&self, record: &TokenRecord, written: &[ObjectRecord]) -> Result<()> {
        if self.fresh_record()?.is_some_and(|now| now.serial == record.serial) {
            return Ok(());
        }
        for object in written {
            self.store()?.delete(&object.id, None)?;
        }
        Err(Cause::UserNotLoggedIn.with("the token was initialised anew by another process"))
    }
}
