//! HKDF, PBKDF2 and the pseudo-random function of TLS.

use super::{check, digest::md};
use crate::crypto::Hash;
use crate::crypto::stack::{SIGN, WipedAfter};
use crate::error::{Cause, Result};
use aws_lc_sys::*;

/// `out` is as long as the hash's digest.
pub(in crate::crypto) fn hkdf_extract(hash: Hash, salt: &[u8], ikm: &[u8], out: &mut [u8]) -> Result<()> {
    if out.len() != hash.len() {
        return Err(Cause::CryptoLibrary.with("HKDF length"));
    }
    let _wiped = WipedAfter::<SIGN>;
    let mut len = 0;
    // SAFETY: the slices are valid for their lengths; a digest's length is written.
    check(unsafe {
        let at = out.as_mut_ptr();
        HKDF_extract(at, &mut len, md(hash), ikm.as_ptr(), ikm.len(), salt.as_ptr(), salt.len())
    })
}

/// At most 255 digests.
pub(in crate::crypto) fn hkdf_expand(hash: Hash, prk: &[u8], info: &[u8], out: &mut [u8]) -> Result<()> {
    let _wiped = WipedAfter::<SIGN>;
    // SAFETY: the slices are valid for their lengths.
    check(unsafe {
        HKDF_expand(out.as_mut_ptr(), out.len(), md(hash), prk.as_ptr(), prk.len(), info.as_ptr(), info.len())
    })
}

/// At least one iteration.
pub(in crate::crypto) fn pbkdf2(
    hash: Hash,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    out: &mut [u8],
) -> Result<()> {
    let _wiped = WipedAfter::<SIGN>;
    let (at, len) = (out.as_mut_ptr(), out.len());
    // SAFETY: as above.
    check(unsafe {
        PKCS5_PBKDF2_HMAC(
            password.as_ptr().cast(),
            password.len(),
            salt.as_ptr(),
            salt.len(),
            iterations,
            md(hash),
            len,
            at,
        )
    })
}

/// The pseudo-random function of TLS 1.2 (RFC 5246, section 5).
pub(in crate::crypto) fn tls_prf(hash: Hash, secret: &[u8], label: &[u8], seed: &[u8], out: &mut [u8]) -> Result<()> {
    let _wiped = WipedAfter::<SIGN>;
    // SAFETY: the slices are valid for their lengths; of the second seed there is none.
    check(unsafe {
        CRYPTO_tls1_prf(
            md(hash),
            out.as_mut_ptr(),
            out.len(),
            secret.as_ptr(),
            secret.len(),
            label.as_ptr().cast(),
            label.len(),
            seed.as_ptr(),
            seed.len(),
            std::ptr::null(),
            0,
        )
    })
}
