//! HKDF, PBKDF2, and the functions of SP 800-108.

use super::super::sp800_108::{Field, LengthMethod, Mode, NumberFormat, derive};
use super::super::{Hash, Mac, MacAlgorithm, Secret, kdf};
use super::{assert_fails, hex, random_bytes, unhex};
use crate::error::{Cause, Result};

fn hmac(hash: Hash, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    prf(&MacAlgorithm::Hmac(hash), key, parts)
}

/// HMAC and CMAC themselves are compared with others elsewhere.
fn prf(algorithm: &MacAlgorithm, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Mac::new(algorithm, key).unwrap();
    parts.iter().for_each(|part| mac.update(part).unwrap());
    mac.finish().unwrap().to_vec()
}

/// RFC 5869, test cases 1, 3 and 4.
#[test]
fn hkdf_gives_the_published_values() {
    let (salt, info): (Vec<u8>, Vec<u8>) = ((0..=12).collect(), (0xf0..=0xf9).collect());
    let check = |hash, ikm: &[u8], salt: &[u8], info: &[u8], prk: &str, okm: &str| {
        let extracted = kdf::hkdf_extract(hash, salt, ikm).unwrap();
        assert_eq!(hex(extracted.expose()), prk);
        assert_eq!(hex(kdf::hkdf_expand(hash, extracted.expose(), info, okm.len() / 2).unwrap().expose()), okm);
    };
    check(
        Hash::Sha256,
        &[0x0b; 22],
        &salt,
        &info,
        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    );
    check(
        Hash::Sha256,
        &[0x0b; 22],
        b"",
        b"",
        "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    );
    check(
        Hash::Sha1,
        &[0x0b; 11],
        &salt,
        &info,
        "9b6c18c432a7bf8f0e71c8eb88f4b30baa2ba243",
        "085a01ea1b10f36933068b56efa5ad81a4f14b822f5b091568a9cdd4f155fda2c22e422478d305f3f896",
    );
}

#[test]
fn hkdf_is_made_of_hmac_with_every_hash() {
    let (ikm, salt, info) = (random_bytes(50), random_bytes(200), random_bytes(30));
    for hash in Hash::ALL.iter().copied() {
        let prk = kdf::hkdf_extract(hash, &salt, &ikm).unwrap();
        assert_eq!(prk.expose(), hmac(hash, &salt, &[&ikm]));
        let most = 255 * hash.len();
        let mut all: Vec<u8> = Vec::new();
        let mut last = Vec::new();
        for i in 1..=255 {
            last = hmac(hash, prk.expose(), &[&last, &info, &[i]]);
            all.extend(&last);
        }
        for len in [0, 1, hash.len(), hash.len() + 1, 100, most] {
            assert_eq!(kdf::hkdf_expand(hash, prk.expose(), &info, len).unwrap().expose(), &all[..len]);
        }
        assert_fails(kdf::hkdf_expand(hash, prk.expose(), &info, most + 1), Cause::KeySizeRange);
    }
}

/// RFC 6070.
#[test]
fn pbkdf2_gives_the_published_values() {
    for (password, salt, iterations, key) in [
        ("password", "salt", 1, "0c60c80f961f0e71f3a9b524af6012062fe037a6"),
        ("password", "salt", 2, "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"),
        ("password", "salt", 4096, "4b007901b765489abead49d926f721d065a429c1"),
        (
            "passwordPASSWORDpassword",
            "saltSALTsaltSALTsaltSALTsaltSALTsalt",
            4096,
            "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038",
        ),
        ("pass\0word", "sa\0lt", 4096, "56fa6aa75548099dcc37d7f03425e0c3"),
    ] {
        let made = kdf::pbkdf2(Hash::Sha1, password.as_bytes(), salt.as_bytes(), iterations, key.len() / 2).unwrap();
        assert_eq!(hex(made.expose()), key);
    }
}

#[test]
fn pbkdf2_is_made_of_hmac_with_every_hash() {
    let (password, salt) = (random_bytes(20), random_bytes(9));
    for hash in Hash::ALL.iter().copied() {
        let mut all = Vec::new();
        for block in 1..=3u32 {
            let mut last = hmac(hash, &password, &[&salt, &block.to_be_bytes()]);
            let mut sum = last.clone();
            for _ in 1..5 {
                last = hmac(hash, &password, &[&last]);
                sum.iter_mut().zip(&last).for_each(|(sum, byte)| *sum ^= byte);
            }
            all.extend(sum);
        }
        for len in [0, 1, hash.len(), 2 * hash.len() + 1] {
            assert_eq!(kdf::pbkdf2(hash, &password, &salt, 5, len).unwrap().expose(), &all[..len], "{hash:?}");
        }
    }
    assert_fails(kdf::pbkdf2(Hash::Sha256, b"", b"", 0, 16), Cause::MechanismParamInvalid);
    assert_fails(kdf::pbkdf2(Hash::Sha256, b"", b"", 1, usize::MAX), Cause::KeySizeRange);
}

const fn big(bits: u32) -> NumberFormat {
    NumberFormat { little_endian: false, bits }
}

const fn little(bits: u32) -> NumberFormat {
    NumberFormat { little_endian: true, bits }
}

fn one(algorithm: &MacAlgorithm, key: &[u8], mode: Mode<'_>, fields: &[Field<'_>], len: usize) -> Result<Secret> {
    derive(algorithm, key, mode, fields, &[len]).map(|mut keys| keys.remove(0))
}

/// NIST's KDFCTR_gen.rsp: PRF=CMAC_AES128, counter of 8 bits before the fixed input, L = 128.
#[test]
fn counter_mode_gives_a_value_of_nist() {
    let fixed = unhex(
        "c16e6e02c5a3dcc8d78b9ac1306877761310455b4e41469951d9e6c2245a064b33fd8c3b01203a7824485bf0a64060c4648b707d26079356
         99316ea5",
    );
    let key = unhex("dff1e50ac0b69dc40f1051d46c2b069c");
    let fields = [Field::Counter(big(8)), Field::Bytes(&fixed)];
    let made = one(&MacAlgorithm::AesCmac, &key, Mode::Counter, &fields, 16).unwrap();
    assert_eq!(hex(made.expose()), "8be8f0869b3c0ba97b71863d1b9f7813");
}

#[test]
fn the_modes_put_their_input_together_as_they_are_told() {
    let key = random_bytes(32);
    for algorithm in Hash::ALL.iter().copied().map(MacAlgorithm::Hmac).chain([MacAlgorithm::AesCmac]) {
        let prf = |parts: &[&[u8]]| prf(&algorithm, &key, parts);
        let len = 3 * algorithm.len() - 1;
        let bits = (8 * len) as u64;
        let segments = (24 * algorithm.len()) as u32;

        let fields = [
            Field::Bytes(b"label"),
            Field::Counter(little(24)),
            Field::Bytes(&[0]),
            Field::Length(LengthMethod::SumOfKeys, big(64)),
        ];
        let expected: Vec<u8> =
            (1..=3u8).flat_map(|i| prf(&[b"label", &[i, 0, 0], &[0], &bits.to_be_bytes()])).collect();
        assert_eq!(one(&algorithm, &key, Mode::Counter, &fields, len).unwrap().expose(), &expected[..len]);

        let fields = [
            Field::Iteration,
            Field::Counter(big(16)),
            Field::Bytes(b"context"),
            Field::Length(LengthMethod::SumOfSegments, little(32)),
        ];
        let fixed = [&b"context"[..], &segments.to_le_bytes()].concat();
        for iv in [&b""[..], b"some vector"] {
            let (mut last, mut expected) = (iv.to_vec(), Vec::<u8>::new());
            for i in 1..=3u16 {
                last = prf(&[&last, &i.to_be_bytes(), &fixed]);
                expected.extend(&last);
            }
            let made = one(&algorithm, &key, Mode::Feedback { iv }, &fields, len).unwrap();
            assert_eq!(made.expose(), &expected[..len], "{algorithm:?}");
        }

        let (mut a, mut expected) = (fixed.clone(), Vec::<u8>::new());
        for i in 1..=3u16 {
            a = prf(&[&a]);
            expected.extend(prf(&[&a, &i.to_be_bytes(), &fixed]));
        }
        let made = one(&algorithm, &key, Mode::DoublePipeline, &fields, len).unwrap();
        assert_eq!(made.expose(), &expected[..len], "{algorithm:?}");
    }
}

/// The example of PKCS#11: keys of 48 and 16 bytes from values of 32.
#[test]
fn no_two_keys_share_a_value_of_the_function() {
    let key = random_bytes(20);
    let algorithm = MacAlgorithm::Hmac(Hash::Sha256);
    for (method, bits) in [(LengthMethod::SumOfKeys, 512u32), (LengthMethod::SumOfSegments, 768)] {
        let fields = [Field::Counter(big(32)), Field::Length(method, big(32))];
        let value = |i: u32| prf(&algorithm, &key, &[&i.to_be_bytes(), &bits.to_be_bytes()]);
        let keys = derive(&algorithm, &key, Mode::Counter, &fields, &[48, 16]).unwrap();
        assert_eq!(keys[0].expose(), &[value(1), value(2)].concat()[..48]);
        assert_eq!(keys[1].expose(), &value(3)[..16]);
    }
}

#[test]
fn fields_that_a_mode_does_not_have_are_refused() {
    let algorithm = MacAlgorithm::Hmac(Hash::Sha1);
    let counter = Field::Counter(big(8));
    let length = Field::Length(LengthMethod::SumOfKeys, big(16));
    let feedback = Mode::Feedback { iv: b"" };
    for (mode, fields) in [
        (Mode::Counter, &[][..]),
        (Mode::Counter, &[Field::Bytes(b"x")]),
        (Mode::Counter, &[counter, counter]),
        (Mode::Counter, &[counter, Field::Iteration]),
        (Mode::Counter, &[counter, length, length]),
        (Mode::Counter, &[Field::Counter(big(0))]),
        (Mode::Counter, &[Field::Counter(big(12))]),
        (Mode::Counter, &[Field::Counter(big(72))]),
        (feedback, &[counter]),
        (feedback, &[Field::Iteration, Field::Iteration]),
        (feedback, &[Field::Iteration, counter, counter]),
        (Mode::DoublePipeline, &[]),
        // 320 bits do not fit the field.
        (feedback, &[Field::Iteration, Field::Length(LengthMethod::SumOfKeys, little(8)), Field::Bytes(&[0; 300])]),
    ] {
        assert_fails(one(&algorithm, b"key", mode, fields, 40), Cause::MechanismParamInvalid);
    }
    // The counter of 8 bits is good for 255 values.
    assert!(one(&algorithm, b"key", Mode::Counter, &[counter], 255 * 20).is_ok());
    assert_fails(one(&algorithm, b"key", Mode::Counter, &[counter], 255 * 20 + 1), Cause::MechanismParamInvalid);
    for len in [0, usize::MAX] {
        assert_fails(one(&algorithm, b"key", Mode::Counter, &[counter], len), Cause::KeySizeRange);
    }
    assert_fails(one(&MacAlgorithm::AesCmac, b"key", Mode::Counter, &[counter], 16), Cause::KeySizeRange);
    let gmac = MacAlgorithm::AesGmac { iv: vec![0; 12] };
    assert_fails(one(&gmac, &[0; 16], Mode::Counter, &[counter], 16), Cause::MechanismParamInvalid);
}

/// A well-known vector of the function with SHA-256, from the mailing list of the working group.
#[test]
fn tls_derives_as_others_do() {
    let secret = unhex("9bbe436ba940f017b17652849a71db35");
    let seed = unhex("a0ba9f936cda311827a6f796ffd5198c");
    let expected = "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af\
                    0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701\
                    87347b66";
    let made = kdf::tls_prf(Hash::Sha256, &secret, b"test label", &seed, 100).unwrap();
    assert_eq!(hex(made.expose()), expected);
    assert_fails(kdf::tls_prf(Hash::Sha256, &secret, b"", &seed, (1 << 16) + 1), Cause::KeySizeRange);
    assert_eq!(
        kdf::hmac(Hash::Sha384, &secret, &[&seed, b"x"]).unwrap().expose(),
        hmac(Hash::Sha384, &secret, &[&seed, b"x"])
    );
}
