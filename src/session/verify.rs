//! Verifying; nothing here goes to the network.

use super::sign::Demand;
use super::table::Session;
use crate::crypto::PublicKey;
use crate::error::{Cause, Result};
use crate::mechanism::{Given, Signature};
use cryptoki_sys::*;

/// A verification under way.
pub(super) struct Verifying {
    signature: Signature,
    key: PublicKey,
}

impl Session {
    /// `C_VerifyInit`.
    pub fn verify_init(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        const DEMAND: Demand = Demand { flag: CKF_VERIFY, classes: &[CKO_PUBLIC_KEY], permission: CKA_VERIFY };
        self.verifying.check_free()?;
        let (request, object) = self.request(mechanism, given, key, &DEMAND)?;
        let key = object.public_key()?.clone();
        self.verifying.start(Verifying { signature: Signature::new(&request, key.kind())?, key })
    }

    /// `C_Verify`.
    pub fn verify(&self, data: Result<&[u8]>, signature: Result<&[u8]>) -> Result<()> {
        let verifying = self.verifying.take()?;
        if verifying.signature.is_updated() {
            return Err(Cause::OperationActive.into());
        }
        verifying.signature.verify(&verifying.key, data?, signature?)
    }

    /// `C_VerifyUpdate`.
    pub fn verify_update(&self, part: Result<&[u8]>) -> Result<()> {
        self.verifying.update(|verifying| verifying.signature.update(part?))
    }

    /// `C_VerifyFinal`.
    pub fn verify_final(&self, signature: Result<&[u8]>) -> Result<()> {
        let verifying = self.verifying.take()?;
        verifying.signature.verify_updated(&verifying.key, signature?)
    }
}
