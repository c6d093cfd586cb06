//! `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7), read and written.

use super::ec::EcKey;
use super::ml_dsa::MlDsa;
use super::ml_kem::MlKem;
use super::rsa::Rsa;
use super::{Envelope, check, failure, reader};
use crate::crypto::Curve;
use crate::crypto::foreign::Foreign;
use crate::error::{Cause, Result};
use aws_lc_sys::*;
use std::mem::MaybeUninit;
use std::os::raw::c_int;
use std::ptr;

/// A public key as parsed, of a kind that is ours.
pub(in crate::crypto) enum Parsed {
    Rsa(Rsa),
    Ec(Curve, EcKey),
    Ed25519([u8; 32]),
    X25519([u8; 32]),
    MlKem(MlKem),
    MlDsa(MlDsa),
    /// What is read and written elsewhere, because AWS-LC does not know it.
    Foreign(Foreign),
}

/// Parses, and refuses other kinds of keys and anything that follows. Points are on their curves, except
/// those of Ed25519, which AWS-LC looks at when it verifies; for X25519 every number is good.
pub(in crate::crypto) fn parse(der: &[u8]) -> Result<Parsed> {
    let mut cbs = reader(der);
    // SAFETY: the reader covers `der`.
    let envelope = Envelope::own(unsafe { EVP_parse_public_key(&mut cbs) })
        .map_err(|_| Cause::AttributeValueInvalid.with("SubjectPublicKeyInfo"))?;
    if cbs.len != 0 {
        return Err(Cause::AttributeValueInvalid.with("bytes after the SubjectPublicKeyInfo"));
    }
    // SAFETY: the envelope is valid, and asked only for the key that its type says it holds.
    unsafe {
        match EVP_PKEY_id(envelope.as_ptr()) {
            EVP_PKEY_RSA => Ok(Parsed::Rsa(Rsa::of_envelope(envelope.as_ptr())?)),
            EVP_PKEY_EC => {
                let key = EcKey::of_envelope(envelope.as_ptr())?;
                let curve = key.curve().ok_or(Cause::CurveNotSupported)?;
                Ok(Parsed::Ec(curve, key))
            }
            EVP_PKEY_ED25519 => Ok(Parsed::Ed25519(raw(&envelope)?)),
            EVP_PKEY_X25519 => Ok(Parsed::X25519(raw(&envelope)?)),
            EVP_PKEY_PQDSA => MlDsa::of_envelope(envelope).map(Parsed::MlDsa),
            _ => MlKem::of_envelope(envelope).map(Parsed::MlKem),
        }
    }
}

/// The public key inside an envelope of Ed25519 or X25519.
fn raw(envelope: &Envelope) -> Result<[u8; 32]> {
    let (mut key, mut len) = ([0; 32], 32);
    // SAFETY: the envelope is valid; no more than `len` bytes are written.
    check(unsafe { EVP_PKEY_get_raw_public_key(envelope.as_ptr(), key.as_mut_ptr(), &mut len) })?;
    Ok(key)
}

/// The DER of a public key: an EC point always uncompressed.
pub(in crate::crypto) fn write(key: &Parsed) -> Result<Vec<u8>> {
    // SAFETY: envelopes and keys are owned and valid.
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
            Parsed::Ed25519(key) => marshal(of_raw(EVP_PKEY_ED25519, key)?.as_ptr()),
            Parsed::X25519(key) => marshal(of_raw(EVP_PKEY_X25519, key)?.as_ptr()),
            Parsed::MlKem(key) => marshal(key.envelope()),
            Parsed::MlDsa(key) => marshal(key.envelope()),
            Parsed::Foreign(key) => key.to_spki(),
        }
    }
}

/// An envelope of Ed25519 or X25519.
fn of_raw(kind: c_int, key: &[u8; 32]) -> Result<Envelope> {
    // SAFETY: the array is valid for its length, and copied.
    Envelope::own(unsafe { EVP_PKEY_new_raw_public_key(kind, ptr::null_mut(), key.as_ptr(), key.len()) })
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
