//! Message authentication and key derivation, for our own records.
#![forbid(unsafe_code)]

use super::aws_lc::mac;
use crate::error::Result;

/// HMAC-SHA-256 of the concatenation of `parts`. Callers make the parts' lengths unambiguous.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    mac::hmac_sha256(key, parts)
}

/// HKDF with SHA-256 (RFC 5869) into `out`, which has at most 8160 bytes.
pub fn hkdf_sha256(ikm: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) -> Result<()> {
    mac::hkdf_sha256(ikm, salt, info, out)
}

/// Whether `a` and `b` are equal; the time tells nothing but whether their lengths are.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && mac::equal(a, b)
}
