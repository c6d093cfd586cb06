//! AES in each mode: the published values.

use super::super::{Aes, AesMode, Direction, SecretKey};
use super::{assert_fails, hex, unhex};
use crate::error::Cause;

/// Encrypts as the standard says, and decrypts again.
#[track_caller]
fn assert_both_ways(mode: &AesMode, key: &str, plain: &str, cipher: &str) {
    let key = SecretKey::new(&unhex(key)).unwrap();
    let (plain, cipher) = (unhex(plain), unhex(cipher));
    let run = |direction, data: &[u8]| Aes::new(mode.clone(), direction).unwrap().run(&key, data).unwrap();
    assert_eq!(hex(run(Direction::Encrypt, &plain).expose()), hex(&cipher), "{mode:?}");
    assert_eq!(hex(run(Direction::Decrypt, &cipher).expose()), hex(&plain), "{mode:?}");
}

const KEY_128: &str = "2b7e151628aed2a6abf7158809cf4f3c";
const KEY_192: &str = "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b";
const KEY_256: &str = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
const PLAIN: &str = "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
                     30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710";

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    unhex(text).try_into().unwrap()
}

/// SP 800-38A, appendix F.
#[test]
fn the_modes_of_sp_800_38a_give_its_values() {
    let iv = bytes("000102030405060708090a0b0c0d0e0f");
    assert_both_ways(
        &AesMode::Ecb,
        KEY_128,
        PLAIN,
        "3ad77bb40d7a3660a89ecaf32466ef97 f5d3d58503b9699de785895a96fdbaaf
         43b1cd7f598ece23881b00e3ed030688 7b0c785e27e8ad3f8223207104725dd4",
    );
    assert_both_ways(
        &AesMode::Cbc { iv },
        KEY_128,
        PLAIN,
        "7649abac8119b246cee98e9b12e9197d 5086cb9b507219ee95db113a917678b2
         73bed6b8e3c1743b7116e69e22229516 3ff1caa1681fac09120eca307586e1a7",
    );
    assert_both_ways(
        &AesMode::Cbc { iv },
        KEY_192,
        PLAIN,
        "4f021db243bc633d7178183a9fa071e8 b4d9ada9ad7dedf4e5e738763f69145a
         571b242012fb7ae07fa9baac3df102e0 08b0e27988598881d920a9e64f5615cd",
    );
    assert_both_ways(
        &AesMode::Cbc { iv },
        KEY_256,
        PLAIN,
        "f58c4c04d6e5f1ba779eabfb5f7bfbd6 9cfc4e967edb808d679f777bc6702c7d
         39f23369a9d9bacfa530e26304231461 b2eb05e2c39be9fcda6c19078c6a9d1b",
    );
    assert_both_ways(
        &AesMode::Ofb { iv },
        KEY_128,
        PLAIN,
        "3b3fd92eb72dad20333449f8e83cfb4a 7789508d16918f03f53c52dac54ed825
         9740051e9c5fecf64344f7a82260edcc 304c6528f659c77866a510d9c1d6ae5e",
    );
    assert_both_ways(
        &AesMode::Cfb128 { iv },
        KEY_128,
        PLAIN,
        "3b3fd92eb72dad20333449f8e83cfb4a c8a64537a0b3a93fcde3cdad9f1ce58b
         26751f67a3cbb140b1808cf187a4f4df c04b05357c5d1c0eeac4c66f9ff7f2e6",
    );
    assert_both_ways(
        &AesMode::Cfb8 { iv },
        KEY_128,
        "6bc1bee22e409f96e93d7e117393172aae2d",
        "3b79424c9c0dd436bace9e0ed4586a4f32b9",
    );
    assert_both_ways(&AesMode::Cfb1 { iv }, KEY_128, "6bc1", "68b3");
    let block = bytes("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    assert_both_ways(
        &AesMode::Ctr { counter_bits: 128, block },
        KEY_128,
        PLAIN,
        "874d6191b620e3261bef6864990db6ce 9806f66b7970fdff8617187bb9fffdff
         5ae4df3edbd5d35e5b4f09020db03eab 1e031dda2fbe03d1792170a0f3009cee",
    );
}

/// RFC 3962, appendix B: the same with the last two blocks in the other order (CS3).
#[test]
fn ciphertext_stealing_gives_the_published_values() {
    let key = "636869636b656e207465726979616b69";
    let plain = "4920776f756c64206c696b652074686520 47656e6572616c20476175277320436869 636b656e2c20706c65617365
                 2c20616e6420776f6e746f6e20736f75702e";
    let plain: String = plain.split_whitespace().collect();
    let mode = AesMode::Cts { iv: [0; 16] };
    for (len, cipher) in [
        (17, "97 c6353568f2bf8cb4d8a580362da7ff7f"),
        (31, "97687268d6ecccc0c07b25e25ecfe5 fc00783e0efdb2c1d445d4c8eff7ed22"),
        (32, "97687268d6ecccc0c07b25e25ecfe584 39312523a78662d5be7fcbcc98ebf5a8"),
        (47, "97687268d6ecccc0c07b25e25ecfe584 39312523a78662d5be7fcbcc98ebf5 b3fffd940c16a18c1b5549d2f838029e"),
    ] {
        assert_both_ways(&mode, key, &plain[..2 * len], cipher);
    }
    let key = SecretKey::new(&unhex(key)).unwrap();
    for (direction, cause) in
        [(Direction::Encrypt, Cause::DataLenRange), (Direction::Decrypt, Cause::EncryptedDataLenRange)]
    {
        for len in [0, 1, 15] {
            assert_fails(Aes::new(mode.clone(), direction).unwrap().run(&key, &vec![0; len]), cause);
        }
    }
}

/// Test cases 4, 5 and 6 of McGrew and Viega, "The Galois/Counter Mode of Operation".
#[test]
fn gcm_gives_the_published_values() {
    let key = "feffe9928665731c6d6a8f9467308308";
    let plain = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
                 1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
    let aad = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let gcm = |iv, tag_len| AesMode::Gcm { iv: unhex(iv), aad: aad.clone(), tag_len };
    let cipher = "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
                  21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091";
    let tag = "5bc94fbc3221a5db94fae95ae7121a47";
    for tag_len in 4..=16 {
        let expected = [cipher, &tag[..2 * tag_len]].concat();
        assert_both_ways(&gcm("cafebabefacedbaddecaf888", tag_len), key, plain, &expected);
    }
    assert_both_ways(
        &gcm("cafebabefacedbad", 16),
        key,
        plain,
        "61353b4c2806934a777ff51fa22a4755699b2a714fcdc6f83766e5f97b6c742373806900e49f24b22b097544d4896b42
         4989b5e1ebac0f07c23f4598 3612d2e79e3b0785561be14aaca2fccb",
    );
    assert_both_ways(
        &gcm(
            "9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728
             c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a637b39b",
            16,
        ),
        key,
        plain,
        "8ce24998625615b603a033aca13fb894be9112a5c3a211a8ba262a3cca7e2ca701e4a9a4fba43c90ccdcb281d48c7c6f
         d62875d2aca417034c34aee5 619cc5aefffe0bfa462af43c1699d050",
    );
}

/// SP 800-38C, appendix C.
#[test]
fn ccm_gives_the_published_values() {
    let key = "404142434445464748494a4b4c4d4e4f";
    let up = |from: u8, len: usize| (from..).take(len).collect::<Vec<u8>>();
    let long: Vec<u8> = (0..65536).map(|i| i as u8).collect();
    for (nonce_len, aad, data_len, mac_len, cipher) in [
        (7, up(0, 8), 4, 4, "7162015b4dac255d"),
        (8, up(0, 16), 16, 6, "d2a1f0e051ea5f62081a7792073d593d1fc64fbfaccd"),
        (12, up(0, 20), 24, 8, "e3b201a9f5b71a7a9b1ceaeccd97e70b6176aad9a4428aa5484392fbc1b09951"),
        (
            13,
            long,
            32,
            14,
            "69915dad1e84c6376a68c2967e4dab615ae0fd1faec44cc484828529463ccf72b4ac6bec93e8598e7f0dadbcea5b",
        ),
    ] {
        for said in [None, Some(data_len)] {
            let mode = AesMode::Ccm { nonce: up(0x10, nonce_len), aad: aad.clone(), mac_len, data_len: said };
            assert_both_ways(&mode, key, &hex(&up(0x20, data_len)), cipher);
        }
    }
}

/// RFC 3394, section 4, and RFC 5649, section 6.
#[test]
fn key_wrap_gives_the_published_values() {
    let kek = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let data = "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f";
    let mode = AesMode::KeyWrap { iv: AesMode::KEY_WRAP_IV };
    for (kek_len, data_len, wrapped) in [
        (16, 16, "1fa68b0a8112b447 aef34bd8fb5a7b82 9d3e862371d2cfe5"),
        (24, 16, "96778b25ae6ca435 f92b5b97c050aed2 468ab8a17ad84e5d"),
        (32, 16, "64e8c3f9ce0f5ba2 63e9777905818a2a 93c8191e7d6e8ae7"),
        (24, 24, "031d33264e15d332 68f24ec260743edc e1c6c7ddee725a93 6ba814915c6762d2"),
        (32, 24, "a8f9bc1612c68b3f f6e6f4fbe30e71e4 769c8b80a32cb895 8cd5d17d6b254da1"),
        (32, 32, "28c9f404c4b810f4 cbccb35cfb87f826 3f5786e2d80ed326 cbc7f0e71a99f43b fb988b9b7a02dd21"),
    ] {
        assert_both_ways(&mode, &kek[..2 * kek_len], &data[..2 * data_len], wrapped);
    }
    let kek = "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8";
    let padded = AesMode::KeyWrapPadded { iv: AesMode::KEY_WRAP_PADDED_IV };
    assert_both_ways(
        &padded,
        kek,
        "c37b7e6492584340bed12207808941155068f738",
        "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
    );
    assert_both_ways(&padded, kek, "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f");
}
