//! Private keys taken apart into the numbers that PKCS#11 has attributes for, and put together from them.
#![forbid(unsafe_code)]

use super::der_writer::{BIT_STRING, INTEGER, OCTET_STRING, SEQUENCE, element, trim, unsigned};
use super::pkcs8::{self, Algorithm};
use super::private::{Inner, array, ed25519_pair};
use super::stack::{LOAD, WipedAfter};
use super::{
    Curve, DhGroup, KeyKind, MlDsaSet, MlKemSet, PrivateKey, PublicKey, PublicParts, Secret, SlhDsaSet, rsa_numbers,
};
use crate::error::{Cause, Error, Result};

/// The numbers that a private key consists of. Numbers are big-endian; leading zeros do not matter.
pub enum PrivateComponents {
    /// RSA.
    Rsa(RsaComponents),
    /// A key on a short Weierstrass curve.
    Ec {
        /// The curve.
        curve: Curve,
        /// `CKA_VALUE`: the private number d.
        scalar: Secret,
    },
    /// Ed25519.
    Ed25519 {
        /// `CKA_VALUE`: 32 bytes, as RFC 8032 has them.
        seed: Secret,
    },
    /// X25519.
    X25519 {
        /// `CKA_VALUE`: 32 bytes, as RFC 7748 has them.
        scalar: Secret,
    },
    /// ML-KEM. Taken apart, the expanded key is always there, and the seed if the key was made of it.
    MlKem {
        /// `CKA_PARAMETER_SET`.
        set: MlKemSet,
        /// `CKA_SEED`: d ‖ z, 64 bytes.
        seed: Option<Secret>,
        /// `CKA_VALUE`: the expanded decapsulation key.
        expanded: Option<Secret>,
    },
    /// ML-DSA, likewise.
    MlDsa {
        /// `CKA_PARAMETER_SET`.
        set: MlDsaSet,
        /// `CKA_SEED`: ξ, 32 bytes.
        seed: Option<Secret>,
        /// `CKA_VALUE`: the expanded private key.
        expanded: Option<Secret>,
    },
    /// Ed448.
    Ed448 {
        /// `CKA_VALUE`: 57 bytes, as RFC 8032 has them.
        seed: Secret,
    },
    /// X448.
    X448 {
        /// `CKA_VALUE`: 56 bytes, as RFC 7748 has them.
        scalar: Secret,
    },
    /// Finite-field Diffie-Hellman.
    Dh {
        /// `CKA_PRIME` and `CKA_BASE`.
        group: DhGroup,
        /// `CKA_VALUE`: the private number x.
        value: Secret,
    },
    /// SLH-DSA.
    SlhDsa {
        /// `CKA_PARAMETER_SET`.
        set: SlhDsaSet,
        /// `CKA_VALUE`: two secret seeds and the public key.
        key: Secret,
    },
}

/// The numbers of an RSA private key. Taken apart, all are there. To put one together the primes may be missing, and
/// then everything after them is missing too; any of the last three may be missing.
pub struct RsaComponents {
    /// `CKA_MODULUS`.
    pub modulus: Vec<u8>,
    /// `CKA_PUBLIC_EXPONENT`.
    pub public_exponent: Vec<u8>,
    /// `CKA_PRIVATE_EXPONENT`.
    pub private_exponent: Secret,
    /// `CKA_PRIME_1` and `CKA_PRIME_2`, p and q.
    pub primes: Option<(Secret, Secret)>,
    /// `CKA_EXPONENT_1`: d mod p - 1.
    pub exponent_1: Option<Secret>,
    /// `CKA_EXPONENT_2`: d mod q - 1.
    pub exponent_2: Option<Secret>,
    /// `CKA_COEFFICIENT`: the inverse of q mod p.
    pub coefficient: Option<Secret>,
}

impl PrivateKey {
    /// Puts a key together; what is missing is computed. All is checked as [`PrivateKey::from_pkcs8`] does it:
    /// [`Cause::AttributeValueInvalid`] if the numbers are no key, [`Cause::TemplateIncomplete`] if too few are given.
    pub fn from_components(components: &PrivateComponents) -> Result<Self> {
        let _wiped = WipedAfter::<LOAD>;
        let invalid = |error: Error| match error.cause() {
            Cause::SealKeyMalformed => Cause::AttributeValueInvalid.with(error.detail().to_owned()),
            _ => error,
        };
        Self::from_pkcs8(encode(components, None)?.expose()).map_err(invalid)
    }

    /// Takes the key apart. What of the result is secret is in ordinary memory: not for longer than needed.
    pub fn components(&self) -> Result<PrivateComponents> {
        let _wiped = WipedAfter::<LOAD>;
        Ok(match self.key()? {
            Inner::Rsa { rsa, .. } => {
                let [d, p, q, dp, dq, qinv] = rsa.private_numbers()?;
                PrivateComponents::Rsa(RsaComponents {
                    modulus: rsa.modulus(),
                    public_exponent: rsa.exponent(),
                    private_exponent: d,
                    primes: Some((p, q)),
                    exponent_1: Some(dp),
                    exponent_2: Some(dq),
                    coefficient: Some(qinv),
                })
            }
            Inner::Ec(curve, key) => {
                let mut scalar = Secret::zeroed(curve.field_len());
                key.scalar(scalar.expose_mut())?;
                PrivateComponents::Ec { curve: *curve, scalar }
            }
            Inner::Ed25519(pair) => {
                PrivateComponents::Ed25519 { seed: Secret::new(ed25519_pair(pair)?[..32].to_vec()) }
            }
            Inner::X25519(scalar) => PrivateComponents::X25519 { scalar: Secret::new(array::<32>(scalar)?.to_vec()) },
            Inner::MlKem(key) => {
                PrivateComponents::MlKem { set: key.set(), seed: key.seed()?, expanded: Some(key.expanded()?) }
            }
            Inner::MlDsa(key) => {
                PrivateComponents::MlDsa { set: key.set(), seed: key.seed()?, expanded: Some(key.expanded()?) }
            }
            Inner::Ed448(seed) => PrivateComponents::Ed448 { seed: Secret::new(seed.expose().to_vec()) },
            Inner::X448(scalar) => PrivateComponents::X448 { scalar: Secret::new(scalar.expose().to_vec()) },
            Inner::Dh(group, value) => {
                PrivateComponents::Dh { group: *group, value: Secret::new(value.expose().to_vec()) }
            }
            Inner::SlhDsa(set, key) => PrivateComponents::SlhDsa { set: *set, key: Secret::new(key.expose().to_vec()) },
        })
    }

    /// The key as PKCS#8, version 1, DER, in one canonical form: all numbers of an RSA key, an EC key with its public
    /// key and without parameters inside (PKCS#11, section 6.7), ML-KEM and ML-DSA by their seed if there is one.
    pub fn to_pkcs8(&self) -> Result<Secret> {
        let mut components = self.components()?;
        if let PrivateComponents::MlKem { seed: Some(_), expanded, .. }
        | PrivateComponents::MlDsa { seed: Some(_), expanded, .. } = &mut components
        {
            *expanded = None;
        }
        encode(&components, Some(&self.public_key().parts()?))
    }
}

impl PublicKey {
    /// The most bytes that the private key has as PKCS#8: somewhat more than it will have.
    pub fn private_key_len(&self) -> usize {
        match self.kind() {
            // Modulus and private exponent, and five numbers of half their length, each with a header.
            KeyKind::Rsa { bits } => 9 * (bits.div_ceil(16) as usize + 1) + 128,
            KeyKind::Ec(curve) => 3 * curve.field_len() + 64,
            KeyKind::Ed25519 | KeyKind::X25519 => 48,
            KeyKind::Ed448 | KeyKind::X448 => 73,
            KeyKind::MlKem(set) => set.private_key_len() + 28,
            KeyKind::MlDsa(set) => set.private_key_len() + 28,
            KeyKind::SlhDsa(set) => set.private_key_len() + 28,
            // The prime, and a private number that may be as long.
            KeyKind::Dh(group) => 2 * group.len() + 64,
        }
    }
}

/// PKCS#8 of the components, of which all but an RSA key's are as they were given.
fn encode(components: &PrivateComponents, public: Option<&PublicParts>) -> Result<Secret> {
    match components {
        PrivateComponents::Rsa(rsa) => pkcs8::write(Algorithm::Rsa, rsa_private_key(rsa)?.expose()),
        PrivateComponents::Ec { curve, scalar } => {
            pkcs8::write(Algorithm::Ec(*curve), ec_private_key(*curve, scalar, public)?.expose())
        }
        PrivateComponents::Ed25519 { seed } => {
            pkcs8::write(Algorithm::Ed25519, element(OCTET_STRING, &[seed.expose()]).expose())
        }
        PrivateComponents::X25519 { scalar } => {
            pkcs8::write(Algorithm::X25519, element(OCTET_STRING, &[scalar.expose()]).expose())
        }
        PrivateComponents::MlKem { set, seed, expanded } => lattice(Algorithm::MlKem(*set), seed, expanded),
        PrivateComponents::MlDsa { set, seed, expanded } => lattice(Algorithm::MlDsa(*set), seed, expanded),
        PrivateComponents::Ed448 { seed } => {
            pkcs8::write(Algorithm::Ed448, element(OCTET_STRING, &[seed.expose()]).expose())
        }
        PrivateComponents::X448 { scalar } => {
            pkcs8::write(Algorithm::X448, element(OCTET_STRING, &[scalar.expose()]).expose())
        }
        // Bare, without an OCTET STRING of its own (RFC 9909, section 6).
        PrivateComponents::SlhDsa { set, key } => pkcs8::write(Algorithm::SlhDsa(*set), key.expose()),
        PrivateComponents::Dh { group, value } => {
            pkcs8::write(Algorithm::Dh(*group), unsigned(value.expose()).expose())
        }
    }
}

/// `RSAPrivateKey` (RFC 8017, appendix A.1.2).
fn rsa_private_key(rsa: &RsaComponents) -> Result<Secret> {
    let d = rsa.private_exponent.expose();
    let crt = [&rsa.exponent_1, &rsa.exponent_2, &rsa.coefficient];
    let found;
    let (p, q) = match &rsa.primes {
        Some((p, q)) => (p.expose(), q.expose()),
        None if crt.iter().any(|number| number.is_some()) => {
            return Err(Cause::TemplateIncomplete.with("an RSA key with CRT values and without its primes"));
        }
        None => {
            // What is computed with is of a bounded size, and odd.
            PublicKey::from_rsa(&rsa.modulus, &rsa.public_exponent)?;
            found = rsa_numbers::primes(&rsa.modulus, &rsa.public_exponent, d)?;
            (found.0.expose(), found.1.expose())
        }
    };
    let [dp, dq, qinv] = rsa_numbers::crt_values(d, p, q, crt)?;
    // The first says how many primes there are: 0 for two.
    let numbers: [&[u8]; 9] =
        [&[], &rsa.modulus, &rsa.public_exponent, d, p, q, dp.expose(), dq.expose(), qinv.expose()];
    let numbers = numbers.map(unsigned);
    Ok(element(SEQUENCE, &numbers.each_ref().map(Secret::expose)))
}

/// The tag of `publicKey` in `ECPrivateKey`: `[1] EXPLICIT`.
const PUBLIC_KEY: u8 = 0xa1;

/// `ECPrivateKey` (RFC 5915), with the public key if it is known.
fn ec_private_key(curve: Curve, scalar: &Secret, public: Option<&PublicParts>) -> Result<Secret> {
    let digits = trim(scalar.expose());
    let mut padded = Secret::zeroed(curve.field_len());
    let start = padded.len().checked_sub(digits.len());
    let start = start.ok_or_else(|| Cause::AttributeValueInvalid.with("EC private number too long"))?;
    padded.expose_mut()[start..].copy_from_slice(digits);
    let private = element(OCTET_STRING, &[padded.expose()]);
    let public = match public {
        Some(PublicParts::Ec { point, .. }) => element(PUBLIC_KEY, &[element(BIT_STRING, &[&[0], point]).expose()]),
        _ => Secret::zeroed(0),
    };
    Ok(element(SEQUENCE, &[&[INTEGER, 1, 1], private.expose(), public.expose()]))
}

/// The choice of ML-KEM and ML-DSA: the seed, the expanded key, or both.
fn lattice(algorithm: Algorithm, seed: &Option<Secret>, expanded: &Option<Secret>) -> Result<Secret> {
    let octets = |secret: &Secret| element(OCTET_STRING, &[secret.expose()]);
    match (seed, expanded) {
        (Some(seed), Some(expanded)) => {
            let both = element(SEQUENCE, &[octets(seed).expose(), octets(expanded).expose()]);
            pkcs8::write(algorithm, both.expose())
        }
        (Some(seed), None) => pkcs8::write_seed(algorithm, seed.expose()),
        (None, Some(expanded)) => pkcs8::write(algorithm, octets(expanded).expose()),
        (None, None) => Err(Cause::TemplateIncomplete.with("a key of ML-KEM or ML-DSA has a seed or a value")),
    }
}
