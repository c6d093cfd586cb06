//! AES-CMAC in parts (SP 800-38B).

use super::cipher::{BLOCK_LEN, Mode, algorithm};
use super::{check, owner};
use crate::crypto::Digest;
use crate::crypto::ours::Ours;
use crate::crypto::stack::{SIGN, WipedAfter};
use crate::error::{Cause, Result};
use aws_lc_sys::*;
use std::ptr;
use zeroize::Zeroizing;

owner!(
    /// The key schedule, the subkeys, and the state of the chain.
    Context, CMAC_CTX, CMAC_CTX_free
);

// SAFETY: the context has no ties to a thread and is only changed through `&mut`.
unsafe impl Send for Context {}

/// An AES-CMAC under way.
pub(in crate::crypto) struct Cmac(Ours<Context>);

impl Cmac {
    /// Starts with a key of 16, 24 or 32 bytes.
    pub(in crate::crypto) fn new(key: &[u8]) -> Result<Self> {
        let algorithm = algorithm(Mode::Cbc, key.len())?;
        let context = Ours::made_by(|| {
            // SAFETY: no preconditions; the context is owned, the key as long as the algorithm demands.
            unsafe {
                let context = Context::own(CMAC_CTX_new())?;
                check(CMAC_Init(context.as_ptr(), key.as_ptr().cast(), key.len(), algorithm, ptr::null_mut()))?;
                Ok(context)
            }
        })?;
        Ok(Self(context))
    }

    /// Adds `data`.
    pub(in crate::crypto) fn update(&mut self, data: &[u8]) -> Result<()> {
        let _wiped = WipedAfter::<SIGN>;
        // SAFETY: the context is initialised and `data` valid.
        check(unsafe { CMAC_Update(self.0.get()?.as_ptr(), data.as_ptr(), data.len()) })
    }

    /// The MAC of all that was added, of 16 bytes. After this a new message begins, under the same key.
    pub(in crate::crypto) fn finish(&mut self) -> Result<Zeroizing<Digest>> {
        let _wiped = WipedAfter::<SIGN>;
        let context = self.0.get()?.as_ptr();
        let (mut mac, mut len) = (Zeroizing::new([0; BLOCK_LEN]), 0);
        // SAFETY: the context is initialised, and `mac` holds a block.
        unsafe {
            check(CMAC_Final(context, mac.as_mut_ptr(), &mut len))?;
            check(CMAC_Reset(context))?;
        }
        if len != BLOCK_LEN {
            return Err(Cause::CryptoLibrary.with("CMAC length"));
        }
        Ok(Zeroizing::new(Digest::made_by(BLOCK_LEN, |out| out[..BLOCK_LEN].copy_from_slice(&*mac))))
    }
}
