//! HMAC, CMAC and GMAC.

use super::super::{Aes, AesMode, Direction, Hash, Mac, MacAlgorithm, SecretKey};
use super::{assert_fails, hex, random_bytes, unhex, with_theirs};
use crate::error::Cause;
use hmac::{KeyInit, Mac as _};

fn mac(algorithm: &MacAlgorithm, key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Mac::new(algorithm, key).unwrap();
    mac.update(data).unwrap();
    mac.finish().unwrap().to_vec()
}

#[test]
fn hmac_is_theirs_with_every_hash_whole_and_in_parts() {
    let data = random_bytes(1000);
    for hash in Hash::ALL.iter().copied() {
        let algorithm = MacAlgorithm::Hmac(hash);
        for key_len in [0, 1, 20, 63, 64, 65, 72, 104, 128, 129, 136, 144, 145, 300] {
            let key = random_bytes(key_len);
            let theirs = with_theirs!(hash, D, {
                let mut theirs = hmac::SimpleHmac::<D>::new_from_slice(&key).unwrap();
                theirs.update(&data);
                theirs.finalize().into_bytes().to_vec()
            });
            assert_eq!(mac(&algorithm, &key, &data), theirs, "{hash:?} {key_len}");
            let mut parts = Mac::new(&algorithm, &key).unwrap();
            data.chunks(77).for_each(|part| parts.update(part).unwrap());
            parts.verify(&theirs).unwrap();
        }
        assert_eq!(algorithm.len(), hash.len());
    }
}

/// RFC 4493, section 4, and SP 800-38B, appendix D.
#[test]
fn cmac_gives_the_published_values() {
    let data = unhex(
        "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
         30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710",
    );
    let keys = [
        "2b7e151628aed2a6abf7158809cf4f3c",
        "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
    ];
    for (key, values) in keys.iter().zip([
        [
            "bb1d6929e95937287fa37d129b756746",
            "070a16b46b4d4144f79bdd9dd04a287c",
            "dfa66747de9ae63030ca32611497c827",
            "51f0bebf7e3b9d92fc49741779363cfe",
        ],
        [
            "d17ddf46adaacde531cac483de7a9367",
            "9e99a7bf31e710900662f65e617c5184",
            "8a1de5be2eb31aad089a82e6ee908b0e",
            "a1d5df0eed790f794d77589659f39a11",
        ],
        [
            "028962f61b7bf89efc6b551f4667d983",
            "28a7023f452e8f82bd4bf28d8c37c35c",
            "aaf3d8f1de5640c232f5b169b9c911e6",
            "e1992190549f6ed5696a2c056c315410",
        ],
    ]) {
        for (len, value) in [0, 16, 40, 64].into_iter().zip(values) {
            assert_eq!(hex(&mac(&MacAlgorithm::AesCmac, &unhex(key), &data[..len])), value);
            let mut parts = Mac::new(&MacAlgorithm::AesCmac, &unhex(key)).unwrap();
            data[..len].chunks(7).for_each(|part| parts.update(part).unwrap());
            assert_eq!(hex(&parts.finish().unwrap()), value);
        }
    }
}

#[test]
fn gmac_is_gcm_without_a_message() {
    let (key, data) = (random_bytes(24), random_bytes(333));
    for iv_len in [1, 12, 40] {
        let iv = random_bytes(iv_len);
        let mode = AesMode::Gcm { iv: iv.clone(), aad: data.clone(), tag_len: 16 };
        let tag = Aes::new(mode, Direction::Encrypt).unwrap().run(&SecretKey::new(&key).unwrap(), b"").unwrap();
        let algorithm = MacAlgorithm::AesGmac { iv };
        assert_eq!(mac(&algorithm, &key, &data), tag.expose());
        let mut parts = Mac::new(&algorithm, &key).unwrap();
        data.chunks(13).for_each(|part| parts.update(part).unwrap());
        parts.verify(tag.expose()).unwrap();
    }
}

#[test]
fn a_mac_verifies_by_its_leftmost_bytes_and_by_nothing_else() {
    let key = random_bytes(32);
    for algorithm in [MacAlgorithm::Hmac(Hash::Sha384), MacAlgorithm::AesCmac, MacAlgorithm::AesGmac { iv: vec![1] }] {
        let whole = mac(&algorithm, &key, b"message");
        assert_eq!(whole.len(), algorithm.len());
        let verify = |tag: &[u8]| {
            let mut mac = Mac::new(&algorithm, &key).unwrap();
            mac.update(b"message").unwrap();
            mac.verify(tag)
        };
        for len in 1..=whole.len() {
            let mut tag = whole[..len].to_vec();
            verify(&tag).unwrap();
            tag[len - 1] ^= 1;
            assert_fails(verify(&tag), Cause::SignatureInvalid);
        }
        assert_fails(verify(b""), Cause::SignatureLenRange);
        assert_fails(verify(&[&whole[..], b"1"].concat()), Cause::SignatureLenRange);
    }
    for algorithm in [MacAlgorithm::AesCmac, MacAlgorithm::AesGmac { iv: vec![1] }] {
        for len in [0, 15, 17, 33] {
            assert_fails(Mac::new(&algorithm, &vec![0; len]), Cause::KeySizeRange);
        }
    }
    assert_fails(Mac::new(&MacAlgorithm::AesGmac { iv: vec![] }, &key), Cause::MechanismParamInvalid);
}
