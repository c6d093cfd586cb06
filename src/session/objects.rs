//! Objects: create, generate, copy, read, change, destroy.

use super::Room;
use super::handles::Object;
use super::table::Session;
use super::use_of_key::{UseOfKey, copying};
use crate::crypto::Secret;
use crate::error::{Cause, Error, Result};
use crate::mechanism::{Given as Parameter, Mechanism, Params, Pbkdf2, find};
use crate::object::{
    self, Answer, KeyFromPassword, Look, NewKeyPair, NewObject, NewSecretKey, Reading, Template, template::Given,
};
use crate::store::Attributes;
use crate::token::{User, secret_parts};
use cryptoki_sys::*;
use once_cell::unsync::OnceCell;
use std::sync::Arc;
use std::time::Instant;

/// How often a change is tried while others change the same object.
const CHANGES: usize = 4;

/// A mechanism that makes keys; `flag` says which.
fn generation(mechanism: CK_MECHANISM_TYPE, flag: CK_FLAGS) -> Result<&'static Mechanism> {
    find(mechanism)
        .filter(|row| row.flags() & flag != 0)
        .ok_or_else(|| Cause::MechanismInvalid.with(format!("{mechanism:#x}")))
}

impl Session {
    /// Checks that this session may make or change an object that is on the token or private.
    pub(super) fn check_writable(&self, on_token: bool, private: bool) -> Result<()> {
        if private && !self.slot.sees_private()? {
            return Err(Cause::UserNotLoggedIn.into());
        }
        if on_token { self.check_read_write() } else { Ok(()) }
    }

    /// Checks that this session may write to the token. That nobody may comes first (section 5.1.6).
    pub(super) fn check_read_write(&self) -> Result<()> {
        match self.read_write {
            true => Ok(()),
            false if self.slot.token.is_read_only() => Err(Cause::StoreReadOnly.into()),
            false => Err(Cause::SessionReadOnly.into()),
        }
    }

    /// Checks that a new private or secret key can be kept. Whether or not it is hidden, the blob of one that is not
    /// held is encrypted under the key that the PIN opens.
    fn check_can_keep(&self, key: &Attributes) -> Result<()> {
        if self.slot.token.holds(key) || self.slot.sees_private()? {
            Ok(())
        } else {
            Err(Cause::UserNotLoggedIn.into())
        }
    }

    pub(super) fn is_officer(&self) -> bool {
        self.slot.user() == Some(User::So)
    }

    /// `C_CreateObject`.
    pub fn create_object(&self, given: &[Given<'_>]) -> Result<CK_OBJECT_HANDLE> {
        let new = self.new_object(given)?;
        let epoch = self.slot.handles.epoch();
        let object = self.slot.token.create(new)?;
        self.handle_of(object, epoch)
    }

    /// The same for two objects that belong together, such as the halves of a key pair: if they belong on the token,
    /// they are written in one transaction, both or neither.
    pub fn create_pair(&self, given: [&[Given<'_>]; 2]) -> Result<[CK_OBJECT_HANDLE; 2]> {
        let new = [self.new_object(given[0])?, self.new_object(given[1])?];
        let epoch = self.slot.handles.epoch();
        let [one, two] = self.slot.token.create_pair(new)?;
        Ok([self.handle_of(one, epoch)?, self.handle_of(two, epoch)?])
    }

    /// What a template makes, if this session may make it.
    fn new_object(&self, given: &[Given<'_>]) -> Result<NewObject> {
        let new = object::new_object(&Template::parse(given)?, self.is_officer())?;
        self.check_writable(new.attributes.is(CKA_TOKEN), new.attributes.is(CKA_PRIVATE))?;
        Ok(new)
    }

    /// `C_GenerateKeyPair`: the handles of the public and the private key.
    pub fn generate_key_pair(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        parameter: impl FnOnce() -> Result<Parameter>,
        public: &[Given<'_>],
        private: &[Given<'_>],
    ) -> Result<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        let row = generation(mechanism, CKF_GENERATE_KEY_PAIR)?;
        Params::check(row, &parameter()?)?;
        let new = NewKeyPair::parse(row, &Template::parse(public)?, &Template::parse(private)?, self.is_officer())?;
        for half in [&new.public, &new.private] {
            self.check_writable(half.is(CKA_TOKEN), half.is(CKA_PRIVATE))?;
        }
        let epoch = self.slot.handles.epoch();
        self.check_can_keep(&new.private)?;
        let (public, private) = self.slot.token.generate(new)?;
        Ok((self.handle_of(public, epoch)?, self.handle_of(private, epoch)?))
    }

    /// `C_GenerateKey`: the handle of the secret key.
    pub fn generate_key(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        parameter: impl FnOnce() -> Result<Parameter>,
        given: &[Given<'_>],
    ) -> Result<CK_OBJECT_HANDLE> {
        let row = generation(mechanism, CKF_GENERATE)?;
        Params::check(row, &parameter()?)?;
        let new = NewSecretKey::parse(row, &Template::parse(given)?, self.is_officer())?;
        self.check_writable(new.attributes.is(CKA_TOKEN), new.attributes.is(CKA_PRIVATE))?;
        let epoch = self.slot.handles.epoch();
        self.check_can_keep(&new.attributes)?;
        let key = self.slot.token.generate_secret(new)?;
        self.handle_of(key, epoch)
    }

    /// `C_GenerateKey` with a mechanism that computes the key: the handle of the secret key. KMS only seals what
    /// belongs on the token.
    pub fn generate_from_password(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        parameter: impl FnOnce() -> Result<Pbkdf2>,
        given: &[Given<'_>],
    ) -> Result<CK_OBJECT_HANDLE> {
        let row = generation(mechanism, CKF_GENERATE)?;
        let pbkdf2 = parameter()?;
        let new = KeyFromPassword::parse(&Template::parse(given)?, self.is_officer())?;
        self.check_writable(new.attributes().is(CKA_TOKEN), new.attributes().is(CKA_PRIVATE))?;
        let epoch = self.slot.handles.epoch();
        let value = pbkdf2.derive(new.len())?;
        let made = self.slot.token.keep(new.complete(row, &value)?, Some(&value))?;
        self.handle_of(made, epoch)
    }

    /// `C_CopyObject`.
    pub fn copy_object(&self, handle: CK_OBJECT_HANDLE, given: &[Given<'_>]) -> Result<CK_OBJECT_HANDLE> {
        let mut object = self.object_now(handle)?;
        let template = Template::parse(given)?;
        for _ in 0..CHANGES {
            let attributes = object::copied(&object.record.attributes, &template, self.is_officer())?;
            self.check_writable(attributes.is(CKA_TOKEN), attributes.is(CKA_PRIVATE))?;
            let epoch = self.slot.handles.epoch();
            let copy = copying(&object, || self.slot.token.copy(&object.record, object.held(), attributes))?;
            // A copy of what the object no longer is could do what was just forbidden.
            match self.object_now(handle) {
                Ok(now) if now.record.version == object.record.version => {
                    return self.handle_of_object(object.copied(copy), epoch);
                }
                now => {
                    self.slot.token.discard(&copy).map_err(|error| error.leaves_in_doubt("the copy stays"))?;
                    object = now?;
                }
            }
        }
        Err(Cause::StoreConflict.into())
    }

    /// `C_GetAttributeValue`: an answer for each attribute, and no answer stops the others.
    /// `AttributeSensitive` and `AttributeTypeInvalid` are answers too.
    ///
    /// Each attribute comes with the room that the caller has for it: a key is not opened for a length.
    pub fn attributes(
        &self,
        handle: CK_OBJECT_HANDLE,
        wanted: impl IntoIterator<Item = (CK_ATTRIBUTE_TYPE, Room)>,
    ) -> Result<Vec<Result<Answer>>> {
        let object = self.object(handle)?;
        let (now, parts) = (OnceCell::new(), OnceCell::new());
        let answer = |(attribute, room)| {
            if let Reading::Open(answer) = object::read(&object.record.attributes, attribute)? {
                return Ok(answer);
            }
            let object = now.get_or_try_init(|| self.object_now(handle))?;
            match object::read(&object.record.attributes, attribute)? {
                Reading::Open(answer) | Reading::Moving(answer) => Ok(answer),
                Reading::Secret => self.secret_part(object, attribute, room, &parts),
                Reading::Sealed => self.slot.token.about_seal(&object.record, attribute).map(Answer::Bytes),
            }
        };
        Ok(wanted.into_iter().map(answer).collect())
    }

    /// A part of a key that may be revealed. `parts` are all of them, once the key is open.
    fn secret_part(
        &self,
        object: &Arc<Object>,
        attribute: CK_ATTRIBUTE_TYPE,
        room: Room,
        parts: &OnceCell<Vec<(CK_ATTRIBUTE_TYPE, Secret)>>,
    ) -> Result<Answer> {
        if let Some(len) = object::part_len(&object.record.attributes, attribute)
            && room.is_less_than(len)
        {
            return Ok(Answer::Length(len));
        }
        let parts = parts.get_or_try_init(|| {
            tracing::info!(object = %object.record.id, "revealing a key that is extractable and not sensitive");
            UseOfKey::revealing(&self.slot, Arc::clone(object))?.run(&self.slot, secret_parts)
        })?;
        let part = parts.iter().find(|(part, _)| *part == attribute).ok_or(Cause::AttributeTypeInvalid)?;
        Ok(Answer::Secret(Secret::new(part.1.expose().to_vec())))
    }

    /// `C_SetAttributeValue`.
    pub fn set_attributes(&self, handle: CK_OBJECT_HANDLE, given: &[Given<'_>]) -> Result<()> {
        let object = self.object_now(handle)?;
        let template = Template::parse(given)?;
        let attributes = &object.record.attributes;
        self.check_writable(attributes.is(CKA_TOKEN), attributes.is(CKA_PRIVATE))?;
        let (on_token, so) = (attributes.is(CKA_TOKEN), self.is_officer());
        let mut record = object.record.clone();
        for _ in 0..CHANGES {
            let since = Instant::now();
            match self.slot.token.change(&record, &template, so) {
                Ok(changed) if changed == record => return Ok(()),
                Ok(changed) => {
                    if self.slot.handles.replace(handle, changed, since) || on_token {
                        return Ok(());
                    }
                }
                Err(error) if error.cause() != Cause::StoreConflict => return Err(self.noting_end(handle, error)),
                Err(_) => {}
            }
            // Somebody else changed the object since it was read: once more, from what it is now.
            record = self.object_now(handle)?.record.clone();
        }
        Err(Cause::StoreConflict.into())
    }

    /// `C_DestroyObject`.
    pub fn destroy_object(&self, handle: CK_OBJECT_HANDLE) -> Result<()> {
        let object = self.object_now(handle)?;
        let attributes = &object.record.attributes;
        self.check_writable(attributes.is(CKA_TOKEN), attributes.is(CKA_PRIVATE))?;
        self.slot.token.destroy(&object.record).map_err(|error| self.noting_end(handle, error))?;
        self.slot.handles.forget(handle);
        // Once more: an operation may have opened it before its handle was gone.
        self.slot.token.forget_key(object.record.id);
        Ok(())
    }

    /// Ends a handle if that is what the error says: who was told that the object is gone does not see it any more.
    fn noting_end(&self, handle: CK_OBJECT_HANDLE, error: Error) -> Error {
        if error.cause() == Cause::ObjectHandleInvalid {
            self.slot.handles.forget(handle);
        }
        error
    }

    /// `C_GetObjectSize`: the bytes of its attributes and of its sealed key.
    pub fn object_size(&self, handle: CK_OBJECT_HANDLE) -> Result<usize> {
        let object = self.object(handle)?;
        let attributes: usize = object.record.attributes.values().map(Vec::len).sum();
        Ok(attributes + object.record.sealed.as_ref().map_or(0, |sealed| sealed.blob.len()))
    }
}
