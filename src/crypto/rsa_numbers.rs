//! The numbers of an RSA private key that follow from the others.
#![forbid(unsafe_code)]

use super::aws_lc::{self, rsa_numbers};
use super::der_writer::trim;
use super::{Secret, pkcs1};
use crate::error::{Cause, Result};
use std::hint::black_box;
use zeroize::Zeroizing;

/// Both primes, the larger one first, from modulus, public and private exponent. The first two are those of a public
/// key that was checked.
pub(super) fn primes(modulus: &[u8], exponent: &[u8], private: &[u8]) -> Result<(Secret, Secret)> {
    check_size(private)?;
    let _scope = aws_lc::enter_key_scope()?;
    rsa_numbers::primes(modulus, exponent, private)
}

/// d mod p - 1, d mod q - 1 and the inverse of q mod p: as they are given, or computed. Of no meaning if p and q are
/// no odd primes.
pub(super) fn crt_values(d: &[u8], p: &[u8], q: &[u8], given: [&Option<Secret>; 3]) -> Result<[Secret; 3]> {
    for number in [d, p, q] {
        check_size(number)?;
    }
    let copy = |number: &Secret| Ok(Secret::new(number.expose().to_vec()));
    let exponent = |prime: &[u8]| {
        let mut less_one = Secret::new(prime.to_vec());
        if let Some(last) = less_one.expose_mut().last_mut() {
            *last &= 0xfe;
        }
        Ok(remainder(d, less_one.expose()))
    };
    let [dp, dq, qinv] = given;
    Ok([
        dp.as_ref().map_or_else(|| exponent(p), copy)?,
        dq.as_ref().map_or_else(|| exponent(q), copy)?,
        qinv.as_ref().map_or_else(|| inverse(q, p), copy)?,
    ])
}

fn inverse(q: &[u8], p: &[u8]) -> Result<Secret> {
    let reduced = remainder(q, p);
    let _scope = aws_lc::enter_key_scope()?;
    rsa_numbers::inverse(reduced.expose(), p)
}

/// No number of a key is longer than the longest modulus, and none that is worked on is nearly zero.
fn check_size(number: &[u8]) -> Result<()> {
    if (16..=pkcs1::MAX_LEN).contains(&trim(number).len()) {
        return Ok(());
    }
    Err(Cause::AttributeValueInvalid.with("RSA private key"))
}

/// The remainder of a division, as long as the divisor. Bit by bit, so that the time depends on the lengths alone:
/// AWS-LC has such a function for itself, and for others one whose time tells of the numbers.
fn remainder(number: &[u8], divisor: &[u8]) -> Secret {
    let divisor_limbs = limbs(divisor);
    let mut rest = Zeroizing::new(vec![0; divisor_limbs.len()]);
    let mut less = Zeroizing::new(vec![0; divisor_limbs.len()]);
    for bit in number.iter().flat_map(|byte| (0..8).rev().map(move |shift| u64::from(byte >> shift & 1))) {
        let mut carry = bit;
        for limb in rest.iter_mut() {
            (*limb, carry) = (*limb << 1 | carry, *limb >> 63);
        }
        let mut borrow = false;
        for ((out, a), b) in less.iter_mut().zip(rest.iter()).zip(divisor_limbs.iter()) {
            (*out, borrow) = a.borrowing_sub(*b, borrow);
        }
        // Twice the rest is less than twice the divisor: taking it off once is enough, if it can be taken off.
        let keep = black_box(0u64.wrapping_sub(u64::from(borrow) & (carry ^ 1)));
        for (limb, less) in rest.iter_mut().zip(less.iter()) {
            *limb = (*limb & keep) | (*less & !keep);
        }
    }
    let mut out = Secret::zeroed(divisor.len());
    for (chunk, limb) in out.expose_mut().rchunks_mut(8).zip(rest.iter()) {
        let bytes = Zeroizing::new(limb.to_be_bytes());
        chunk.copy_from_slice(&bytes[bytes.len() - chunk.len()..]);
    }
    out
}

/// A number in limbs of 64 bits, the least significant first.
fn limbs(number: &[u8]) -> Zeroizing<Vec<u64>> {
    let mut limbs = Zeroizing::new(vec![0; number.len().div_ceil(8)]);
    for (limb, chunk) in limbs.iter_mut().zip(number.rchunks(8)) {
        *limb = chunk.iter().fold(0, |limb, byte| limb << 8 | u64::from(*byte));
    }
    limbs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_are_those_of_division() {
        for (number, divisor) in [
            (0, 1),
            (1, 1),
            (u128::MAX, 1),
            (u128::MAX, u128::MAX),
            (u128::MAX, u128::MAX - 1),
            (u128::MAX - 1, u128::MAX),
            (u128::MAX, 1 << 127),
            (0x0123_4567_89ab_cdef_0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211),
        ] {
            let expected = (number % divisor).to_be_bytes();
            assert_eq!(remainder(&number.to_be_bytes(), &divisor.to_be_bytes()).expose(), expected);
            let short = divisor.to_be_bytes();
            let short = trim(&short);
            assert_eq!(remainder(&number.to_be_bytes(), short).expose(), &expected[16 - short.len()..]);
            assert_eq!(remainder(&[&[0; 40], &number.to_be_bytes()[..]].concat(), short).len(), short.len());
        }
        assert!(remainder(&[1, 2, 3], &[]).is_empty());
    }
}
