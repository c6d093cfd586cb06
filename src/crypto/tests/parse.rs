//! Malformed, tampered and unusual keys: refused or understood, never a panic.

use super::super::{Curve, DhGroup, KeyKind, MlDsaSet, MlKemSet, PrivateKey, PublicKey, SeededKind, SlhDsaSet};
use super::{assert_fails, random_bytes, rsa_pair, unhex};
use crate::error::Cause;
use getrandom::SysRng;
use p256::elliptic_curve::Generate;
use p256::pkcs8::EncodePrivateKey;

/// A DER element; contents up to 65535 bytes.
pub(super) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let len = content.len() as u16;
    let header = match len {
        0..=127 => vec![tag, len as u8],
        128..=255 => vec![tag, 0x81, len as u8],
        _ => [&[tag, 0x82][..], &len.to_be_bytes()].concat(),
    };
    [header, content].concat()
}

const INTEGER: u8 = 2;
const BITS: u8 = 3;
pub(super) const OCTETS: u8 = 4;
pub(super) const SEQUENCE: u8 = 0x30;
const RSA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const EC: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const ED25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];
const X25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x6e];
const NULL: &[u8] = &[5, 0];

pub(super) fn pkcs8(version: u8, algorithm: &[&[u8]], key: &[u8], rest: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[&tlv(INTEGER, &[&[version]]), &tlv(SEQUENCE, algorithm), &tlv(OCTETS, &[key]), rest])
}

#[track_caller]
fn assert_malformed(der: &[u8]) {
    assert_fails(PrivateKey::from_pkcs8(der), Cause::SealKeyMalformed);
}

fn p256_key() -> (Vec<u8>, Vec<u8>) {
    let key = p256::SecretKey::try_generate_from_rng(&mut SysRng).unwrap();
    (key.to_bytes().to_vec(), key.public_key().to_sec1_bytes().to_vec())
}

#[test]
fn ec_keys_are_understood_with_and_without_parameters_and_public_key() {
    let (scalar, point) = p256_key();
    let name = Curve::P256.oid_der();
    let parameters = tlv(0xa0, &[name]);
    let public = tlv(0xa1, &[&tlv(BITS, &[&[0], &point])]);
    let inner = |parts: &[&[u8]]| tlv(SEQUENCE, &[&tlv(INTEGER, &[&[1]]), &tlv(OCTETS, &[&scalar]), &parts.concat()]);
    let outside = tlv(0x81, &[&[0], &point]);
    let expected = PublicKey::from_ec(Curve::P256, &point).unwrap();
    for inside in [inner(&[]), inner(&[&parameters]), inner(&[&public]), inner(&[&parameters, &public])] {
        for der in [pkcs8(0, &[EC, name], &inside, &[]), pkcs8(1, &[EC, name], &inside, &outside)] {
            let key = PrivateKey::from_pkcs8(&der).unwrap();
            assert_eq!(key.kind(), KeyKind::Ec(Curve::P256));
            assert_eq!(key.public_key(), &expected);
        }
    }
    let (_, other) = p256_key();
    let others_inside = inner(&[&tlv(0xa1, &[&tlv(BITS, &[&[0], &other])])]);
    assert_malformed(&pkcs8(0, &[EC, name], &others_inside, &[]));
    let plain = inner(&[]);
    assert_malformed(&pkcs8(1, &[EC, name], &plain, &tlv(0x81, &[&[0], &other])));
    assert_malformed(&pkcs8(0, &[EC, name], &plain, &outside));
    assert_malformed(&pkcs8(0, &[EC, name], &inner(&[&tlv(0xa0, &[Curve::Secp256k1.oid_der()])]), &[]));
    assert_malformed(&pkcs8(0, &[EC], &plain, &[]));
    assert_malformed(&pkcs8(0, &[EC, NULL], &plain, &[]));
    assert_malformed(&pkcs8(0, &[EC, name, NULL], &plain, &[]));
    assert_malformed(&pkcs8(1, &[EC, name], &plain, &[]));
    assert_malformed(&pkcs8(2, &[EC, name], &plain, &outside));
    assert_malformed(&pkcs8(0, &[EC, name], &[&plain[..], &[0]].concat(), &[]));
    assert_malformed(&pkcs8(0, &[EC, name], &plain, NULL));
    assert_malformed(&[&pkcs8(0, &[EC, name], &plain, &[])[..], &[0]].concat());
    // Attributes decide nothing and are allowed.
    PrivateKey::from_pkcs8(&pkcs8(0, &[EC, name], &plain, &[0xa0, 0])).unwrap();
}

#[test]
fn scalars_out_of_range_are_refused() {
    for curve in Curve::ALL.iter().copied() {
        let len = curve.field_len();
        let key = |scalar: &[u8]| {
            let inner = tlv(SEQUENCE, &[&tlv(INTEGER, &[&[1]]), &tlv(OCTETS, &[scalar])]);
            PrivateKey::from_pkcs8(&pkcs8(0, &[EC, curve.oid_der()], &inner, &[]))
        };
        assert_fails(key(&vec![0; len]), Cause::SealKeyMalformed);
        assert_fails(key(&vec![0xff; len]), Cause::SealKeyMalformed);
        assert_fails(key(&vec![1; len + 20]), Cause::SealKeyMalformed);
        assert_fails(key(&[]), Cause::SealKeyMalformed);
        let mut one = vec![0; len];
        one[len - 1] = 1;
        assert_eq!(key(&one).unwrap().kind(), KeyKind::Ec(curve));
    }
}

#[test]
fn ed25519_keys_come_in_both_versions_and_no_other() {
    let seed = random_bytes(32);
    let inner = tlv(OCTETS, &[&seed]);
    let key = PrivateKey::from_pkcs8(&pkcs8(0, &[ED25519], &inner, &[])).unwrap();
    let point = &key.public_key().spki_der()[12..];
    let second = pkcs8(1, &[ED25519], &inner, &tlv(0x81, &[&[0], point]));
    assert_eq!(PrivateKey::from_pkcs8(&second).unwrap().public_key(), key.public_key());
    assert_malformed(&pkcs8(1, &[ED25519], &inner, &tlv(0x81, &[&[0], &random_bytes(32)])));
    assert_malformed(&pkcs8(1, &[ED25519], &inner, &tlv(0x81, &[&[0], &point[1..]])));
    assert_malformed(&pkcs8(1, &[ED25519], &inner, &tlv(0x81, &[&[1], point])));
    assert_malformed(&pkcs8(0, &[ED25519], &inner, &tlv(0x81, &[&[0], point])));
    assert_malformed(&pkcs8(0, &[ED25519, NULL], &inner, &[]));
    // The same bytes are a key of X25519 if they say so, but never the same key.
    let agreeing = PrivateKey::from_pkcs8(&pkcs8(0, &[X25519], &inner, &[])).unwrap();
    assert_eq!(agreeing.kind(), KeyKind::X25519);
    assert_ne!(agreeing.public_key(), key.public_key());
    assert_malformed(&pkcs8(0, &[X25519, NULL], &inner, &[]));
    assert_malformed(&pkcs8(1, &[X25519], &inner, &tlv(0x81, &[&[0], point])));
    assert_malformed(&pkcs8(0, &[X25519], &tlv(OCTETS, &[&seed[1..]]), &[]));
    assert_malformed(&pkcs8(0, &[ED25519], &seed, &[]));
    assert_malformed(&pkcs8(0, &[ED25519], &tlv(OCTETS, &[&seed[1..]]), &[]));
    assert_malformed(&pkcs8(0, &[ED25519], &[&inner[..], &[0]].concat(), &[]));
}

#[test]
fn rsa_keys_carry_all_their_numbers() {
    let pair = rsa_pair(1024);
    let start = pair.pkcs8.iter().zip(&pair.pkcs8[1..]).position(|two| two == (&OCTETS, &0x82)).unwrap() + 4;
    let inner = &pair.pkcs8[start..];
    assert_eq!(
        PrivateKey::from_pkcs8(&pkcs8(0, &[RSA, NULL], inner, &[])).unwrap().public_key(),
        pair.ours.public_key()
    );
    assert_malformed(&pkcs8(0, &[RSA], inner, &[]));
    assert_malformed(&pkcs8(0, &[RSA, NULL], &[inner, &[0]].concat(), &[]));
    assert_malformed(&pkcs8(0, &[EC, Curve::P256.oid_der()], inner, &[]));

    // Version 2 with the right public key, and with others.
    let spki = pair.ours.public_key().spki_der();
    let bits = &spki[spki.len() - 140..];
    assert_eq!(bits[0], SEQUENCE);
    let second = pkcs8(1, &[RSA, NULL], inner, &tlv(0x81, &[&[0], bits]));
    assert_eq!(PrivateKey::from_pkcs8(&second).unwrap().public_key(), pair.ours.public_key());
    for wrong in [&bits[1..], &[&bits[..139], &[9]].concat(), &[]] {
        assert_malformed(&pkcs8(1, &[RSA, NULL], inner, &tlv(0x81, &[&[0], wrong])));
    }

    // Java's stripped key: n and d, everything else 0. AWS-LC takes it, and would neither blind nor check.
    let number = |bytes: &[u8]| tlv(INTEGER, &[&[0], bytes]);
    let zero = tlv(INTEGER, &[&[0]]);
    let mut d = vec![0; 128];
    d.copy_from_slice(&random_bytes(128));
    d[0] = 0x80;
    let modulus = pair.ours.public_key().modulus();
    let stripped = [&zero[..], &number(modulus), &zero, &number(&d), &zero, &zero, &zero, &zero, &zero];
    assert_malformed(&pkcs8(0, &[RSA, NULL], &tlv(SEQUENCE, &stripped), &[]));
}

#[test]
fn rsa_keys_too_small_are_refused() {
    let small = rsa::PrivateKey::new_unchecked(&mut SysRng, 512).unwrap();
    assert_malformed(small.to_pkcs8_der().unwrap().as_bytes());
}

#[test]
fn no_altered_byte_of_a_private_key_goes_unnoticed_or_panics() {
    let (scalar, point) = p256_key();
    let public = tlv(0xa1, &[&tlv(BITS, &[&[0], &point])]);
    let inner = tlv(SEQUENCE, &[&tlv(INTEGER, &[&[1]]), &tlv(OCTETS, &[&scalar]), &public]);
    let ec = pkcs8(0, &[EC, Curve::P256.oid_der()], &inner, &[]);
    let seed = tlv(OCTETS, &[&random_bytes(32)]);
    let ed25519 = pkcs8(0, &[ED25519], &seed, &[]);
    for der in [&rsa_pair(1024).pkcs8, &ec, &ed25519] {
        let original = PrivateKey::from_pkcs8(der).unwrap();
        for at in 0..der.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut altered = der.clone();
                altered[at] ^= flip;
                // A seed has no redundancy: another seed is another key. Everything else is refused.
                if let Ok(key) = PrivateKey::from_pkcs8(&altered) {
                    assert_eq!(key.kind(), KeyKind::Ed25519, "byte {at}");
                    assert_ne!(key.public_key(), original.public_key());
                    assert!(at >= der.len() - 32);
                }
            }
            assert_malformed(&der[..at]);
        }
        assert_malformed(&[&der[..], &[0]].concat());
    }
}

#[test]
fn malformed_spki_is_refused_and_never_panics() {
    let (_, point) = p256_key();
    let rsa = rsa_pair(1024).ours.public_key().spki_der().to_vec();
    let ec = PublicKey::from_ec(Curve::P256, &point).unwrap().spki_der().to_vec();
    let ed25519 = PrivateKey::from_pkcs8(&pkcs8(0, &[ED25519], &tlv(OCTETS, &[&[7; 32]]), &[])).unwrap();
    let seed = pkcs8(0, &[&tlv(6, &[MlKemSet::MlKem512.oid()])], &tlv(0x80, &[&[7; 64]]), &[]);
    let ml_kem = PrivateKey::from_pkcs8(&seed).unwrap();
    let ml_dsa = PrivateKey::generate(SeededKind::MlDsa(MlDsaSet::MlDsa44)).unwrap();
    let dh = SeededKind::Dh { group: DhGroup::Ffdhe2048, bits: None };
    let [slh_dsa, ed448, x448, dh] =
        [SeededKind::SlhDsa(SlhDsaSet::Sha2_128f), SeededKind::Ed448, SeededKind::X448, dh]
            .map(|kind| PrivateKey::generate(kind).unwrap());
    let others = [ed25519, ml_kem, ml_dsa, slh_dsa, ed448, x448, dh].map(|key| key.public_key().spki_der().to_vec());
    for der in [rsa, ec].into_iter().chain(others) {
        let original = PublicKey::from_spki(&der).unwrap();
        assert_eq!(original.spki_der(), der);
        for at in 0..der.len() {
            for flip in [0x01, 0x02, 0x80, 0xff] {
                let mut altered = der.clone();
                altered[at] ^= flip;
                // Another modulus is another key; what matters is that it is not taken for this one.
                if let Ok(key) = PublicKey::from_spki(&altered) {
                    assert_ne!(key, original, "byte {at}");
                    assert_eq!(PublicKey::from_spki(key.spki_der()).unwrap(), key);
                }
            }
            assert_fails(PublicKey::from_spki(&der[..at]), Cause::AttributeValueInvalid);
        }
        assert_fails(PublicKey::from_spki(&[&der[..], &[0]].concat()), Cause::AttributeValueInvalid);
    }
    let p224 = tlv(SEQUENCE, &[EC, &[6, 5, 0x2b, 0x81, 4, 0, 0x21]]);
    // A point of P-224 that AWS-LC knows: its generator.
    let generator = "04b70e0cbd6bb4bf7f321390b94a03c1d356c21122343280d6115c1d21\
                     bd376388b5f723fb4c22dfe6cd4375a05a07476444d5819985007e34";
    let spki = tlv(SEQUENCE, &[&p224, &tlv(BITS, &[&[0], &unhex(generator)])]);
    assert_fails(PublicKey::from_spki(&spki), Cause::CurveNotSupported);
    let unknown = tlv(SEQUENCE, &[&tlv(SEQUENCE, &[&[6, 3, 0x2b, 0x65, 0x72]]), &tlv(BITS, &[&[0; 57]])]);
    assert_fails(PublicKey::from_spki(&unknown), Cause::AttributeValueInvalid);
}

#[test]
fn random_bytes_are_no_keys() {
    for len in 0..200 {
        let bytes = random_bytes(len);
        assert_fails(PrivateKey::from_pkcs8(&bytes), Cause::SealKeyMalformed);
        assert_fails(PublicKey::from_spki(&bytes), Cause::AttributeValueInvalid);
    }
}
