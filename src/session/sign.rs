//! Signing.

use super::handles::Object;
use super::operation::{Kind, Outcome, Room};
use super::table::Session;
use crate::crypto::PrivateKey;
use crate::error::{Cause, Result};
use crate::mechanism::{Given, Request, Signature, find};
use crate::object::{Look, attribute};
use crate::token::Token;
use cryptoki_sys::*;
use std::sync::Arc;

/// A signature under way.
pub(super) struct Signing {
    signature: Signature,
    key: UseOfKey,
}

/// A private key in use, with the login that each use of it may need.
pub(super) struct UseOfKey {
    object: Arc<Object>,
    logged_in: bool,
}

impl UseOfKey {
    pub(super) fn new(object: Arc<Object>) -> Self {
        let logged_in = !object.record.attributes.is(CKA_ALWAYS_AUTHENTICATE);
        Self { object, logged_in }
    }

    pub(super) fn needs_login(&self) -> bool {
        !self.logged_in
    }

    pub(super) fn log_in(&mut self) {
        self.logged_in = true;
    }

    /// The key itself; `UserNotLoggedIn` before a context-specific login that it needs.
    pub(super) fn get(&self, token: &Token) -> Result<Arc<PrivateKey>> {
        if !self.logged_in {
            return Err(Cause::UserNotLoggedIn.with("CKA_ALWAYS_AUTHENTICATE: C_Login with CKU_CONTEXT_SPECIFIC first"));
        }
        token.private_key(&self.object.record, self.object.seal_tag())
    }
}

impl Signing {
    pub(super) fn needs_login(&self) -> bool {
        self.key.needs_login()
    }

    pub(super) fn logged_in(&mut self) {
        self.key.log_in();
    }
}

/// What an operation demands of its key.
pub(super) struct Demand {
    /// The flag of the operation in `CK_MECHANISM_INFO`.
    pub(super) flag: CK_FLAGS,
    /// The class of object that the key must be.
    pub(super) class: CK_OBJECT_CLASS,
    /// The attribute that permits the operation.
    pub(super) permission: CK_ATTRIBUTE_TYPE,
}

impl Session {
    /// Checks key and mechanism of an operation, in the order of the specification: mechanism, key,
    /// permission, key type, allowed mechanisms, parameter.
    pub(super) fn request(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
        demand: &Demand,
    ) -> Result<(Request, Arc<Object>)> {
        let row = find(mechanism)
            .filter(|row| row.flags() & demand.flag != 0)
            .ok_or_else(|| Cause::MechanismInvalid.with(format!("{mechanism:#x}")))?;
        let object = self.object(key, Cause::KeyHandleInvalid)?;
        let attributes = &object.record.attributes;
        if attributes.number(CKA_CLASS) != Some(demand.class) {
            return match attributes.number(CKA_CLASS) {
                Some(CKO_PUBLIC_KEY | CKO_PRIVATE_KEY) => Err(Cause::KeyFunctionNotPermitted.into()),
                _ => Err(Cause::KeyHandleInvalid.with("the object is no key")),
            };
        }
        if !attributes.is(demand.permission) {
            return Err(Cause::KeyFunctionNotPermitted.with(attribute::name(demand.permission)));
        }
        if attributes.number(CKA_KEY_TYPE) != row.key_type() {
            return Err(Cause::KeyTypeInconsistent.with(row.name));
        }
        if let Some(allowed) = attributes.get(&CKA_ALLOWED_MECHANISMS)
            && !attribute::ulongs(allowed).any(|id| id == mechanism)
        {
            return Err(Cause::MechanismInvalid.with(format!("{} is not in CKA_ALLOWED_MECHANISMS", row.name)));
        }
        Ok((Request::new(row, demand.flag, &given()?)?, object))
    }

    /// `C_SignInit`.
    pub fn sign_init(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        const DEMAND: Demand = Demand { flag: CKF_SIGN, class: CKO_PRIVATE_KEY, permission: CKA_SIGN };
        self.signing.check_free()?;
        let (request, object) = self.request(mechanism, given, key, &DEMAND)?;
        if self.slot.user().is_none() && self.slot.token.login_required()? {
            return Err(Cause::UserNotLoggedIn.into());
        }
        let signature = Signature::new(&request, object.public_key()?.kind())?;
        self.signing.start(Signing { signature, key: UseOfKey::new(object) })
    }

    /// `C_Sign`. Asking for the length, or with too little room, neither calls KMS nor counts as a use.
    pub fn sign(&self, data: Result<&[u8]>, room: Room) -> Result<Outcome> {
        let data = data.inspect_err(|_| self.cancel(Kind::Sign))?;
        self.signing.finish(
            room,
            |signing| one_part(&signing.signature),
            |signing| {
                let key = signing.key.get(&self.slot.token)?;
                signing.signature.sign(&key, data)
            },
        )
    }

    /// `C_SignUpdate`.
    pub fn sign_update(&self, part: Result<&[u8]>) -> Result<()> {
        self.signing.update(|signing| signing.signature.update(part?))
    }

    /// `C_SignFinal`.
    pub fn sign_final(&self, room: Room) -> Result<Outcome> {
        self.signing.finish(
            room,
            |signing| Ok(signing.signature.output_len()),
            |signing| {
                let key = signing.key.get(&self.slot.token)?;
                signing.signature.sign_updated(&key)
            },
        )
    }
}

/// The length of a signature in one part; `OperationActive` after updates, which `C_SignFinal` ends.
fn one_part(signature: &Signature) -> Result<usize> {
    if signature.is_updated() { Err(Cause::OperationActive.into()) } else { Ok(signature.output_len()) }
}
