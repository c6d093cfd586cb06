//! Key pairs of the kinds that KMS does not make.
#![forbid(unsafe_code)]

use super::{DhGroup, MlDsaSet, PrivateComponents, PrivateKey, Secret, SlhDsaSet, curve448, dh, ml_dsa, random};
use crate::error::Result;

/// A kind of key pair that random bytes alone make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeededKind {
    /// X25519.
    X25519,
    /// ML-DSA.
    MlDsa(MlDsaSet),
    /// Ed448.
    Ed448,
    /// X448.
    X448,
    /// SLH-DSA.
    SlhDsa(SlhDsaSet),
    /// Finite-field Diffie-Hellman.
    Dh {
        /// The group.
        group: DhGroup,
        /// How many bits the private number has, if that was asked for.
        bits: Option<u32>,
    },
}

impl PrivateKey {
    /// Makes a key pair (RFC 7748, section 6; RFC 8032, section 5.2.5; FIPS 204, algorithm 1; FIPS 205, algorithm 21; SP
    /// 800-56A, section 5.6.1.1.3), checked like one that comes from elsewhere.
    pub fn generate(kind: SeededKind) -> Result<Self> {
        let fresh = |len| {
            let mut bytes = Secret::zeroed(len);
            random::fill(bytes.expose_mut()).map(|()| bytes)
        };
        Self::from_components(&match kind {
            SeededKind::X25519 => PrivateComponents::X25519 { scalar: fresh(32)? },
            SeededKind::MlDsa(set) => {
                PrivateComponents::MlDsa { set, seed: Some(fresh(ml_dsa::SEED_LEN)?), expanded: None }
            }
            SeededKind::Ed448 => PrivateComponents::Ed448 { seed: fresh(curve448::ED448_LEN)? },
            SeededKind::X448 => PrivateComponents::X448 { scalar: fresh(curve448::X448_LEN)? },
            SeededKind::Dh { group, bits } => PrivateComponents::Dh { group, value: dh::generate(group, bits)? },
            SeededKind::SlhDsa(set) => PrivateComponents::SlhDsa { set, key: set.generate()? },
        })
    }
}
