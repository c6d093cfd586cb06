//! Objects: keep, find, read, change, destroy.

use super::{TRIES, Token};
use crate::crypto::{Key, Secret, random};
use crate::error::{Cause, Error, Result};
use crate::host::pause::pause;
use crate::object::vendor::SEALED_VALUE;
use crate::object::{Changed, Look, NewObject, Template, builtin, opened_key, private_parts, with_changes};
use crate::store::{Attributes, ObjectId, ObjectRecord, TokenRecord};
use crate::unwrap::{Epoch, Opened};
use cryptoki_sys::*;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long others may be faster. Of many that change one object at once, each is the fastest at some time.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// An object that is complete, and not written yet.
pub(super) struct Prepared {
    pub(super) object: ObjectRecord,
    /// Of a key that was given in the clear, the key.
    pub(super) key: Option<Key>,
    /// The token that it is for; `None` if it belongs to the session.
    pub(super) token: Option<Arc<TokenRecord>>,
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
        let epoch = self.cache.epoch();
        let object = self.prepare(new)?;
        self.write(object, epoch)
    }

    /// The same for two objects that belong together: what belongs on the token is written in one transaction.
    pub fn create_pair(&self, new: [NewObject; 2]) -> Result<[Made; 2]> {
        let epoch = self.cache.epoch();
        let [one, two] = new;
        let mut pair = [self.prepare(one)?, self.prepare(two)?];
        self.insert_prepared(&mut pair)?;
        Ok(pair.map(|object| self.made(object, epoch)))
    }

    fn prepare(&self, new: NewObject) -> Result<Prepared> {
        match new.foreign {
            Some(foreign) => self.prepare_foreign(new.attributes, &foreign),
            None => self.prepare_own(new.attributes, new.plaintext.as_ref()),
        }
    }

    /// Keeps an object with these attributes, complete but for `CKA_UNIQUE_ID`. A key comes with its
    /// plaintext: PKCS#8 for a private key, the bytes of `CKA_VALUE` for a secret one.
    ///
    /// On the token, a key is sealed (one KMS call) and written in one transaction; one of a session is held
    /// in protected memory, without KMS. A key that is not what the attributes say is `SealKeyMalformed` or
    /// `SealKeyMismatch`.
    pub fn keep(&self, attributes: Attributes, plaintext: Option<&Secret>) -> Result<Made> {
        let epoch = self.cache.epoch();
        let object = self.prepare_own(attributes, plaintext)?;
        self.write(object, epoch)
    }

    fn prepare_own(&self, mut attributes: Attributes, plaintext: Option<&Secret>) -> Result<Prepared> {
        let id = new_id()?;
        attributes.insert(CKA_UNIQUE_ID, id.to_string().into_bytes());
        let key = plaintext.map(|plaintext| opened_key(&attributes, plaintext)).transpose()?;
        let mut object = ObjectRecord { id, version: 1, attributes, sealed: None, mac: None };
        if !object.attributes.is(CKA_TOKEN) {
            return Ok(Prepared { object, key, token: None });
        }
        let record = self.initialised()?;
        self.seal_value(&mut object)?;
        if let Some(plaintext) = plaintext {
            let token_key = self.token_key(&record)?;
            object.sealed = Some(self.seal(&record, &token_key, id, &object.attributes, plaintext)?);
        }
        Ok(Prepared { object, key, token: Some(record) })
    }

    fn write(&self, object: Prepared, epoch: Epoch) -> Result<Made> {
        let mut objects = [object];
        self.insert_prepared(&mut objects)?;
        let [object] = objects;
        Ok(self.made(object, epoch))
    }

    /// Writes what of these belongs on the token. All were sealed for the first one's token, else they do not stay.
    fn insert_prepared(&self, objects: &mut [Prepared]) -> Result<()> {
        let Some(record) = objects.iter().find_map(|object| object.token.clone()) else { return Ok(()) };
        let on_token = objects.iter_mut().filter(|object| object.token.is_some());
        self.insert(&record, &mut on_token.map(|object| &mut object.object).collect::<Vec<_>>())
    }

    fn made(&self, prepared: Prepared, epoch: Epoch) -> Made {
        let Prepared { object, key, token } = prepared;
        if token.is_none() {
            return Made { record: object, held: key.map(Arc::new) };
        }
        if let Some(key) = key {
            self.cache_new(&object, Opened { key, request_id: None }, epoch);
        }
        object.into()
    }

    /// Takes back an object that was just made.
    pub fn discard(&self, made: &Made) -> Result<()> {
        if made.record.attributes.is(CKA_TOKEN) {
            self.store()?.delete(&made.record.id, None)?;
        }
        self.forget_key(made.record.id);
        Ok(())
    }

    /// An object on the token as it is now; `None` if it is gone.
    pub fn get(&self, id: &ObjectId) -> Result<Option<ObjectRecord>> {
        self.get_within(id, None)
    }

    /// The same, with less patience than the store's own.
    pub(super) fn get_within(&self, id: &ObjectId, patience: Option<Duration>) -> Result<Option<ObjectRecord>> {
        if let Some(object) = builtin::get(id) {
            return Ok(Some(object.clone()));
        }
        self.found.forget(id);
        let object = self.store()?.get_within(id, patience)?;
        object.as_ref().map_or(Ok(()), |object| self.check_read(object))?;
        Ok(object)
    }

    /// `C_SetAttributeValue`: the object as it is then. `so` tells whether the security officer is logged in.
    ///
    /// A sealed key moves to the encryption context of its new attributes (one KMS call). Until all is
    /// written, the old blob stays and opens under the old attributes.
    pub fn change(&self, object: &ObjectRecord, template: &Template, so: bool) -> Result<ObjectRecord> {
        let Some(Changed { attributes, bound }) = with_changes(&object.attributes, template, so)? else {
            return Ok(object.clone());
        };
        // Else the new MAC would vouch for what somebody else wrote.
        self.check_vouched(object)?;
        let sealed = match &object.sealed {
            Some(_) if bound => Some(self.reseal(object, object.id, &attributes)?),
            sealed => sealed.clone(),
        };
        let mut changed = ObjectRecord { attributes, sealed, ..object.clone() };
        self.seal_value(&mut changed)?;
        changed.version = match object.attributes.is(CKA_TOKEN) {
            true => {
                self.vouch(&*self.initialised()?, &mut changed)?;
                let version = self.store()?.update(&changed)?;
                self.found.forget(&object.id);
                version
            }
            false => object.version + 1,
        };
        if bound {
            self.forget_key(object.id);
        }
        Ok(changed)
    }

    /// Changes an object of the token by compare-and-swap, once more if another process was faster. `change` makes of
    /// what is stored what is to be there, or `None` where nothing is to change. The object as it is then; `None` if
    /// it stayed as it was, or is gone.
    pub(super) fn update(
        &self,
        id: &ObjectId,
        change: impl Fn(ObjectRecord) -> Result<Option<ObjectRecord>>,
    ) -> Result<Option<ObjectRecord>> {
        let (mut last, since) = (Error::from(Cause::StoreConflict), Instant::now());
        for tries in 0.. {
            if tries >= TRIES && since.elapsed() > PATIENCE {
                break;
            }
            if tries > 0 {
                thread::sleep(pause(Duration::from_micros(500), Duration::from_millis(16), tries));
            }
            let Some(object) = self.store()?.get(id)? else { return Ok(None) };
            let Some(changed) = change(object)? else { return Ok(None) };
            match self.store()?.update(&changed) {
                Ok(version) => {
                    self.found.forget(id);
                    return Ok(Some(ObjectRecord { version, ..changed }));
                }
                Err(error) if error.cause() == Cause::ObjectHandleInvalid => return Ok(None),
                Err(error) if error.cause() == Cause::StoreConflict => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// `C_CopyObject`: a new object with these attributes, complete but for `CKA_UNIQUE_ID`. `held` is the key
    /// of a session object that is not sealed. A sealed key costs one KMS call.
    pub fn copy(&self, object: &ObjectRecord, held: Option<&Arc<Key>>, attributes: Attributes) -> Result<Made> {
        let on_token = attributes.is(CKA_TOKEN);
        self.check_vouched(object)?;
        if let Some(key) = held
            && on_token
        {
            return self.keep(attributes, Some(&exported(key)?));
        }
        if object.sealed.is_none() && held.is_none() {
            let mut attributes = attributes;
            // A value that the template gives stands there already.
            if attributes.remove(&SEALED_VALUE).is_some() && !attributes.contains_key(&CKA_VALUE) {
                attributes.insert(CKA_VALUE, self.value(object)?.expose().to_vec());
            }
            return self.keep(attributes, None);
        }
        let id = new_id()?;
        let mut copy = ObjectRecord { id, version: 1, attributes, sealed: None, mac: None };
        copy.attributes.insert(CKA_UNIQUE_ID, id.to_string().into_bytes());
        if object.sealed.is_some() {
            copy.sealed = Some(self.reseal(object, id, &copy.attributes)?);
        }
        if on_token {
            self.insert(&*self.initialised()?, &mut [&mut copy])?;
        }
        Ok(Made { record: copy, held: held.cloned() })
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

    /// Wipes the unwrapped key of an object that is gone or changed, and what a search read of it.
    pub fn forget_key(&self, id: ObjectId) {
        self.cache.remove(id);
        self.found.forget(&id);
    }
}

/// The secret parts of a key that may be revealed, by the attributes that reveal them.
pub fn secret_parts(key: &Key) -> Result<Vec<(CK_ATTRIBUTE_TYPE, Secret)>> {
    match key {
        Key::Private(key) => private_parts(key),
        Key::Secret(_) => Ok(vec![(CKA_VALUE, exported(key)?)]),
    }
}

/// The plaintext of a key, as it is sealed.
fn exported(key: &Key) -> Result<Secret> {
    match key {
        Key::Private(key) => key.to_pkcs8(),
        Key::Secret(key) => Ok(Secret::new(key.expose()?.to_vec())),
    }
}
