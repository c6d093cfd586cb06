//! Verifying; nothing here goes to the network.

use super::sign::Demand;
use super::table::Session;
use crate::crypto::PublicKey;
use crate::error::{Cause, Result};
use crate::mechanism::{Given, Request, Signature};
use cryptoki_sys::*;

/// A verification under way.
pub(super) struct Verifying {
    signature: Signature,
    key: PublicKey,
}

impl Verifying {
    /// Starts to check one signature with a public key.
    pub(super) fn new(request: &Request, key: PublicKey) -> Result<Self> {
        Ok(Self { signature: Signature::new(request, key.kind())?, key })
    }

    /// Takes in the next part of the data.
    pub(super) fn update(&mut self, part: &[u8]) -> Result<()> {
        self.signature.update(part)
    }

    /// Checks the signature of `data`, which is all there is. `OperationActive` after updates.
    pub(super) fn verify(self, data: &[u8], signature: &[u8]) -> Result<()> {
        if self.signature.is_updated() {
            return Err(Cause::OperationActive.into());
        }
        self.signature.verify(&self.key, data, signature)
    }

    /// Checks the signature of what came in by updates.
    pub(super) fn verify_updated(self, signature: &[u8]) -> Result<()> {
        self.signature.verify_updated(&self.key, signature)
    }
}

impl Session {
    /// The checked mechanism and key of a verification that is named by its `CKF_` flag.
    pub(super) fn verification(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
        flag: CK_FLAGS,
    ) -> Result<(Request, PublicKey)> {
        let demand = Demand { flag, classes: &[CKO_PUBLIC_KEY], permission: CKA_VERIFY };
        let (request, object) = self.request(mechanism, given, key, &demand)?;
        let key = object.public_key()?.clone();
        Ok((request, key))
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
        self.verifying.start(Verifying::new(&request, key)?)
    }

    /// `C_Verify`.
    pub fn verify(&self, data: Result<&[u8]>, signature: Result<&[u8]>) -> Result<()> {
        self.verifying.take()?.verify(data?, signature?)
    }

    /// `C_VerifyUpdate`.
    pub fn verify_update(&self, part: Result<&[u8]>) -> Result<()> {
        self.verifying.update(|verifying| verifying.update(part?))
    }

    /// `C_VerifyFinal`.
    pub fn verify_final(&self, signature: Result<&[u8]>) -> Result<()> {
        self.verifying.take()?.verify_updated(signature?)
    }
}
