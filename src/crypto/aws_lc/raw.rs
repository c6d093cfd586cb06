//! The parts of a post-quantum key, as its standard encodes them.

use super::{Envelope, check};
use crate::crypto::Secret;
use crate::error::Result;
use aws_lc_sys::*;

/// The public key, of `len` bytes.
pub(super) fn public(key: &Envelope, len: usize) -> Result<Vec<u8>> {
    let mut public = vec![0; len];
    let mut len = public.len();
    // SAFETY: the envelope is valid; no more than `len` bytes are written.
    check(unsafe { EVP_PKEY_get_raw_public_key(key.as_ptr(), public.as_mut_ptr(), &mut len) })?;
    Ok(public)
}

/// The expanded private key, of `len` bytes.
pub(super) fn expanded(key: &Envelope, len: usize) -> Result<Secret> {
    let mut expanded = Secret::zeroed(len);
    let mut len = expanded.len();
    // SAFETY: as above.
    check(unsafe { EVP_PKEY_get_raw_private_key(key.as_ptr(), expanded.expose_mut().as_mut_ptr(), &mut len) })?;
    Ok(expanded)
}

/// The seed that the key was made of, of `len` bytes.
pub(super) fn seed(key: &Envelope, len: usize) -> Result<Secret> {
    let mut seed = Secret::zeroed(len);
    let mut len = seed.len();
    // SAFETY: as above.
    check(unsafe { EVP_PKEY_get_private_seed(key.as_ptr(), seed.expose_mut().as_mut_ptr(), &mut len) })?;
    Ok(seed)
}
