//! Two operations at once. Where the first has no output, the second is given nothing.

use super::operation::{AnySlot, Outcome, Room, Slot};
use super::table::Session;
use crate::error::{Cause, Result};

impl Session {
    /// `C_DigestEncryptUpdate`.
    pub fn digest_encrypt_update(&self, part: Result<&[u8]>, room: Room) -> Result<Outcome> {
        both(&self.digesting, &self.encryption)?;
        let data = part.as_ref().copied().unwrap_or_default();
        then(self.encrypt_update(part, room)?, |_| self.digest_update(Ok(data)))
    }

    /// `C_DecryptDigestUpdate`.
    pub fn decrypt_digest_update(&self, part: Result<&[u8]>, room: Room) -> Result<Outcome> {
        both(&self.decryption, &self.digesting)?;
        then(self.decrypt_update(part, room)?, |plaintext| self.digest_update(Ok(plaintext)))
    }

    /// `C_SignEncryptUpdate`.
    pub fn sign_encrypt_update(&self, part: Result<&[u8]>, room: Room) -> Result<Outcome> {
        both(&self.signing, &self.encryption)?;
        let data = part.as_ref().copied().unwrap_or_default();
        then(self.encrypt_update(part, room)?, |_| self.sign_update(Ok(data)))
    }

    /// `C_DecryptVerifyUpdate`.
    pub fn decrypt_verify_update(&self, part: Result<&[u8]>, room: Room) -> Result<Outcome> {
        both(&self.decryption, &self.verifying)?;
        then(self.decrypt_update(part, room)?, |plaintext| self.verify_update(Ok(plaintext)))
    }
}

/// `OperationNotInitialized`, which touches neither, unless both are active.
fn both<T, U>(one: &Slot<T>, other: &Slot<U>) -> Result<()> {
    if one.is_active() && other.is_active() { Ok(()) } else { Err(Cause::OperationNotInitialized.into()) }
}

/// Gives the second operation its part, once the first has put out its own.
fn then(outcome: Outcome, second: impl FnOnce(&[u8]) -> Result<()>) -> Result<Outcome> {
    if let Outcome::Done(output) = &outcome {
        second(output.expose())?;
    }
    Ok(outcome)
}
