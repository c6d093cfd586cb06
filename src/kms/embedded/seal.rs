//! The ciphertext blob: AES-256-GCM with the encryption context as additional data.
//!
//! Layout: magic (8 bytes), KMS key id (36 bytes, as text), nonce (12 bytes), ciphertext and tag. All that
//! goes before the ciphertext is additional data too, followed by the context: pairs sorted by key, each
//! string behind its length as 4 bytes, big-endian, so that no two contexts have the same encoding.

use super::exception::Exception;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use std::collections::BTreeMap;

/// The longest blob that KMS takes.
pub(super) const MAX_BLOB: usize = 6144;

const MAGIC: &[u8; 8] = b"\x01EMBKMS\x01";
const KEY_ID: usize = 36;
const NONCE: usize = 12;
const TAG: usize = 16;
const HEADER: usize = MAGIC.len() + KEY_ID + NONCE;

/// What a blob says before it is opened.
pub(super) fn key_id(blob: &[u8]) -> Option<&str> {
    let rest = blob.strip_prefix(MAGIC)?;
    if rest.len() < KEY_ID + NONCE + TAG {
        return None;
    }
    std::str::from_utf8(&rest[..KEY_ID]).ok()
}

/// Seals `plaintext` under a key of 32 bytes.
pub(super) fn seal(
    id: &str,
    key: &[u8; 32],
    context: &BTreeMap<String, String>,
    plaintext: &[u8],
) -> Result<Vec<u8>, Exception> {
    let failed = |what: &str| Exception::new("KMSInternalException", format!("{what} failed"));
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|_| failed("the system's random generator"))?;
    let mut blob = Vec::with_capacity(HEADER + plaintext.len() + TAG);
    blob.extend_from_slice(MAGIC);
    blob.extend_from_slice(id.as_bytes());
    blob.extend_from_slice(&nonce);
    let payload = Payload { msg: plaintext, aad: &associated_data(&blob, context) };
    let sealed = cipher(key).encrypt(&Nonce::from(nonce), payload).map_err(|_| failed("encryption"))?;
    blob.extend_from_slice(&sealed);
    Ok(blob)
}

/// Opens a blob of this key. KMS tells no more than that it does not open.
pub(super) fn open(key: &[u8; 32], context: &BTreeMap<String, String>, blob: &[u8]) -> Result<Vec<u8>, Exception> {
    let invalid = || Exception::new("InvalidCiphertextException", "");
    let (header, sealed) = blob.split_at_checked(HEADER).ok_or_else(invalid)?;
    let nonce: [u8; NONCE] = header[HEADER - NONCE..].try_into().map_err(|_| invalid())?;
    let payload = Payload { msg: sealed, aad: &associated_data(header, context) };
    cipher(key).decrypt(&Nonce::from(nonce), payload).map_err(|_| invalid())
}

fn cipher(key: &[u8; 32]) -> Aes256Gcm {
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key))
}

fn associated_data(header: &[u8], context: &BTreeMap<String, String>) -> Vec<u8> {
    let mut data = header.to_vec();
    for text in context.iter().flat_map(|(key, value)| [key, value]) {
        data.extend_from_slice(&(text.len() as u32).to_be_bytes());
        data.extend_from_slice(text.as_bytes());
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01234567-89ab-4def-8123-456789abcdef";

    fn context(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn each_bit_counts() {
        let pairs = context(&[("a", "1")]);
        let blob = seal(ID, &[7; 32], &pairs, b"secret").unwrap();
        assert_eq!(key_id(&blob), Some(ID));
        assert_eq!(open(&[7; 32], &pairs, &blob).unwrap(), b"secret");
        for index in 0..blob.len() {
            for bit in 0..8 {
                let mut bad = blob.clone();
                bad[index] ^= 1 << bit;
                assert!(open(&[7; 32], &pairs, &bad).is_err(), "byte {index}, bit {bit}");
            }
            assert!(open(&[7; 32], &pairs, &blob[..index]).is_err());
        }
        assert!(open(&[8; 32], &pairs, &blob).is_err());
    }

    #[test]
    fn contexts_that_look_alike_are_different() {
        let alike = [
            context(&[]),
            context(&[("", "")]),
            context(&[("ab", "c")]),
            context(&[("a", "bc")]),
            context(&[("a", "b"), ("c", "d")]),
            context(&[("a", "bcd")]),
        ];
        for (i, sealed) in alike.iter().enumerate() {
            let blob = seal(ID, &[7; 32], sealed, b"x").unwrap();
            for (j, tried) in alike.iter().enumerate() {
                assert_eq!(open(&[7; 32], tried, &blob).is_ok(), i == j, "{sealed:?} as {tried:?}");
            }
        }
    }
}
