//! Sealing under the token key: AES-256-GCM with a random nonce.
#![forbid(unsafe_code)]

use super::Secret;
use super::aws_lc::aead;
use super::random;
use crate::error::{Cause, Result};

/// The length of the key in bytes.
pub const KEY_LEN: usize = 32;
/// How many bytes a sealed text is longer than its plaintext: nonce and tag.
pub const OVERHEAD: usize = aead::NONCE_LEN + aead::TAG_LEN;

/// Seals `plaintext` under a key of 32 bytes: nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes). What `aad` says must be said
/// again to open it. A key serves at most 2^32 seals (SP 800-38D, section 8.3): far more than a token has objects.
pub fn seal(key: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
    let mut nonce = [0; aead::NONCE_LEN];
    random::fill(&mut nonce)?;
    let mut sealed = vec![0; OVERHEAD + plaintext.len()];
    sealed[..nonce.len()].copy_from_slice(&nonce);
    aead::seal(key, &nonce, aad, plaintext, &mut sealed[nonce.len()..])?;
    Ok(sealed)
}

/// Opens what [`seal`] made. Another key, other `aad`, any change: [`Cause::SealTokenKey`], always alike.
pub fn open(key: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Secret> {
    let (nonce, body) = sealed.split_first_chunk().ok_or(Cause::SealTokenKey)?;
    let len = body.len().checked_sub(aead::TAG_LEN).ok_or(Cause::SealTokenKey)?;
    // AWS-LC wants room for the tag too.
    let mut plaintext = Secret::zeroed(body.len());
    aead::open(key, nonce, aad, body, plaintext.expose_mut()).map_err(|_| Cause::SealTokenKey)?;
    plaintext.truncate(len);
    Ok(plaintext)
}
