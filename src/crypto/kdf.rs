//! Keys from keys and from passwords: HKDF (RFC 5869), PBKDF2 (RFC 8018) and what TLS and IKE derive with.
#![forbid(unsafe_code)]

use super::aws_lc::kdf;
use super::{Hash, Mac, MacAlgorithm, Secret};
use crate::error::{Cause, Result};

/// HKDF-Extract: as long as the hash's digest. An empty salt is the same as one of zeros.
pub fn hkdf_extract(hash: Hash, salt: &[u8], ikm: &[u8]) -> Result<Secret> {
    let mut prk = Secret::zeroed(hash.len());
    kdf::hkdf_extract(hash, salt, ikm, prk.expose_mut())?;
    Ok(prk)
}

/// HKDF-Expand to `len` bytes: at most 255 digests, [`Cause::KeySizeRange`] beyond.
pub fn hkdf_expand(hash: Hash, prk: &[u8], info: &[u8], len: usize) -> Result<Secret> {
    if len > 255 * hash.len() {
        return Err(Cause::KeySizeRange.with("HKDF makes at most 255 digests"));
    }
    let mut okm = Secret::zeroed(len);
    kdf::hkdf_expand(hash, prk, info, okm.expose_mut())?;
    Ok(okm)
}

/// The longest key that PBKDF2 makes here, in bytes: no key is longer, and each of its blocks costs all iterations.
const PBKDF2_MOST: usize = 1 << 16;

/// PBKDF2 with HMAC to `len` bytes, at most 64 KiB ([`Cause::KeySizeRange`] beyond). It takes as long as the caller
/// asks for; no iterations are [`Cause::MechanismParamInvalid`].
pub fn pbkdf2(hash: Hash, password: &[u8], salt: &[u8], iterations: u32, len: usize) -> Result<Secret> {
    if iterations == 0 {
        return Err(Cause::MechanismParamInvalid.with("PBKDF2 without iterations"));
    }
    if len > PBKDF2_MOST {
        return Err(Cause::KeySizeRange.with("PBKDF2 over 64 KiB"));
    }
    let mut key = Secret::zeroed(len);
    kdf::pbkdf2(hash, password, salt, iterations, key.expose_mut())?;
    Ok(key)
}

/// The longest output of the function of TLS, in bytes: no key is longer.
const TLS_MOST: usize = 1 << 16;

/// The pseudo-random function of TLS 1.2 (RFC 5246, section 5) to `len` bytes, at most 64 KiB
/// ([`Cause::KeySizeRange`] beyond).
pub fn tls_prf(hash: Hash, secret: &[u8], label: &[u8], seed: &[u8], len: usize) -> Result<Secret> {
    if len > TLS_MOST {
        return Err(Cause::KeySizeRange.with("TLS over 64 KiB"));
    }
    let mut out = Secret::zeroed(len);
    kdf::tls_prf(hash, secret, label, seed, out.expose_mut())?;
    Ok(out)
}

/// HMAC of the concatenation of `parts`: the pseudo-random function of IKE.
pub fn hmac(hash: Hash, key: &[u8], parts: &[&[u8]]) -> Result<Secret> {
    let mut mac = Mac::new(&MacAlgorithm::Hmac(hash), key)?;
    parts.iter().try_for_each(|part| mac.update(part))?;
    Ok(Secret::new(mac.finish()?.to_vec()))
}
