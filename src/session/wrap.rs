//! Wrapping and unwrapping keys.
//!
//! A sensitive key that may leave the token stays sensitive wherever it comes in again: it is wrapped by key wrap only
//! and by no secret key that decrypts data, and what a key unwraps that decrypts no data is sensitive. (`CKA_DECRYPT`
//! of a secret key is never switched on later.) Who may get a key wrapped under a key of theirs is for
//! `CKA_WRAP_WITH_TRUSTED` to say, which a key keeps where a trusted key brings it back.

use super::handles::Object;
use super::operation::{Outcome, Room};
use super::sign::Demand;
use super::table::Session;
use super::use_of_key::UseOfKey;
use crate::crypto::{Key, Secret};
use crate::error::{Cause, Error, Result};
use crate::mechanism::{Given, Mechanism, Wrapping, WrappingKey};
use crate::object::history::Past;
use crate::object::template::nested;
use crate::object::{Arrival, Look, Template};
use crate::store::Attributes;
use cryptoki_sys::*;
use std::sync::Arc;

impl Session {
    /// `C_WrapKey`. Asking for the length calls no KMS.
    pub fn wrap_key(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        wrapping: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE,
        room: Room,
    ) -> Result<Outcome> {
        const DEMAND: Demand =
            Demand { flag: CKF_WRAP, classes: &[CKO_PUBLIC_KEY, CKO_SECRET_KEY], permission: CKA_WRAP };
        let (request, with) = self.request(mechanism, given, wrapping, &DEMAND).map_err(of_wrapping_key)?;
        let object = self.key_of(key)?;
        let way = Wrapping::new(&request)?;
        check_wrappable(&way, &with.record.attributes, &object.record.attributes)?;

        let public = if with.is_secret_key() { None } else { Some(with.public_key()?) };
        let is_secret = object.is_secret_key();
        let len = match is_secret {
            true => {
                object.record.attributes.number(CKA_VALUE_LEN).and_then(|len| usize::try_from(len).ok()).unwrap_or(0)
            }
            false => object.public_key()?.private_key_len(),
        };
        let len = way.wrapped_len(public.map(|key| key.kind()), len)?;
        match room {
            Room::Query => return Ok(Outcome::Size(len)),
            // How long a private key is shows only when it is open.
            Room::Bytes(room) if is_secret && room < len => return Ok(Outcome::TooSmall(len)),
            Room::Bytes(_) => {}
        }
        let plaintext = self.use_of(object, request.mechanism)?.run(&self.slot, |key| match key {
            Key::Private(key) => key.to_pkcs8(),
            Key::Secret(key) => Ok(Secret::new(key.expose()?.to_vec())),
        })?;
        let wrapped = match public {
            Some(key) => way.wrap(WrappingKey::Public(key), &plaintext)?,
            None => {
                let with = self.use_of(with, request.mechanism)?;
                with.run(&self.slot, |key| way.wrap(WrappingKey::Secret(key.secret()?), &plaintext))?
            }
        };
        Ok(Outcome::before(wrapped.len(), room).unwrap_or(Outcome::Done(wrapped)))
    }

    /// `C_UnwrapKey`: the handle of the key.
    pub fn unwrap_key(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        unwrapping: CK_OBJECT_HANDLE,
        wrapped: &[u8],
        template: impl FnOnce() -> Result<Template>,
    ) -> Result<CK_OBJECT_HANDLE> {
        const DEMAND: Demand =
            Demand { flag: CKF_UNWRAP, classes: &[CKO_PRIVATE_KEY, CKO_SECRET_KEY], permission: CKA_UNWRAP };
        let (request, with) = self.request(mechanism, given, unwrapping, &DEMAND).map_err(of_unwrapping_key)?;
        let way = Wrapping::new(&request)?;
        let mut template = template()?;
        let unwrapping = &with.record.attributes;
        if let Some(imposed) = nested(unwrapping, CKA_UNWRAP_TEMPLATE) {
            template = template.under(&imposed)?;
        }
        let mut arrival = Arrival::new(template, self.is_officer())?;
        if !matches!(arrival.attributes().number(CKA_CLASS), Some(CKO_SECRET_KEY | CKO_PRIVATE_KEY)) {
            return Err(Cause::TemplateInconsistent.with("CKA_CLASS"));
        }
        arrival.suggest(CKA_EXTRACTABLE, true);
        if with.is_secret_key() && !unwrapping.is(CKA_DECRYPT) {
            if way.decrypts_anything() {
                return Err(Cause::KeyFunctionNotPermitted.with("unwrapping that shows what the key would decrypt"));
            }
            arrival.impose(CKA_SENSITIVE, true)?;
        }
        // Else whoever has it unwrapped could have it wrapped once more, by a key of theirs.
        if unwrapping.is(CKA_TRUSTED) {
            arrival.impose(CKA_WRAP_WITH_TRUSTED, true)?;
        }
        self.check_writable(arrival.attributes().is(CKA_TOKEN), arrival.attributes().is(CKA_PRIVATE))?;

        let epoch = self.slot.handles.epoch();
        let len = arrival.value_len();
        let possible = |len| arrival.may_have_length(len);
        let unwrapped =
            self.use_of(with, request.mechanism)?.run(&self.slot, |key| way.unwrap(key, wrapped, len, possible))?;
        let (attributes, plaintext) = if arrival.is_secret() {
            if !arrival.may_have_length(unwrapped.len()) {
                return Err(Cause::WrappedKeyLenRange.with(format!("a secret key of {} bytes", unwrapped.len())));
            }
            (arrival.secret_arrived(&unwrapped, Past::Imported)?, unwrapped)
        } else {
            let key = way.private_key(&unwrapped)?;
            (arrival.private_arrived(&key, Past::Imported)?, key.to_pkcs8()?)
        };
        let made = self.slot.token.keep(attributes, Some(&plaintext))?;
        self.handle_of(made, epoch)
    }

    fn use_of(&self, object: Arc<Object>, mechanism: &'static Mechanism) -> Result<UseOfKey> {
        UseOfKey::new(&self.slot, object, mechanism)
    }
}

/// Whether this key may be wrapped by that one in this way.
///
/// Errors: `KeyHandleInvalid` for what is no key, or not in `CKA_WRAP_TEMPLATE`; `KeyUnextractable`;
/// `KeyNotWrappable` for everything else.
fn check_wrappable(way: &Wrapping, with: &Attributes, key: &Attributes) -> Result<()> {
    let not = |why: &'static str| Err(Cause::KeyNotWrappable.with(why));
    let with_secret = with.number(CKA_CLASS) == Some(CKO_SECRET_KEY);
    match key.number(CKA_CLASS) {
        Some(CKO_SECRET_KEY) => {}
        Some(CKO_PRIVATE_KEY) if way.takes_private_keys() => {}
        Some(CKO_PRIVATE_KEY) => return not("RSA alone wraps no private key"),
        Some(CKO_OTP_KEY) => return not("a key whose counter would stay behind"),
        Some(CKO_PUBLIC_KEY) => return not("a public key"),
        _ => return Err(Cause::KeyHandleInvalid.with("the object is no key")),
    }
    if !key.is(CKA_EXTRACTABLE) {
        return Err(Cause::KeyUnextractable.into());
    }
    // What a public key says of itself is not sealed: whoever writes the store could make it trusted.
    if key.is(CKA_WRAP_WITH_TRUSTED) && !(with_secret && with.is(CKA_TRUSTED)) {
        return not("CKA_WRAP_WITH_TRUSTED: only a secret key with CKA_TRUSTED wraps it");
    }
    if nested(with, CKA_WRAP_TEMPLATE).is_some_and(|wanted| !wanted.matches(key)) {
        return Err(Cause::KeyHandleInvalid.with("the key is not what CKA_WRAP_TEMPLATE asks for"));
    }
    if key.is(CKA_SENSITIVE) && with_secret && with.is(CKA_DECRYPT) {
        return not("a sensitive key, under a key that may decrypt it: the wrapping key needs CKA_DECRYPT false");
    }
    if key.is(CKA_SENSITIVE) && way.encrypts_data() {
        return not("a sensitive key, in a way that may give it away: use key wrap");
    }
    Ok(())
}

fn of_wrapping_key(error: Error) -> Error {
    match error.cause() {
        Cause::KeyHandleInvalid => Cause::WrappingKeyHandleInvalid.with(error.detail().to_owned()),
        Cause::KeyTypeInconsistent => Cause::WrappingKeyTypeInconsistent.with(error.detail().to_owned()),
        _ => error,
    }
}

/// What is wrong with the key, in the words for keys to unwrap with.
pub(super) fn of_unwrapping_key(error: Error) -> Error {
    match error.cause() {
        Cause::KeyHandleInvalid => Cause::UnwrappingKeyHandleInvalid.with(error.detail().to_owned()),
        Cause::KeyTypeInconsistent => Cause::UnwrappingKeyTypeInconsistent.with(error.detail().to_owned()),
        _ => error,
    }
}
