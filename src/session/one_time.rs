//! One-time passwords: how a key that counts signs and verifies (section 6.53).

use super::handles::Object;
use super::slot::Slot;
use super::use_of_key::UseOfKey;
use crate::error::{Cause, Result};
use crate::mechanism::{Hotp, Params, Request, Structure};
use crate::object::otp;

/// A password that is being made or checked. It is of a counter, and of no data.
pub(super) struct OneTime {
    hotp: Hotp,
    updated: bool,
}

impl OneTime {
    /// `MechanismParamInvalid` for what the key does not allow.
    pub(super) fn new(request: &Request, object: &Object) -> Result<Option<Self>> {
        let Params::Otp(params) = &request.params else { return Ok(None) };
        let hotp = Hotp::new(params, &otp::hotp_key(&object.record.attributes))?;
        Ok(Some(Self { hotp, updated: false }))
    }

    /// The length of the structure that a password comes in.
    pub(super) fn len(&self) -> usize {
        self.hotp.signature_len()
    }

    /// Whether there was an update.
    pub(super) fn is_updated(&self) -> bool {
        self.updated
    }

    /// An update brings nothing. `DataLenRange` if it does.
    pub(super) fn update(&mut self, part: &[u8]) -> Result<()> {
        self.updated = true;
        Self::check(part)
    }

    /// `DataLenRange` if there is data.
    pub(super) fn check(data: &[u8]) -> Result<()> {
        if data.is_empty() { Ok(()) } else { Err(Cause::DataLenRange.with("a one-time password is of no data")) }
    }

    /// The next password, after which no other use of the key gets it; or that of the counter that was given.
    pub(super) fn sign(self, key: &UseOfKey, slot: &Slot) -> Result<Structure> {
        key.run(slot, |opened| {
            let counter = match self.hotp.given() {
                Some(given) => given,
                None => key.count(slot, Ok)?,
            };
            self.hotp.sign(opened.secret()?.expose()?, counter)
        })
    }

    /// Checks a password: whether it is that of the counter that was given, or one of the next, after which neither it
    /// nor an earlier one is good again.
    ///
    /// `SignatureInvalid` or `SignatureLenRange` if it is not.
    pub(super) fn verify(self, key: &UseOfKey, slot: &Slot, password: &[u8]) -> Result<()> {
        if password.len() != self.hotp.password_len() {
            return Err(Cause::SignatureLenRange.into());
        }
        key.run(slot, |opened| {
            let value = opened.secret()?.expose()?;
            match self.hotp.given() {
                Some(given) => self.hotp.find(value, given, password),
                None => key.count(slot, |next| self.hotp.find(value, next, password)),
            }
            .map(drop)
        })
    }
}
