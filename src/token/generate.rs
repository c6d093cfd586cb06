//! `C_GenerateKeyPair` and `C_GenerateKey`: a data key pair of KMS becomes two objects, a data key one.
//!
//! Key pairs of the kinds that KMS does not make are made here, and sealed like keys that come from elsewhere.

use super::{Made, Token, TokenKey, objects};
use crate::config::GenerateMode;
use crate::crypto::{Key, PrivateKey, PublicKey, SeededKind};
use crate::error::{Cause, Error, Result};
use crate::kms::{DataKey, DataKeyPair, KeyPairSpec, Seal};
use crate::object::{Look, Maker, NewKeyPair, NewSecretKey, opened_key, policy, secret_key};
use crate::store::{Attributes, ObjectRecord, SealForm, TokenRecord};
use crate::unwrap::{Epoch, Opened};
use cryptoki_sys::{CKA_ALWAYS_AUTHENTICATE, CKA_PRIVATE, CKA_TOKEN, CKA_UNIQUE_ID};
use std::sync::Arc;

impl Token {
    /// Whether a new key is held in protected memory for its session, as keys that are created there are, and needs no
    /// login: without one there is no token key to encrypt its blob under.
    pub fn holds(&self, key: &Attributes) -> bool {
        let is_open = !key.is(CKA_TOKEN) && !key.is(CKA_PRIVATE);
        is_open && self.config.generate == GenerateMode::WithPlaintext
    }

    /// The token key, for a new key that it is to protect.
    fn token_key_for(&self, key: &Attributes, record: &TokenRecord) -> Result<Option<Arc<TokenKey>>> {
        if self.holds(key) { Ok(None) } else { self.token_key(record).map(Some) }
    }

    /// Makes a key pair: one KMS call, then one transaction for what belongs on the token. Objects that
    /// belong to the session are only returned. Public key first. Any failure leaves neither.
    pub fn generate(&self, new: NewKeyPair) -> Result<(Made, Made)> {
        match new.maker {
            Maker::Kms(spec) => self.generate_by_kms(spec, new),
            Maker::Here(kind) => self.generate_here(kind, new),
        }
    }

    fn generate_by_kms(&self, spec: KeyPairSpec, mut new: NewKeyPair) -> Result<(Made, Made)> {
        let epoch = self.cache.epoch();
        let record = self.initialised()?;
        // Before the call: without the token key its answer could not be kept.
        let token_key = self.token_key_for(&new.private, &record)?;
        let (public_id, private_id) = (objects::new_id()?, objects::new_id()?);
        new.private.insert(CKA_UNIQUE_ID, private_id.to_string().into_bytes());
        let user = &self.config.kms.encryption_context;
        let name = Some(spec.name());
        let context = policy::encryption_context(&record.serial, &new.private, name, SealForm::Kms, user)?;

        let kms = self.kms.wrapping();
        let made = match self.config.generate {
            GenerateMode::WithPlaintext => kms.generate_data_key_pair(spec, &context)?,
            GenerateMode::WithoutPlaintext => kms.generate_data_key_pair_without_plaintext(spec, &context)?,
        };
        let DataKeyPair { public_key, private_key, sealed, kms_key_arn, request_id } = made;
        let bad = |what: &str, error: Error| {
            let error = Cause::KmsBadResponse.with(format!("{what}: {error}"));
            error.context(kms.about("GenerateDataKeyPair", request_id.as_deref()))
        };
        let public = PublicKey::from_spki(&public_key).map_err(|error| bad("the new public key", error))?;
        new.complete(&public, public_id, private_id)?;
        // Checks that the two halves match; without the plaintext the first unwrap does.
        let private = private_key
            .as_ref()
            .map(|pkcs8| opened_key(&new.private, pkcs8))
            .transpose()
            .map_err(|error| bad("the new key pair", error))?;
        let first = Seal { kms_key_arn, blob: sealed };
        let seal = |token_key| self.sealed_by_all(token_key, private_id, first, private_key.as_ref(), &context);
        let sealed = token_key.as_deref().map(seal).transpose()?;
        drop(private_key);
        let mut public = ObjectRecord { id: public_id, version: 1, attributes: new.public, sealed: None, mac: None };
        let mut secret = ObjectRecord { id: private_id, version: 1, attributes: new.private, sealed, mac: None };
        self.insert_halves(&record, &mut public, &mut secret)?;
        Ok((public.into(), self.made_by_kms(secret, private, request_id, epoch)))
    }

    /// The same for a kind that KMS does not make. The private key of a session is held in protected memory, without
    /// KMS; on the token it is sealed by one KMS call.
    fn generate_here(&self, kind: SeededKind, mut new: NewKeyPair) -> Result<(Made, Made)> {
        if self.config.generate == GenerateMode::WithoutPlaintext {
            return Err(Cause::MechanismInvalid.with(
                "KMS makes no key pairs of this kind, and generate = \"without-plaintext\" forbids to make them here",
            ));
        }
        let epoch = self.cache.epoch();
        let record = self.initialised()?;
        let (public_id, private_id) = (objects::new_id()?, objects::new_id()?);
        let key = PrivateKey::generate(kind)?;
        new.complete(key.public_key(), public_id, private_id)?;
        let mut public = ObjectRecord { id: public_id, version: 1, attributes: new.public, sealed: None, mac: None };
        let mut secret = ObjectRecord { id: private_id, version: 1, attributes: new.private, sealed: None, mac: None };
        let on_token = secret.attributes.is(CKA_TOKEN);
        if on_token {
            let token_key = self.token_key(&record)?;
            let plaintext = key.to_pkcs8()?;
            secret.sealed = Some(self.seal(&record, &token_key, private_id, &secret.attributes, &plaintext)?);
        }
        self.insert_halves(&record, &mut public, &mut secret)?;
        let key = Key::Private(key);
        if !on_token {
            return Ok((public.into(), Made { record: secret, held: Some(Arc::new(key)) }));
        }
        self.cache_new(&secret, Opened { key, request_id: None }, epoch);
        Ok((public.into(), secret.into()))
    }

    /// Writes what of a new key pair belongs on the token in one transaction.
    fn insert_halves(&self, record: &TokenRecord, public: &mut ObjectRecord, private: &mut ObjectRecord) -> Result<()> {
        let mut halves: Vec<_> = [public, private].into_iter().filter(|half| half.attributes.is(CKA_TOKEN)).collect();
        self.insert(record, &mut halves)
    }

    /// Makes a secret key: one KMS call, then one transaction if it belongs on the token. If it belongs to the
    /// session it is only returned, sealed unless it is [held](Self::holds). Any failure leaves nothing.
    pub fn generate_secret(&self, new: NewSecretKey) -> Result<Made> {
        let epoch = self.cache.epoch();
        let record = self.initialised()?;
        let NewSecretKey { size, mut attributes } = new;
        // Before the call: without the token key its answer could not be kept.
        let token_key = self.token_key_for(&attributes, &record)?;
        let id = objects::new_id()?;
        attributes.insert(CKA_UNIQUE_ID, id.to_string().into_bytes());
        let user = &self.config.kms.encryption_context;
        let context = policy::encryption_context(&record.serial, &attributes, None, SealForm::Kms, user)?;

        let kms = self.kms.wrapping();
        let made = match self.config.generate {
            GenerateMode::WithPlaintext => kms.generate_data_key(size, &context)?,
            GenerateMode::WithoutPlaintext => kms.generate_data_key_without_plaintext(size, &context)?,
        };
        let DataKey { plaintext, sealed, kms_key_arn, request_id } = made;
        let completed = |bytes| {
            secret_key::complete(&mut attributes, bytes)?;
            opened_key(&attributes, bytes)
        };
        let key = plaintext
            .as_ref()
            .map(completed)
            .transpose()
            .map_err(|error| Cause::KmsBadResponse.with(format!("the new key: {error}")))
            .map_err(|error| error.context(kms.about("GenerateDataKey", request_id.as_deref())))?;
        let first = Seal { kms_key_arn, blob: sealed };
        let seal = |token_key| self.sealed_by_all(token_key, id, first, plaintext.as_ref(), &context);
        let sealed = token_key.as_deref().map(seal).transpose()?;
        drop(plaintext);
        let mut object = ObjectRecord { id, version: 1, attributes, sealed, mac: None };
        if object.attributes.is(CKA_TOKEN) {
            self.insert(&record, &mut [&mut object])?;
        }
        Ok(self.made_by_kms(object, key, request_id, epoch))
    }

    /// A new key that KMS made: if it is sealed, its first use shall cost no call; else it is held.
    fn made_by_kms(&self, record: ObjectRecord, key: Option<Key>, request_id: Option<String>, epoch: Epoch) -> Made {
        if record.sealed.is_none() {
            return Made { record, held: key.map(Arc::new) };
        }
        if let Some(key) = key {
            self.cache_new(&record, Opened { key, request_id }, epoch);
        }
        record.into()
    }

    /// Puts the key of an object that was just sealed into the cache, so that its first use costs no call.
    pub(super) fn cache_new(&self, object: &ObjectRecord, opened: Opened, epoch: Epoch) {
        if let Some(sealed) = &object.sealed
            && !object.attributes.is(CKA_ALWAYS_AUTHENTICATE)
        {
            self.cache.put(object.id, policy::seal_tag(&object.attributes, &sealed.blob), opened, epoch);
        }
    }

    /// Vouches for new objects of the token, and writes them in one transaction.
    pub(super) fn insert(&self, record: &TokenRecord, objects: &mut [&mut ObjectRecord]) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        objects.iter_mut().try_for_each(|object| self.vouch(record, object))?;
        let objects: Vec<_> = objects.iter().map(|object| (**object).clone()).collect();
        self.store()?.insert(&objects)?;
        self.check_still_this_token(record, &objects)
    }

    /// Takes back what was just written if another process initialised the token anew meanwhile: it is
    /// sealed under a token key that is gone. (If that happens after this look, the objects are gone too.)
    fn check_still_this_token(&self, record: &TokenRecord, written: &[ObjectRecord]) -> Result<()> {
        let now = self
            .fresh_record()
            .map_err(|error| error.leaves_in_doubt("it was written, for a token that is perhaps gone"))?;
        if now.is_some_and(|now| now.serial == record.serial) {
            return Ok(());
        }
        for object in written {
            match self.store()?.delete(&object.id, None) {
                Err(error) if error.cause() == Cause::ObjectHandleInvalid => {}
                deleted => {
                    deleted.map_err(|error| error.leaves_in_doubt("it was written, for a token that is gone"))?
                }
            }
        }
        Err(Cause::UserNotLoggedIn.with("the token was initialised anew by another process"))
    }
}
