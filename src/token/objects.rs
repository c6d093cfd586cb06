//! Objects: keep, find, read, change, destroy.

use super::Token;
use crate::crypto::{Key, Secret, random};
use crate::error::{Cause, Result};
use crate::object::{Look, NewObject, Template, opened_key, with_changes};
use crate::store::{Attributes, Cursor, ObjectId, ObjectRecord, Page, Query};
use crate::unwrap::Opened;
use cryptoki_sys::{CKA_DESTROYABLE, CKA_TOKEN, CKA_UNIQUE_ID};
use std::sync::Arc;

/// An object that was just made.
pub struct Made {
    /// The object, as it is stored if it is on the token.
    pub record: ObjectRecord,
    /// The key of an object that belongs to a session and was not made by KMS: it is never sealed, but held
    /// in protected memory until its session ends.
    pub held: Option<Arc<Key>>,
}

impl From<ObjectRecord> for Made {
    fn from(record: ObjectRecord) -> Self {
        Self { record, held: None }
    }
}

/// A new identity: a random UUID (version 4).
pub(super) fn new_id() -> Result<ObjectId> {
    let mut bytes = [0; 16];
    random::fill(&mut bytes)?;
    Ok(ObjectId::from_bytes(uuid::Builder::from_random_bytes(bytes).into_uuid().into_bytes()))
}

impl Token {
    /// `C_CreateObject`. An object that belongs to the session is only returned.
    pub fn create(&self, new: NewObject) -> Result<Made> {
        self.keep(new.attributes, new.plaintext.as_ref())
    }

    /// Keeps an object with these attributes, complete but for `CKA_UNIQUE_ID`. A key comes with its
    /// plaintext: PKCS#8 for a private key, the bytes of `CKA_VALUE` for a secret one.
    ///
    /// On the token, a key is sealed (one KMS call) and written in one transaction; one of a session is held
    /// in protected memory, without KMS. A key that is not what the attributes say is `SealKeyMalformed` or
    /// `SealKeyMismatch`.
    pub fn keep(&self, mut attributes: Attributes, plaintext: Option<&Secret>) -> Result<Made> {
        let epoch = self.cache.epoch();
        let id = new_id()?;
        attributes.insert(CKA_UNIQUE_ID, id.to_string().into_bytes());
        let key = plaintext.map(|plaintext| opened_key(&attributes, plaintext)).transpose()?;
        let mut object = ObjectRecord { id, version: 1, attributes, sealed: None };
        if !object.attributes.is(CKA_TOKEN) {
            return Ok(Made { record: object, held: key.map(Arc::new) });
        }
        let record = self.initialised()?;
        if let Some(plaintext) = plaintext {
            let token_key = self.token_key(&record)?;
            object.sealed = Some(self.seal(&record, &token_key, id, &object.attributes, plaintext)?);
        }
        self.insert(&record, std::slice::from_ref(&object))?;
        if let Some(key) = key {
            self.cache_new(&object, Opened { key, request_id: None }, epoch);
        }
        Ok(object.into())
    }

    /// A page of the objects on the token that match.
    pub fn find(&self, query: &Query, after: Option<Cursor>, limit: usize) -> Result<Page> {
        self.store()?.find(query, after, limit)
    }

    /// An object on the token as it is now; `None` if it is gone.
    pub fn get(&self, id: &ObjectId) -> Result<Option<ObjectRecord>> {
        self.store()?.get(id)
    }

    /// `C_SetAttributeValue`: the object as it is then.
    pub fn change(&self, object: &ObjectRecord, template: &Template) -> Result<ObjectRecord> {
        let Some(attributes) = with_changes(&object.attributes, template)? else {
            return Ok(object.clone());
        };
        let mut changed = ObjectRecord { attributes, ..object.clone() };
        changed.version = match object.attributes.is(CKA_TOKEN) {
            true => self.store()?.update(&changed)?,
            false => object.version + 1,
        };
        Ok(changed)
    }

    /// `C_DestroyObject`. `ActionProhibited` for an object that is not destroyable.
    pub fn destroy(&self, object: &ObjectRecord) -> Result<()> {
        if !object.attributes.is(CKA_DESTROYABLE) {
            return Err(Cause::ActionProhibited.with("CKA_DESTROYABLE is false"));
        }
        if object.attributes.is(CKA_TOKEN) {
            self.store()?.delete(&object.id, None)?;
        }
        self.forget_key(object.id);
        Ok(())
    }

    /// Wipes the unwrapped key of an object that is gone.
    pub fn forget_key(&self, id: ObjectId) {
        self.cache.remove(id);
    }
}
