//! The key derivations of IKE, versions 1 and 2 (RFC 2409, RFC 7296).

use super::derive_params::{GivenDerivation, hmac};
use super::family::Family;
use super::table::Mechanism;
use crate::crypto::{Hash, Secret, kdf};
use crate::error::{Cause, Result};
use cryptoki_sys::CK_OBJECT_HANDLE;

/// A derivation of IKE with its checked parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ike {
    /// Of the pseudo-random function, which is HMAC.
    hash: Hash,
    what: What,
    /// The keys that the parameter names, in the order in which the function takes them.
    pub(super) keys: Vec<CK_OBJECT_HANDLE>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// The function of the nonces, under the base key or the other way round.
    Nonces { nonces: Vec<u8>, as_key: bool },
    /// The function of keys, cookies and a number.
    Numbered { cookies: Vec<u8>, number: u8 },
    /// A key longer than the function's value (RFC 2409, appendix B).
    Extended { extra: Vec<u8> },
    /// prf+ (RFC 7296, section 2.13).
    Plus { seed: Vec<u8> },
}

/// The shortest nonce, and the shortest cookie, in bytes.
const NONCE_LEN: usize = 16;
const COOKIE_LEN: usize = 8;
/// How many values prf+ may need, which counts them in one octet.
const MOST_VALUES: usize = 255;

impl Ike {
    /// `None` if the parameter is not the mechanism's.
    pub(super) fn check(mechanism: &Mechanism, given: &GivenDerivation) -> Option<Self> {
        let key = |handle: &Option<CK_OBJECT_HANDLE>| handle.iter().copied().collect::<Vec<_>>();
        let (prf, what, keys) = match (mechanism.family, given) {
            (Family::IkePrf, GivenDerivation::IkePrf { prf, data_as_key, nonces: [ni, nr], new_key }) => {
                if *data_as_key && new_key.is_some() {
                    return None;
                }
                let nonces = joined(ni, nr, NONCE_LEN)?;
                (prf, What::Nonces { nonces, as_key: *data_as_key }, key(new_key))
            }
            (Family::Ike1Prf, GivenDerivation::Ike1Prf { prf, previous, shared, cookies: [i, r], number }) => {
                let keys = [key(previous), vec![*shared]].concat();
                (prf, What::Numbered { cookies: joined(i, r, COOKIE_LEN)?, number: *number }, keys)
            }
            (Family::Ike1Extended, GivenDerivation::IkeSeeded { prf, key: shared, data }) => {
                (prf, What::Extended { extra: data.clone() }, key(shared))
            }
            (Family::Ike2PrfPlus, GivenDerivation::IkeSeeded { prf, key: seed, data }) => {
                if seed.is_none() && data.is_empty() {
                    return None;
                }
                (prf, What::Plus { seed: data.clone() }, key(seed))
            }
            _ => return None,
        };
        Some(Self { hash: hmac(*prf)?, what, keys })
    }

    /// The length in bytes of a key whose template names none.
    pub(super) fn natural_len(&self) -> Option<usize> {
        match self.what {
            What::Nonces { .. } | What::Numbered { .. } => Some(self.hash.len()),
            What::Extended { .. } | What::Plus { .. } => None,
        }
    }

    /// Derives a key of `len` bytes.
    pub(super) fn derive(&self, base: &[u8], others: &[Secret], len: usize) -> Result<Secret> {
        let keys: Vec<&[u8]> = others.iter().map(Secret::expose).collect();
        let one = |key: &[u8], parts: &[&[u8]]| kdf::hmac(self.hash, key, parts);
        let (first, next): (Vec<&[u8]>, _) = match &self.what {
            What::Nonces { nonces, as_key: true } => return front(one(nonces, &[base])?, len),
            What::Nonces { nonces, as_key: false } => {
                return front(one(base, &[&keys[..], &[nonces.as_slice()]].concat())?, len);
            }
            What::Numbered { cookies, number } => {
                return front(one(base, &[&keys[..], &[cookies.as_slice(), &[*number]]].concat())?, len);
            }
            // Where nothing goes in, one zero octet does.
            What::Extended { extra } if keys.is_empty() && extra.is_empty() => (vec![&[0]], false),
            What::Extended { extra } => ([&keys[..], &[extra.as_slice()]].concat(), false),
            What::Plus { seed } => ([&keys[..], &[seed.as_slice()]].concat(), true),
        };
        if len.div_ceil(self.hash.len()) > MOST_VALUES {
            return Err(Cause::KeySizeRange.with("a longer key than the mechanism makes"));
        }
        // Each value is of the one before, of what goes in, and in prf+ of its number. Appendix B of RFC 2409 has a lone
        // zero in the first alone.
        let only_zero = !next && keys.is_empty() && first == [&[0][..]];
        let (mut out, mut last) = (Secret::with_capacity(len)?, Secret::new(Vec::new()));
        for number in 1..=MOST_VALUES as u8 {
            if out.len() >= len {
                break;
            }
            let counter = [number];
            let mut parts = vec![last.expose()];
            if number == 1 || !only_zero {
                parts.extend(&first);
            }
            if next {
                parts.push(&counter);
            }
            let value = one(base, &parts)?;
            out.append(&value.expose()[..value.len().min(len - out.len())])?;
            last = value;
        }
        Ok(out)
    }
}

fn joined(first: &[u8], second: &[u8], least: usize) -> Option<Vec<u8>> {
    (first.len() >= least && second.len() >= least).then(|| [first, second].concat())
}

fn front(mut value: Secret, len: usize) -> Result<Secret> {
    if len > value.len() {
        return Err(Cause::KeySizeRange.with("a longer key than the mechanism makes"));
    }
    value.truncate(len);
    Ok(value)
}
