//! Objects in the store: create, find, read, change, destroy.

use super::Token;
use crate::crypto::random;
use crate::error::{Cause, Result};
use crate::object::{Look, Template, new_object, with_changes};
use crate::store::{Cursor, ObjectId, ObjectRecord, Page, Query};
use cryptoki_sys::{CKA_DESTROYABLE, CKA_TOKEN};

/// A new identity: a random UUID (version 4).
pub(super) fn new_id() -> Result<ObjectId> {
    let mut bytes = [0; 16];
    random::fill(&mut bytes)?;
    Ok(ObjectId::from_bytes(uuid::Builder::from_random_bytes(bytes).into_uuid().into_bytes()))
}

impl Token {
    /// `C_CreateObject`. An object that belongs to the session is only returned.
    pub fn create(&self, template: &Template, so: bool) -> Result<ObjectRecord> {
        let id = new_id()?;
        let object = ObjectRecord { id, version: 1, attributes: new_object(template, id, so)?, sealed: None };
        if object.attributes.is(CKA_TOKEN) {
            self.store()?.insert(std::slice::from_ref(&object))?;
        }
        Ok(object)
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
