//! Finite-field Diffie-Hellman (PKCS #3, SP 800-56A) in the groups of [`DhGroup`].
#![forbid(unsafe_code)]

use super::aws_lc::dh::power;
use super::aws_lc::spki::Parsed;
use super::der_writer::trim;
use super::dh_groups::BASE;
use super::foreign::Foreign;
use super::private::Inner;
use super::stack::{AGREE, WipedAfter};
use super::{DhGroup, PrivateKey, PublicKey, Secret, random};
use crate::error::{Cause, Result};

/// A new private number of so many bits, the first of which is set so that it has them.
pub(super) fn generate(group: DhGroup, bits: Option<u32>) -> Result<Secret> {
    let bits = bits.unwrap_or(group.private_bits());
    // Fewer would be found out; a number has to be smaller than the order of the group.
    if !(group.private_bits()..group.bits() - 1).contains(&bits) {
        return Err(Cause::KeySizeRange.with(format!("a private number of {bits} bits in {}", group.name())));
    }
    let mut private = Secret::zeroed(bits.div_ceil(8) as usize);
    random::fill(private.expose_mut())?;
    let top = (bits - 1) % 8;
    if let Some(first) = private.expose_mut().first_mut() {
        *first = *first & ((1 << top) - 1) | 1 << top;
    }
    Ok(private)
}

/// Checks a private number: not 0, and smaller than the order of the group, which is half of the prime.
pub(super) fn check_private(group: DhGroup, private: &[u8]) -> Result<()> {
    let (digits, prime) = (trim(private), group.prime()?);
    // The order begins with the bits of the prime but the last: one bit less.
    let order: Vec<u8> =
        std::iter::once(&0).chain(prime).zip(prime).map(|(before, byte)| before << 7 | byte >> 1).collect();
    let smaller = digits.len() < order.len() || (digits.len() == order.len() && *digits < *order);
    match !digits.is_empty() && smaller {
        true => Ok(()),
        false => Err(Cause::SealKeyMalformed.with("the private number is out of the range of the group")),
    }
}

/// The public number of a private one.
pub(super) fn public_of(group: DhGroup, private: &[u8]) -> Result<Vec<u8>> {
    let _wiped = WipedAfter::<AGREE>;
    let mut public = vec![0; group.len()];
    power(BASE, private, group.prime()?, &mut public)?;
    Ok(public)
}

/// A public number as long as the prime. [`Cause::AttributeValueInvalid`] unless it is from 2 to p - 2: those beyond, and
/// of all others none, lie in a subgroup that is too small.
pub(super) fn check_public(group: DhGroup, public: &[u8]) -> Result<Vec<u8>> {
    let (digits, prime) = (trim(public), group.prime()?);
    let bad = || Cause::AttributeValueInvalid.with("the public number is out of the range of the group");
    let start = group.len().checked_sub(digits.len()).ok_or_else(bad)?;
    let mut padded = vec![0; group.len()];
    padded[start..].copy_from_slice(digits);
    // The prime is odd, so taking 1 off changes its last bit alone.
    let mut largest = prime.to_vec();
    if let Some(last) = largest.last_mut() {
        *last -= 1;
    }
    let in_range = padded < largest && (digits.len() > 1 || digits.first().is_some_and(|digit| *digit > 1));
    if in_range { Ok(padded) } else { Err(bad()) }
}

impl PrivateKey {
    /// The secret shared with whoever has the private key of `peer`, a public number in the group of this key; as long as
    /// the prime. [`Cause::MechanismParamInvalid`] if it is none.
    pub fn dh(&self, peer: &[u8]) -> Result<Secret> {
        let _wiped = WipedAfter::<AGREE>;
        let Inner::Dh(group, private) = self.key()? else { return Err(Cause::KeyTypeInconsistent.into()) };
        let peer =
            check_public(*group, peer).map_err(|error| Cause::MechanismParamInvalid.with(error.detail().to_owned()))?;
        let mut shared = Secret::zeroed(group.len());
        power(&peer, private.expose(), group.prime()?, shared.expose_mut())?;
        Ok(shared)
    }

    /// The number of bits of the private number; `None` for other kinds of keys.
    pub fn dh_private_bits(&self) -> Result<Option<u32>> {
        let Inner::Dh(_, private) = self.key()? else { return Ok(None) };
        let digits = trim(private.expose());
        Ok(digits.first().map(|first| 8 * digits.len() as u32 - first.leading_zeros()))
    }
}

impl PublicKey {
    /// From a public number in a group.
    pub fn from_dh(group: DhGroup, public: &[u8]) -> Result<Self> {
        Self::new(Parsed::Foreign(Foreign::Dh(group, check_public(group, public)?)))
    }
}
