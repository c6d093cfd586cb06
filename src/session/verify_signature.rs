//! Verifying a signature that is given first.

use super::table::Session;
use super::use_of_key::{Keyed, UseOfKey};
use super::verify::Verifying;
use crate::error::Result;
use crate::mechanism::Given;
use cryptoki_sys::*;

/// A verification under way, and the signature that it is of.
pub(super) struct SignatureVerifying {
    verifying: Verifying,
    signature: Vec<u8>,
}

impl Keyed for SignatureVerifying {
    fn key(&mut self) -> Option<&mut UseOfKey> {
        self.verifying.key()
    }
}

impl Session {
    /// `C_VerifySignatureInit`.
    pub fn verify_signature_init(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
        signature: Result<&[u8]>,
    ) -> Result<()> {
        self.signature_verifying.check_free()?;
        let (request, key) = self.verification(mechanism, given, key, CKF_VERIFY)?;
        let signature = signature?.to_vec();
        self.signature_verifying
            .start(SignatureVerifying { verifying: Verifying::new(&self.slot, &request, &key)?, signature })
    }

    /// `C_VerifySignature`.
    pub fn verify_signature(&self, data: Result<&[u8]>) -> Result<()> {
        let SignatureVerifying { verifying, signature } = self.signature_verifying.take()?;
        verifying.verify(&self.slot, data?, &signature)
    }

    /// `C_VerifySignatureUpdate`.
    pub fn verify_signature_update(&self, part: Result<&[u8]>) -> Result<()> {
        let login = self.slot.login_epoch();
        self.signature_verifying.advance(|_| Ok(None), |operation| operation.verifying.update(&self.slot, part?))?;
        self.end_with_login(&self.signature_verifying, login);
        Ok(())
    }

    /// `C_VerifySignatureFinal`.
    pub fn verify_signature_final(&self) -> Result<()> {
        let SignatureVerifying { verifying, signature } = self.signature_verifying.take()?;
        verifying.verify_updated(&self.slot, &signature)
    }
}
