//! AES-256-GCM.

use super::{check, check_or};
use crate::crypto::stack::{SIGN, WipedAfter};
use crate::error::{Cause, Result};
use aws_lc_sys::*;
use std::mem::MaybeUninit;

pub(in crate::crypto) const NONCE_LEN: usize = 12;
pub(in crate::crypto) const TAG_LEN: usize = 16;

/// A key schedule, wiped when dropped. It is filled where it lies: one that is moved leaves a copy of the key
/// where it was.
struct Context(MaybeUninit<EVP_AEAD_CTX>);

impl Context {
    /// Without a key. All zeros is what EVP_AEAD_CTX_zero makes, and may be cleaned up.
    fn new() -> Self {
        Self(MaybeUninit::zeroed())
    }

    /// To be called once. Fails with [`Cause::CryptoLibrary`] if the key has not 32 bytes.
    fn set_key(&mut self, key: &[u8]) -> Result<()> {
        let none = std::ptr::null_mut();
        // SAFETY: the context is zero, the slice valid; a failure leaves the context such that it may be cleaned up.
        check(unsafe {
            EVP_AEAD_CTX_init(self.0.as_mut_ptr(), EVP_aead_aes_256_gcm(), key.as_ptr(), key.len(), TAG_LEN, none)
        })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: zero or initialised; the second call wipes the schedule that is held in place.
        unsafe {
            EVP_AEAD_CTX_cleanup(self.0.as_mut_ptr());
            OPENSSL_cleanse(self.0.as_mut_ptr().cast(), size_of::<EVP_AEAD_CTX>());
        }
    }
}

/// Writes ciphertext and tag to `out`, which is [`TAG_LEN`] longer than the plaintext.
pub(in crate::crypto) fn seal(
    key: &[u8],
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    plaintext: &[u8],
    out: &mut [u8],
) -> Result<()> {
    let _wiped = WipedAfter::<SIGN>;
    let mut context = Context::new();
    context.set_key(key)?;
    let mut len = 0;
    // SAFETY: all slices are valid for their lengths; `out` is written no further than its length.
    check(unsafe {
        EVP_AEAD_CTX_seal(
            context.0.as_ptr(),
            out.as_mut_ptr(),
            &mut len,
            out.len(),
            nonce.as_ptr(),
            nonce.len(),
            plaintext.as_ptr(),
            plaintext.len(),
            aad.as_ptr(),
            aad.len(),
        )
    })?;
    if len == out.len() { Ok(()) } else { Err(Cause::CryptoLibrary.with("AES-GCM output length")) }
}

/// Writes the plaintext to the front of `out`, which is as long as `sealed` (ciphertext and tag).
pub(in crate::crypto) fn open(
    key: &[u8],
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    sealed: &[u8],
    out: &mut [u8],
) -> Result<()> {
    let _wiped = WipedAfter::<SIGN>;
    let mut context = Context::new();
    context.set_key(key)?;
    let mut len = 0;
    // SAFETY: as in `seal`.
    let opened = unsafe {
        EVP_AEAD_CTX_open(
            context.0.as_ptr(),
            out.as_mut_ptr(),
            &mut len,
            out.len(),
            nonce.as_ptr(),
            nonce.len(),
            sealed.as_ptr(),
            sealed.len(),
            aad.as_ptr(),
            aad.len(),
        )
    };
    check_or(opened, Cause::SealTokenKey)
}
