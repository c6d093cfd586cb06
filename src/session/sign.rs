//! Signing.

use super::handles::Object;
use super::mac::Authentication;
use super::one_time::OneTime;
use super::operation::{Kind, Outcome, Room};
use super::slot::Slot;
use super::table::Session;
use super::use_of_key::{Keyed, UseOfKey};
use crate::error::{Cause, Result};
use crate::mechanism::{Given, Mechanism, Request, Signature, find};
use crate::object::{Look, SEALED_CLASSES, attribute};
use cryptoki_sys::*;
use std::sync::Arc;

/// A signature under way.
pub(super) struct Signing {
    work: Work,
    key: UseOfKey,
}

impl Keyed for Signing {
    fn key(&mut self) -> Option<&mut UseOfKey> {
        Some(&mut self.key)
    }
}

/// One signature, MAC or one-time password that is being made.
pub(super) enum Work {
    Signature(Signature),
    Mac(Authentication),
    OneTime(OneTime),
}

impl Work {
    pub(super) fn new(request: &Request, object: &Object) -> Result<Self> {
        if let Some(password) = OneTime::new(request, object)? {
            return Ok(Self::OneTime(password));
        }
        Ok(match object.is_secret_key() {
            true => Self::Mac(Authentication::new(request)?),
            false => Self::Signature(Signature::new(request, object.public_key()?)?),
        })
    }

    /// The length of the signature in bytes.
    pub(super) fn output_len(&self) -> usize {
        match self {
            Self::Signature(signature) => signature.output_len(),
            Self::Mac(mac) => mac.len(),
            Self::OneTime(password) => password.len(),
        }
    }

    /// The length of a signature in one part; `OperationActive` after updates, which `C_SignFinal` ends.
    fn one_part(&self) -> Result<usize> {
        let updated = match self {
            Self::Signature(signature) => signature.is_updated(),
            Self::Mac(mac) => mac.is_updated(),
            Self::OneTime(password) => password.is_updated(),
        };
        if updated { Err(Cause::OperationActive.into()) } else { Ok(self.output_len()) }
    }

    /// Takes in the next part. With a secret key the first part asks for the key.
    pub(super) fn update(&mut self, key: &UseOfKey, slot: &Slot, part: &[u8]) -> Result<()> {
        match self {
            Self::Signature(signature) => signature.update(part),
            Self::Mac(mac) => mac.update(key, slot, part),
            Self::OneTime(password) => password.update(part),
        }
    }

    /// Checks data that comes in one part, before the key is asked for.
    pub(super) fn check(&self, data: &[u8]) -> Result<()> {
        match self {
            Self::Signature(signature) => signature.check(data),
            Self::Mac(_) => Ok(()),
            Self::OneTime(_) => OneTime::check(data),
        }
    }

    /// Signs `data`, which comes in one part, or what came in by updates.
    pub(super) fn sign(self, key: &UseOfKey, slot: &Slot, data: Option<&[u8]>) -> Result<Outcome> {
        match self {
            Self::OneTime(password) => return password.sign(key, slot).map(Outcome::Structure),
            Self::Mac(mac) => mac.sign(key, slot, data),
            Self::Signature(signature) => key.run(slot, |key| match data {
                Some(data) => signature.sign(key.private()?, data),
                None => signature.sign_updated(key.private()?),
            }),
        }
        .map(Outcome::Done)
    }
}

/// What an operation demands of its key.
#[derive(Clone, Copy)]
pub(super) struct Demand {
    /// The flag of the operation in `CK_MECHANISM_INFO`.
    pub(super) flag: CK_FLAGS,
    /// The classes of object that the key may be.
    pub(super) classes: &'static [CK_OBJECT_CLASS],
    /// The attribute that permits the operation.
    pub(super) permission: CK_ATTRIBUTE_TYPE,
}

impl Session {
    /// Checks key and mechanism of an operation, in this order: mechanism, key, key type, permission, allowed
    /// mechanisms, parameter.
    pub(super) fn request(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
        demand: &Demand,
    ) -> Result<(Request, Arc<Object>)> {
        let (row, object) = self.permitted(mechanism, key, demand)?;
        Ok((Request::new(row, demand.flag, &given()?)?, object))
    }

    /// The same without the parameter, which message-based encryption has with each message.
    pub(super) fn permitted(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        key: CK_OBJECT_HANDLE,
        demand: &Demand,
    ) -> Result<(&'static Mechanism, Arc<Object>)> {
        let row = find(mechanism)
            .filter(|row| row.flags() & demand.flag != 0)
            .ok_or_else(|| Cause::MechanismInvalid.with(format!("{mechanism:#x}")))?;
        let object = self.key_of(key)?;
        let attributes = &object.record.attributes;
        let class = attributes.number(CKA_CLASS).unwrap_or(CKO_DATA);
        if class != CKO_PUBLIC_KEY && !SEALED_CLASSES.contains(&class) {
            return Err(Cause::KeyHandleInvalid.with("the object is no key"));
        }
        // Section 5.1.6 has this come before the permission.
        if !attributes.number(CKA_KEY_TYPE).is_some_and(|key_type| row.takes(key_type)) {
            return Err(Cause::KeyTypeInconsistent.with(row.name));
        }
        if !demand.classes.contains(&class) {
            return Err(Cause::KeyFunctionNotPermitted.with("the other half of the pair does this"));
        }
        if !attributes.is(demand.permission) {
            return Err(Cause::KeyFunctionNotPermitted.with(attribute::name(demand.permission)));
        }
        if let Some(allowed) = attributes.get(&CKA_ALLOWED_MECHANISMS)
            && !attribute::ulongs(allowed).any(|id| id == mechanism)
        {
            return Err(Cause::MechanismInvalid.with(format!("{} is not in CKA_ALLOWED_MECHANISMS", row.name)));
        }
        Ok((row, object))
    }

    /// `C_SignInit`.
    pub fn sign_init(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        const DEMAND: Demand = Demand { flag: CKF_SIGN, classes: &SEALED_CLASSES, permission: CKA_SIGN };
        self.signing.check_free()?;
        let (request, object) = self.request(mechanism, given, key, &DEMAND)?;
        let work = Work::new(&request, &object)?;
        self.signing.start(Signing { work, key: UseOfKey::new(&self.slot, object, request.mechanism)? })
    }

    /// `C_Sign`. Asking for the length, or with too little room, neither calls KMS nor counts as a use.
    pub fn sign(&self, data: Result<&[u8]>, room: Room) -> Result<Outcome> {
        let data = data.inspect_err(|_| self.cancel(Kind::Sign))?;
        self.signing.finish(
            room,
            |signing| signing.work.one_part(),
            |Signing { work, key }| {
                work.check(data)?;
                work.sign(&key, &self.slot, Some(data))
            },
        )
    }

    /// `C_SignUpdate`. With a secret key the first part asks for the key.
    pub fn sign_update(&self, part: Result<&[u8]>) -> Result<()> {
        let login = self.slot.login_epoch();
        self.signing.advance(|_| Ok(None), |Signing { work, key }| work.update(key, &self.slot, part?))?;
        self.end_with_login(&self.signing, login);
        Ok(())
    }

    /// `C_SignFinal`.
    pub fn sign_final(&self, room: Room) -> Result<Outcome> {
        self.signing.finish(
            room,
            |signing| Ok(signing.work.output_len()),
            |Signing { work, key }| work.sign(&key, &self.slot, None),
        )
    }
}
