//! Signatures that give their data back.

use super::operation::{Kind, Late, Outcome, Room};
use super::sign::Demand;
use super::table::Session;
use super::use_of_key::{Keyed, UseOfKey};
use crate::crypto::{PublicKey, Secret};
use crate::error::Result;
use crate::mechanism::{Given, Signature};
use cryptoki_sys::*;

/// A signature with recovery under way.
pub(super) struct SignRecovery {
    signature: Signature,
    key: UseOfKey,
}

impl Keyed for SignRecovery {
    fn key(&mut self) -> Option<&mut UseOfKey> {
        Some(&mut self.key)
    }
}

/// A verification with recovery under way. What was recovered is kept while the caller has no room for it.
pub(super) struct VerifyRecovery {
    signature: Signature,
    key: PublicKey,
    recovered: Option<Secret>,
}

impl Session {
    /// `C_SignRecoverInit`.
    pub fn sign_recover_init(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        const DEMAND: Demand =
            Demand { flag: CKF_SIGN_RECOVER, classes: &[CKO_PRIVATE_KEY], permission: CKA_SIGN_RECOVER };
        self.sign_recovery.check_free()?;
        let (request, object) = self.request(mechanism, given, key, &DEMAND)?;
        let signature = Signature::new(&request, object.public_key()?)?;
        let key = UseOfKey::new(&self.slot, object, request.mechanism)?;
        self.sign_recovery.start(SignRecovery { signature, key })
    }

    /// `C_SignRecover`. Asking for the length neither calls KMS nor counts as a use.
    pub fn sign_recover(&self, data: Result<&[u8]>, room: Room) -> Result<Outcome> {
        let data = data.inspect_err(|_| self.cancel(Kind::SignRecover))?;
        self.sign_recovery.finish(
            room,
            |signing| Ok(signing.signature.output_len()),
            |signing| {
                signing.signature.check(data)?;
                signing.key.run(&self.slot, |key| signing.signature.sign(key.private()?, data))
            },
        )
    }

    /// `C_VerifyRecoverInit`.
    pub fn verify_recover_init(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        const DEMAND: Demand =
            Demand { flag: CKF_VERIFY_RECOVER, classes: &[CKO_PUBLIC_KEY], permission: CKA_VERIFY_RECOVER };
        self.verify_recovery.check_free()?;
        let (request, object) = self.request(mechanism, given, key, &DEMAND)?;
        let key = object.public_key()?.clone();
        let signature = Signature::new(&request, &key)?;
        self.verify_recovery.start(VerifyRecovery { signature, key, recovered: None })
    }

    /// `C_VerifyRecover`. That a signature is bad is told before that there is too little room.
    pub fn verify_recover(&self, signature: Result<&[u8]>, room: Room) -> Result<Outcome> {
        let signature = signature.inspect_err(|_| self.cancel(Kind::VerifyRecover))?;
        self.verify_recovery.finish_late(
            room,
            |verifying| {
                Ok(match &verifying.recovered {
                    Some(recovered) => Late::Made(recovered),
                    None => Late::AtMost(verifying.signature.output_len()),
                })
            },
            |verifying| {
                let recovered = verifying.signature.recover(&verifying.key, signature)?;
                Ok((verifying, recovered))
            },
            |verifying, recovered| verifying.recovered = Some(recovered),
            |verifying| verifying.recovered.unwrap_or_else(|| Secret::new(Vec::new())),
        )
    }
}
