//! Verifying. With a public key nothing here goes to the network.

use super::mac::Authentication;
use super::sign::Demand;
use super::table::Session;
use super::use_of_key::UseOfKey;
use crate::crypto::PublicKey;
use crate::error::{Cause, Result};
use crate::mechanism::{Given, Signature};
use cryptoki_sys::*;

/// A verification under way.
pub(super) enum Verifying {
    Signature(Signature, PublicKey),
    Mac(Authentication, UseOfKey),
}

impl Verifying {
    fn is_updated(&self) -> bool {
        match self {
            Self::Signature(signature, _) => signature.is_updated(),
            Self::Mac(mac, _) => mac.is_updated(),
        }
    }
}

impl Session {
    /// `C_VerifyInit`.
    pub fn verify_init(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        const DEMAND: Demand =
            Demand { flag: CKF_VERIFY, classes: &[CKO_PUBLIC_KEY, CKO_SECRET_KEY], permission: CKA_VERIFY };
        self.verifying.check_free()?;
        let (request, object) = self.request(mechanism, given, key, &DEMAND)?;
        self.verifying.start(match object.is_secret_key() {
            true => {
                let key = UseOfKey::new(&self.slot, object, request.mechanism)?;
                Verifying::Mac(Authentication::new(&request)?, key)
            }
            false => {
                let key = object.public_key()?.clone();
                Verifying::Signature(Signature::new(&request, key.kind())?, key)
            }
        })
    }

    /// `C_Verify`.
    pub fn verify(&self, data: Result<&[u8]>, signature: Result<&[u8]>) -> Result<()> {
        let verifying = self.verifying.take()?;
        if verifying.is_updated() {
            return Err(Cause::OperationActive.into());
        }
        let (data, signature) = (data?, signature?);
        match verifying {
            Verifying::Signature(verifying, key) => verifying.verify(&key, data, signature),
            Verifying::Mac(mac, key) => mac.verify(&key, &self.slot, Some(data), signature),
        }
    }

    /// `C_VerifyUpdate`. With a secret key the first part asks for the key.
    pub fn verify_update(&self, part: Result<&[u8]>) -> Result<()> {
        let login = self.slot.login_epoch();
        self.verifying.advance(
            |_| Ok(None),
            |verifying| match verifying {
                Verifying::Signature(signature, _) => signature.update(part?),
                Verifying::Mac(mac, key) => mac.update(key, &self.slot, part?),
            },
        )?;
        self.end_with_login(&self.verifying, login);
        Ok(())
    }

    /// `C_VerifyFinal`.
    pub fn verify_final(&self, signature: Result<&[u8]>) -> Result<()> {
        let verifying = self.verifying.take()?;
        let signature = signature?;
        match verifying {
            Verifying::Signature(verifying, key) => verifying.verify_updated(&key, signature),
            Verifying::Mac(mac, key) => mac.verify(&key, &self.slot, None, signature),
        }
    }
}
