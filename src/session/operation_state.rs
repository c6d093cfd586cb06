//! Saving and restoring the state of a session's operations. Only digests can be saved: the state of what has
//! a key would be as good as the key.

use super::digest::Digesting;
use super::operation::{Kind, Outcome, Room};
use super::table::Session;
use crate::crypto::{Hash, Secret};
use crate::error::{Cause, Result};
use crate::mechanism::{Family, MECHANISMS, find};
use cryptoki_sys::*;

/// What a saved state begins with; the last byte is the version of the format. The mechanism follows, eight bytes
/// big-endian, then the state of its hash function, then the check.
const HEADER: &[u8; 8] = b"DKP11OS\x01";
/// The length of header and mechanism.
const PREFIX: usize = HEADER.len() + 8;

impl Session {
    /// `C_GetOperationState`. It ends nothing, whatever comes of it.
    ///
    /// Errors: `OperationNotInitialized` without an operation of which the specification says that it can be
    /// saved, `StateUnsaveable` for any but a digest with SHA-1 or SHA-2 alone.
    pub fn operation_state(&self, room: Room) -> Result<Outcome> {
        let active = |kind: &Kind| *kind != Kind::Find && self.is_active(*kind);
        let active: Vec<_> = Kind::FLAGS.iter().map(|(_, kind)| *kind).filter(active).collect();
        if !active.iter().any(|kind| kind.is_savable()) {
            return Err(Cause::OperationNotInitialized.into());
        }
        if active != [Kind::Digest] {
            return Err(Cause::StateUnsaveable.with("an operation with a key is active"));
        }
        let saved = self.digesting.look(|digesting| digesting.save()).ok_or(Cause::OperationNotInitialized)?;
        let (hash, state) = saved.ok_or(Cause::StateUnsaveable)?;
        let digest = MECHANISMS.iter().find(|row| row.family == Family::Digest && row.hash == Some(hash));
        let mechanism = digest.ok_or(Cause::StateUnsaveable)?.id;
        let mut saved = [&HEADER[..], &mechanism.to_be_bytes(), state.expose()].concat();
        saved.extend_from_slice(&self.check_of(&saved)?);
        let saved = Secret::new(saved);
        Ok(Outcome::before(saved.len(), room).unwrap_or(Outcome::Done(saved)))
    }

    /// `C_SetOperationState`: ends all operations of the session and goes on with the saved one.
    ///
    /// Errors: `SavedStateInvalid` for what was not saved with this token in the same state of a session,
    /// `KeyNotNeeded` for any key.
    pub fn set_operation_state(&self, saved: &[u8], keys: [CK_OBJECT_HANDLE; 2]) -> Result<()> {
        let invalid = || Cause::SavedStateInvalid.into();
        let (saved, check) = saved.split_last_chunk::<32>().ok_or_else(invalid)?;
        if *check != self.check_of(saved)? {
            return Err(invalid());
        }
        let (prefix, state) = saved.split_at_checked(PREFIX).ok_or_else(invalid)?;
        let mechanism =
            prefix.strip_prefix(HEADER).and_then(|id| Some(CK_MECHANISM_TYPE::from_be_bytes(id.try_into().ok()?)));
        let digest = mechanism.and_then(find).filter(|row| row.family == Family::Digest);
        let hash = digest.and_then(|row| row.hash).ok_or_else(invalid)?;
        let digesting = Digesting::restore(hash, state).ok_or_else(invalid)?;
        if keys != [CK_INVALID_HANDLE; 2] {
            return Err(Cause::KeyNotNeeded.into());
        }
        Kind::FLAGS.iter().for_each(|(_, kind)| self.cancel(*kind));
        self.digesting.start(digesting)
    }

    /// What tells a saved state from other bytes, and from that of another token or state of a session.
    fn check_of(&self, saved: &[u8]) -> Result<[u8; 32]> {
        let token = self.slot.token.initialised()?;
        let session = self.slot.state(self.read_write).to_be_bytes();
        let checked = [b"operation state", saved, &session, token.serial.as_bytes()].concat();
        Hash::Sha256.digest(&checked).as_ref().try_into().map_err(|_| Cause::CryptoLibrary.into())
    }
}
