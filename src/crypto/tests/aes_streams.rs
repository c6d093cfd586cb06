//! AES in parts: the same as at once, of the lengths that were promised; and what is refused.

use super::super::{AES_BLOCK_LEN, Aes, AesMode, Direction, SecretKey};
use super::{assert_fails, random_bytes};
use crate::error::Cause;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes_gcm::aead::array::typenum::{U1, U12, U16, U60};
use aes_gcm::aead::{Aead, Payload};

fn iv() -> [u8; AES_BLOCK_LEN] {
    random_bytes(16).try_into().unwrap()
}

fn key(len: usize) -> SecretKey {
    SecretKey::new(&random_bytes(len)).unwrap()
}

/// One block by the other implementation.
fn their_block(key: &[u8], block: [u8; 16]) -> [u8; 16] {
    let mut block = block.into();
    match key.len() {
        16 => aes::Aes128::new_from_slice(key).unwrap().encrypt_block(&mut block),
        24 => aes::Aes192::new_from_slice(key).unwrap().encrypt_block(&mut block),
        _ => aes::Aes256::new_from_slice(key).unwrap().encrypt_block(&mut block),
    }
    block.into()
}

fn xor(a: [u8; 16], b: &[u8]) -> [u8; 16] {
    std::array::from_fn(|i| a[i] ^ b.get(i).copied().unwrap_or(0))
}

/// The modes with fresh parameters, and the lengths of plaintext that each takes.
fn modes() -> Vec<(AesMode, Vec<usize>)> {
    let any = vec![0, 1, 7, 15, 16, 17, 31, 32, 33, 47, 48, 49, 100, 1000, 5000];
    let blocks = vec![0, 16, 32, 48, 64, 992, 5008];
    let at_least = |most: usize| any.iter().copied().filter(|len| *len >= most).collect::<Vec<_>>();
    let aad = random_bytes(33);
    let mut modes = vec![
        (AesMode::Ecb, blocks.clone()),
        (AesMode::Cbc { iv: iv() }, blocks),
        (AesMode::CbcPad { iv: iv() }, any.clone()),
        (AesMode::Cts { iv: iv() }, at_least(16)),
        (AesMode::Ctr { counter_bits: 128, block: iv() }, any.clone()),
        (AesMode::Ctr { counter_bits: 40, block: [3; 16] }, any.clone()),
        (AesMode::Ofb { iv: iv() }, any.clone()),
        (AesMode::Cfb8 { iv: iv() }, any.clone()),
        (AesMode::Cfb128 { iv: iv() }, any.clone()),
        (AesMode::KeyWrap { iv: AesMode::KEY_WRAP_IV }, vec![16, 24, 32, 256, 4096]),
        (AesMode::KeyWrap { iv: [7; 8] }, vec![16, 24, 32, 256, 4096]),
        (AesMode::KeyWrapPadded { iv: AesMode::KEY_WRAP_PADDED_IV }, at_least(1)),
        (AesMode::KeyWrapPadded { iv: [1, 2, 3, 4] }, at_least(1)),
        (AesMode::KeyWrapPkcs7 { iv: AesMode::KEY_WRAP_IV }, at_least(8)),
    ];
    for iv_len in [1, 11, 12, 13, 16, 17, 64, 300] {
        modes.push((AesMode::Gcm { iv: random_bytes(iv_len), aad: aad.clone(), tag_len: 13 }, any.clone()));
    }
    for nonce_len in 7..=13 {
        let nonce = random_bytes(nonce_len);
        modes.push((AesMode::Ccm { nonce, aad: aad.clone(), mac_len: 10, data_len: None }, any.clone()));
    }
    modes
}

/// The parts of a run, cut at random places, some empty.
fn in_parts(aes: &Aes, key: &SecretKey, data: &[u8]) -> Vec<u8> {
    let mut stream = aes.start(key).unwrap();
    let (mut out, mut rest, mut first) = (Vec::new(), data, true);
    while !rest.is_empty() {
        let cut = usize::from(random_bytes(1)[0] % 40).min(rest.len());
        let (part, later) = rest.split_at(cut);
        let promised = stream.update_len(part.len());
        if first {
            assert_eq!(aes.update_len(part.len()), promised, "{:?}", aes.mode());
        }
        let given = stream.update(part).unwrap();
        assert_eq!(given.len(), promised, "{:?}", aes.mode());
        out.extend_from_slice(given.expose());
        (rest, first) = (later, false);
    }
    let promised = stream.finish_len();
    let last = stream.finish().unwrap();
    assert!(last.len() <= promised && (last.len() == promised || !aes.is_exact()), "{:?}", aes.mode());
    out.extend_from_slice(last.expose());
    out
}

#[test]
fn data_in_parts_gives_what_it_gives_at_once() {
    for key_len in [16, 24, 32] {
        let key = key(key_len);
        for (mode, lens) in modes() {
            let encrypt = Aes::new(mode.clone(), Direction::Encrypt).unwrap();
            let decrypt = Aes::new(mode.clone(), Direction::Decrypt).unwrap();
            for len in lens {
                let plain = random_bytes(len);
                let cipher = encrypt.run(&key, &plain).unwrap();
                encrypt.check_len(len).unwrap();
                decrypt.check_len(cipher.len()).unwrap();
                assert_eq!(cipher.len(), encrypt.output_len(len), "{mode:?} {len}");
                assert_eq!(in_parts(&encrypt, &key, &plain), cipher.expose(), "{mode:?} {len}");
                assert_eq!(in_parts(&decrypt, &key, cipher.expose()), plain, "{mode:?} {len}");
                let again = decrypt.run(&key, cipher.expose()).unwrap();
                assert_eq!(again.expose(), plain);
                let most = decrypt.output_len(cipher.len());
                assert!(again.len() <= most && (again.len() == most || !decrypt.is_exact()), "{mode:?} {len}");
            }
        }
    }
}

#[test]
fn the_modes_are_what_they_are_made_of() {
    for key_len in [16, 24, 32] {
        let (bytes, start) = (random_bytes(key_len), iv());
        let key = SecretKey::new(&bytes).unwrap();
        let plain = random_bytes(200);
        let encrypt = |mode, data: &[u8]| Aes::new(mode, Direction::Encrypt).unwrap().run(&key, data).unwrap();

        let mut counter = u128::from_be_bytes(start);
        let ctr: Vec<u8> = plain
            .chunks(16)
            .flat_map(|chunk| {
                let block = xor(their_block(&bytes, counter.to_be_bytes()), chunk);
                counter = counter.wrapping_add(1);
                block[..chunk.len()].to_vec()
            })
            .collect();
        // Never so close to the overflow that these few blocks would reach it.
        let mode = AesMode::Ctr { counter_bits: 128, block: start };
        if u128::from_be_bytes(start) < u128::MAX - 20 {
            assert_eq!(encrypt(mode, &plain).expose(), ctr);
        }

        let mut padded = plain.clone();
        padded.extend([8; 8]);
        let mut previous = start;
        let cbc: Vec<u8> = padded
            .chunks(16)
            .flat_map(|chunk| {
                previous = their_block(&bytes, xor(previous, chunk));
                previous
            })
            .collect();
        assert_eq!(encrypt(AesMode::CbcPad { iv: start }, &plain).expose(), cbc);
        assert_eq!(encrypt(AesMode::Cbc { iv: start }, &padded).expose(), cbc);
        let ecb: Vec<u8> = padded.chunks(16).flat_map(|chunk| their_block(&bytes, xor([0; 16], chunk))).collect();
        assert_eq!(encrypt(AesMode::Ecb, &padded).expose(), ecb);
    }
}

#[test]
fn gcm_is_theirs_for_vectors_of_every_length() {
    macro_rules! theirs {
        ($cipher:ty, $key:expr, $iv_type:ty, $iv:expr, $aad:expr, $plain:expr) => {{
            let gcm = aes_gcm::AesGcm::<$cipher, $iv_type>::new_from_slice($key).unwrap();
            let nonce = $iv.as_slice().try_into().unwrap();
            gcm.encrypt(nonce, Payload { msg: $plain, aad: $aad }).unwrap()
        }};
    }
    macro_rules! check {
        ($iv_len:literal, $iv_type:ty) => {
            for key_len in [16, 24, 32] {
                let (bytes, iv, aad) = (random_bytes(key_len), random_bytes($iv_len), random_bytes(21));
                let key = SecretKey::new(&bytes).unwrap();
                for len in [0, 1, 16, 100, 4097, 70_000] {
                    let plain = random_bytes(len);
                    let theirs = match key_len {
                        16 => theirs!(aes::Aes128, &bytes, $iv_type, iv, &aad, &plain),
                        24 => theirs!(aes::Aes192, &bytes, $iv_type, iv, &aad, &plain),
                        _ => theirs!(aes::Aes256, &bytes, $iv_type, iv, &aad, &plain),
                    };
                    let mode = AesMode::Gcm { iv: iv.clone(), aad: aad.clone(), tag_len: 16 };
                    let ours = Aes::new(mode, Direction::Encrypt).unwrap();
                    assert_eq!(ours.run(&key, &plain).unwrap().expose(), theirs);
                    assert_eq!(in_parts(&ours, &key, &plain), theirs);
                }
            }
        };
    }
    check!(1, U1);
    check!(12, U12);
    check!(16, U16);
    check!(60, U60);
}

/// Whatever is changed in a ciphertext, its tag, the data beside it or the vector, nothing comes out.
#[test]
fn nothing_comes_out_of_a_message_that_was_changed() {
    let key = key(32);
    for (mode, _) in modes() {
        let len = match mode {
            AesMode::Gcm { .. } | AesMode::Ccm { .. } => 40,
            AesMode::KeyWrap { .. } | AesMode::KeyWrapPadded { .. } | AesMode::KeyWrapPkcs7 { .. } => 32,
            _ => continue,
        };
        let plain = random_bytes(len);
        let mut cipher =
            Aes::new(mode.clone(), Direction::Encrypt).unwrap().run(&key, &plain).unwrap().expose().to_vec();
        let decrypt = Aes::new(mode.clone(), Direction::Decrypt).unwrap();
        for at in 0..cipher.len() {
            cipher[at] ^= 0x10;
            let mut stream = decrypt.start(&key).unwrap();
            assert!(stream.update(&cipher).unwrap().is_empty(), "{mode:?}");
            assert_fails(stream.finish(), Cause::EncryptedDataInvalid);
            assert_fails(decrypt.run(&key, &cipher), Cause::EncryptedDataInvalid);
            cipher[at] ^= 0x10;
        }
        let other = match mode.clone() {
            AesMode::Gcm { iv, tag_len, .. } => AesMode::Gcm { iv, aad: vec![], tag_len },
            AesMode::Ccm { nonce, mac_len, data_len, .. } => AesMode::Ccm { nonce, aad: vec![], mac_len, data_len },
            AesMode::KeyWrap { .. } => AesMode::KeyWrap { iv: [9; 8] },
            AesMode::KeyWrapPadded { .. } => AesMode::KeyWrapPadded { iv: [9; 4] },
            _ => AesMode::KeyWrapPkcs7 { iv: [9; 8] },
        };
        assert_fails(Aes::new(other, Direction::Decrypt).unwrap().run(&key, &cipher), Cause::EncryptedDataInvalid);
        assert!(decrypt.run(&key, &cipher).is_ok());
    }
}

#[test]
fn lengths_that_a_mode_does_not_take_have_the_error_of_their_direction() {
    let key = key(16);
    let gcm = AesMode::Gcm { iv: vec![1; 12], aad: vec![], tag_len: 16 };
    let ccm = |data_len| AesMode::Ccm { nonce: vec![1; 13], aad: vec![], mac_len: 4, data_len };
    let wrap = AesMode::KeyWrap { iv: AesMode::KEY_WRAP_IV };
    let padded = AesMode::KeyWrapPadded { iv: AesMode::KEY_WRAP_PADDED_IV };
    let pkcs7 = AesMode::KeyWrapPkcs7 { iv: AesMode::KEY_WRAP_IV };
    let (cbc, pad) = (AesMode::Cbc { iv: [0; 16] }, AesMode::CbcPad { iv: [0; 16] });
    for (mode, encrypt, decrypt) in [
        (AesMode::Ecb, vec![1, 15, 17, 33], vec![1, 15, 17, 33]),
        (cbc, vec![1, 15, 17, 33], vec![1, 15, 17, 33]),
        (pad, vec![], vec![0, 1, 15, 17, 33]),
        (gcm, vec![], vec![0, 1, 15]),
        (ccm(None), vec![65536], vec![0, 3, 65541]),
        (ccm(Some(5)), vec![0, 4, 6], vec![0, 8, 10]),
        (wrap, vec![0, 8, 15, 17], vec![0, 8, 16, 23, 25]),
        (padded, vec![0], vec![0, 8, 15, 17, 23]),
        (pkcs7, vec![0, 7], vec![0, 8, 16, 23]),
    ] {
        for (direction, lens, cause) in [
            (Direction::Encrypt, encrypt, Cause::DataLenRange),
            (Direction::Decrypt, decrypt, Cause::EncryptedDataLenRange),
        ] {
            let aes = Aes::new(mode.clone(), direction).unwrap();
            for len in lens {
                let result = aes.run(&key, &vec![0; len]);
                assert_fails(aes.check_len(len), cause);
                assert_eq!(result.err().map(|error| error.cause()), Some(cause), "{mode:?} {direction:?} {len}");
            }
        }
    }
}

#[test]
fn a_counter_never_overflows() {
    let key = key(16);
    let mut block = [0xff; 16];
    block[15] = 0xfd;
    let mode = AesMode::Ctr { counter_bits: 2, block };
    for direction in [Direction::Encrypt, Direction::Decrypt] {
        let aes = Aes::new(mode.clone(), direction).unwrap();
        assert!(aes.run(&key, &[0; 48]).is_ok());
        assert_fails(aes.run(&key, &[0; 49]), Cause::DataLenRange);
        let mut stream = aes.start(&key).unwrap();
        for _ in 0..48 {
            stream.update(&[0]).unwrap();
        }
        assert_fails(stream.update(&[0]), Cause::DataLenRange);
    }
}

#[test]
fn parameters_that_a_mode_does_not_have_are_refused() {
    let gcm = |iv_len, tag_len| AesMode::Gcm { iv: vec![0; iv_len], aad: vec![], tag_len };
    let ccm = |nonce_len, mac_len, data_len| AesMode::Ccm { nonce: vec![0; nonce_len], aad: vec![], mac_len, data_len };
    for mode in [
        AesMode::Ctr { counter_bits: 0, block: [0; 16] },
        AesMode::Ctr { counter_bits: 129, block: [0; 16] },
        gcm(0, 16),
        gcm(12, 3),
        gcm(12, 0),
        gcm(12, 17),
        ccm(6, 16, None),
        ccm(14, 16, None),
        ccm(13, 2, None),
        ccm(13, 5, None),
        ccm(13, 18, None),
        ccm(13, 16, Some(65536)),
        ccm(12, 16, Some(1 << 24)),
        ccm(7, 16, Some(usize::MAX)),
    ] {
        for direction in [Direction::Encrypt, Direction::Decrypt] {
            assert_fails(Aes::new(mode.clone(), direction), Cause::MechanismParamInvalid);
        }
    }
    for (mode, _) in modes() {
        for len in [1, 15, 17, 25, 31, 33, 64] {
            assert_fails(Aes::new(mode.clone(), Direction::Encrypt).unwrap().start(&key(len)), Cause::KeySizeRange);
        }
    }
}

/// One error, whatever the padding is.
#[test]
fn padding_that_is_wrong_has_one_error() {
    let key = key(32);
    let decrypt = Aes::new(AesMode::CbcPad { iv: [0; 16] }, Direction::Decrypt).unwrap();
    let cbc = Aes::new(AesMode::Cbc { iv: [0; 16] }, Direction::Encrypt).unwrap();
    for last in 0..=255u8 {
        let mut block = [last ^ 1; 16];
        block[15] = last;
        let cipher = cbc.run(&key, &block).unwrap();
        let opened = decrypt.run(&key, cipher.expose());
        match last {
            1 => assert_eq!(opened.unwrap().expose(), &block[..15]),
            _ => assert_fails(opened, Cause::EncryptedDataInvalid),
        }
    }
}
