//! PKCS#1 v1.5 decryption with implicit rejection (draft-irtf-cfrg-rsa-guidance, sections 7.1 and 7.2).
//!
//! A ciphertext with bad padding decrypts to a message made up from the key and the ciphertext: always
//! the same for the same ciphertext, of a length that could be true. So neither return value, length
//! nor time is an oracle (Bleichenbacher, Marvin). Byte for byte what OpenSSL 3.2 and later do.
#![forbid(unsafe_code)]

use super::Secret;
use super::mac::hmac_sha256;
use std::hint::black_box;
use zeroize::Zeroizing;

/// The longest modulus in bytes: 8192 bits.
pub(super) const MAX_LEN: usize = 1024;
/// Two octets 00 02, at least eight of padding, one 00.
pub(super) const OVERHEAD: usize = 11;

/// The message in `block`, the raw decryption of `ciphertext`, or the made-up one. Both are as long as the
/// modulus, 64 to [`MAX_LEN`] bytes; `key_hash` is SHA-256 of the private exponent, as long as the modulus.
pub(super) fn unpad(key_hash: &[u8], ciphertext: &[u8], block: &[u8]) -> Secret {
    let k = block.len();
    let key = Zeroizing::new(hmac_sha256(key_hash, &[ciphertext]));
    let mut made_up = Zeroizing::new([0; MAX_LEN]);
    expand(&key, b"message", &mut made_up[..k]);
    let made_up_len = made_up_len(&key, (k - OVERHEAD) as u32);

    // 00 02 PS 00 M, with PS of at least eight octets that are not 00.
    let mut good = is_zero(u32::from(block[0])) & is_zero(u32::from(block[1]) ^ 2);
    let (mut searching, mut separator) = (u32::MAX, 0);
    for (i, byte) in (0u32..).zip(block).skip(2) {
        let found = searching & is_zero(u32::from(*byte));
        separator |= found & i;
        searching &= !found;
    }
    good &= !searching & !is_less(separator, 10);

    let len = select(good, (k as u32).wrapping_sub(1).wrapping_sub(separator), made_up_len) as usize;
    let mut message = Secret::zeroed(k);
    for ((out, real), fake) in message.expose_mut().iter_mut().zip(block).zip(made_up.iter()) {
        *out = select(good, u32::from(*real), u32::from(*fake)) as u8;
    }
    // From here on the length, which the caller sees anyway, steers what is touched.
    message.expose_mut().copy_within(k - len.min(k).., 0);
    message.truncate(len);
    message
}

/// The last of 128 candidates that is a possible length; 0 if none is.
fn made_up_len(key: &[u8; 32], most: u32) -> u32 {
    let mut candidates = Zeroizing::new([0; 256]);
    expand(key, b"length", candidates.as_mut_slice());
    let mask = u32::MAX >> most.leading_zeros();
    candidates.as_chunks::<2>().0.iter().fold(0, |len, pair| {
        let candidate = u32::from(u16::from_be_bytes(*pair)) & mask;
        select(is_less(candidate, most + 1), candidate, len)
    })
}

/// The draft's IRPRF: HMAC in counter mode over a label and the length in bits.
fn expand(key: &[u8; 32], label: &[u8], out: &mut [u8]) {
    let bits = ((out.len() * 8) as u16).to_be_bytes();
    for (i, chunk) in (0u16..).zip(out.chunks_mut(32)) {
        let block = Zeroizing::new(hmac_sha256(key, &[&i.to_be_bytes(), label, &bits]));
        chunk.copy_from_slice(&block[..chunk.len()]);
    }
}

// Masks of all ones or all zeros. `black_box` hides from the compiler that there are only two, so that it
// makes no branch of them.

fn is_zero(x: u32) -> u32 {
    black_box(0u32.wrapping_sub((!x & x.wrapping_sub(1)) >> 31))
}

/// Both below 2^31.
fn is_less(a: u32, b: u32) -> u32 {
    black_box(0u32.wrapping_sub(a.wrapping_sub(b) >> 31))
}

fn select(mask: u32, yes: u32, no: u32) -> u32 {
    (mask & yes) | (!mask & no)
}
