//! What vouches for the records of a token.
//!
//! The seal binds what a key is and may do; its names, certificates and public keys are not part of it. A MAC over the
//! whole record, under a key made of the token key, protects them: who can write the store but does not have the token
//! key can rename nothing and exchange nothing. It is checked whenever an object is read while the token key is at hand,
//! and in any case before a private or secret key is used.
//!
//! A session without a login may make public objects (section 5.6.1 of the specification, "R/W Public Session") and has
//! no token key. Objects without a MAC are therefore allowed on a token with PINs, unless something rests on them:
//! [`needs_mac`].
//!
//! Tokens made before there were MACs get them when their user logs in the first time, and from then on no object of
//! theirs may lack one. That they have them is part of how the token key itself is kept, else whoever takes the MACs
//! away could say that there never were any: see [`Vouching`].

use super::pins::User;
use super::{Token, TokenKey};
use crate::config::LoginMode;
use crate::crypto::mac::{constant_time_eq, hkdf_sha256, hmac_sha256};
use crate::crypto::{Secret, SecretKey};
use crate::error::{Cause, Result};
use crate::object::Look;
use crate::object::vendor::has_sealed_value;
use crate::store::{Mac, ObjectId, ObjectRecord, Query, TokenRecord, record};
use cryptoki_sys::{CKA_TOKEN, CKA_TRUSTED};
use std::sync::Arc;

/// Whether the objects of a token have MACs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vouching {
    /// All that need one.
    Complete,
    /// Not those that an earlier version wrote.
    Partial,
}

/// How many objects are looked at by one search while MACs are added.
const PAGE: usize = 256;

impl TokenKey {
    /// The key of this token, in protected memory. `SealRecord` if its names were altered.
    pub(super) fn new(key: &Secret, token: &TokenRecord, vouching: Vouching) -> Result<Arc<Self>> {
        let mut mac_key = Secret::zeroed(32);
        let info = b"datakey-pkcs11 record mac v1";
        hkdf_sha256(key.expose(), token.serial.as_bytes(), info, mac_key.expose_mut())?;
        let key = Self {
            key: SecretKey::new(key.expose())?,
            mac_key: SecretKey::new(mac_key.expose())?,
            serial: token.serial.clone(),
            login: token.login,
            vouching,
        };
        if vouching == Vouching::Complete {
            key.check_token(token)?;
        }
        Ok(Arc::new(key))
    }

    /// Of a token that is just being made, and has no MAC yet.
    pub(super) fn vouch_new(key: &Secret, token: &mut TokenRecord) -> Result<()> {
        token.mac = Some(Self::new(key, token, Vouching::Partial)?.token_mac(token)?);
        Ok(())
    }

    fn token_mac(&self, token: &TokenRecord) -> Result<Mac> {
        Ok(hmac_sha256(self.mac_key.expose()?, &[&record::vouched_token(token)?]))
    }

    fn object_mac(&self, object: &ObjectRecord) -> Result<Mac> {
        Ok(hmac_sha256(self.mac_key.expose()?, &[&record::vouched_object(&self.serial, object)?]))
    }

    fn check_token(&self, token: &TokenRecord) -> Result<()> {
        match token.mac {
            Some(mac) if constant_time_eq(&mac, &self.token_mac(token)?) => Ok(()),
            _ => Err(Cause::SealRecord.with("the token's own record")),
        }
    }

    /// Checks what vouches for an object of the token.
    fn check(&self, object: &ObjectRecord) -> Result<()> {
        let altered = || Err(Cause::SealRecord.with(format!("object {}", object.id)));
        match object.mac {
            Some(mac) if constant_time_eq(&mac, &self.object_mac(object)?) => Ok(()),
            Some(_) => altered(),
            None if self.vouching == Vouching::Partial => Ok(()),
            None if self.login == LoginMode::None || needs_mac(object) => altered(),
            None => Ok(()),
        }
    }
}

/// Whether an object of a token with PINs must have a MAC: keys, which no session without a login can make, what only
/// the security officer can call trusted, and the values of private data objects.
fn needs_mac(object: &ObjectRecord) -> bool {
    object.sealed.is_some() || object.attributes.is(CKA_TRUSTED) || has_sealed_value(&object.attributes)
}

impl Token {
    /// The token key; `None` in a session without the login that it takes. At most one KMS call a process.
    fn voucher(&self, token: &TokenRecord) -> Result<Option<Arc<TokenKey>>> {
        match self.token_key(token) {
            Ok(key) => Ok(Some(key)),
            Err(error) if error.cause() == Cause::UserNotLoggedIn => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Vouches for an object of the token that is about to be written, as far as the caller has the right to.
    /// `UserNotLoggedIn` if nobody would believe the object without.
    pub(super) fn vouch(&self, token: &TokenRecord, object: &mut ObjectRecord) -> Result<()> {
        object.mac = match self.voucher(token)? {
            Some(key) => Some(key.object_mac(object)?),
            None if needs_mac(object) => {
                return Err(Cause::UserNotLoggedIn.with("a key, or what is trusted, changes after a login only"));
            }
            None => None,
        };
        Ok(())
    }

    /// Checks an object that was read, if that costs no KMS call.
    pub(super) fn check_read(&self, object: &ObjectRecord) -> Result<()> {
        let Some(key) = self.held_key() else { return Ok(()) };
        match key.check(object) {
            // The token was initialised anew by another process: the old key says nothing about its objects.
            Err(_) if self.fresh_record()?.is_none_or(|now| now.serial != key.serial) => Ok(()),
            checked => checked,
        }
    }

    /// Checks an object before it is used, changed or copied. `SealRecord` if it is not what the token wrote.
    pub fn check_vouched(&self, object: &ObjectRecord) -> Result<()> {
        if !object.attributes.is(CKA_TOKEN) {
            return Ok(());
        }
        let Some(key) = self.voucher(&*self.initialised()?)? else { return Ok(()) };
        key.check(object).or_else(|altered| {
            // It was read before an object of an earlier version got its MAC.
            let now = self.store()?.get(&object.id)?.ok_or(altered.clone())?;
            let seen = ObjectRecord { version: now.version, mac: now.mac, ..object.clone() };
            if seen == now { key.check(&now) } else { Err(altered) }
        })
    }

    /// Gives a token that an earlier version made its MACs, and has `finish` keep its key as one whose objects all have
    /// them. Where that cannot be, for lack of a right or of room, the token works on as it is.
    ///
    /// What is there is believed, as it was before.
    pub(super) fn adopt(
        &self,
        key: &Secret,
        token: &TokenRecord,
        user: User,
        finish: impl FnOnce(Mac) -> Result<()>,
    ) -> Result<Arc<TokenKey>> {
        let partial = TokenKey::new(key, token, Vouching::Partial)?;
        let is_vouched = token.mac.is_some();
        if is_vouched {
            partial.check_token(token)?;
        }
        // Once is enough: who takes a MAC away must not get a new one by the next login. The officer, who cannot see
        // private objects, does not vouch for them either.
        let all = match (is_vouched, user) {
            (true, _) => Ok(()),
            (false, User::So) => return Ok(partial),
            (false, User::User) => self.vouch_for_all(&partial),
        };
        match all.and_then(|()| finish(partial.token_mac(token)?)) {
            Ok(()) => {
                let token = self.fresh_record()?.ok_or(Cause::TokenNotRecognized)?;
                TokenKey::new(key, &token, Vouching::Complete)
            }
            Err(error) => {
                tracing::warn!("the token was made by an earlier version, and its objects get no MACs now: {error}");
                Ok(partial)
            }
        }
    }

    fn vouch_for_all(&self, key: &TokenKey) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.store()?.find(&Query::default(), after, PAGE)?;
            page.ids.iter().try_for_each(|id| self.vouch_for(key, id))?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn vouch_for(&self, key: &TokenKey, id: &ObjectId) -> Result<()> {
        let vouched = self.update(id, |object| {
            Ok(match object.mac {
                Some(_) => None,
                None => Some(ObjectRecord { mac: Some(key.object_mac(&object)?), ..object }),
            })
        });
        match vouched {
            // It is not usable before or after.
            Err(error) if error.cause() == Cause::RecordCorrupt => Ok(()),
            other => other.map(drop),
        }
    }
}
