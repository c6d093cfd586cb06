//! Powers modulo a prime, for finite-field Diffie-Hellman.

use super::{Number, check, failure, number_bytes, owner};
use crate::error::{Cause, Result};
use aws_lc_sys::*;

owner!(
    /// Room for numbers that a computation needs meanwhile.
    Scratch, BN_CTX, BN_CTX_free
);

owner!(
    /// What is computed ahead for a modulus.
    Montgomery, BN_MONT_CTX, BN_MONT_CTX_free
);

/// A safe prime of RFC 3526.
pub(in crate::crypto) fn rfc3526(bits: u32) -> Result<Vec<u8>> {
    let null = std::ptr::null_mut();
    // SAFETY: null asks for a new number.
    let prime = unsafe {
        match bits {
            2048 => BN_get_rfc3526_prime_2048(null),
            3072 => BN_get_rfc3526_prime_3072(null),
            4096 => BN_get_rfc3526_prime_4096(null),
            6144 => BN_get_rfc3526_prime_6144(null),
            8192 => BN_get_rfc3526_prime_8192(null),
            _ => return Err(Cause::CryptoLibrary.with("no group of RFC 3526")),
        }
    };
    let prime = Number::own(prime)?;
    // SAFETY: the number is valid.
    Ok(unsafe { number_bytes(prime.as_ptr()) })
}

/// Writes `base` to the power of `exponent` modulo `modulus` to `out`, which is as long as the modulus. The modulus is
/// odd, and `base` is smaller. The time tells the length in bytes of the exponent, and nothing else of it.
pub(in crate::crypto) fn power(base: &[u8], exponent: &[u8], modulus: &[u8], out: &mut [u8]) -> Result<()> {
    let (base, exponent) = (Number::from_bytes(base)?, Number::from_bytes(exponent)?);
    let modulus = Number::from_bytes(modulus)?;
    // SAFETY: numbers and contexts are owned and valid; no more than `out.len()` bytes are written, and less is an error.
    unsafe {
        let scratch = Scratch::own(BN_CTX_new())?;
        let montgomery = Montgomery::own(BN_MONT_CTX_new_for_modulus(modulus.as_ptr(), scratch.as_ptr()))?;
        let result = Number::own(BN_new())?;
        check(BN_mod_exp_mont_consttime(
            result.as_ptr(),
            base.as_ptr(),
            exponent.as_ptr(),
            modulus.as_ptr(),
            scratch.as_ptr(),
            montgomery.as_ptr(),
        ))?;
        check(BN_bn2bin_padded(out.as_mut_ptr(), out.len(), result.as_ptr())).map_err(|_| failure())
    }
}
