//! Ed25519 in its three variants.

use super::{check, check_or};
use crate::crypto::EdVariant;
use crate::error::{Cause, Result};
use aws_lc_sys::*;

/// Writes seed ‖ public key, AWS-LC's form of a private key, to `out`; gives the public key.
pub(in crate::crypto) fn expand_seed(seed: &[u8; 32], out: &mut [u8; 64]) -> [u8; 32] {
    let mut public = [0; 32];
    // SAFETY: the arrays have the lengths that the function writes and reads. It cannot fail.
    unsafe { ED25519_keypair_from_seed(public.as_mut_ptr(), out.as_mut_ptr(), seed.as_ptr()) };
    public
}

/// The context's length is checked by the caller.
pub(in crate::crypto) fn sign(
    key: &[u8; 64],
    variant: EdVariant<'_>,
    message: &[u8],
    out: &mut [u8; 64],
) -> Result<()> {
    let (m, m_len) = (message.as_ptr(), message.len());
    // SAFETY: all slices are valid for their lengths; a signature has 64 bytes.
    check(unsafe {
        match variant {
            EdVariant::Pure => ED25519_sign(out.as_mut_ptr(), m, m_len, key.as_ptr()),
            EdVariant::Ctx(c) => ED25519ctx_sign(out.as_mut_ptr(), m, m_len, key.as_ptr(), c.as_ptr(), c.len()),
            EdVariant::Ph(c) => ED25519ph_sign(out.as_mut_ptr(), m, m_len, key.as_ptr(), c.as_ptr(), c.len()),
        }
    })
}

pub(in crate::crypto) fn sign_prehash(
    key: &[u8; 64],
    prehash: &[u8; 64],
    context: &[u8],
    out: &mut [u8; 64],
) -> Result<()> {
    let (c, c_len) = (context.as_ptr(), context.len());
    // SAFETY: as above; the prehash is a SHA-512 digest of 64 bytes.
    check(unsafe { ED25519ph_sign_digest(out.as_mut_ptr(), prehash.as_ptr(), key.as_ptr(), c, c_len) })
}

pub(in crate::crypto) fn verify(
    public: &[u8; 32],
    variant: EdVariant<'_>,
    message: &[u8],
    signature: &[u8; 64],
) -> Result<()> {
    let (m, m_len, sig, key) = (message.as_ptr(), message.len(), signature.as_ptr(), public.as_ptr());
    // SAFETY: as above.
    let valid = unsafe {
        match variant {
            EdVariant::Pure => ED25519_verify(m, m_len, sig, key),
            EdVariant::Ctx(c) => ED25519ctx_verify(m, m_len, sig, key, c.as_ptr(), c.len()),
            EdVariant::Ph(c) => ED25519ph_verify(m, m_len, sig, key, c.as_ptr(), c.len()),
        }
    };
    check_or(valid, Cause::SignatureInvalid)
}

pub(in crate::crypto) fn verify_prehash(
    public: &[u8; 32],
    prehash: &[u8; 64],
    context: &[u8],
    signature: &[u8; 64],
) -> Result<()> {
    let (c, c_len) = (context.as_ptr(), context.len());
    // SAFETY: as above.
    let valid = unsafe { ED25519ph_verify_digest(prehash.as_ptr(), signature.as_ptr(), public.as_ptr(), c, c_len) };
    check_or(valid, Cause::SignatureInvalid)
}
