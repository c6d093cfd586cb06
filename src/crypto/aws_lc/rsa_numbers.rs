//! What follows from some numbers of an RSA private key.

use super::{Number, check, check_or, number_bytes, owner};
use crate::crypto::Secret;
use crate::error::{Cause, Error, Result};
use aws_lc_sys::*;
use std::os::raw::c_int;
use std::ptr;

owner!(
    /// Numbers to compute with.
    Scratch, BN_CTX, BN_CTX_free
);
owner!(
    /// A modulus, prepared for Montgomery's multiplication.
    Montgomery, BN_MONT_CTX, BN_MONT_CTX_free
);

impl Number {
    /// A number that `make` writes.
    fn made(make: impl FnOnce(*mut BIGNUM) -> c_int) -> Result<Self> {
        // SAFETY: no preconditions.
        let number = Self::own(unsafe { BN_new() })?;
        check(make(number.as_ptr()))?;
        Ok(number)
    }

    fn is(&self, other: &Number) -> bool {
        // SAFETY: both are valid.
        unsafe { BN_cmp(self.as_ptr(), other.as_ptr()) == 0 }
    }

    fn to_secret(&self) -> Secret {
        // SAFETY: the number is valid.
        Secret::new(unsafe { number_bytes(self.as_ptr()) })
    }
}

fn invalid() -> Error {
    Cause::AttributeValueInvalid.with("RSA private exponent")
}

/// How many bases are tried: one does it with a probability of a half.
const TRIES: usize = 64;

/// The prime factors of the modulus, the larger one first.
///
/// de - 1 is a multiple of the order of every number g: halved again and again as an exponent, it soon leads from 1
/// to another square root of 1, which splits the modulus (SP 800-56B, appendix C.1).
pub(in crate::crypto) fn primes(modulus: &[u8], exponent: &[u8], private: &[u8]) -> Result<(Secret, Secret)> {
    let (n, e, d) = (Number::from_bytes(modulus)?, Number::from_bytes(exponent)?, Number::from_bytes(private)?);
    // SAFETY: in this function all numbers are owned and valid, and so is what is made to compute with them.
    unsafe {
        let scratch = Scratch::own(BN_CTX_new())?;
        let mont = Montgomery::own(BN_MONT_CTX_new_for_modulus(n.as_ptr(), scratch.as_ptr()))?;
        let (scratch, mont) = (scratch.as_ptr(), mont.as_ptr());
        let k = Number::made(|k| BN_mul(k, d.as_ptr(), e.as_ptr(), scratch))?;
        check(BN_sub_word(k.as_ptr(), 1))?;
        let halvings = BN_count_low_zero_bits(k.as_ptr());
        let odd = Number::made(|odd| BN_rshift(odd, k.as_ptr(), halvings))?;
        let last = Number::from_bytes(modulus)?;
        check(BN_sub_word(last.as_ptr(), 1))?;
        // 1 and -1 as Montgomery's multiplication has them.
        let one = Number::made(|one| BN_to_montgomery(one, BN_value_one(), mont, scratch))?;
        let minus_one = Number::made(|minus_one| BN_to_montgomery(minus_one, last.as_ptr(), mont, scratch))?;
        'tries: for _ in 0..TRIES {
            let g = Number::made(|g| BN_rand_range_ex(g, 2, last.as_ptr()))?;
            let power =
                Number::made(|x| BN_mod_exp_mont_consttime(x, g.as_ptr(), odd.as_ptr(), n.as_ptr(), scratch, mont))?;
            let mut x = Number::made(|x| BN_to_montgomery(x, power.as_ptr(), mont, scratch))?;
            for _ in 0..halvings {
                if x.is(&one) || x.is(&minus_one) {
                    continue 'tries;
                }
                let square = Number::made(|y| BN_mod_mul_montgomery(y, x.as_ptr(), x.as_ptr(), mont, scratch))?;
                if square.is(&one) {
                    let root = Number::made(|root| BN_from_montgomery(root, x.as_ptr(), mont, scratch))?;
                    return split(&n, &root, scratch);
                }
                x = square;
            }
            // Nothing led to 1: the exponents do not belong together.
            return Err(invalid());
        }
    }
    Err(invalid())
}

/// The factors that n shares with the numbers beside a square root of 1.
///
/// # Safety
/// `scratch` is valid.
unsafe fn split(n: &Number, root: &Number, scratch: *mut BN_CTX) -> Result<(Secret, Secret)> {
    // SAFETY: the caller's; all numbers are owned and valid.
    unsafe {
        check(BN_sub_word(root.as_ptr(), 1))?;
        let p = Number::made(|p| BN_gcd(p, root.as_ptr(), n.as_ptr(), scratch))?;
        check(BN_add_word(root.as_ptr(), 2))?;
        let q = Number::made(|q| BN_gcd(q, root.as_ptr(), n.as_ptr(), scratch))?;
        let (p, q) = if BN_cmp(p.as_ptr(), q.as_ptr()) < 0 { (q, p) } else { (p, q) };
        Ok((p.to_secret(), q.to_secret()))
    }
}

/// The inverse of a number that is smaller than the prime: by Fermat, its power of p - 2.
pub(in crate::crypto) fn inverse(number: &[u8], prime: &[u8]) -> Result<Secret> {
    let (number, p) = (Number::from_bytes(number)?, Number::from_bytes(prime)?);
    // SAFETY: all numbers are owned and valid; null asks for the preparation of the modulus on the way.
    unsafe {
        let scratch = Scratch::own(BN_CTX_new())?;
        let power = Number::from_bytes(prime)?;
        check(BN_sub_word(power.as_ptr(), 2))?;
        let inverse = Number::own(BN_new())?;
        let (out, base, power, p) = (inverse.as_ptr(), number.as_ptr(), power.as_ptr(), p.as_ptr());
        let done = BN_mod_exp_mont_consttime(out, base, power, p, scratch.as_ptr(), ptr::null());
        check_or(done, Cause::AttributeValueInvalid)?;
        Ok(inverse.to_secret())
    }
}
