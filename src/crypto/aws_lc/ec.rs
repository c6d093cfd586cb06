//! Keys on short Weierstrass curves: ECDSA and ECDH.

use super::{Number, check, check_or, failure, owner, reader, take_error};
use crate::crypto::Curve;
use crate::error::{Cause, Result};
use aws_lc_sys::*;
use std::ptr;

owner!(
    /// A public or private key on one of our curves.
    EcKey, EC_KEY, EC_KEY_free
);
owner!(
    /// A point.
    Point, EC_POINT, EC_POINT_free
);
owner!(
    /// A signature as two numbers.
    Signature, ECDSA_SIG, ECDSA_SIG_free
);

// SAFETY: AWS-LC's keys may be used from any thread, by several at once as long as none changes them;
// nothing here changes a key after it is made.
unsafe impl Send for EcKey {}
// SAFETY: as above.
unsafe impl Sync for EcKey {}

fn group(curve: Curve) -> *const EC_GROUP {
    // SAFETY: these return pointers to constants.
    unsafe {
        match curve {
            Curve::P256 => EC_group_p256(),
            Curve::P384 => EC_group_p384(),
            Curve::P521 => EC_group_p521(),
            Curve::Secp256k1 => EC_group_secp256k1(),
        }
    }
}

fn nid(curve: Curve) -> i32 {
    match curve {
        Curve::P256 => NID_X9_62_prime256v1,
        Curve::P384 => NID_secp384r1,
        Curve::P521 => NID_secp521r1,
        Curve::Secp256k1 => NID_secp256k1,
    }
}

impl EcKey {
    /// An `ECPrivateKey` (RFC 5915) on `curve`. AWS-LC checks the scalar's range, and that a public key
    /// inside belongs to it.
    pub(in crate::crypto) fn parse_private(der: &[u8], curve: Curve) -> Result<Self> {
        let mut cbs = reader(der);
        // SAFETY: the reader covers `der`, the group is a constant.
        let key = Self::own(unsafe { EC_KEY_parse_private_key(&mut cbs, group(curve)) })
            .map_err(|_| Cause::SealKeyMalformed.with("EC private key"))?;
        if cbs.len != 0 {
            return Err(Cause::SealKeyMalformed.with("bytes after the EC private key"));
        }
        Ok(key)
    }

    /// A public key from an encoded point (SEC 1, section 2.3.3), compressed or not. It must be on the
    /// curve, and not the point at infinity.
    pub(in crate::crypto) fn from_point(curve: Curve, encoded: &[u8]) -> Result<Self> {
        let len = curve.field_len();
        let known_form = match encoded.first() {
            Some(2 | 3) => encoded.len() == 1 + len,
            Some(4) => encoded.len() == 1 + 2 * len,
            _ => false,
        };
        if !known_form {
            return Err(Cause::AttributeValueInvalid.with("EC point encoding"));
        }
        // SAFETY: all pointers are owned or constant; the point belongs to the key's group.
        unsafe {
            let key = Self::own(EC_KEY_new_by_curve_name(nid(curve)))?;
            let point = Point::own(EC_POINT_new(group(curve)))?;
            let (bytes, len) = (encoded.as_ptr(), encoded.len());
            let on_curve = EC_POINT_oct2point(group(curve), point.as_ptr(), bytes, len, ptr::null_mut());
            check_or(on_curve, Cause::AttributeValueInvalid)?;
            check_or(EC_KEY_set_public_key(key.as_ptr(), point.as_ptr()), Cause::AttributeValueInvalid)?;
            check_or(EC_KEY_check_key(key.as_ptr()), Cause::AttributeValueInvalid)?;
            Ok(key)
        }
    }

    /// Takes a reference to the key in an envelope that was parsed.
    ///
    /// # Safety
    /// `envelope` is valid and holds an EC key.
    pub(super) unsafe fn of_envelope(envelope: *const EVP_PKEY) -> Result<Self> {
        // SAFETY: the caller's.
        Self::own(unsafe { EVP_PKEY_get1_EC_KEY(envelope) })
    }

    /// The curve; `None` if it is none of ours.
    pub(super) fn curve(&self) -> Option<Curve> {
        // SAFETY: the key is valid; a key without group yields null, which is not looked into.
        let name = unsafe {
            let group = EC_KEY_get0_group(self.as_ptr());
            if group.is_null() { return None } else { EC_GROUP_get_curve_name(group) }
        };
        Curve::ALL.iter().copied().find(|curve| nid(*curve) == name)
    }

    /// The public point, uncompressed: 04 ‖ X ‖ Y.
    pub(in crate::crypto) fn point(&self, curve: Curve) -> Result<Vec<u8>> {
        let mut encoded = vec![0; 1 + 2 * curve.field_len()];
        // SAFETY: the key is valid and has a public point; at most `len` bytes are written.
        let written = unsafe {
            EC_POINT_point2oct(
                EC_KEY_get0_group(self.as_ptr()),
                EC_KEY_get0_public_key(self.as_ptr()),
                point_conversion_form_t::POINT_CONVERSION_UNCOMPRESSED,
                encoded.as_mut_ptr(),
                encoded.len(),
                ptr::null_mut(),
            )
        };
        if written == encoded.len() { Ok(encoded) } else { Err(failure()) }
    }

    /// The private number, padded on the left to fill `out`, which is as long as the field.
    pub(in crate::crypto) fn scalar(&self, out: &mut [u8]) -> Result<()> {
        // SAFETY: the key is valid; a public one yields null, which is not read.
        unsafe {
            let scalar = EC_KEY_get0_private_key(self.as_ptr());
            if scalar.is_null() {
                return Err(Cause::CryptoLibrary.with("no private number"));
            }
            check(BN_bn2bin_padded(out.as_mut_ptr(), out.len(), scalar))
        }
    }

    /// A fresh key pair.
    pub(in crate::crypto) fn generate(curve: Curve) -> Result<Self> {
        // SAFETY: the key is owned and has a group.
        unsafe {
            let key = Self::own(EC_KEY_new_by_curve_name(nid(curve)))?;
            check(EC_KEY_generate_key(key.as_ptr()))?;
            Ok(key)
        }
    }

    /// Writes the x-coordinate of this private key's multiple of the point of `peer`, a key on the same curve, to
    /// `out`, which is as long as the field. AWS-LC looks again whether the point is on the curve.
    pub(in crate::crypto) fn agree(&self, peer: &EcKey, out: &mut [u8]) -> Result<()> {
        // SAFETY: the keys are valid, one private, the other with a public point; `out` is written no further than
        // its length.
        let len = unsafe {
            let point = EC_KEY_get0_public_key(peer.as_ptr());
            ECDH_compute_key(out.as_mut_ptr().cast(), out.len(), point, self.as_ptr(), None)
        };
        if usize::try_from(len).is_ok_and(|len| len == out.len()) { Ok(()) } else { Err(failure()) }
    }

    /// Signs a digest of any length; `r` and `s` fill a half of `out` each.
    pub(in crate::crypto) fn sign(&self, digest: &[u8], out: &mut [u8]) -> Result<()> {
        let (r_out, s_out) = out.split_at_mut(out.len() / 2);
        // SAFETY: the key is private and valid, `digest` and `out` are valid slices; r and s belong to
        // the signature, which lives until the end of the block.
        unsafe {
            let signature = Signature::own(ECDSA_do_sign(digest.as_ptr(), digest.len(), self.as_ptr()))?;
            let (mut r, mut s) = (ptr::null(), ptr::null());
            ECDSA_SIG_get0(signature.as_ptr(), &mut r, &mut s);
            check(BN_bn2bin_padded(r_out.as_mut_ptr(), r_out.len(), r))?;
            check(BN_bn2bin_padded(s_out.as_mut_ptr(), s_out.len(), s))
        }
    }

    /// Verifies a signature of a digest of any length; `r` and `s` are the halves of `signature`.
    pub(in crate::crypto) fn verify(&self, digest: &[u8], signature: &[u8]) -> Result<()> {
        let (r, s) = signature.split_at(signature.len() / 2);
        let (r, s) = (Number::from_bytes(r)?, Number::from_bytes(s)?);
        // SAFETY: all pointers are owned; ECDSA_SIG_set0 takes the numbers over when it succeeds, which is
        // when they are forgotten here.
        let valid = unsafe {
            let signature = Signature::own(ECDSA_SIG_new())?;
            check(ECDSA_SIG_set0(signature.as_ptr(), r.as_ptr(), s.as_ptr()))?;
            std::mem::forget((r, s));
            ECDSA_do_verify(digest.as_ptr(), digest.len(), signature.as_ptr(), self.as_ptr())
        };
        match valid {
            1 => Ok(()),
            _ => {
                take_error();
                Err(Cause::SignatureInvalid.into())
            }
        }
    }
}
