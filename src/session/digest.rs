//! Digests.

use super::operation::{Kind, Outcome, Room};
use super::table::Session;
use super::use_of_key::UseOfKey;
use crate::crypto::{Digester, Hash, Secret};
use crate::error::{Cause, Result};
use crate::mechanism::{Family, Given, MECHANISMS, Mechanism, Request, find};
use crate::object::{Look, attribute};
use cryptoki_sys::*;

/// A digest under way.
pub(super) struct Digesting {
    mechanism: &'static Mechanism,
    hash: Hash,
    /// Made by the first update: data in one part needs no state.
    digester: Option<Digester>,
    /// A key's value is among what was digested.
    pub(super) has_key: bool,
}

impl Digesting {
    /// The hash function and its state, if that can be had. A state that a key went into stays here.
    pub(super) fn save(&self) -> Option<(Hash, Secret)> {
        if self.has_key {
            return None;
        }
        let state = match &self.digester {
            Some(digester) => digester.save(),
            None => Digester::new(self.hash).save(),
        };
        Some((self.hash, state?))
    }

    /// Goes on from such a state.
    pub(super) fn restore(hash: Hash, state: &[u8]) -> Option<Self> {
        let mechanism = MECHANISMS.iter().find(|row| row.family == Family::Digest && row.hash == Some(hash))?;
        let digester = Digester::restore(hash, state)?;
        // Where nothing was digested yet, data may still come in one part.
        let is_new = Digester::new(hash).save().is_some_and(|new| new.expose() == state);
        Some(Self { mechanism, hash, digester: (!is_new).then_some(digester), has_key: false })
    }
}

impl Session {
    /// `C_DigestInit`.
    pub fn digest_init(&self, mechanism: CK_MECHANISM_TYPE, given: impl FnOnce() -> Result<Given>) -> Result<()> {
        self.digesting.check_free()?;
        let row = find(mechanism).ok_or_else(|| Cause::MechanismInvalid.with(format!("{mechanism:#x}")))?;
        let request = Request::new(row, CKF_DIGEST, &given()?)?;
        let hash = request.mechanism.hash.ok_or(Cause::MechanismInvalid)?;
        self.digesting.start(Digesting { mechanism: request.mechanism, hash, digester: None, has_key: false })
    }

    /// `C_Digest`.
    pub fn digest(&self, data: Result<&[u8]>, room: Room) -> Result<Outcome> {
        let data = data.inspect_err(|_| self.cancel(Kind::Digest))?;
        let ready = |digesting: &Digesting| match digesting.digester {
            Some(_) => Err(Cause::OperationActive.into()),
            None => Ok(digesting.hash.len()),
        };
        self.digesting.finish(room, ready, |digesting| Ok(output(&digesting.hash.digest(data))))
    }

    /// `C_DigestUpdate`.
    pub fn digest_update(&self, part: Result<&[u8]>) -> Result<()> {
        self.digesting.update(|digesting| {
            let part = part?;
            digesting.digester.get_or_insert_with(|| Digester::new(digesting.hash)).update(part);
            Ok(())
        })
    }

    /// `C_DigestKey`: the next part is the value of a secret key. `KeyIndigestible` for other keys, for one whose
    /// `CKA_ALLOWED_MECHANISMS` do not name the digest, and for one that may not be revealed: HMAC takes the digest
    /// of a long key in its place, and the digest of a short one can be guessed from.
    pub fn digest_key(&self, key: CK_OBJECT_HANDLE) -> Result<()> {
        let login = self.slot.login_epoch();
        self.digesting.advance(
            |_| Ok(None),
            |digesting| {
                let object = self.key_of(key)?;
                let attributes = &object.record.attributes;
                match attributes.number(CKA_CLASS) {
                    Some(CKO_SECRET_KEY) => {}
                    Some(CKO_PUBLIC_KEY | CKO_PRIVATE_KEY | CKO_OTP_KEY) => return Err(Cause::KeyIndigestible.into()),
                    _ => return Err(Cause::KeyHandleInvalid.with("the object is no key")),
                }
                if attributes.is(CKA_SENSITIVE) || !attributes.is(CKA_EXTRACTABLE) {
                    return Err(Cause::KeyIndigestible.with("CKA_SENSITIVE, or not CKA_EXTRACTABLE"));
                }
                if let Some(allowed) = attributes.get(&CKA_ALLOWED_MECHANISMS)
                    && !attribute::ulongs(allowed).any(|id| id == digesting.mechanism.id)
                {
                    return Err(Cause::KeyIndigestible.with("CKA_ALLOWED_MECHANISMS"));
                }
                digesting.has_key = true;
                UseOfKey::new(&self.slot, object, digesting.mechanism)?.run(&self.slot, |key| {
                    let value = key.secret()?.expose()?;
                    digesting.digester.get_or_insert_with(|| Digester::new(digesting.hash)).update(value);
                    Ok(())
                })
            },
        )?;
        self.end_with_login(&self.digesting, login);
        Ok(())
    }

    /// `C_DigestFinal`.
    pub fn digest_final(&self, room: Room) -> Result<Outcome> {
        let ready = |digesting: &Digesting| Ok(digesting.hash.len());
        self.digesting.finish(room, ready, |digesting| {
            Ok(output(&digesting.digester.map_or_else(|| digesting.hash.digest(&[]), Digester::finish)))
        })
    }
}

fn output(digest: &[u8]) -> Secret {
    Secret::new(digest.to_vec())
}
