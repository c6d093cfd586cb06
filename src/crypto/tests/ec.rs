//! ECDSA against p256, p384, p521 and k256.

use super::super::{Curve, KeyKind, PrivateKey, PublicKey, PublicParts};
use super::{assert_fails, random_bytes};
use crate::error::Cause;
use getrandom::SysRng;

/// Runs the body once per curve with `$key` as RustCrypto's signing key type and `$signature` as its signature.
macro_rules! each_curve {
    (|$curve:ident, $theirs:ident, $ours:ident, $krate:ident| $body:block) => {{
        each_curve!(@ $curve, $theirs, $ours, $krate, $body, Curve::P256, p256);
        each_curve!(@ $curve, $theirs, $ours, $krate, $body, Curve::P384, p384);
        each_curve!(@ $curve, $theirs, $ours, $krate, $body, Curve::P521, p521);
        each_curve!(@ $curve, $theirs, $ours, $krate, $body, Curve::Secp256k1, k256);
    }};
    (@ $curve:ident, $theirs:ident, $ours:ident, $krate:ident, $body:block, $value:expr, $path:ident) => {{
        use $path as $krate;
        use $path::pkcs8::EncodePrivateKey;
        let $curve = $value;
        let secret = {
            use $path::elliptic_curve::Generate;
            $path::SecretKey::try_generate_from_rng(&mut SysRng).unwrap()
        };
        let $ours = PrivateKey::from_pkcs8(secret.to_pkcs8_der().unwrap().as_bytes()).unwrap();
        let $theirs = $path::ecdsa::SigningKey::from(&secret);
        $body
    }};
}

/// A digest and a valid signature of it whose halves both lack leading bytes. Every fourth of P-521 does by itself; for
/// the other curves the signature comes first: a nonce k with a short r, a short s, and then the digest sk - rd.
macro_rules! short_signature {
    ($curve:expr, $theirs:expr, $ours:expr, $krate:ident) => {{
        use $krate::elliptic_curve::point::AffineCoordinates;
        use $krate::elliptic_curve::{Generate, PrimeField};
        let len = $curve.field_len();
        loop {
            if $curve == Curve::P521 {
                let signature = $ours.ecdsa_sign(b"digest").unwrap();
                if signature[0] == 0 && signature[len] == 0 {
                    break (b"digest".to_vec(), [&signature[1..len], &signature[len + 1..]].concat());
                }
                continue;
            }
            let k = $krate::NonZeroScalar::try_generate_from_rng(&mut SysRng).unwrap();
            let r = ($krate::ProjectivePoint::GENERATOR * *k).to_affine().x();
            if r[0] == 0 {
                let mut s = r;
                s[1..].copy_from_slice(&random_bytes(len - 1));
                let number = |bytes| $krate::Scalar::from_repr(bytes).unwrap();
                let digest = number(s) * *k - number(r) * **$theirs.as_nonzero_scalar();
                break (digest.to_repr().to_vec(), [&r[1..], &s[1..]].concat());
            }
        }
    }};
}

#[test]
fn signatures_verify_in_both_directions() {
    use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
    each_curve!(|curve, theirs, ours, krate| {
        assert_eq!(ours.kind(), KeyKind::Ec(curve));
        let len = curve.field_len();
        // p521 drops whole bytes of a digest that is longer than 521 bits, where FIPS 186-5 counts bits.
        let most = if curve == Curve::P521 { 65 } else { 100 };
        for digest_len in (len / 2..=most).chain([len / 2; 20]) {
            let digest = random_bytes(digest_len);
            let signature = ours.ecdsa_sign(&digest).unwrap();
            assert_eq!(signature.len(), 2 * len);
            ours.public_key().verify_ecdsa(&digest, &signature).unwrap();
            let parsed = krate::ecdsa::Signature::from_slice(&signature).unwrap();
            // k256 refuses the half of all valid signatures that have a high s.
            #[allow(clippy::useless_conversion)]
            let parsed = parsed.normalize_s();
            theirs.verifying_key().verify_prehash(&digest, &parsed).unwrap();
            let signature: krate::ecdsa::Signature = theirs.sign_prehash(&digest).unwrap();
            ours.public_key().verify_ecdsa(&digest, &signature.to_bytes()).unwrap();
        }
    });
}

#[test]
fn of_a_digest_the_leftmost_bits_of_the_order_count() {
    each_curve!(|curve, theirs, ours, krate| {
        let _ = (&theirs, size_of::<krate::ecdsa::Signature>());
        for len in [0, 1, 2, 20, 64, 66, 67, 100, 1000] {
            let digest = random_bytes(len);
            let signature = ours.ecdsa_sign(&digest).unwrap();
            ours.public_key().verify_ecdsa(&digest, &signature).unwrap();
            // The same number with zeros in front, and with a tail that is cut off, is the same digest.
            let field = curve.field_len();
            let same =
                if len <= field { [vec![0; field - len], digest.clone()].concat() } else { digest[..field].to_vec() };
            if curve != Curve::P521 || len >= field {
                ours.public_key().verify_ecdsa(&same, &signature).unwrap();
            }
            let mut other = digest;
            if let Some(first) = other.first_mut() {
                *first ^= 0x80;
                assert_fails(ours.public_key().verify_ecdsa(&other, &signature), Cause::SignatureInvalid);
            }
        }
    });
    // 521 bits of 66 bytes: the last 7 bits do not count.
    each_curve!(|curve, theirs, ours, krate| {
        let _ = (&theirs, size_of::<krate::ecdsa::Signature>());
        if curve == Curve::P521 {
            let mut digest = random_bytes(66);
            let signature = ours.ecdsa_sign(&digest).unwrap();
            digest[65] ^= 0x7f;
            ours.public_key().verify_ecdsa(&digest, &signature).unwrap();
            digest[65] ^= 0x80;
            assert_fails(ours.public_key().verify_ecdsa(&digest, &signature), Cause::SignatureInvalid);
        }
    });
}

#[test]
fn short_signatures_with_a_high_s_and_only_valid_ones_verify() {
    each_curve!(|curve, theirs, ours, krate| {
        let public = ours.public_key();
        let field = curve.field_len();
        let digest = random_bytes(32);
        let (short_digest, short) = short_signature!(curve, theirs, ours, krate);
        assert!(short.len() < 2 * field);
        public.verify_ecdsa(&short_digest, &short).unwrap();
        assert_fails(public.verify_ecdsa(b"another digest", &short), Cause::SignatureInvalid);

        let signature = ours.ecdsa_sign(&digest).unwrap();
        let parsed = krate::ecdsa::Signature::from_slice(&signature).unwrap();
        let other_s =
            krate::ecdsa::Signature::from_scalars(*parsed.r(), krate::NonZeroScalar::new(-*parsed.s()).unwrap())
                .unwrap();
        public.verify_ecdsa(&digest, &other_s.to_bytes()).unwrap();

        for len in [0, 1, 2 * field - 1, 2 * field + 1, 2 * field + 2] {
            assert_fails(public.verify_ecdsa(&digest, &vec![1; len]), Cause::SignatureLenRange);
        }
        for wrong in [vec![0; 2 * field], vec![0xff; 2 * field], vec![1; 2], vec![0; 2], vec![1; 2 * field - 2]] {
            assert_fails(public.verify_ecdsa(&digest, &wrong), Cause::SignatureInvalid);
        }
        for at in 0..signature.len() {
            let mut wrong = signature.clone();
            wrong[at] ^= 0x10;
            assert_fails(public.verify_ecdsa(&digest, &wrong), Cause::SignatureInvalid);
        }
    });
}

#[test]
fn public_keys_come_from_points_in_both_forms_and_from_spki() {
    use p256::pkcs8::EncodePublicKey;
    each_curve!(|curve, theirs, ours, krate| {
        let verifying = theirs.verifying_key();
        let public = ours.public_key();
        assert_eq!(public.spki_der(), verifying.to_public_key_der().unwrap().as_bytes());
        let point = verifying.to_sec1_point(false).as_bytes().to_vec();
        assert_eq!(public.parts().unwrap(), PublicParts::Ec { curve, point: point.clone() });
        assert_eq!(&PublicKey::from_spki(public.spki_der()).unwrap(), public);
        assert_eq!(&PublicKey::from_ec(curve, &point).unwrap(), public);
        assert_eq!(&PublicKey::from_ec(curve, verifying.to_sec1_point(true).as_bytes()).unwrap(), public);

        let mut off_curve = point.clone();
        *off_curve.last_mut().unwrap() ^= 1;
        let mut hybrid = point.clone();
        hybrid[0] = 6 | (point.last().unwrap() & 1);
        let infinity = vec![0];
        let longer = [&point[..], &[0]].concat();
        for wrong in [off_curve, hybrid, infinity, longer, vec![], point[1..].to_vec(), vec![4; point.len()]] {
            assert_fails(PublicKey::from_ec(curve, &wrong), Cause::AttributeValueInvalid);
        }
        assert_eq!(krate::SecretKey::from(theirs).to_bytes().len(), curve.field_len());
    });
}

#[test]
fn curves_are_named_by_their_object_identifiers() {
    for curve in Curve::ALL {
        assert_eq!(Curve::from_params(curve.oid_der()), Some(*curve));
        assert_eq!(curve.field_len(), curve.bits().div_ceil(8) as usize);
    }
    assert_eq!(Curve::from_params(&[]), None);
    assert_eq!(Curve::from_params(&Curve::P256.oid_der()[2..]), None);
}
