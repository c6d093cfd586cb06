//! X25519.

use crate::error::{Cause, Result};
use aws_lc_sys::*;

/// The public key of a private one.
pub(in crate::crypto) fn public_of(private: &[u8; 32]) -> [u8; 32] {
    let mut public = [0; 32];
    // SAFETY: the arrays have the lengths that the function writes and reads. It cannot fail.
    unsafe { X25519_public_from_private(public.as_mut_ptr(), private.as_ptr()) };
    public
}

/// Writes the secret shared with `peer` to `out`. [`Cause::MechanismParamInvalid`] if it is all zeros, which it is
/// whoever agrees with a point of small order (RFC 7748, section 6.1).
pub(in crate::crypto) fn agree(private: &[u8; 32], peer: &[u8; 32], out: &mut [u8; 32]) -> Result<()> {
    // SAFETY: as above; 0 means zeros.
    let done = unsafe { X25519(out.as_mut_ptr(), private.as_ptr(), peer.as_ptr()) };
    if done == 1 { Ok(()) } else { Err(Cause::MechanismParamInvalid.with("X25519 point of small order")) }
}
