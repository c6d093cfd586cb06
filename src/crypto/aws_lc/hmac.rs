//! HMAC in parts (FIPS 198-1).

use super::digest::md;
use super::{check, owner};
use crate::crypto::ours::Ours;
use crate::crypto::stack::{SIGN, WipedAfter};
use crate::crypto::{Digest, Hash};
use crate::error::{Cause, Result};
use aws_lc_sys::*;
use std::ptr;
use zeroize::Zeroizing;

owner!(
    /// The state of an HMAC: what the hash function made of the key, and of the message so far.
    Context, HMAC_CTX, HMAC_CTX_free
);

// SAFETY: the context has no ties to a thread and is only changed through `&mut`.
unsafe impl Send for Context {}

/// An HMAC under way.
pub(in crate::crypto) struct Hmac {
    context: Ours<Context>,
    len: usize,
}

impl Hmac {
    /// Starts with a key of any length.
    pub(in crate::crypto) fn new(hash: Hash, key: &[u8]) -> Result<Self> {
        let context = Ours::made_by(|| {
            // SAFETY: no preconditions; the context is owned, the key valid for its length and not null, which would
            // mean the key before.
            unsafe {
                let context = Context::own(HMAC_CTX_new())?;
                let key_at = key.as_ptr().cast();
                check(HMAC_Init_ex(context.as_ptr(), key_at, key.len(), md(hash), ptr::null_mut()))?;
                Ok(context)
            }
        })?;
        Ok(Self { context, len: hash.len() })
    }

    /// Adds `data`.
    pub(in crate::crypto) fn update(&mut self, data: &[u8]) -> Result<()> {
        let _wiped = WipedAfter::<SIGN>;
        // SAFETY: the context is initialised and `data` valid.
        check(unsafe { HMAC_Update(self.context.get()?.as_ptr(), data.as_ptr(), data.len()) })
    }

    /// The MAC of all that was added. After this a new message begins, under the same key.
    pub(in crate::crypto) fn finish(&mut self) -> Result<Zeroizing<Digest>> {
        let _wiped = WipedAfter::<SIGN>;
        let context = self.context.get()?.as_ptr();
        let (mut mac, mut len) = (Zeroizing::new([0; 64]), 0);
        // SAFETY: the context is initialised, and `mac` holds the longest MAC; a null key means the one before.
        unsafe {
            check(HMAC_Final(context, mac.as_mut_ptr(), &mut len))?;
            check(HMAC_Init_ex(context, ptr::null(), 0, ptr::null(), ptr::null_mut()))?;
        }
        if len as usize != self.len {
            return Err(Cause::CryptoLibrary.with("HMAC length"));
        }
        Ok(Zeroizing::new(Digest::made_by(self.len, |out| *out = *mac)))
    }
}
