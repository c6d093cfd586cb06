//! Curves and kinds of keys.
#![forbid(unsafe_code)]

use super::{DhGroup, MlDsaSet, MlKemSet, SlhDsaSet};

/// A short Weierstrass curve that KMS makes key pairs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// NIST P-256, secp256r1.
    P256,
    /// NIST P-384, secp384r1.
    P384,
    /// NIST P-521, secp521r1.
    P521,
    /// secp256k1.
    Secp256k1,
}

impl Curve {
    /// Every curve there is here.
    pub const ALL: &[Curve] = &[Curve::P256, Curve::P384, Curve::P521, Curve::Secp256k1];

    /// The size of the field, and of the order, in bits.
    pub fn bits(self) -> u32 {
        match self {
            Curve::P256 | Curve::Secp256k1 => 256,
            Curve::P384 => 384,
            Curve::P521 => 521,
        }
    }

    /// The length in bytes of a coordinate, and of `r` or `s` in a signature.
    pub fn field_len(self) -> usize {
        self.bits().div_ceil(8) as usize
    }

    /// The DER of its object identifier: `CKA_EC_PARAMS` of a named curve.
    pub fn oid_der(self) -> &'static [u8] {
        match self {
            Curve::P256 => &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Curve::P384 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
            Curve::P521 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23],
            Curve::Secp256k1 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a],
        }
    }

    /// The curve that `CKA_EC_PARAMS` names by object identifier.
    pub fn from_params(der: &[u8]) -> Option<Curve> {
        Self::ALL.iter().copied().find(|curve| curve.oid_der() == der)
    }
}

/// What kind of key pair it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA with a modulus of so many bits.
    Rsa {
        /// The length of the modulus in bits.
        bits: u32,
    },
    /// A key on a short Weierstrass curve.
    Ec(Curve),
    /// Edwards25519.
    Ed25519,
    /// Curve25519, for key agreement alone. KMS makes no such keys.
    X25519,
    /// Edwards448. KMS makes no such keys.
    Ed448,
    /// Curve448, for key agreement alone. KMS makes no such keys.
    X448,
    /// A key of ML-KEM, for key encapsulation alone.
    MlKem(MlKemSet),
    /// A key of ML-DSA, for signatures alone. KMS makes no such data key pairs.
    MlDsa(MlDsaSet),
    /// A key of SLH-DSA, for signatures alone. KMS makes no such keys.
    SlhDsa(SlhDsaSet),
    /// A key for finite-field Diffie-Hellman. KMS makes no such keys.
    Dh(DhGroup),
}

/// The signature schemes of RFC 8032, on Edwards25519 and, where pure and with a context are one, on Edwards448.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdVariant<'a> {
    /// Ed25519, or Ed448 with an empty context.
    Pure,
    /// Ed25519ctx, or Ed448, with a context of 1 to 255 bytes.
    Ctx(&'a [u8]),
    /// Ed25519ph or Ed448ph with a context of 0 to 255 bytes; the message is hashed with SHA-512 or SHAKE256 first.
    Ph(&'a [u8]),
}
