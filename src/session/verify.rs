//! Verifying. With a public key nothing here goes to the network.

use super::handles::Object;
use super::mac::Authentication;
use super::one_time::OneTime;
use super::sign::Demand;
use super::slot::Slot;
use super::table::Session;
use super::use_of_key::{Keyed, UseOfKey};
use crate::crypto::PublicKey;
use crate::error::{Cause, Result};
use crate::mechanism::{Given, Request, Signature};
use cryptoki_sys::*;
use std::sync::Arc;

/// A verification under way.
pub(super) enum Verifying {
    Signature(Signature, PublicKey),
    Mac(Authentication, UseOfKey),
    OneTime(OneTime, UseOfKey),
}

impl Keyed for Verifying {
    fn key(&mut self) -> Option<&mut UseOfKey> {
        match self {
            Self::Signature(..) => None,
            Self::Mac(_, key) | Self::OneTime(_, key) => Some(key),
        }
    }
}

impl Verifying {
    /// Starts to check one signature, MAC or one-time password.
    pub(super) fn new(slot: &Slot, request: &Request, object: &Arc<Object>) -> Result<Self> {
        Self::with(request, object, Self::use_of_key(slot, request, object)?)
    }

    /// The use that checking a MAC or a password makes of the key; `None` for a public key.
    pub(super) fn use_of_key(slot: &Slot, request: &Request, object: &Arc<Object>) -> Result<Option<UseOfKey>> {
        let used = object.is_secret_key().then(|| UseOfKey::new(slot, Arc::clone(object), request.mechanism));
        used.transpose()
    }

    /// The same as [`Self::new`] with the use of the key that there is already.
    pub(super) fn with(request: &Request, object: &Object, key: Option<UseOfKey>) -> Result<Self> {
        if let Some(key) = key {
            return Ok(match OneTime::new(request, object)? {
                Some(password) => Self::OneTime(password, key),
                None => Self::Mac(Authentication::new(request)?, key),
            });
        }
        let key = object.public_key()?.clone();
        Ok(Self::Signature(Signature::new(request, &key)?, key))
    }

    fn is_updated(&self) -> bool {
        match self {
            Self::Signature(signature, _) => signature.is_updated(),
            Self::Mac(mac, _) => mac.is_updated(),
            Self::OneTime(password, _) => password.is_updated(),
        }
    }

    /// Takes in the next part of the data. With a secret key the first part asks for the key.
    pub(super) fn update(&mut self, slot: &Slot, part: &[u8]) -> Result<()> {
        match self {
            Self::Signature(signature, _) => signature.update(part),
            Self::Mac(mac, key) => mac.update(key, slot, part),
            Self::OneTime(password, _) => password.update(part),
        }
    }

    /// Checks the signature of `data`, which is all there is. `OperationActive` after updates.
    pub(super) fn verify(self, slot: &Slot, data: &[u8], signature: &[u8]) -> Result<()> {
        if self.is_updated() {
            return Err(Cause::OperationActive.into());
        }
        match self {
            Self::Signature(verifying, key) => verifying.verify(&key, data, signature),
            Self::Mac(mac, key) => mac.verify(&key, slot, Some(data), signature),
            Self::OneTime(password, key) => {
                OneTime::check(data)?;
                password.verify(&key, slot, signature)
            }
        }
    }

    /// Checks the signature of what came in by updates.
    pub(super) fn verify_updated(self, slot: &Slot, signature: &[u8]) -> Result<()> {
        match self {
            Self::Signature(verifying, key) => verifying.verify_updated(&key, signature),
            Self::Mac(mac, key) => mac.verify(&key, slot, None, signature),
            Self::OneTime(password, key) => password.verify(&key, slot, signature),
        }
    }
}

/// What a verification that is named by its `CKF_` flag demands of its key.
pub(super) fn verification(flag: CK_FLAGS) -> Demand {
    Demand { flag, classes: &[CKO_PUBLIC_KEY, CKO_SECRET_KEY, CKO_OTP_KEY], permission: CKA_VERIFY }
}

impl Session {
    /// The checked mechanism and key of a verification that is named by its `CKF_` flag.
    pub(super) fn verification(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
        flag: CK_FLAGS,
    ) -> Result<(Request, Arc<Object>)> {
        self.request(mechanism, given, key, &verification(flag))
    }

    /// `C_VerifyInit`.
    pub fn verify_init(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        self.verifying.check_free()?;
        let (request, key) = self.verification(mechanism, given, key, CKF_VERIFY)?;
        self.verifying.start(Verifying::new(&self.slot, &request, &key)?)
    }

    /// `C_Verify`.
    pub fn verify(&self, data: Result<&[u8]>, signature: Result<&[u8]>) -> Result<()> {
        self.verifying.take()?.verify(&self.slot, data?, signature?)
    }

    /// `C_VerifyUpdate`.
    pub fn verify_update(&self, part: Result<&[u8]>) -> Result<()> {
        let login = self.slot.login_epoch();
        self.verifying.advance(|_| Ok(None), |verifying| verifying.update(&self.slot, part?))?;
        self.end_with_login(&self.verifying, login);
        Ok(())
    }

    /// `C_VerifyFinal`.
    pub fn verify_final(&self, signature: Result<&[u8]>) -> Result<()> {
        self.verifying.take()?.verify_updated(&self.slot, signature?)
    }
}
