//! ML-DSA against the crate ml-dsa, in every form of its keys.

use super::super::{Hash, KeyKind, MlDsaSet, PrivateKey, PublicKey, PublicParts, SeededKind};
use super::parse::{OCTETS, SEQUENCE, pkcs8, tlv};
use super::{assert_fails, random_bytes};
use crate::error::Cause;
use ml_dsa::pkcs8::{EncodePrivateKey, EncodePublicKey};
use ml_dsa::{Keypair, Signature, SigningKey};

/// Runs the body once per parameter set with RustCrypto's parameters as `$theirs`.
macro_rules! each_set {
    (|$set:ident, $theirs:ident| $body:block) => {{
        each_set!(@ $set, $theirs, $body, MlDsa44);
        each_set!(@ $set, $theirs, $body, MlDsa65);
        each_set!(@ $set, $theirs, $body, MlDsa87);
    }};
    (@ $set:ident, $theirs:ident, $body:block, $name:ident) => {{
        type $theirs = ml_dsa::$name;
        let $set = MlDsaSet::$name;
        $body
    }};
}

/// PKCS#8 around the three forms: seed, expanded, both.
fn forms(set: MlDsaSet, seed: &[u8], expanded: &[u8]) -> [Vec<u8>; 3] {
    let both = tlv(SEQUENCE, &[&tlv(OCTETS, &[seed]), &tlv(OCTETS, &[expanded])]);
    let algorithm = tlv(6, &[set.oid()]);
    [tlv(0x80, &[seed]), tlv(OCTETS, &[expanded]), both].map(|key| pkcs8(0, &[&algorithm], &key, &[]))
}

/// The expanded form of their key.
macro_rules! expanded {
    ($theirs:expr) => {{
        #[allow(deprecated, reason = "the expanded form exists, whatever should be used instead")]
        $theirs.expanded_key().to_expanded().to_vec()
    }};
}

fn mu(key: &PublicKey, context: &[u8], message: &[u8]) -> [u8; 64] {
    let mut mu = key.ml_dsa_mu(context).unwrap();
    message.chunks(7).for_each(|part| mu.update(part));
    mu.finish()
}

#[test]
fn keys_come_in_every_form_and_sign_as_theirs_do() {
    each_set!(|set, Theirs| {
        let seed = random_bytes(32);
        let theirs = SigningKey::<Theirs>::from_seed(seed.as_slice().try_into().unwrap());
        let [by_seed, expanded, both] = forms(set, &seed, &expanded!(theirs));
        assert_eq!(theirs.to_pkcs8_der().unwrap().as_bytes(), by_seed);
        let their_public = theirs.verifying_key();
        let spki = their_public.to_public_key_der().unwrap();
        let key = their_public.encode().to_vec();
        for (der, canonical) in [(&by_seed, &by_seed), (&expanded, &expanded), (&both, &by_seed)] {
            let ours = PrivateKey::from_pkcs8(der).unwrap();
            assert_eq!(ours.kind(), KeyKind::MlDsa(set));
            assert_eq!(ours.to_pkcs8().unwrap().expose(), canonical.as_slice());
            let public = ours.public_key();
            assert_eq!(public.spki_der(), spki.as_bytes());
            assert_eq!(&PublicKey::from_spki(spki.as_bytes()).unwrap(), public);
            assert_eq!(&PublicKey::from_ml_dsa(set, &key).unwrap(), public);
            assert_eq!(public.parts().unwrap(), PublicParts::MlDsa { set, key: key.clone() });

            for (context, message) in [(&b""[..], &b""[..]), (b"context", b"some message"), (&[7; 255], b"m")] {
                let mu = mu(public, context, message);
                let signature = ours.ml_dsa_sign(&mu, true).unwrap();
                assert_eq!(signature.len(), set.signature_len());
                let decoded = Signature::<Theirs>::try_from(signature.as_slice()).unwrap();
                assert!(their_public.verify_with_context(message, context, &decoded));
                let made = theirs.expanded_key().sign_deterministic(message, context).unwrap().encode();
                public.verify_ml_dsa(&mu, &made).unwrap();
                assert_ne!(ours.ml_dsa_sign(&mu, true).unwrap(), signature, "it is hedged");
                assert_eq!(ours.ml_dsa_sign(&mu, false).unwrap(), made.to_vec(), "it is not");
            }
        }
    });
}

/// RustCrypto has no HashML-DSA: what it signs is put together here, as FIPS 204, algorithm 4 has it.
#[test]
fn digests_are_signed_with_their_hash() {
    each_set!(|set, Theirs| {
        let theirs = SigningKey::<Theirs>::from_seed(&[7; 32].into());
        let ours = PrivateKey::from_pkcs8(theirs.to_pkcs8_der().unwrap().as_bytes()).unwrap();
        for (hash, last) in [(Hash::Sha256, 1), (Hash::Sha512, 3), (Hash::Sha3_384, 9), (Hash::Sha512_256, 6)] {
            let digest = hash.digest(b"message");
            let oid = [6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, last];
            let made = theirs.expanded_key().sign_internal(&[&[1, 3], b"ctx", &oid, &digest], &[0; 32].into()).encode();
            let mu = ours.public_key().ml_dsa_mu_of_digest(b"ctx", hash, &digest).unwrap();
            ours.public_key().verify_ml_dsa(&mu, &made).unwrap();
            let signature = ours.ml_dsa_sign(&mu, true).unwrap();
            ours.public_key().verify_ml_dsa(&mu, &signature).unwrap();
            let other = ours.public_key().ml_dsa_mu_of_digest(b"", hash, &digest).unwrap();
            assert_fails(ours.public_key().verify_ml_dsa(&other, &signature), Cause::SignatureInvalid);
        }
        let public = ours.public_key();
        assert_fails(public.ml_dsa_mu_of_digest(b"", Hash::Sha256, &[0; 31]), Cause::DataLenRange);
        assert_fails(public.ml_dsa_mu(&[0; 256]), Cause::MechanismParamInvalid);
        assert_eq!(ours.kind(), KeyKind::MlDsa(set));
    });
}

#[test]
fn bad_signatures_and_keys_are_refused() {
    each_set!(|set, Theirs| {
        let theirs = SigningKey::<Theirs>::from_seed(&[7; 32].into());
        let ours = PrivateKey::generate(SeededKind::MlDsa(set)).unwrap();
        let (public, mu) = (ours.public_key(), [9; 64]);
        let signature = ours.ml_dsa_sign(&mu, true).unwrap();
        for at in [0, 100, signature.len() - 1] {
            let mut bad = signature.clone();
            bad[at] ^= 1;
            assert_fails(public.verify_ml_dsa(&mu, &bad), Cause::SignatureInvalid);
        }
        assert_fails(public.verify_ml_dsa(&mu, &signature[1..]), Cause::SignatureLenRange);
        assert_fails(public.verify_ml_dsa(&[8; 64], &signature), Cause::SignatureInvalid);

        let expanded = expanded!(theirs);
        let [_, _, both] = forms(set, &[8; 32], &expanded);
        assert_fails(PrivateKey::from_pkcs8(&both), Cause::SealKeyMalformed);
        // The public seed, the digest of the public key, the small vectors, the rest of the public vector.
        for at in [0, 64, 128, expanded.len() - 1] {
            let mut bad = expanded.clone();
            bad[at] ^= 0xff;
            assert_fails(PrivateKey::from_pkcs8(&forms(set, &[7; 32], &bad)[1]), Cause::SealKeyMalformed);
        }
        for seed in [&[7; 31][..], &[7; 33]] {
            assert_fails(PrivateKey::from_pkcs8(&forms(set, seed, &expanded)[0]), Cause::SealKeyMalformed);
        }
        for short in [&expanded[1..], &[]] {
            assert_fails(PrivateKey::from_pkcs8(&forms(set, &[], short)[1]), Cause::SealKeyMalformed);
        }
        assert_fails(PublicKey::from_ml_dsa(set, &[0; 31]), Cause::AttributeValueInvalid);
    });
}

#[test]
fn other_kinds_of_keys_have_no_part_in_it() {
    let ours = PrivateKey::generate(SeededKind::X25519).unwrap();
    assert_eq!(ours.kind(), KeyKind::X25519);
    assert_fails(ours.ml_dsa_sign(&[0; 64], true), Cause::KeyTypeInconsistent);
    assert_fails(ours.public_key().ml_dsa_mu(b""), Cause::KeyTypeInconsistent);
    assert_fails(ours.public_key().verify_ml_dsa(&[0; 64], b""), Cause::KeyTypeInconsistent);
    let ml_dsa = PrivateKey::generate(SeededKind::MlDsa(MlDsaSet::MlDsa44)).unwrap();
    assert_fails(ml_dsa.decapsulate(&[0; 768]), Cause::KeyTypeInconsistent);
    assert_fails(ml_dsa.ecdsa_sign(&[0; 32]), Cause::KeyTypeInconsistent);
    let other = PrivateKey::generate(SeededKind::MlDsa(MlDsaSet::MlDsa44)).unwrap();
    assert_ne!(other.public_key(), ml_dsa.public_key());
}
