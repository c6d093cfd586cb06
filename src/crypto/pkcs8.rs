//! The outer skin of a private key: PKCS#8 (RFC 5208) and its second version (RFC 5958).
#![forbid(unsafe_code)]

use super::der_writer::{NULL, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, element, unsigned};
use super::{Curve, DhGroup, MlDsaSet, MlKemSet, Secret, SlhDsaSet};
use crate::error::{Cause, Result};
use der::asn1::AnyRef;
use der::asn1::{BitStringRef, ObjectIdentifier, OctetStringRef, SequenceRef, UintRef};
use der::{Decode, Reader, SliceReader, Tag, TagMode, TagNumber, Tagged};
use spki::AlgorithmIdentifierRef;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");
const ED448: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.113");
const X448: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.111");
const DH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.3.1");

/// The tag of the seed in the private key of ML-KEM and ML-DSA: `[0] IMPLICIT OCTET STRING`.
const SEED: u8 = 0x80;

/// What a key says it is; the bits of an RSA key are not known yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Algorithm {
    Rsa,
    Ec(Curve),
    Ed25519,
    X25519,
    Ed448,
    X448,
    MlKem(MlKemSet),
    MlDsa(MlDsaSet),
    SlhDsa(SlhDsaSet),
    Dh(DhGroup),
}

/// A peeled key, borrowed from the DER.
pub(super) struct Peeled<'a> {
    pub(super) algorithm: Algorithm,
    /// `RSAPrivateKey`, `ECPrivateKey`, an OCTET STRING that holds the seed or the scalar, the choice of ML-KEM and
    /// ML-DSA, the bare key of SLH-DSA, or an INTEGER.
    pub(super) key: &'a [u8],
    /// What a key of version 2 gives as its public key: the content of the BIT STRING of its SPKI.
    pub(super) public: Option<&'a [u8]>,
}

/// Peels off the outer structure, strictly: DER, nothing unknown, nothing after it. Copies nothing.
pub(super) fn peel(der: &[u8]) -> Result<Peeled<'_>> {
    read(der)
        .map_err(|_| Cause::SealKeyMalformed.with("not PKCS#8"))?
        .ok_or_else(|| Cause::SealKeyMalformed.with("PKCS#8 of another kind of key"))
}

fn read(der: &[u8]) -> der::Result<Option<Peeled<'_>>> {
    let mut outer = SliceReader::new(der)?;
    let peeled = outer.sequence(|reader| {
        let version = u8::decode(reader)?;
        let algorithm = AlgorithmIdentifierRef::decode(reader)?;
        let key = <&OctetStringRef>::decode(reader)?.as_bytes();
        // A SET OF Attribute; nothing in it decides anything.
        let _attributes = reader.context_specific::<&SequenceRef>(TagNumber(0), TagMode::Implicit)?;
        let public = reader.context_specific::<BitStringRef<'_>>(TagNumber(1), TagMode::Implicit)?;
        if version != u8::from(public.is_some()) {
            return Err(reader.error(Tag::Integer.value_error()));
        }
        let public = match public {
            Some(bits) => Some(bits.as_bytes().ok_or_else(|| reader.error(Tag::BitString.value_error()))?),
            None => None,
        };
        Ok(Algorithm::of(&algorithm).map(|algorithm| Peeled { algorithm, key, public }))
    })?;
    outer.finish()?;
    Ok(peeled)
}

impl Algorithm {
    /// The algorithm with this identifier.
    pub(super) fn of(identifier: &AlgorithmIdentifierRef<'_>) -> Option<Self> {
        match (identifier.oid, identifier.parameters) {
            (RSA, Some(parameters)) if parameters.is_null() => Some(Self::Rsa),
            (ED25519, None) => Some(Self::Ed25519),
            (X25519, None) => Some(Self::X25519),
            (ED448, None) => Some(Self::Ed448),
            (X448, None) => Some(Self::X448),
            (EC, Some(name)) if name.tag() == Tag::ObjectIdentifier => {
                // Tag and length are one octet each in the DER of all our curves' names.
                Curve::ALL.iter().copied().find(|curve| &curve.oid_der()[2..] == name.value()).map(Self::Ec)
            }
            (DH, Some(parameters)) => group_of(parameters),
            (oid, None) => Self::of_set(oid.as_bytes()),
            _ => None,
        }
    }

    fn of_set(oid: &[u8]) -> Option<Self> {
        let ml_kem = MlKemSet::ALL.iter().copied().find(|set| set.oid() == oid).map(Self::MlKem);
        let ml_dsa = || MlDsaSet::ALL.iter().copied().find(|set| set.oid() == oid).map(Self::MlDsa);
        let slh_dsa = || SlhDsaSet::ALL.iter().copied().find(|set| set.oid() == oid).map(Self::SlhDsa);
        ml_kem.or_else(ml_dsa).or_else(slh_dsa)
    }

    /// Its identifier in DER.
    pub(super) fn identifier(self) -> Result<Secret> {
        let oid = |content: &[u8]| element(OBJECT_IDENTIFIER, &[content]);
        Ok(match self {
            Self::Rsa => element(SEQUENCE, &[oid(RSA.as_bytes()).expose(), NULL]),
            Self::Ec(curve) => element(SEQUENCE, &[oid(EC.as_bytes()).expose(), curve.oid_der()]),
            Self::Ed25519 => element(SEQUENCE, &[oid(ED25519.as_bytes()).expose()]),
            Self::X25519 => element(SEQUENCE, &[oid(X25519.as_bytes()).expose()]),
            Self::Ed448 => element(SEQUENCE, &[oid(ED448.as_bytes()).expose()]),
            Self::X448 => element(SEQUENCE, &[oid(X448.as_bytes()).expose()]),
            Self::MlKem(set) => element(SEQUENCE, &[oid(set.oid()).expose()]),
            Self::MlDsa(set) => element(SEQUENCE, &[oid(set.oid()).expose()]),
            Self::SlhDsa(set) => element(SEQUENCE, &[oid(set.oid()).expose()]),
            Self::Dh(group) => {
                let numbers = [unsigned(group.prime()?), unsigned(group.base())];
                let parameters = element(SEQUENCE, &numbers.each_ref().map(Secret::expose));
                element(SEQUENCE, &[oid(DH.as_bytes()).expose(), parameters.expose()])
            }
        })
    }
}

/// `DHParameter` of PKCS #3: prime, base, and perhaps the length of private numbers.
fn group_of(parameters: AnyRef<'_>) -> Option<Algorithm> {
    let numbers = parameters.sequence(|reader| {
        let numbers = (UintRef::decode(reader)?, UintRef::decode(reader)?);
        Option::<UintRef<'_>>::decode(reader)?;
        Ok::<_, der::Error>(numbers)
    });
    let (prime, base) = numbers.ok()?;
    DhGroup::find(prime.as_bytes(), base.as_bytes()).ok()?.map(Algorithm::Dh)
}

/// The INTEGER of a private key for Diffie-Hellman.
pub(super) fn dh_private_key(key: &[u8]) -> Result<&[u8]> {
    let number = UintRef::from_der(key).map_err(|_| Cause::SealKeyMalformed.with("DH private key"))?;
    Ok(number.as_bytes())
}

/// A private key of ML-KEM or ML-DSA: by its seed of so many bytes, expanded, or both.
pub(super) struct LatticePrivateKey<'a, const SEED_LEN: usize> {
    pub(super) seed: Option<&'a [u8; SEED_LEN]>,
    pub(super) expanded: Option<&'a [u8]>,
}

/// Reads the choice of RFC 9935 and RFC 9881, section 6. The expanded key may have any length.
pub(super) fn lattice<const SEED_LEN: usize>(key: &[u8]) -> Result<LatticePrivateKey<'_, SEED_LEN>> {
    let malformed = || Cause::SealKeyMalformed.with("ML-KEM or ML-DSA private key");
    let (seed, expanded) = read_lattice(key).map_err(|_| malformed())?;
    let seed = seed.map(|seed| seed.as_bytes().try_into().map_err(|_| malformed())).transpose()?;
    Ok(LatticePrivateKey { seed, expanded: expanded.map(OctetStringRef::as_bytes) })
}

type Choice<'a> = (Option<&'a OctetStringRef>, Option<&'a OctetStringRef>);

fn read_lattice(key: &[u8]) -> der::Result<Choice<'_>> {
    let mut reader = SliceReader::new(key)?;
    let choice = if Tag::peek(&reader)? == Tag::Sequence {
        reader.sequence(|both| Ok::<_, der::Error>((Some(Decode::decode(both)?), Some(Decode::decode(both)?))))?
    } else if Tag::peek(&reader)? == Tag::OctetString {
        (None, Some(Decode::decode(&mut reader)?))
    } else {
        (reader.context_specific(TagNumber(0), TagMode::Implicit)?, None)
    };
    reader.finish()?;
    Ok(choice)
}

/// The bytes inside a private key of an Edwards or Montgomery curve (RFC 8410, section 7).
pub(super) fn curve_private_key<const N: usize>(key: &[u8]) -> Result<&[u8; N]> {
    let bytes = <&OctetStringRef>::from_der(key).ok().and_then(|bytes| bytes.as_bytes().try_into().ok());
    bytes.ok_or_else(|| Cause::SealKeyMalformed.with("private key of an Edwards or Montgomery curve"))
}

/// Puts the outer structure around a private key: version 1, which every reader knows.
pub(super) fn write(algorithm: Algorithm, key: &[u8]) -> Result<Secret> {
    let identifier = algorithm.identifier()?;
    Ok(element(SEQUENCE, &[&[0x02, 0x01, 0x00], identifier.expose(), element(OCTET_STRING, &[key]).expose()]))
}

/// A private key of ML-KEM or ML-DSA as its seed, in the same structure.
pub(super) fn write_seed(algorithm: Algorithm, seed: &[u8]) -> Result<Secret> {
    write(algorithm, element(SEED, &[seed]).expose())
}
