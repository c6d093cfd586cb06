//! Loading private keys: from their encoding to what computes.
#![forbid(unsafe_code)]

use super::aws_lc::rsa::{Padding, Rsa};
use super::aws_lc::{ec::EcKey, ed25519, ml_dsa::MlDsa, ml_kem::MlKem, x25519};
use super::ml_dsa::{self, MU_LEN};
use super::ml_kem;
use super::pkcs8::{self, Algorithm, Peeled};
use super::private::{Inner, array, ed25519_pair};
use super::public::RSA_BITS;
use super::stack::{KEM, WipedAfter};
use super::{EdVariant, Hash, KeyKind, MlDsaSet, MlKemSet, PublicKey, Secret, curve448, dh, mac, pkcs1};
use crate::error::{Cause, Result};
use crate::host::protected::Block;
use zeroize::Zeroizing;

/// What the first signature signs; a digest of this length suits every kind of key.
const FIRST: &[u8; 32] = b"pairwise consistency of this key";

/// The same, as long as what ML-DSA signs.
fn first_mu() -> [u8; MU_LEN] {
    std::array::from_fn(|index| FIRST[index % FIRST.len()])
}

impl Inner {
    /// Parses and checks what can be checked without using the key.
    pub(super) fn parse(peeled: &Peeled<'_>) -> Result<Self> {
        Ok(match peeled.algorithm {
            Algorithm::Rsa => {
                let rsa = Rsa::parse_private(peeled.key)?;
                if !RSA_BITS.contains(&rsa.bits()) {
                    return Err(Cause::SealKeyMalformed.with("RSA modulus length"));
                }
                Self::of_rsa(rsa)?
            }
            Algorithm::Ec(curve) => Inner::Ec(curve, EcKey::parse_private(peeled.key, curve)?),
            Algorithm::Ed25519 => {
                let mut pair = Zeroizing::new([0; 64]);
                ed25519::expand_seed(pkcs8::curve_private_key(peeled.key)?, &mut pair);
                Inner::Ed25519(Block::copy_of(pair.as_slice())?)
            }
            Algorithm::X25519 => Inner::X25519(Block::copy_of(pkcs8::curve_private_key::<32>(peeled.key)?)?),
            Algorithm::Ed448 => {
                Inner::Ed448(Block::copy_of(pkcs8::curve_private_key::<{ curve448::ED448_LEN }>(peeled.key)?)?)
            }
            Algorithm::X448 => {
                Inner::X448(Block::copy_of(pkcs8::curve_private_key::<{ curve448::X448_LEN }>(peeled.key)?)?)
            }
            Algorithm::MlKem(set) => Inner::MlKem(of_ml_kem(set, peeled.key)?),
            Algorithm::MlDsa(set) => Inner::MlDsa(of_ml_dsa(set, peeled.key)?),
            Algorithm::SlhDsa(set) => {
                set.check(peeled.key)?;
                Inner::SlhDsa(set, Block::copy_of(peeled.key)?)
            }
            Algorithm::Dh(group) => {
                let private = pkcs8::dh_private_key(peeled.key)?;
                dh::check_private(group, private)?;
                Inner::Dh(group, Block::copy_of(private)?)
            }
        })
    }

    /// A private key of RSA, of no more bits than the longest there is.
    pub(super) fn of_rsa(rsa: Rsa) -> Result<Self> {
        let mut exponent = Zeroizing::new([0; pkcs1::MAX_LEN]);
        let exponent = &mut exponent[..rsa.bits().div_ceil(8) as usize];
        // Longer than the modulus only if it was never reduced, which nobody's key generation does.
        rsa.private_exponent(exponent).map_err(|_| Cause::SealKeyMalformed.with("RSA private exponent"))?;
        let mut exponent_hash = Block::zeroed(Hash::Sha256.len())?;
        let digest = Zeroizing::new(Hash::Sha256.digest(exponent));
        exponent_hash.expose_mut().copy_from_slice(&digest);
        Ok(Inner::Rsa { rsa, exponent_hash })
    }

    /// The public key, computed from the private one.
    pub(super) fn derive_public(&self) -> Result<PublicKey> {
        match self {
            Inner::Rsa { rsa, .. } => PublicKey::from_rsa(&rsa.modulus(), &rsa.exponent()),
            Inner::Ec(curve, key) => PublicKey::from_ec(*curve, &key.point(*curve)?),
            Inner::Ed25519(pair) => {
                let (_, public) = ed25519_pair(pair)?.split_last_chunk().ok_or(Cause::CryptoLibrary)?;
                PublicKey::from_ed25519(public)
            }
            Inner::X25519(private) => PublicKey::from_x25519(&x25519::public_of(array(private)?)),
            Inner::MlKem(key) => PublicKey::from_ml_kem(key.set(), &key.public()?),
            Inner::MlDsa(key) => PublicKey::from_ml_dsa(key.set(), &key.public()?),
            Inner::Ed448(seed) => PublicKey::from_ed448(&curve448::ed448_public_of(array(seed)?)),
            Inner::X448(private) => PublicKey::from_x448(&curve448::x448_public_of(array(private)?)),
            Inner::Dh(group, private) => PublicKey::from_dh(*group, &dh::public_of(*group, private.expose())?)
                .map_err(|error| Cause::SealKeyMalformed.with(error.detail().to_owned())),
            Inner::SlhDsa(set, key) => PublicKey::from_slh_dsa(*set, set.public_of(key.expose())?),
        }
    }

    /// A signature, or nothing of a key that makes none.
    pub(super) fn first_signature(&self) -> Result<Vec<u8>> {
        let mut signature;
        match self {
            Inner::Rsa { rsa, .. } => {
                signature = vec![0; rsa.bits().div_ceil(8) as usize];
                rsa.private(Padding::Pkcs1, FIRST, &mut signature)?;
            }
            Inner::Ec(curve, key) => {
                signature = vec![0; 2 * curve.field_len()];
                key.sign(FIRST, &mut signature)?;
            }
            Inner::Ed25519(pair) => {
                let mut fixed = [0; 64];
                ed25519::sign(ed25519_pair(pair)?, EdVariant::Pure, FIRST, &mut fixed)?;
                signature = fixed.to_vec();
            }
            Inner::MlDsa(key) => signature = ml_dsa::sign(key, &first_mu())?,
            Inner::Ed448(seed) => signature = curve448::ed448_sign(array(seed)?, EdVariant::Pure, FIRST)?,
            // A key of SLH-DSA was computed anew to be compared, and each of its signatures is verified.
            Inner::X25519(_) | Inner::X448(_) | Inner::MlKem(_) | Inner::SlhDsa(..) | Inner::Dh(..) => {
                signature = Vec::new()
            }
        }
        Ok(signature)
    }
}

/// In whichever form it comes. The seed is kept if there is one: the expanded key follows from it.
fn of_ml_kem(set: MlKemSet, key: &[u8]) -> Result<MlKem> {
    let _wiped = WipedAfter::<KEM>;
    let form = pkcs8::lattice::<{ ml_kem::SEED_LEN }>(key)?;
    let (Some(seed), expanded) = (form.seed, form.expanded) else {
        return MlKem::from_expanded(set, form.expanded.unwrap_or_default());
    };
    let key = MlKem::parse_seed(pkcs8::write_seed(Algorithm::MlKem(set), seed)?.expose(), set)?;
    check_expanded(expanded, || key.expanded())?;
    Ok(key)
}

/// The same for ML-DSA.
fn of_ml_dsa(set: MlDsaSet, key: &[u8]) -> Result<MlDsa> {
    let form = pkcs8::lattice(key)?;
    let key = match form.seed {
        Some(seed) => MlDsa::from_seed(set, seed),
        None => MlDsa::from_expanded(set, form.expanded.unwrap_or_default()),
    };
    set.wipe_stack();
    let key = key?;
    if form.seed.is_some() {
        check_expanded(form.expanded, || key.expanded())?;
    }
    Ok(key)
}

/// An expanded key that comes with a seed is the one that follows from it.
fn check_expanded(given: Option<&[u8]>, computed: impl FnOnce() -> Result<Secret>) -> Result<()> {
    match given {
        Some(given) if !mac::constant_time_eq(given, computed()?.expose()) => {
            Err(Cause::SealKeyMalformed.with("the expanded key is not the seed's"))
        }
        _ => Ok(()),
    }
}

/// The pairwise consistency test: what the private key signed verifies under the public key derived from it.
pub(super) fn check_first_signature(public: &PublicKey, signature: &[u8]) -> Result<()> {
    let verified = match public.kind() {
        KeyKind::Rsa { .. } => public.verify_pkcs1(None, FIRST, signature),
        KeyKind::Ec(_) => public.verify_ecdsa(FIRST, signature),
        KeyKind::Ed25519 | KeyKind::Ed448 => public.verify_eddsa(EdVariant::Pure, FIRST, signature),
        KeyKind::MlDsa(_) => public.verify_ml_dsa(&first_mu(), signature),
        KeyKind::X25519 | KeyKind::X448 | KeyKind::MlKem(_) | KeyKind::SlhDsa(_) | KeyKind::Dh(_) => Ok(()),
    };
    verified.map_err(|_| Cause::SealKeyMalformed.with("what the key signs does not verify"))
}
