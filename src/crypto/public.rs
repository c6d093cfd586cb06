//! Public keys.
#![forbid(unsafe_code)]

use super::aws_lc::ec::EcKey;
use super::aws_lc::ed25519;
use super::aws_lc::ml_dsa::MlDsa;
use super::aws_lc::ml_kem::MlKem;
use super::aws_lc::rsa::{Oaep, Padding, Pss, Rsa};
use super::aws_lc::spki::{self, Parsed};
use super::foreign::Foreign;
use super::{Curve, DhGroup, EdVariant, Hash, KeyKind, MlDsaSet, MlKemSet, SlhDsaSet, curve448, mac, pkcs1};
use crate::error::{Cause, Error, Result};
use std::sync::Arc;

/// A public key: of a kind that is ours, with a point on its curve. Cheap to clone.
///
/// The operations of another kind of key fail with [`Cause::KeyTypeInconsistent`].
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    kind: KeyKind,
    key: Parsed,
    spki: Vec<u8>,
    /// Of an RSA key, without leading zeros.
    modulus: Vec<u8>,
}

/// What a public key consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicParts {
    /// RSA; both numbers big-endian without leading zeros.
    Rsa {
        /// `CKA_MODULUS`.
        modulus: Vec<u8>,
        /// `CKA_PUBLIC_EXPONENT`.
        exponent: Vec<u8>,
    },
    /// A point on a short Weierstrass curve.
    Ec {
        /// The curve.
        curve: Curve,
        /// 04 ‖ X ‖ Y, not wrapped in an OCTET STRING.
        point: Vec<u8>,
    },
    /// A point on Edwards25519.
    Ed25519 {
        /// As RFC 8032 encodes it.
        point: [u8; 32],
    },
    /// A point on Curve25519.
    X25519 {
        /// Its u-coordinate, as RFC 7748 encodes it.
        point: [u8; 32],
    },
    /// A key of ML-KEM.
    MlKem {
        /// The parameter set.
        set: MlKemSet,
        /// The encapsulation key, as FIPS 203 encodes it.
        key: Vec<u8>,
    },
    /// A key of ML-DSA.
    MlDsa {
        /// The parameter set.
        set: MlDsaSet,
        /// As FIPS 204 encodes it.
        key: Vec<u8>,
    },
    /// A point on Edwards448.
    Ed448 {
        /// As RFC 8032 encodes it.
        point: [u8; 57],
    },
    /// A point on Curve448.
    X448 {
        /// Its u-coordinate, as RFC 7748 encodes it.
        point: [u8; 56],
    },
    /// A key of SLH-DSA.
    SlhDsa {
        /// The parameter set.
        set: SlhDsaSet,
        /// As FIPS 205 encodes it.
        key: Vec<u8>,
    },
    /// A public number of finite-field Diffie-Hellman.
    Dh {
        /// The group.
        group: DhGroup,
        /// As long as the prime.
        number: Vec<u8>,
    },
}

/// The sizes of RSA keys that are used at all; KMS makes 2048, 3072 and 4096.
pub const RSA_BITS: std::ops::RangeInclusive<u32> = 1024..=8192;

impl PublicKey {
    /// From a `SubjectPublicKeyInfo`, in the one form in which [`PublicKey::spki_der`] gives it again: an EC point
    /// uncompressed on a named curve, nothing after it. [`Cause::AttributeValueInvalid`] if it is malformed, of another
    /// kind, or names no point of its curve; [`Cause::CurveNotSupported`] for other curves.
    pub fn from_spki(der: &[u8]) -> Result<Self> {
        let key = Self::new(match Foreign::from_spki(der)? {
            Some(key) => Parsed::Foreign(key),
            None => spki::parse(der)?,
        })?;
        // AWS-LC overlooks what follows some object identifiers.
        if key.spki_der() == der { Ok(key) } else { Err(Cause::AttributeValueInvalid.with("SubjectPublicKeyInfo")) }
    }

    /// From `CKA_MODULUS` and `CKA_PUBLIC_EXPONENT`. 1024 to 8192 bits, both odd, the exponent at most 33 bits.
    pub fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self> {
        Self::new(Parsed::Rsa(Rsa::from_parts(modulus, exponent)?))
    }

    /// From an encoded point, uncompressed (04 ‖ X ‖ Y) or compressed, not wrapped in an OCTET STRING.
    pub fn from_ec(curve: Curve, point: &[u8]) -> Result<Self> {
        Self::new(Parsed::Ec(curve, EcKey::from_point(curve, point)?))
    }

    /// From an encoded point of Edwards25519.
    pub fn from_ed25519(point: &[u8; 32]) -> Result<Self> {
        Self::new(Parsed::Ed25519(*point))
    }

    /// From an encoded point of Curve25519: any 32 bytes.
    pub fn from_x25519(point: &[u8; 32]) -> Result<Self> {
        Self::new(Parsed::X25519(*point))
    }

    /// From an encapsulation key of ML-KEM, as FIPS 203 encodes it.
    pub fn from_ml_kem(set: MlKemSet, key: &[u8]) -> Result<Self> {
        Self::new(Parsed::MlKem(MlKem::from_public(set, key)?))
    }

    /// From a public key of ML-DSA, as FIPS 204 encodes it.
    pub fn from_ml_dsa(set: MlDsaSet, key: &[u8]) -> Result<Self> {
        Self::new(Parsed::MlDsa(MlDsa::from_public(set, key)?))
    }

    /// From an encoded point of Edwards448.
    pub fn from_ed448(point: &[u8]) -> Result<Self> {
        Self::new(Parsed::Foreign(Foreign::ed448(point)?))
    }

    /// From an encoded point of Curve448: any 56 bytes.
    pub fn from_x448(point: &[u8]) -> Result<Self> {
        Self::new(Parsed::Foreign(Foreign::x448(point)?))
    }

    /// From a public key of SLH-DSA, as FIPS 205 encodes it.
    pub fn from_slh_dsa(set: SlhDsaSet, key: &[u8]) -> Result<Self> {
        Self::new(Parsed::Foreign(Foreign::slh_dsa(set, key)?))
    }

    pub(super) fn new(key: Parsed) -> Result<Self> {
        let mut modulus = Vec::new();
        let kind = match &key {
            Parsed::Rsa(rsa) => {
                if !RSA_BITS.contains(&rsa.bits()) {
                    return Err(Cause::AttributeValueInvalid.with("RSA modulus length"));
                }
                modulus = rsa.modulus();
                KeyKind::Rsa { bits: rsa.bits() }
            }
            Parsed::Ec(curve, _) => KeyKind::Ec(*curve),
            Parsed::Ed25519(point) => {
                // AWS-LC has no function that only looks whether a point is one.
                ed25519_dalek::VerifyingKey::from_bytes(point)
                    .map_err(|_| Cause::AttributeValueInvalid.with("Ed25519 point"))?;
                KeyKind::Ed25519
            }
            Parsed::X25519(_) => KeyKind::X25519,
            Parsed::MlKem(key) => KeyKind::MlKem(key.set()),
            Parsed::MlDsa(key) => KeyKind::MlDsa(key.set()),
            Parsed::Foreign(key) => key.kind(),
        };
        let spki = spki::write(&key)?;
        Ok(Self(Arc::new(Inner { kind, key, spki, modulus })))
    }

    /// The DER of its `SubjectPublicKeyInfo`, always the same for the same key.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }

    /// What kind of key it is.
    pub fn kind(&self) -> KeyKind {
        self.0.kind
    }

    /// What it consists of.
    pub fn parts(&self) -> Result<PublicParts> {
        Ok(match &self.0.key {
            Parsed::Rsa(rsa) => PublicParts::Rsa { modulus: self.0.modulus.clone(), exponent: rsa.exponent() },
            Parsed::Ec(curve, key) => PublicParts::Ec { curve: *curve, point: key.point(*curve)? },
            Parsed::Ed25519(point) => PublicParts::Ed25519 { point: *point },
            Parsed::X25519(point) => PublicParts::X25519 { point: *point },
            Parsed::MlKem(key) => PublicParts::MlKem { set: key.set(), key: key.public()? },
            Parsed::MlDsa(key) => PublicParts::MlDsa { set: key.set(), key: key.public()? },
            Parsed::Foreign(Foreign::Ed448(point)) => PublicParts::Ed448 { point: *point },
            Parsed::Foreign(Foreign::X448(point)) => PublicParts::X448 { point: *point },
            Parsed::Foreign(Foreign::Dh(group, number)) => PublicParts::Dh { group: *group, number: number.clone() },
            Parsed::Foreign(Foreign::SlhDsa(set, key)) => PublicParts::SlhDsa { set: *set, key: key.clone() },
        })
    }

    /// The modulus of an RSA key, without leading zeros; empty for other kinds.
    pub(super) fn modulus(&self) -> &[u8] {
        &self.0.modulus
    }

    /// The key as it was parsed.
    pub(super) fn parsed(&self) -> &Parsed {
        &self.0.key
    }

    fn rsa(&self) -> Result<&Rsa> {
        match &self.0.key {
            Parsed::Rsa(rsa) => Ok(rsa),
            _ => Err(Cause::KeyTypeInconsistent.into()),
        }
    }

    /// An RSA signature has the length of the modulus.
    fn rsa_signature(&self, signature: &[u8]) -> Result<&Rsa> {
        let rsa = self.rsa()?;
        if signature.len() == self.0.modulus.len() { Ok(rsa) } else { Err(Cause::SignatureLenRange.into()) }
    }

    /// Verifies PKCS#1 v1.5: with a hash, of its digest; without, of any bytes that were padded as they are
    /// (`CKM_RSA_PKCS`).
    pub fn verify_pkcs1(&self, hash: Option<Hash>, data: &[u8], signature: &[u8]) -> Result<()> {
        let recovered = self.recover_pkcs1(signature)?;
        let mut prefix = [0; 19];
        let prefix = match hash {
            Some(hash) => {
                check_digest_len(hash, data)?;
                let len = hash.digest_info_prefix(&mut prefix);
                &prefix[..len]
            }
            None => &[],
        };
        let equal = recovered.split_at_checked(prefix.len()).is_some_and(|(head, tail)| head == prefix && tail == data);
        if equal { Ok(()) } else { Err(Cause::SignatureInvalid.into()) }
    }

    /// The bytes inside a PKCS#1 v1.5 signature (`C_VerifyRecover` with `CKM_RSA_PKCS`).
    pub fn recover_pkcs1(&self, signature: &[u8]) -> Result<Vec<u8>> {
        let rsa = self.rsa_signature(signature)?;
        let mut block = vec![0; signature.len()];
        let len = rsa.recover(Padding::Pkcs1, signature, &mut block)?;
        block.truncate(len);
        Ok(block)
    }

    /// Verifies PSS of a digest. The salt has exactly `salt_len` bytes.
    pub fn verify_pss(&self, hash: Hash, mgf: Hash, salt_len: usize, digest: &[u8], signature: &[u8]) -> Result<()> {
        let rsa = self.rsa_signature(signature)?;
        rsa.verify_pss(pss(rsa, hash, mgf, salt_len, digest)?, digest, signature)
    }

    /// The public operation on up to a modulus' length of bytes, smaller than the modulus (`CKM_RSA_X_509`,
    /// to encrypt, to verify, to recover). As long as the modulus.
    pub fn raw_public(&self, data: &[u8]) -> Result<Vec<u8>> {
        let rsa = self.rsa()?;
        let mut block = [0; pkcs1::MAX_LEN];
        let block = self.in_range(data, &mut block)?;
        let mut out = vec![0; block.len()];
        rsa.encrypt(Padding::None, block, &mut out)?;
        Ok(out)
    }

    /// `data` with zeros in front, as long as the modulus. [`Cause::DataLenRange`] if it is longer,
    /// [`Cause::DataInvalid`] if it is not smaller.
    pub(super) fn in_range<'a>(&self, data: &[u8], block: &'a mut [u8; pkcs1::MAX_LEN]) -> Result<&'a mut [u8]> {
        let k = self.0.modulus.len();
        let start = k.checked_sub(data.len()).ok_or(Cause::DataLenRange)?;
        let block = block.get_mut(..k).ok_or(Cause::DataLenRange)?;
        block[start..].copy_from_slice(data);
        if *block < *self.0.modulus { Ok(block) } else { Err(Cause::DataInvalid.into()) }
    }

    /// Encrypts with PKCS#1 v1.5 padding: at most 11 bytes less than the modulus.
    pub fn encrypt_pkcs1(&self, message: &[u8]) -> Result<Vec<u8>> {
        let rsa = self.rsa()?;
        let k = self.0.modulus.len();
        if message.len() + pkcs1::OVERHEAD > k {
            return Err(Cause::DataLenRange.into());
        }
        let mut out = vec![0; k];
        rsa.encrypt(Padding::Pkcs1, message, &mut out)?;
        Ok(out)
    }

    /// Encrypts with OAEP: at most two digests and 2 bytes less than the modulus.
    pub fn encrypt_oaep(&self, hash: Hash, mgf: Hash, label: &[u8], message: &[u8]) -> Result<Vec<u8>> {
        let rsa = self.rsa()?;
        let k = self.0.modulus.len();
        let most = k.checked_sub(2 * hash.len() + 2).ok_or(Cause::MechanismParamInvalid)?;
        if message.len() > most {
            return Err(Cause::DataLenRange.into());
        }
        let mut out = vec![0; k];
        rsa.encrypt_oaep(Oaep { hash, mgf, label }, message, &mut out)?;
        Ok(out)
    }

    /// Verifies an ECDSA signature `r ‖ s` of a digest of any length. A signature shorter than twice the field is
    /// taken as two halves without leading zeros, as Java sends them.
    pub fn verify_ecdsa(&self, digest: &[u8], signature: &[u8]) -> Result<()> {
        let Parsed::Ec(curve, key) = &self.0.key else { return Err(Cause::KeyTypeInconsistent.into()) };
        let len = signature.len();
        if len == 0 || !len.is_multiple_of(2) || len > 2 * curve.field_len() {
            return Err(Cause::SignatureLenRange.into());
        }
        key.verify(digest, signature)
    }

    /// Verifies a signature of a message by Ed25519 or Ed448.
    pub fn verify_eddsa(&self, variant: EdVariant<'_>, message: &[u8], signature: &[u8]) -> Result<()> {
        check_context(variant)?;
        if let (Parsed::Foreign(Foreign::Ed448(point)), EdVariant::Ph(_)) = (&self.0.key, variant) {
            let prehash = Hash::Shake256.digest(message);
            return curve448::ed448_verify(point, variant, &prehash, ed448_signature(signature)?);
        }
        match &self.0.key {
            Parsed::Ed25519(point) => ed25519::verify(point, variant, message, ed25519_signature(signature)?),
            Parsed::Foreign(Foreign::Ed448(point)) => {
                curve448::ed448_verify(point, variant, message, ed448_signature(signature)?)
            }
            _ => Err(Cause::KeyTypeInconsistent.into()),
        }
    }

    /// Verifies a signature by Ed25519ph or Ed448ph of the message with this digest, by SHA-512 or SHAKE256.
    pub fn verify_eddsa_prehash(&self, context: &[u8], prehash: &[u8; 64], signature: &[u8]) -> Result<()> {
        let variant = EdVariant::Ph(context);
        check_context(variant)?;
        match &self.0.key {
            Parsed::Ed25519(point) => ed25519::verify_prehash(point, prehash, context, ed25519_signature(signature)?),
            Parsed::Foreign(Foreign::Ed448(point)) => {
                curve448::ed448_verify(point, variant, prehash, ed448_signature(signature)?)
            }
            _ => Err(Cause::KeyTypeInconsistent.into()),
        }
    }

    /// Whether `bits`, the public key that a PKCS#8 of version 2 carries, is this key.
    pub(super) fn is_in_bits(&self, bits: &[u8]) -> bool {
        let same = |der: &[u8]| Ok::<_, Error>(self.0.spki == der);
        match &self.0.key {
            // The BIT STRING ends the SPKI; a header and its unused-bits octet stand before it.
            Parsed::Rsa(_) => {
                self.0.spki.ends_with(bits) && bits.first() == Some(&0x30) && bits.len() > self.0.modulus.len()
            }
            Parsed::Ec(curve, _) => Self::from_ec(*curve, bits).and_then(|key| same(key.spki_der())).unwrap_or(false),
            Parsed::Ed25519(point) | Parsed::X25519(point) => mac::constant_time_eq(point, bits),
            Parsed::MlKem(key) => key.public().is_ok_and(|key| key == bits),
            Parsed::MlDsa(key) => key.public().is_ok_and(|key| key == bits),
            Parsed::Foreign(key) => key.bits() == bits,
        }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.spki == other.0.spki
    }
}

impl Eq for PublicKey {}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PublicKey").field(&self.0.kind).finish()
    }
}

fn ed25519_signature(signature: &[u8]) -> Result<&[u8; 64]> {
    signature.try_into().map_err(|_| Cause::SignatureLenRange.into())
}

fn ed448_signature(signature: &[u8]) -> Result<&[u8]> {
    if signature.len() == curve448::SIGNATURE_LEN { Ok(signature) } else { Err(Cause::SignatureLenRange.into()) }
}

/// A digest has its hash's length.
pub(super) fn check_digest_len(hash: Hash, digest: &[u8]) -> Result<()> {
    if digest.len() == hash.len() { Ok(()) } else { Err(Cause::DataLenRange.into()) }
}

/// Checks the parameters of PSS against the key: [`Cause::DataLenRange`] for a digest of another length,
/// [`Cause::MechanismParamInvalid`] for a salt that does not fit.
pub(super) fn pss(rsa: &Rsa, hash: Hash, mgf: Hash, salt_len: usize, digest: &[u8]) -> Result<Pss> {
    check_digest_len(hash, digest)?;
    let encoded_len = (rsa.bits() - 1).div_ceil(8) as usize;
    let most = encoded_len.checked_sub(hash.len() + 2).ok_or(Cause::MechanismParamInvalid)?;
    if salt_len > most {
        return Err(Cause::MechanismParamInvalid.with("PSS salt length"));
    }
    // At most 1024, so it fits.
    Ok(Pss { hash, mgf, salt_len: salt_len as i32 })
}

/// A context has 1 to 255 bytes, or none with a prehash (RFC 8032, section 8.3).
pub(super) fn check_context(variant: EdVariant<'_>) -> Result<()> {
    let valid = match variant {
        EdVariant::Pure => true,
        EdVariant::Ctx(context) => (1..=255).contains(&context.len()),
        EdVariant::Ph(context) => context.len() <= 255,
    };
    if valid { Ok(()) } else { Err(Cause::MechanismParamInvalid.with("EdDSA context length")) }
}
