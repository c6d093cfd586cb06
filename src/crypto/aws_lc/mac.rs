//! HMAC, HKDF, comparison.

use super::{check, digest::md};
use crate::crypto::Hash;
use crate::error::Result;
use aws_lc_sys::*;
use std::mem::MaybeUninit;

pub(in crate::crypto) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut tag = [0; 32];
    let mut len = 0;
    let mut context = MaybeUninit::<HMAC_CTX>::uninit();
    let context = context.as_mut_ptr();
    // SAFETY: HMAC_CTX_init initialises the context that the others use and HMAC_CTX_cleanup wipes; the
    // state is held in place, so nothing is allocated. The tag has the length of the hash.
    let done = unsafe {
        HMAC_CTX_init(context);
        let mut done = HMAC_Init_ex(context, key.as_ptr().cast(), key.len(), md(Hash::Sha256), std::ptr::null_mut());
        for part in parts {
            done &= HMAC_Update(context, part.as_ptr(), part.len());
        }
        done &= HMAC_Final(context, tag.as_mut_ptr(), &mut len);
        HMAC_CTX_cleanup(context);
        done
    };
    // HMAC of a hash that is built in has no way to fail; a tag of zeros must never pass for one.
    assert!(done == 1 && len == 32, "HMAC-SHA-256 failed");
    tag
}

pub(in crate::crypto) fn hkdf_sha256(ikm: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) -> Result<()> {
    // SAFETY: all slices are valid for their lengths.
    check(unsafe {
        HKDF(
            out.as_mut_ptr(),
            out.len(),
            md(Hash::Sha256),
            ikm.as_ptr(),
            ikm.len(),
            salt.as_ptr(),
            salt.len(),
            info.as_ptr(),
            info.len(),
        )
    })
}

/// Both slices have the same length.
pub(in crate::crypto) fn equal(a: &[u8], b: &[u8]) -> bool {
    // SAFETY: both slices are valid for the shorter length.
    unsafe { CRYPTO_memcmp(a.as_ptr().cast(), b.as_ptr().cast(), a.len().min(b.len())) == 0 }
}
