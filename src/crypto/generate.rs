//! Key pairs of the kinds that KMS does not make.
#![forbid(unsafe_code)]

use super::{MlDsaSet, PrivateComponents, PrivateKey, Secret, ml_dsa, random};
use crate::error::Result;

/// A kind of key pair that random bytes alone make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeededKind {
    /// X25519.
    X25519,
    /// ML-DSA.
    MlDsa(MlDsaSet),
}

impl PrivateKey {
    /// Makes a key pair (RFC 7748, section 6.1; FIPS 204, algorithm 1), checked like one that comes from elsewhere.
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
        })
    }
}
