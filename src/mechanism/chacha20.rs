//! From a mechanism and its parameter to a cipher of secret keys.

use super::Request;
use super::aes::aes;
use super::family::Family;
use super::params::Params;
use crate::crypto::{ChaCha20, ChaCha20Mode, ChaCha20Nonce, Direction, Symmetric};
use crate::error::{Cause, Result};
use cryptoki_sys::CK_ULONG;

/// The cipher that a mechanism stands for. `MechanismParamInvalid` if it has no such parameter,
/// `KeyTypeInconsistent` if the mechanism is none of a secret key.
pub fn symmetric(request: &Request, direction: Direction) -> Result<Symmetric> {
    match (request.mechanism.family, &request.params) {
        (Family::ChaCha20 | Family::ChaCha20Poly1305, Params::ChaCha20(mode)) => {
            ChaCha20::new(mode.clone(), direction).map(Symmetric::ChaCha20)
        }
        _ => aes(request, direction).map(Symmetric::Aes),
    }
}

/// `CK_CHACHA20_PARAMS`. The counter lies in memory as in the cipher's state: its least byte first.
pub(super) fn stream(counter: &[u8], nonce: &[u8]) -> Option<ChaCha20Mode> {
    let nonce = ChaCha20Nonce::from_bytes(nonce)?;
    let counter_bits = u32::try_from(counter.len()).ok()?.checked_mul(8)?;
    let counter = match counter_bits {
        32 => u32::from_le_bytes(counter.try_into().ok()?).into(),
        64 => u64::from_le_bytes(counter.try_into().ok()?),
        _ => return None,
    };
    Some(ChaCha20Mode::Stream { counter_bits, counter, nonce })
}

/// `CK_SALSA20_CHACHA20_POLY1305_PARAMS`.
pub(super) fn poly1305(nonce: &[u8], aad: &[u8]) -> Option<ChaCha20Mode> {
    Some(ChaCha20Mode::Poly1305 { nonce: ChaCha20Nonce::from_bytes(nonce)?, aad: aad.to_vec() })
}

/// The length in bytes of what has so many bits; `MechanismParamInvalid` unless it is one of a counter or nonce of
/// ChaCha20.
pub fn len_of_bits(bits: CK_ULONG) -> Result<CK_ULONG> {
    match bits {
        32 | 64 | 96 | 192 => Ok(bits / 8),
        _ => Err(Cause::MechanismParamInvalid.with(format!("a counter or nonce of {bits} bits"))),
    }
}

/// The length in bytes of a nonce with Poly1305, which PKCS#11 gives in bits and its users in bytes: no length in the
/// one is one in the other. `MechanismParamInvalid` for any other.
pub fn nonce_len(said: CK_ULONG) -> Result<CK_ULONG> {
    match said {
        8 | 12 | 24 => Ok(said),
        64 | 96 | 192 => Ok(said / 8),
        _ => Err(Cause::MechanismParamInvalid.with(format!("ulNonceLen {said}"))),
    }
}
