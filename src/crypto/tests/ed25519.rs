//! Ed25519 against ed25519-dalek.

use super::super::{EdVariant, Hash, KeyKind, PrivateKey, PublicKey, PublicParts};
use super::{assert_fails, random_bytes, unhex};
use crate::error::Cause;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::{Signer, SigningKey, Verifier};

fn pair() -> (SigningKey, PrivateKey) {
    let theirs = SigningKey::from_bytes(random_bytes(32).as_slice().try_into().unwrap());
    let ours = PrivateKey::from_pkcs8(theirs.to_pkcs8_der().unwrap().as_bytes()).unwrap();
    (theirs, ours)
}

#[test]
fn pure_signatures_are_theirs() {
    let (theirs, ours) = pair();
    let public = ours.public_key();
    assert_eq!(ours.kind(), KeyKind::Ed25519);
    assert_eq!(public.parts().unwrap(), PublicParts::Ed25519 { point: theirs.verifying_key().to_bytes() });
    for len in [0, 1, 63, 64, 1000] {
        let message = random_bytes(len);
        let signature = ours.eddsa_sign(EdVariant::Pure, &message).unwrap();
        assert_eq!(signature, theirs.sign(&message).to_bytes());
        public.verify_eddsa(EdVariant::Pure, &message, &signature).unwrap();
        let parsed = ed25519_dalek::Signature::from_slice(&signature).unwrap();
        theirs.verifying_key().verify(&message, &parsed).unwrap();
    }
}

#[test]
fn prehashed_signatures_are_theirs_and_can_be_streamed() {
    use sha2::Digest;
    let (theirs, ours) = pair();
    let message = random_bytes(500);
    let prehash: [u8; 64] = Hash::Sha512.digest(&message).as_ref().try_into().unwrap();
    for context in [&b""[..], b"context", &[7; 255]] {
        let signature = ours.eddsa_sign(EdVariant::Ph(context), &message).unwrap();
        let expected = theirs.sign_prehashed(sha2::Sha512::new().chain_update(&message), Some(context)).unwrap();
        assert_eq!(signature, expected.to_bytes());
        assert_eq!(signature, ours.eddsa_sign_prehash(context, &prehash).unwrap());
        ours.public_key().verify_eddsa(EdVariant::Ph(context), &message, &signature).unwrap();
        ours.public_key().verify_eddsa_prehash(context, &prehash, &signature).unwrap();
    }
}

/// RFC 8032, section 7.2, the first vector ("foo").
#[test]
fn signatures_with_context_are_those_of_the_standard() {
    let seed = unhex("0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6");
    let theirs = SigningKey::from_bytes(seed.as_slice().try_into().unwrap());
    let ours = PrivateKey::from_pkcs8(theirs.to_pkcs8_der().unwrap().as_bytes()).unwrap();
    let message = unhex("f726936d19c800494e3fdaff20b276a8");
    let signature = ours.eddsa_sign(EdVariant::Ctx(b"foo"), &message).unwrap();
    assert_eq!(
        signature,
        unhex(
            "55a4cc2f70a54e04288c5f4cd1e45a7bb520b36292911876cada7323198dd87a\
             8b36950b95130022907a7fb7c4e9b2d5f6cca685a587b4b21f4b888e4e7edb0d"
        )
    );
    ours.public_key().verify_eddsa(EdVariant::Ctx(b"foo"), &message, &signature).unwrap();
    assert_fails(ours.public_key().verify_eddsa(EdVariant::Ctx(b"bar"), &message, &signature), Cause::SignatureInvalid);
}

#[test]
fn wrong_signatures_lengths_and_contexts_have_their_own_errors() {
    let (_, ours) = pair();
    let public = ours.public_key();
    let mut signature = ours.eddsa_sign(EdVariant::Pure, b"message").unwrap();
    assert_fails(public.verify_eddsa(EdVariant::Pure, b"massage", &signature), Cause::SignatureInvalid);
    assert_fails(public.verify_eddsa(EdVariant::Ph(b""), b"message", &signature), Cause::SignatureInvalid);
    assert_fails(public.verify_eddsa(EdVariant::Pure, b"message", &signature[..63]), Cause::SignatureLenRange);
    assert_fails(public.verify_eddsa(EdVariant::Pure, b"message", &[]), Cause::SignatureLenRange);
    for at in 0..64 {
        signature[at] ^= 1;
        assert_fails(public.verify_eddsa(EdVariant::Pure, b"message", &signature), Cause::SignatureInvalid);
        signature[at] ^= 1;
    }
    for variant in [EdVariant::Ctx(b""), EdVariant::Ctx(&[0; 256]), EdVariant::Ph(&[0; 256])] {
        assert_fails(ours.eddsa_sign(variant, b"message"), Cause::MechanismParamInvalid);
        assert_fails(public.verify_eddsa(variant, b"message", &signature), Cause::MechanismParamInvalid);
    }
    assert_fails(ours.ecdsa_sign(b"digest"), Cause::KeyTypeInconsistent);
    assert_fails(ours.sign_pkcs1(None, b"data"), Cause::KeyTypeInconsistent);
    assert_fails(ours.decrypt_pkcs1(b"data"), Cause::KeyTypeInconsistent);
    assert_fails(public.encrypt_pkcs1(b"data"), Cause::KeyTypeInconsistent);
}

#[test]
fn a_public_key_is_a_point_of_the_curve() {
    // y = 2 has no x.
    let mut no_point = [0; 32];
    no_point[0] = 2;
    assert_fails(PublicKey::from_ed25519(&no_point), Cause::AttributeValueInvalid);
    let (theirs, ours) = pair();
    let public = PublicKey::from_ed25519(&theirs.verifying_key().to_bytes()).unwrap();
    assert_eq!(&public, ours.public_key());
    assert_eq!(PublicKey::from_spki(public.spki_der()).unwrap(), public);
}
