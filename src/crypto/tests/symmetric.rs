//! Hash functions, MACs, sealing, PINs, random numbers.

use super::super::{Digester, Hash, Secret, mac, password, random, seal_box};
use super::{assert_fails, hex, random_bytes, with_theirs};
use crate::error::Cause;
use sha2::Digest as _;

#[test]
fn digests_are_theirs_whole_and_in_parts() {
    let data = random_bytes(1000);
    for hash in Hash::ALL.iter().copied() {
        for len in [0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 135, 136, 137, 999] {
            let theirs = with_theirs!(hash, D, D::digest(&data[..len]).to_vec());
            assert_eq!(hash.digest(&data[..len]).as_ref(), theirs, "{hash:?} {len}");
            assert_eq!(theirs.len(), hash.len());
            let mut parts = Digester::new(hash);
            parts.update(&data[..len / 3]);
            let mut copy = parts.clone();
            parts.update(&data[len / 3..len]);
            copy.update(b"another end");
            assert_eq!(parts.hash(), hash);
            assert_eq!(parts.finish().as_ref(), theirs, "{hash:?} {len}");
            let other = [&data[..len / 3], b"another end"].concat();
            assert_eq!(copy.finish(), hash.digest(&other));
        }
    }
}

/// RFC 4231, test cases 2 and 6; RFC 5869, test case 1.
#[test]
fn hmac_and_hkdf_give_the_published_values() {
    let tag = mac::hmac_sha256(b"Jefe", &[b"what do ya want ", b"", b"for nothing?"]);
    assert_eq!(hex(&tag), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    let tag = mac::hmac_sha256(&[0xaa; 131], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
    assert_eq!(hex(&tag), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    let salt: Vec<u8> = (0..=12).collect();
    let info: Vec<u8> = (0xf0..=0xf9).collect();
    let mut okm = [0; 42];
    mac::hkdf_sha256(&[0x0b; 22], &salt, &info, &mut okm).unwrap();
    assert_eq!(hex(&okm), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
    assert_fails(mac::hkdf_sha256(b"key", b"", b"", &mut vec![0; 8161]), Cause::CryptoLibrary);
}

#[test]
fn comparison_in_constant_time_compares() {
    assert!(mac::constant_time_eq(b"", b""));
    assert!(mac::constant_time_eq(b"same", b"same"));
    assert!(!mac::constant_time_eq(b"same", b"samf"));
    assert!(!mac::constant_time_eq(b"same", b"sam"));
}

#[test]
fn what_is_sealed_opens_and_whatever_is_changed_does_not() {
    use aes_gcm::aead::{Aead, KeyInit, Payload};
    let key = Secret::new(random_bytes(32));
    for len in [0, 1, 15, 16, 17, 3000] {
        let plaintext = random_bytes(len);
        let mut sealed = seal_box::seal(key.expose(), b"object", &plaintext).unwrap();
        assert_eq!(sealed.len(), len + seal_box::OVERHEAD);
        assert_eq!(seal_box::open(key.expose(), b"object", &sealed).unwrap().expose(), plaintext);
        let theirs = aes_gcm::Aes256Gcm::new_from_slice(key.expose()).unwrap();
        let nonce = sealed[..12].try_into().unwrap();
        let opened = theirs.decrypt(nonce, Payload { msg: &sealed[12..], aad: b"object" }).unwrap();
        assert_eq!(opened, plaintext);

        assert_fails(seal_box::open(key.expose(), b"Object", &sealed), Cause::SealTokenKey);
        assert_fails(seal_box::open(&random_bytes(32), b"object", &sealed), Cause::SealTokenKey);
        for at in 0..sealed.len().min(60) {
            sealed[at] ^= 0x40;
            assert_fails(seal_box::open(key.expose(), b"object", &sealed), Cause::SealTokenKey);
            sealed[at] ^= 0x40;
            assert_fails(seal_box::open(key.expose(), b"object", &sealed[..at]), Cause::SealTokenKey);
        }
        assert_ne!(seal_box::seal(key.expose(), b"object", &plaintext).unwrap(), sealed, "a nonce is never used twice");
    }
    assert_fails(seal_box::seal(&random_bytes(16), b"", b""), Cause::CryptoLibrary);
}

#[test]
fn a_pin_gives_the_key_of_argon2id() {
    let small = password::Cost { memory_kib: 64, iterations: 2, lanes: 1 };
    let key = password::derive(b"1234", b"0123456789abcdef", small).unwrap();
    // The values are those of the C reference implementation.
    assert_eq!(hex(key.expose()), "67c23148a5da8e438c30e36becc0576f9740ce014cb95743cf66999c15c03097");
    let default =
        password::derive(b"1234", b"0123456789abcdef", password::Cost { memory_kib: 19 * 1024, ..small }).unwrap();
    assert_eq!(hex(default.expose()), "04b4192ae9efb1712fd2b7e8bd67909763a235a7c45a3982b2f6cd59b6ae2f3d");
    let again = password::derive(b"1234", b"0123456789abcdef", small).unwrap();
    assert_eq!(key.expose(), again.expose());
    let others = [
        password::derive(b"1235", b"0123456789abcdef", small).unwrap(),
        password::derive(b"1234", b"0123456789abcdeg", small).unwrap(),
        password::derive(b"1234", b"0123456789abcdef", password::Cost { iterations: 3, ..small }).unwrap(),
        password::derive(b"1234", b"0123456789abcdef", password::Cost { memory_kib: 72, ..small }).unwrap(),
        password::derive(b"1234", b"0123456789abcdef", password::Cost { lanes: 2, ..small }).unwrap(),
    ];
    for other in &others {
        assert_ne!(key.expose(), other.expose());
    }
    for (memory_kib, iterations, lanes) in [(7, 1, 1), (64, 0, 1), (64, 1, 0), (u32::MAX, 1, 1), (64, 1, 9)] {
        let cost = password::Cost { memory_kib, iterations, lanes };
        assert_fails(password::derive(b"1234", &[0; 16], cost), Cause::RecordCorrupt);
    }
}

#[test]
fn random_bytes_differ() {
    let (mut a, mut b) = ([0; 32], [0; 32]);
    random::fill(&mut a).unwrap();
    random::fill(&mut b).unwrap();
    assert_ne!(a, b);
    random::fill(&mut []).unwrap();
}
