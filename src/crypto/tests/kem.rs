//! ML-KEM against the crate ml-kem, in every form of its keys.
#![allow(deprecated, reason = "the expanded form exists, whatever should be used instead")]

use super::super::{EdVariant, KeyKind, MlKemSet, PrivateKey, PublicKey, PublicParts};
use super::parse::{OCTETS, SEQUENCE, pkcs8, tlv};
use super::{assert_fails, random_bytes};
use crate::error::Cause;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use ml_kem::pkcs8::{EncodePrivateKey, EncodePublicKey};
use ml_kem::{Decapsulate, Encapsulate, KeyExport};

/// Runs the body once per parameter set with RustCrypto's key type as `$theirs`.
macro_rules! each_set {
    (|$set:ident, $theirs:ident| $body:block) => {{
        each_set!(@ $set, $theirs, $body, MlKemSet::MlKem512, ml_kem_512);
        each_set!(@ $set, $theirs, $body, MlKemSet::MlKem768, ml_kem_768);
        each_set!(@ $set, $theirs, $body, MlKemSet::MlKem1024, ml_kem_1024);
    }};
    (@ $set:ident, $theirs:ident, $body:block, $value:expr, $module:ident) => {{
        use ml_kem::$module::DecapsulationKey as $theirs;
        let $set: MlKemSet = $value;
        $body
    }};
}

fn algorithm(set: MlKemSet) -> Vec<u8> {
    tlv(6, &[set.oid()])
}

/// PKCS#8 around the three forms: seed, expanded, both.
fn forms(set: MlKemSet, seed: &[u8], expanded: &[u8]) -> [Vec<u8>; 3] {
    let both = tlv(SEQUENCE, &[&tlv(OCTETS, &[seed]), &tlv(OCTETS, &[expanded])]);
    [tlv(0x80, &[seed]), tlv(OCTETS, &[expanded]), both].map(|key| pkcs8(0, &[&algorithm(set)], &key, &[]))
}

/// The expanded form of their key.
macro_rules! expanded {
    ($theirs:expr) => {{
        use ml_kem::ExpandedKeyEncoding;
        $theirs.to_expanded_bytes().to_vec()
    }};
}

#[test]
fn keys_come_in_every_form_and_are_theirs() {
    each_set!(|set, Theirs| {
        let seed = random_bytes(64);
        let theirs = Theirs::from_seed(seed.as_slice().try_into().unwrap());
        let [by_seed, expanded, both] = forms(set, &seed, &expanded!(theirs));
        assert_eq!(theirs.to_pkcs8_der().unwrap().as_bytes(), by_seed);
        for der in [by_seed, expanded, both] {
            let ours = PrivateKey::from_pkcs8(&der).unwrap();
            assert_eq!(ours.kind(), KeyKind::MlKem(set));
            let public = ours.public_key();
            let spki = theirs.encapsulation_key().to_public_key_der().unwrap();
            assert_eq!(public.spki_der(), spki.as_bytes());
            assert_eq!(&PublicKey::from_spki(spki.as_bytes()).unwrap(), public);
            let key = theirs.encapsulation_key().to_bytes().to_vec();
            assert_eq!(&PublicKey::from_ml_kem(set, &key).unwrap(), public);
            assert_eq!(public.parts().unwrap(), PublicParts::MlKem { set, key });

            let (ciphertext, secret) = theirs.encapsulation_key().encapsulate_with_rng(&mut UnwrapErr(SysRng));
            assert_eq!(ours.decapsulate(&ciphertext).unwrap().expose(), secret.as_slice());
            let (ciphertext, secret) = public.encapsulate().unwrap();
            assert_eq!(ciphertext.len(), set.ciphertext_len());
            assert_eq!(theirs.decapsulate_slice(&ciphertext).unwrap().as_slice(), secret.expose());
        }
    });
}

#[test]
fn bad_ciphertexts_are_rejected_implicitly() {
    each_set!(|set, Theirs| {
        let seed = random_bytes(64);
        let theirs = Theirs::from_seed(seed.as_slice().try_into().unwrap());
        let ours = PrivateKey::from_pkcs8(theirs.to_pkcs8_der().unwrap().as_bytes()).unwrap();
        assert_eq!(ours.kind(), KeyKind::MlKem(set));
        let (mut ciphertext, secret) = ours.public_key().encapsulate().unwrap();
        for at in [0, 100, ciphertext.len() - 1] {
            ciphertext[at] ^= 1;
            let rejected = ours.decapsulate(&ciphertext).unwrap();
            assert_ne!(rejected.expose(), secret.expose());
            assert_eq!(theirs.decapsulate_slice(&ciphertext).unwrap().as_slice(), rejected.expose());
            ciphertext[at] ^= 1;
        }
        for len in [0, 1, ciphertext.len() - 1, ciphertext.len() + 1] {
            assert_fails(ours.decapsulate(&vec![0; len]), Cause::EncryptedDataLenRange);
        }
        assert_eq!(ours.decapsulate(&ciphertext).unwrap().expose(), secret.expose());
    });
}

#[test]
fn every_secret_is_new_and_no_other_operation_takes_these_keys() {
    let seed = random_bytes(64);
    let [der, ..] = forms(MlKemSet::MlKem512, &seed, &[]);
    let ours = PrivateKey::from_pkcs8(&der).unwrap();
    let public = ours.public_key();
    let ((one, first), (other, second)) = (public.encapsulate().unwrap(), public.encapsulate().unwrap());
    assert!(one != other && first.expose() != second.expose());
    assert_fails(ours.ecdh(&[9; 32]), Cause::KeyTypeInconsistent);
    assert_fails(ours.ecdsa_sign(b"digest"), Cause::KeyTypeInconsistent);
    assert_fails(ours.sign_pkcs1(None, b"data"), Cause::KeyTypeInconsistent);
    assert_fails(ours.eddsa_sign(EdVariant::Pure, b"data"), Cause::KeyTypeInconsistent);
    assert_fails(public.ecdh_ephemeral(), Cause::KeyTypeInconsistent);
    let edwards = PublicKey::from_ed25519(&[1; 32]).unwrap();
    assert_fails(edwards.encapsulate(), Cause::KeyTypeInconsistent);
}

#[test]
fn keys_that_do_not_hang_together_are_refused() {
    each_set!(|set, Theirs| {
        let seed = random_bytes(64);
        let theirs = Theirs::from_seed(seed.as_slice().try_into().unwrap());
        let expanded = expanded!(theirs);
        let refused = |key: &[u8]| {
            assert_fails(PrivateKey::from_pkcs8(&pkcs8(0, &[&algorithm(set)], key, &[])), Cause::SealKeyMalformed);
        };
        let (s, e) = (&seed[..], &expanded[..]);
        // The last 32 bytes, z, take no part in what is encapsulated, and hang together with nothing but the seed.
        let k = set.private_key_len();
        for at in [0, 1, k / 4, k / 2, k - 97, k - 65, k - 64, k - 33] {
            let mut altered = expanded.clone();
            altered[at] ^= 0x10;
            refused(&tlv(OCTETS, &[&altered]));
        }
        let mut altered = expanded.clone();
        altered[k - 1] ^= 1;
        PrivateKey::from_pkcs8(&pkcs8(0, &[&algorithm(set)], &tlv(OCTETS, &[&altered]), &[])).unwrap();
        refused(&tlv(SEQUENCE, &[&tlv(OCTETS, &[s]), &tlv(OCTETS, &[&altered])]));
        refused(&tlv(SEQUENCE, &[&tlv(OCTETS, &[&random_bytes(64)]), &tlv(OCTETS, &[e])]));

        for wrong in [
            tlv(0x80, &[&s[1..]]),
            tlv(0x80, &[s, &[0]]),
            tlv(0xa0, &[&tlv(OCTETS, &[s])]),
            tlv(0x81, &[s]),
            tlv(OCTETS, &[s]),
            tlv(OCTETS, &[&e[1..]]),
            tlv(OCTETS, &[e, &[0]]),
            tlv(OCTETS, &[]),
            tlv(SEQUENCE, &[]),
            tlv(SEQUENCE, &[&tlv(OCTETS, &[s])]),
            tlv(SEQUENCE, &[&tlv(OCTETS, &[e]), &tlv(OCTETS, &[s])]),
            tlv(SEQUENCE, &[&tlv(OCTETS, &[s]), &tlv(OCTETS, &[&e[1..]])]),
            tlv(SEQUENCE, &[&tlv(OCTETS, &[s]), &tlv(OCTETS, &[e]), &[5, 0]]),
            [&tlv(0x80, &[s])[..], &[0]].concat(),
            s.to_vec(),
            vec![],
        ] {
            refused(&wrong);
        }
        let seed_form = tlv(0x80, &[s]);
        let with_parameters = pkcs8(0, &[&algorithm(set), &[5, 0]], &seed_form, &[]);
        assert_fails(PrivateKey::from_pkcs8(&with_parameters), Cause::SealKeyMalformed);
        // Version 2 with the right public key, and with another's.
        let public = theirs.encapsulation_key().to_bytes();
        let second = |public: &[u8]| pkcs8(1, &[&algorithm(set)], &seed_form, &tlv(0x81, &[&[0], public]));
        PrivateKey::from_pkcs8(&second(&public)).unwrap();
        assert_fails(PrivateKey::from_pkcs8(&second(&public[1..])), Cause::SealKeyMalformed);
        assert_fails(PrivateKey::from_pkcs8(&second(&e[..public.len()])), Cause::SealKeyMalformed);
    });
}

#[test]
fn public_keys_have_the_right_length_and_reduced_coefficients() {
    for set in MlKemSet::ALL.iter().copied() {
        let [der, ..] = forms(set, &random_bytes(64), &[]);
        let public = PrivateKey::from_pkcs8(&der).unwrap().public_key().clone();
        let PublicParts::MlKem { key, .. } = public.parts().unwrap() else { panic!() };
        let mut unreduced = key.clone();
        unreduced[..2].fill(0xff);
        for wrong in [&key[1..], &[&key[..], &[0]].concat(), &[], &unreduced] {
            assert_fails(PublicKey::from_ml_kem(set, wrong), Cause::AttributeValueInvalid);
            let spki = tlv(SEQUENCE, &[&tlv(SEQUENCE, &[&algorithm(set)]), &tlv(3, &[&[0], wrong])]);
            assert_fails(PublicKey::from_spki(&spki), Cause::AttributeValueInvalid);
        }
    }
}
