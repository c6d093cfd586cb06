//! `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7), read and written.

use super::ec::EcKey;
use super::rsa::Rsa;
use super::{Envelope, check, failure, reader};
use crate::crypto::Curve;
use crate::error::{Cause, Result};
use aws_lc_sys::*;
use std::mem::MaybeUninit;
use std::ptr;

/// A public key as parsed, of a kind that is ours.
pub(in crate::crypto) enum Parsed {
    Rsa(Rsa),
    Ec(Curve, EcKey),
    Ed25519([u8; 32]),
}

/// Parses, and refuses other kinds of keys and anything that follows. Points are on their curves, except
/// those of Ed25519, which AWS-LC looks at when it verifies.
pub(in crate::crypto) fn parse(der: &[u8]) -> Result<Parsed> {
    let mut cbs = reader(der);
    // SAFETY: the reader covers `der`.
    let envelope = Envelope::own(unsafe { EVP_parse_public_key(&mut cbs) })
        .map_err(|_| Cause::AttributeValueInvalid.with("SubjectPublicKeyInfo"))?;
    if cbs.len != 0 {
        return Err(Cause::AttributeValueInvalid.with("bytes after the SubjectPublicKeyInfo"));
    }
    // SAFETY: the envelope is valid, and asked only for the key that its type says it holds; 32 bytes are
    // the length of a raw Ed25519 key.
    unsafe {
        match EVP_PKEY_id(envelope.as_ptr()) {
            EVP_PKEY_RSA => Ok(Parsed::Rsa(Rsa::of_envelope(envelope.as_ptr())?)),
            EVP_PKEY_EC => {
                let key = EcKey::of_envelope(envelope.as_ptr())?;
                let curve = key.curve().ok_or(Cause::CurveNotSupported)?;
                Ok(Parsed::Ec(curve, key))
            }
            EVP_PKEY_ED25519 => {
                let (mut point, mut len) = ([0; 32], 32);
                check(EVP_PKEY_get_raw_public_key(envelope.as_ptr(), point.as_mut_ptr(), &mut len))?;
                Ok(Parsed::Ed25519(point))
            }
            _ => Err(Cause::AttributeValueInvalid.with("public key of another kind")),
        }
    }
}

/// The DER of a public key: an EC point always uncompressed.
pub(in crate::crypto) fn write(key: &Parsed) -> Result<Vec<u8>> {
    // SAFETY: envelopes and keys are owned and valid; the raw key has 32 bytes.
    unsafe {
        match key {
            Parsed::Rsa(rsa) => marshal(rsa.envelope()),
            Parsed::Ec(curve, key) => {
                // A key parsed from a compressed point would be written compressed again.
                let plain = EcKey::from_point(*curve, &key.point(*curve)?)?;
                let envelope = Envelope::own(EVP_PKEY_new())?;
                check(EVP_PKEY_set1_EC_KEY(envelope.as_ptr(), plain.as_ptr()))?;
                marshal(envelope.as_ptr())
            }
            Parsed::Ed25519(point) => {
                let raw = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, ptr::null_mut(), point.as_ptr(), point.len());
                marshal(Envelope::own(raw)?.as_ptr())
            }
        }
    }
}

/// # Safety
/// `key` is valid.
unsafe fn marshal(key: *const EVP_PKEY) -> Result<Vec<u8>> {
    let mut cbb = MaybeUninit::<CBB>::uninit();
    let cbb = cbb.as_mut_ptr();
    let (mut data, mut len) = (ptr::null_mut(), 0);
    // SAFETY: CBB_zero initialises the builder, so that CBB_cleanup is valid whatever happens between;
    // CBB_finish hands out a block of `len` bytes, which is copied and freed.
    unsafe {
        CBB_zero(cbb);
        let done = CBB_init(cbb, 512) == 1
            && EVP_marshal_public_key(cbb, key) == 1
            && CBB_finish(cbb, &mut data, &mut len) == 1;
        let written = if done {
            let copy = std::slice::from_raw_parts(data, len).to_vec();
            OPENSSL_free(data.cast());
            Ok(copy)
        } else {
            Err(failure())
        };
        CBB_cleanup(cbb);
        written
    }
}
