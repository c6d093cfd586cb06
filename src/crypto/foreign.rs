//! Public keys of kinds that AWS-LC does not know, and their `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7).
#![forbid(unsafe_code)]

use super::curve448::{ED448_LEN, X448_LEN, is_ed448_point};
use super::der_writer::{BIT_STRING, SEQUENCE, element, unsigned};
use super::dh::check_public;
use super::pkcs8::Algorithm;
use super::{DhGroup, KeyKind, SlhDsaSet};
use crate::error::{Cause, Result};
use der::Decode;
use der::asn1::UintRef;
use spki::SubjectPublicKeyInfoRef;

/// A public key that AWS-LC does not know. Points of Ed448 are on their curve.
pub(super) enum Foreign {
    Ed448([u8; ED448_LEN]),
    X448([u8; X448_LEN]),
    SlhDsa(SlhDsaSet, Vec<u8>),
    /// The public number, as long as the prime.
    Dh(DhGroup, Vec<u8>),
}

impl Foreign {
    /// The key in DER; `None` if it is of another kind, or no DER.
    pub(super) fn from_spki(der: &[u8]) -> Result<Option<Self>> {
        let Ok(info) = SubjectPublicKeyInfoRef::from_der(der) else { return Ok(None) };
        let Some(bytes) = info.subject_public_key.as_bytes() else { return Ok(None) };
        Ok(match Algorithm::of(&info.algorithm) {
            Some(Algorithm::Ed448) => Some(Self::ed448(bytes)?),
            Some(Algorithm::X448) => Some(Self::x448(bytes)?),
            Some(Algorithm::SlhDsa(set)) => Some(Self::slh_dsa(set, bytes)?),
            Some(Algorithm::Dh(group)) => {
                let number =
                    UintRef::from_der(bytes).map_err(|_| Cause::AttributeValueInvalid.with("DH public key"))?;
                Some(Self::Dh(group, check_public(group, number.as_bytes())?))
            }
            _ => None,
        })
    }

    pub(super) fn ed448(point: &[u8]) -> Result<Self> {
        let point = point.try_into().ok().filter(is_ed448_point);
        point.map(Self::Ed448).ok_or_else(|| Cause::AttributeValueInvalid.with("Ed448 point"))
    }

    pub(super) fn x448(point: &[u8]) -> Result<Self> {
        let point = point.try_into().map(Self::X448);
        point.map_err(|_| Cause::AttributeValueInvalid.with("X448 point length"))
    }

    /// Any bytes of the right length are a key.
    pub(super) fn slh_dsa(set: SlhDsaSet, key: &[u8]) -> Result<Self> {
        match key.len() == set.public_key_len() {
            true => Ok(Self::SlhDsa(set, key.to_vec())),
            false => Err(Cause::AttributeValueInvalid.with("SLH-DSA public key length")),
        }
    }

    pub(super) fn kind(&self) -> KeyKind {
        match self {
            Self::Ed448(_) => KeyKind::Ed448,
            Self::X448(_) => KeyKind::X448,
            Self::SlhDsa(set, _) => KeyKind::SlhDsa(*set),
            Self::Dh(group, _) => KeyKind::Dh(*group),
        }
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed448(_) => Algorithm::Ed448,
            Self::X448(_) => Algorithm::X448,
            Self::SlhDsa(set, _) => Algorithm::SlhDsa(*set),
            Self::Dh(group, _) => Algorithm::Dh(*group),
        }
    }

    /// What stands in the BIT STRING.
    pub(super) fn bits(&self) -> Vec<u8> {
        match self {
            Self::Ed448(point) => point.to_vec(),
            Self::X448(point) => point.to_vec(),
            Self::SlhDsa(_, key) => key.clone(),
            Self::Dh(_, number) => unsigned(number).expose().to_vec(),
        }
    }

    /// The key in DER.
    pub(super) fn to_spki(&self) -> Result<Vec<u8>> {
        let bits = element(BIT_STRING, &[&[0], &self.bits()]);
        Ok(element(SEQUENCE, &[self.algorithm().identifier()?.expose(), bits.expose()]).expose().to_vec())
    }
}
