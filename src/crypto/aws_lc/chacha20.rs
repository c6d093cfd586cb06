//! ChaCha20 (RFC 8439).

use crate::crypto::stack::{SIGN, WipedAfter};
use aws_lc_sys::CRYPTO_chacha_20;

/// The length of a key in bytes.
pub(in crate::crypto) const KEY_LEN: usize = 32;
/// The length of a block of the key stream in bytes.
pub(in crate::crypto) const BLOCK_LEN: usize = 64;
/// The length of a nonce in bytes, beside a counter of 32 bits.
pub(in crate::crypto) const NONCE_LEN: usize = 12;

/// Encrypts or decrypts in place what begins with a block. The counter wraps without a word.
pub(in crate::crypto) fn apply(key: &[u8; KEY_LEN], nonce: &[u8; NONCE_LEN], counter: u32, data: &mut [u8]) {
    let _wiped = WipedAfter::<SIGN>;
    let at = data.as_mut_ptr();
    // SAFETY: the arrays have the lengths that are read; AWS-LC works in place where input and output are the same,
    // on as many bytes as the slice has.
    unsafe { CRYPTO_chacha_20(at, at, data.len(), key.as_ptr(), nonce.as_ptr(), counter) }
}
