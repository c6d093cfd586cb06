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
    let key = Zeroizing::new(hmac_sha256(key_hash, &[ciphertext]));
    let made_up_len = made_up_len(&key, (block.len() - OVERHEAD) as u32);
    let (good, len) = search(block);
    take(&key, block, good, len, made_up_len)
}

/// The same for a message that is a key, of which more is known: it has one of `lengths`, of which there is one at
/// least and none longer than the padding allows. The made-up message has one of them too, so that nothing which comes
/// after tells it from a true one.
pub(super) fn unpad_key(key_hash: &[u8], ciphertext: &[u8], block: &[u8], lengths: &[u32]) -> Secret {
    let key = Zeroizing::new(hmac_sha256(key_hash, &[ciphertext]));
    let (good, len) = search(block);
    let possible = lengths.iter().fold(0, |any, length| any | is_zero(len ^ length));
    take(&key, block, good & possible, len, one_of(&key, lengths))
}

/// Whether `block` is 00 02 PS 00 M, with PS of at least eight octets that are not 00, and the length of M.
fn search(block: &[u8]) -> (u32, u32) {
    let mut good = is_zero(u32::from(block[0])) & is_zero(u32::from(block[1]) ^ 2);
    let (mut searching, mut separator) = (u32::MAX, 0);
    for (i, byte) in (0u32..).zip(block).skip(2) {
        let found = searching & is_zero(u32::from(*byte));
        separator |= found & i;
        searching &= !found;
    }
    good &= !searching & !is_less(separator, 10);
    (good, (block.len() as u32).wrapping_sub(1).wrapping_sub(separator))
}

/// The last `len` bytes of `block` if it is good, a made-up message of `made_up_len` bytes otherwise.
fn take(key: &[u8; 32], block: &[u8], good: u32, len: u32, made_up_len: u32) -> Secret {
    let k = block.len();
    let mut made_up = Zeroizing::new([0; MAX_LEN]);
    expand(key, b"message", &mut made_up[..k]);
    let len = select(good, len, made_up_len) as usize;
    let mut message = Secret::zeroed(k);
    for ((out, real), fake) in message.expose_mut().iter_mut().zip(block).zip(made_up.iter()) {
        *out = select(good, u32::from(*real), u32::from(*fake)) as u8;
    }
    // From here on the length, which the caller sees anyway, steers what is touched.
    message.expose_mut().copy_within(k - len.min(k).., 0);
    message.truncate(len);
    message
}

/// One of several lengths, always the same for the same ciphertext.
fn one_of(key: &[u8; 32], lengths: &[u32]) -> u32 {
    let mut random = [0; 4];
    expand(key, b"length", &mut random);
    // Without a division, whose time may tell.
    let index = ((u64::from(u32::from_be_bytes(random)) * lengths.len() as u64) >> 32) as u32;
    (0u32..).zip(lengths).fold(0, |len, (i, length)| select(is_zero(i ^ index), *length, len))
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
