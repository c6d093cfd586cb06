//! Digests.

use super::operation::{Kind, Outcome, Room};
use super::table::Session;
use crate::crypto::{Digester, Hash, Secret};
use crate::error::{Cause, Result};
use crate::mechanism::{Given, Request, find};
use cryptoki_sys::*;

/// A digest under way.
pub(super) struct Digesting {
    hash: Hash,
    /// Made by the first update: data in one part needs no state.
    digester: Option<Digester>,
}

impl Digesting {
    /// The hash function and its state, if that can be had.
    pub(super) fn save(&self) -> Option<(Hash, Secret)> {
        let state = match &self.digester {
            Some(digester) => digester.save(),
            None => Digester::new(self.hash).save(),
        };
        Some((self.hash, state?))
    }

    /// Goes on from such a state.
    pub(super) fn restore(hash: Hash, state: &[u8]) -> Option<Self> {
        Some(Self { hash, digester: Some(Digester::restore(hash, state)?) })
    }
}

impl Session {
    /// `C_DigestInit`.
    pub fn digest_init(&self, mechanism: CK_MECHANISM_TYPE, given: impl FnOnce() -> Result<Given>) -> Result<()> {
        self.digesting.check_free()?;
        let row = find(mechanism).ok_or_else(|| Cause::MechanismInvalid.with(format!("{mechanism:#x}")))?;
        let request = Request::new(row, CKF_DIGEST, &given()?)?;
        let hash = request.mechanism.hash.ok_or(Cause::MechanismInvalid)?;
        self.digesting.start(Digesting { hash, digester: None })
    }

    /// `C_Digest`.
    pub fn digest(&self, data: Result<&[u8]>, room: Room) -> Result<Outcome> {
        let data = data.inspect_err(|_| self.cancel(Kind::Digest))?;
        let ready = |digesting: &Digesting| match digesting.digester {
            Some(_) => Err(Cause::OperationActive.into()),
            None => Ok(digesting.hash.len()),
        };
        self.digesting.finish(room, ready, |digesting| Ok(output(&digesting.hash.digest(data))))
    }

    /// `C_DigestUpdate`.
    pub fn digest_update(&self, part: Result<&[u8]>) -> Result<()> {
        self.digesting.update(|digesting| {
            let part = part?;
            digesting.digester.get_or_insert_with(|| Digester::new(digesting.hash)).update(part);
            Ok(())
        })
    }

    /// `C_DigestFinal`.
    pub fn digest_final(&self, room: Room) -> Result<Outcome> {
        let ready = |digesting: &Digesting| Ok(digesting.hash.len());
        self.digesting.finish(room, ready, |digesting| {
            Ok(output(&digesting.digester.map_or_else(|| digesting.hash.digest(&[]), Digester::finish)))
        })
    }
}

fn output(digest: &[u8]) -> Secret {
    Secret::new(digest.to_vec())
}
