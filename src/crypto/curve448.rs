//! Ed448 and X448, which AWS-LC does not have.
//!
//! The library computes in constant time and wipes its keys. What it leaves on the stack is overwritten here; what it
//! does not look at is looked at here: contexts' lengths, points that are not written canonically, and shared secrets
//! of small order.
#![forbid(unsafe_code)]

use super::EdVariant;
use super::stack::{CURVE448, WipedAfter};
use crate::error::{Cause, Result};
use ed448_goldilocks::signature::hazmat::PrehashSigner;
use ed448_goldilocks::{PreHash, Signature, SigningKey, VerifyingKey};

/// The length in bytes of keys and points of Ed448.
pub(super) const ED448_LEN: usize = 57;
/// The length in bytes of keys and points of X448.
pub(super) const X448_LEN: usize = 56;
/// The length in bytes of a signature.
pub(super) const SIGNATURE_LEN: usize = 114;

/// The public key of a private one.
pub(super) fn ed448_public_of(seed: &[u8; ED448_LEN]) -> [u8; ED448_LEN] {
    let _wiped = WipedAfter::<CURVE448>;
    key_of(seed).verifying_key().to_bytes()
}

/// A frame of its own, which copies what is secret to the stack.
#[inline(never)]
fn key_of(seed: &[u8; ED448_LEN]) -> SigningKey {
    SigningKey::from(ed448_goldilocks::SecretKey::cast_from_core(seed))
}

/// Whether these bytes are a point that is good for a public key: on the curve, canonical, not the neutral one.
pub(super) fn is_ed448_point(point: &[u8; ED448_LEN]) -> bool {
    VerifyingKey::from_bytes(point).is_ok_and(|key| key.to_edwards().to_affine().compress().to_bytes() == *point)
}

/// The context, which is empty in the pure variant.
fn context_of(variant: EdVariant<'_>) -> &[u8] {
    match variant {
        EdVariant::Pure => &[],
        EdVariant::Ctx(context) | EdVariant::Ph(context) => context,
    }
}

/// Signs a message, or its digest of 64 bytes by SHAKE256 where the variant is of digests.
pub(super) fn ed448_sign(seed: &[u8; ED448_LEN], variant: EdVariant<'_>, message: &[u8]) -> Result<Vec<u8>> {
    let _wiped = WipedAfter::<CURVE448>;
    let (key, context) = (key_of(seed), context_of(variant));
    let signature = match variant {
        EdVariant::Ph(_) => key.with_context(context).sign_prehash(message),
        _ => key.sign_ctx(context, message),
    };
    Ok(signature.map_err(|_| Cause::CryptoLibrary)?.to_bytes().to_vec())
}

/// A digest of 64 bytes that is there already.
struct Digested<'a>(&'a [u8]);

impl PreHash for Digested<'_> {
    fn fill_bytes(&mut self, out: &mut [u8]) {
        out.copy_from_slice(self.0);
    }
}

/// Verifies a signature of a message, or of its digest of 64 bytes.
pub(super) fn ed448_verify(
    point: &[u8; ED448_LEN],
    variant: EdVariant<'_>,
    message: &[u8],
    signature: &[u8],
) -> Result<()> {
    let key = VerifyingKey::from_bytes(point).map_err(|_| Cause::AttributeValueInvalid.with("Ed448 point"))?;
    // The library overlooks the unused bits of the point in front, with which it would be another signature.
    if !signature.first_chunk().is_some_and(is_ed448_point) {
        return Err(Cause::SignatureInvalid.into());
    }
    let signature = Signature::try_from(signature).map_err(|_| Cause::SignatureInvalid)?;
    let context = context_of(variant);
    let verified = match variant {
        EdVariant::Ph(_) if message.len() != 64 => return Err(Cause::DataLenRange.into()),
        EdVariant::Ph(_) => key.verify_prehashed(&signature, Some(context), Digested(message)),
        _ => key.verify_ctx(&signature, context, message),
    };
    verified.map_err(|_| Cause::SignatureInvalid.into())
}

/// The public key of a private one.
pub(super) fn x448_public_of(private: &[u8; X448_LEN]) -> [u8; X448_LEN] {
    let _wiped = WipedAfter::<CURVE448>;
    x448_function(private, &x448::X448_BASEPOINT_BYTES)
}

/// A frame of its own, which copies what is secret to the stack.
#[inline(never)]
fn x448_function(private: &[u8; X448_LEN], point: &[u8; X448_LEN]) -> [u8; X448_LEN] {
    x448::x448_unchecked(*private, *point)
}

/// The secret shared with `peer`. [`Cause::MechanismParamInvalid`] if it is all zeros, which it is whoever agrees with a
/// point of small order, in any of its encodings (RFC 7748, section 6.2).
pub(super) fn x448_agree(private: &[u8; X448_LEN], peer: &[u8; X448_LEN], out: &mut [u8]) -> Result<()> {
    let _wiped = WipedAfter::<CURVE448>;
    let shared = zeroize::Zeroizing::new(x448_function(private, peer));
    if shared.iter().fold(0, |all, byte| all | byte) == 0 {
        return Err(Cause::MechanismParamInvalid.with("X448 point of small order"));
    }
    out.copy_from_slice(shared.as_slice());
    Ok(())
}
