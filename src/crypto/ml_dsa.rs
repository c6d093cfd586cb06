//! ML-DSA: its parameter sets, and what its signatures are of.
#![forbid(unsafe_code)]

use super::aws_lc::digest::Shake256;
use super::aws_lc::ml_dsa::MlDsa;
use super::aws_lc::spki::Parsed;
use super::private::Inner;
use super::public::check_digest_len;
use super::stack::{ML_DSA_44, ML_DSA_44_ALIKE, ML_DSA_65, ML_DSA_65_ALIKE, ML_DSA_87, ML_DSA_87_ALIKE, WipedAfter};
use super::{Hash, PrivateKey, PublicKey, Secret};
use crate::error::{Cause, Result};
use ml_dsa::ExpandedSigningKey;

/// A parameter set of ML-DSA (FIPS 204, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MlDsaSet {
    /// ML-DSA-44.
    MlDsa44,
    /// ML-DSA-65.
    MlDsa65,
    /// ML-DSA-87.
    MlDsa87,
}

/// The length in bytes of the seed ξ that a key pair is made from.
pub(super) const SEED_LEN: usize = 32;
/// The length in bytes of µ.
pub(super) const MU_LEN: usize = 64;

impl MlDsaSet {
    /// Every parameter set.
    pub const ALL: &[MlDsaSet] = &[MlDsaSet::MlDsa44, MlDsaSet::MlDsa65, MlDsaSet::MlDsa87];

    /// The lengths in bytes of its public keys, expanded private keys and signatures (FIPS 204, table 2).
    fn lengths(self) -> [usize; 3] {
        match self {
            MlDsaSet::MlDsa44 => [1312, 2560, 2420],
            MlDsaSet::MlDsa65 => [1952, 4032, 3309],
            MlDsaSet::MlDsa87 => [2592, 4896, 4627],
        }
    }

    /// The length of a public key in bytes.
    pub fn public_key_len(self) -> usize {
        self.lengths()[0]
    }

    /// The length of an expanded private key in bytes.
    pub fn private_key_len(self) -> usize {
        self.lengths()[1]
    }

    /// The length of a signature in bytes.
    pub fn signature_len(self) -> usize {
        self.lengths()[2]
    }

    /// Wipes as much of the stack as making a key or a signature used.
    pub(super) fn wipe_stack(self) {
        match self {
            MlDsaSet::MlDsa44 => drop(WipedAfter::<ML_DSA_44>),
            MlDsaSet::MlDsa65 => drop(WipedAfter::<ML_DSA_65>),
            MlDsaSet::MlDsa87 => drop(WipedAfter::<ML_DSA_87>),
        }
    }

    /// The content octets of its object identifier (RFC 9881, section 2).
    pub(super) fn oid(self) -> &'static [u8] {
        match self {
            MlDsaSet::MlDsa44 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x11],
            MlDsaSet::MlDsa65 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12],
            MlDsaSet::MlDsa87 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x13],
        }
    }
}

/// What a signature of ML-DSA is of, µ, under way: a digest of the public key, the context and the message
/// (FIPS 204, algorithm 7, line 6). Only µ goes to the private key, so that no message has to be kept.
pub struct Mu(Shake256);

impl Mu {
    /// `domain` tells messages from digests.
    fn new(key: &PublicKey, domain: u8, context: &[u8]) -> Result<Self> {
        let Parsed::MlDsa(key) = key.parsed() else { return Err(Cause::KeyTypeInconsistent.into()) };
        let len =
            u8::try_from(context.len()).map_err(|_| Cause::MechanismParamInvalid.with("ML-DSA context length"))?;
        let mut shake = Shake256::new();
        shake.update(key.tr());
        shake.update(&[domain, len]);
        shake.update(context);
        Ok(Self(shake))
    }

    /// Adds a part of the message.
    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// µ of all that was added.
    pub fn finish(self) -> [u8; MU_LEN] {
        self.0.finish()
    }
}

impl PublicKey {
    /// Starts µ of a message, with a context of at most 255 bytes.
    pub fn ml_dsa_mu(&self, context: &[u8]) -> Result<Mu> {
        Mu::new(self, 0, context)
    }

    /// µ of a message's digest (HashML-DSA; FIPS 204, algorithm 4).
    pub fn ml_dsa_mu_of_digest(&self, context: &[u8], hash: Hash, digest: &[u8]) -> Result<[u8; MU_LEN]> {
        check_digest_len(hash, digest)?;
        let mut mu = Mu::new(self, 1, context)?;
        let oid = hash.oid();
        // The DER of an object identifier; all of them are short.
        mu.update(&[0x06, oid.len() as u8]);
        mu.update(oid);
        mu.update(digest);
        Ok(mu.finish())
    }

    /// Verifies an ML-DSA signature of µ.
    pub fn verify_ml_dsa(&self, mu: &[u8; MU_LEN], signature: &[u8]) -> Result<()> {
        let Parsed::MlDsa(key) = self.parsed() else { return Err(Cause::KeyTypeInconsistent.into()) };
        if signature.len() != key.set().signature_len() {
            return Err(Cause::SignatureLenRange.into());
        }
        key.verify(mu, signature)
    }
}

/// Signs µ, and wipes the stack.
pub(super) fn sign(key: &MlDsa, mu: &[u8; MU_LEN]) -> Result<Vec<u8>> {
    let mut signature = vec![0; key.set().signature_len()];
    let signed = key.sign(mu, &mut signature);
    key.set().wipe_stack();
    signed.map(|()| signature)
}

/// Signs µ without random bytes, which AWS-LC does not do, and wipes the stack.
fn sign_alike(key: &MlDsa, mu: &[u8; MU_LEN]) -> Result<Vec<u8>> {
    let expanded = key.expanded()?;
    let signature = match key.set() {
        MlDsaSet::MlDsa44 => {
            let _wiped = WipedAfter::<ML_DSA_44_ALIKE>;
            alike::<ml_dsa::MlDsa44>(&expanded, mu)?
        }
        MlDsaSet::MlDsa65 => {
            let _wiped = WipedAfter::<ML_DSA_65_ALIKE>;
            alike::<ml_dsa::MlDsa65>(&expanded, mu)?
        }
        MlDsaSet::MlDsa87 => {
            let _wiped = WipedAfter::<ML_DSA_87_ALIKE>;
            alike::<ml_dsa::MlDsa87>(&expanded, mu)?
        }
    };
    // By the other library. A faulty signature beside a right one of the same µ would give the key away.
    key.verify(mu, &signature).map_err(|_| Cause::FaultDetected)?;
    Ok(signature)
}

/// A frame of its own, so that what it puts on the stack lies below the caller's.
#[inline(never)]
fn alike<P: ml_dsa::MlDsaParams>(expanded: &Secret, mu: &[u8; MU_LEN]) -> Result<Vec<u8>> {
    let expanded = expanded.expose().try_into().map_err(|_| Cause::CryptoLibrary)?;
    // It expects a key that was checked, as AWS-LC has done.
    #[allow(deprecated, reason = "keys without a seed exist, and the other library knows both")]
    let key = Box::new(ExpandedSigningKey::<P>::from_expanded(expanded));
    Ok(key.sign_mu_deterministic(mu.into()).encode().to_vec())
}

impl PrivateKey {
    /// Signs µ with ML-DSA: hedged, with fresh random bytes in every signature, or the same µ always alike.
    pub fn ml_dsa_sign(&self, mu: &[u8; MU_LEN], hedged: bool) -> Result<Vec<u8>> {
        let Inner::MlDsa(key) = self.key()? else { return Err(Cause::KeyTypeInconsistent.into()) };
        if hedged { sign(key, mu) } else { sign_alike(key, mu) }
    }
}
