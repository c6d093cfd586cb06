//! Digests.

use super::operation::{Kind, Outcome, Room};
use super::table::Session;
use crate::crypto::{Digester, Secret};
use crate::error::{Cause, Result};
use crate::mechanism::{Given, Request, find};
use cryptoki_sys::*;

/// A digest under way.
pub(super) struct Digesting {
    digester: Digester,
    updated: bool,
}

impl Session {
    /// `C_DigestInit`.
    pub fn digest_init(&self, mechanism: CK_MECHANISM_TYPE, given: impl FnOnce() -> Result<Given>) -> Result<()> {
        self.digesting.check_free()?;
        let row = find(mechanism).ok_or_else(|| Cause::MechanismInvalid.with(format!("{mechanism:#x}")))?;
        let request = Request::new(row, CKF_DIGEST, &given()?)?;
        let hash = request.mechanism.hash.ok_or(Cause::MechanismInvalid)?;
        self.digesting.start(Digesting { digester: Digester::new(hash), updated: false })
    }

    /// `C_Digest`.
    pub fn digest(&self, data: Result<&[u8]>, room: Room) -> Result<Outcome> {
        let data = data.inspect_err(|_| self.cancel(Kind::Digest))?;
        let ready = |digesting: &Digesting| match digesting.updated {
            true => Err(Cause::OperationActive.into()),
            false => Ok(digesting.digester.hash().len()),
        };
        self.digesting.finish(room, ready, |digesting| Ok(output(&digesting.digester.hash().digest(data))))
    }

    /// `C_DigestUpdate`.
    pub fn digest_update(&self, part: Result<&[u8]>) -> Result<()> {
        self.digesting.update(|digesting| {
            digesting.digester.update(part?);
            digesting.updated = true;
            Ok(())
        })
    }

    /// `C_DigestFinal`.
    pub fn digest_final(&self, room: Room) -> Result<Outcome> {
        let ready = |digesting: &Digesting| Ok(digesting.digester.hash().len());
        self.digesting.finish(room, ready, |digesting| Ok(output(&digesting.digester.finish())))
    }
}

fn output(digest: &[u8]) -> Secret {
    Secret::new(digest.to_vec())
}
