//! ChaCha20 against RustCrypto, in every variant, whole and in parts.

use super::super::{ChaCha20, ChaCha20Mode, ChaCha20Nonce, Direction, SecretKey};
use super::{assert_fails, hex, random_bytes, unhex};
use crate::error::Cause;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use chacha20::{R20, hchacha};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, XChaCha20Poly1305};

fn nonce(bytes: &[u8]) -> ChaCha20Nonce {
    ChaCha20Nonce::from_bytes(bytes).unwrap()
}

fn stream(counter_bits: u32, counter: u64, bytes: &[u8]) -> ChaCha20Mode {
    ChaCha20Mode::Stream { counter_bits, counter, nonce: nonce(bytes) }
}

fn cipher(mode: &ChaCha20Mode, direction: Direction) -> ChaCha20 {
    ChaCha20::new(mode.clone(), direction).unwrap()
}

/// What the whole of `data` gives, and the same in parts of several lengths.
fn run(mode: &ChaCha20Mode, direction: Direction, key: &SecretKey, data: &[u8]) -> Vec<u8> {
    let cipher = cipher(mode, direction);
    cipher.check_len(data.len()).unwrap();
    let whole = cipher.run(key, data).unwrap();
    assert_eq!(whole.len(), cipher.output_len(data.len()));
    for step in [1, 7, 63, 64, 65, 200] {
        let mut stream = cipher.start(key).unwrap();
        let mut out: Vec<u8> = Vec::new();
        for part in data.chunks(step) {
            let len = stream.update_len(part.len());
            let now = stream.update(part).unwrap();
            assert_eq!(now.len(), len);
            out.extend(now.expose());
        }
        let len = stream.finish_len();
        let last = stream.finish().unwrap();
        assert_eq!(last.len(), len);
        out.extend(last.expose());
        assert_eq!(out, whole.expose(), "{mode:?} by {step}");
    }
    whole.expose().to_vec()
}

/// RFC 8439, sections 2.4.2 and 2.8.2; draft-irtf-cfrg-xchacha-03, sections A.3.1 and A.3.2.1.
#[test]
fn it_gives_the_published_values() {
    const WORDS: &[u8] =
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
sunscreen would be it.";
    let key = SecretKey::new(&(0..32).collect::<Vec<_>>()).unwrap();
    let sealed = run(&stream(32, 1, &unhex("000000000000004a00000000")), Direction::Encrypt, &key, WORDS);
    assert_eq!(hex(&sealed[..32]), "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0b");

    let key = SecretKey::new(&(0x80..0xa0).collect::<Vec<_>>()).unwrap();
    let aad = unhex("50515253c0c1c2c3c4c5c6c7");
    for (bytes, tag) in [
        ("070000004041424344454647", "1ae10b594f09e26a7e902ecbd0600691"),
        ("404142434445464748494a4b4c4d4e4f5051525354555657", "c0875924c1c7987947deafd8780acf49"),
    ] {
        let mode = ChaCha20Mode::Poly1305 { nonce: nonce(&unhex(bytes)), aad: aad.clone() };
        let sealed = run(&mode, Direction::Encrypt, &key, WORDS);
        assert_eq!(hex(&sealed[WORDS.len()..]), tag);
        assert_eq!(run(&mode, Direction::Decrypt, &key, &sealed), WORDS);
    }
}

#[test]
fn the_stream_is_theirs_from_any_block() {
    let (bytes, data) = (random_bytes(32), random_bytes(1000));
    let key = SecretKey::new(&bytes).unwrap();
    let check = |mode: ChaCha20Mode, theirs: &mut dyn FnMut(&mut [u8])| {
        let mut expected = data.clone();
        theirs(&mut expected);
        for direction in [Direction::Encrypt, Direction::Decrypt] {
            assert_eq!(run(&mode, direction, &key, &data), expected, "{mode:?}");
        }
    };
    for counter in [0, 1, 77, 0xffff_ff00] {
        let n = random_bytes(12);
        let mut theirs = chacha20::ChaCha20::new_from_slices(&bytes, &n).unwrap();
        theirs.seek(counter * 64);
        check(stream(32, counter, &n), &mut |data| theirs.apply_keystream(data));
    }
    // Also over the end of the counter's low half.
    for counter in [0, 1, 0xffff_fff0, 0xffff_ffff, 0x1_0000_0000] {
        let (short, long) = (random_bytes(8), random_bytes(24));
        let mut theirs = chacha20::ChaCha20Legacy::new_from_slices(&bytes, &short).unwrap();
        theirs.seek(u128::from(counter) * 64);
        check(stream(64, counter, &short), &mut |data| theirs.apply_keystream(data));
        // Theirs has a counter of 32 bits, but all that it is made of.
        let (front, rest) = long.split_at(16);
        let subkey = hchacha::<R20>(bytes.as_slice().try_into().unwrap(), front.try_into().unwrap());
        let mut theirs = chacha20::ChaCha20Legacy::new_from_slices(&subkey, rest).unwrap();
        theirs.seek(u128::from(counter) * 64);
        check(stream(64, counter, &long), &mut |data| theirs.apply_keystream(data));
    }
    // A short counter is the beginning of a long one.
    let n = random_bytes(24);
    let short = run(&stream(32, 5, &n), Direction::Encrypt, &key, &data);
    assert_eq!(short, run(&stream(64, 5, &n), Direction::Encrypt, &key, &data));
}

#[test]
fn poly1305_is_theirs_and_whatever_is_changed_is_found_out() {
    let bytes = random_bytes(32);
    let key = SecretKey::new(&bytes).unwrap();
    for (len, aad_len) in [(0, 0), (0, 5), (1, 0), (15, 16), (16, 17), (64, 1), (1000, 100)] {
        let (data, aad) = (random_bytes(len), random_bytes(aad_len));
        let payload = || Payload { msg: &data, aad: &aad };
        let (short, long) = (random_bytes(12), random_bytes(24));
        let theirs = ChaCha20Poly1305::new_from_slice(&bytes).unwrap();
        let sealed = theirs.encrypt(short.as_slice().try_into().unwrap(), payload()).unwrap();
        let theirs = XChaCha20Poly1305::new_from_slice(&bytes).unwrap();
        let sealed_long = theirs.encrypt(long.as_slice().try_into().unwrap(), payload()).unwrap();
        for (n, mut sealed) in [(short, sealed), (long, sealed_long)] {
            let mode = ChaCha20Mode::Poly1305 { nonce: nonce(&n), aad: aad.clone() };
            assert_eq!(run(&mode, Direction::Encrypt, &key, &data), sealed, "{len} {aad_len}");
            assert_eq!(run(&mode, Direction::Decrypt, &key, &sealed), data);
            let decrypt = cipher(&mode, Direction::Decrypt);
            for at in [0, len / 2, len, len + 15] {
                sealed[at] ^= 0x10;
                assert_fails(decrypt.run(&key, &sealed), Cause::EncryptedDataInvalid);
                sealed[at] ^= 0x10;
            }
            assert_fails(decrypt.run(&key, &sealed[..15]), Cause::EncryptedDataLenRange);
            let other = ChaCha20Mode::Poly1305 { nonce: nonce(&n), aad: [&aad[..], b"x"].concat() };
            assert_fails(cipher(&other, Direction::Decrypt).run(&key, &sealed), Cause::EncryptedDataInvalid);
        }
    }
}

#[test]
fn parameters_and_data_out_of_range_are_refused() {
    for mode in [
        stream(64, 0, &[0; 12]),
        stream(16, 0, &[0; 12]),
        stream(32, 1 << 32, &[0; 8]),
        ChaCha20Mode::Poly1305 { nonce: nonce(&[0; 8]), aad: vec![] },
    ] {
        assert_fails(ChaCha20::new(mode, Direction::Encrypt), Cause::MechanismParamInvalid);
    }
    for len in [0, 7, 11, 13, 16, 25] {
        assert!(ChaCha20Nonce::from_bytes(&vec![0; len]).is_none());
    }
    let key = SecretKey::new(&random_bytes(32)).unwrap();
    // Two blocks are left.
    for mode in
        [stream(32, 0xffff_fffe, &[1; 12]), stream(32, 0xffff_fffe, &[1; 8]), stream(64, u64::MAX - 1, &[1; 24])]
    {
        for (direction, cause) in
            [(Direction::Encrypt, Cause::DataLenRange), (Direction::Decrypt, Cause::EncryptedDataLenRange)]
        {
            let cipher = cipher(&mode, direction);
            assert_eq!(run(&mode, direction, &key, &[0; 128]).len(), 128);
            assert_fails(cipher.check_len(129), cause);
            assert_fails(cipher.run(&key, &[0; 129]), cause);
            let mut stream = cipher.start(&key).unwrap();
            stream.update(&[0; 100]).unwrap();
            assert_fails(stream.update(&[0; 29]), cause);
        }
    }
    let poly1305 = ChaCha20Mode::Poly1305 { nonce: nonce(&[0; 12]), aad: vec![] };
    let most = (1 << 38) - 64;
    cipher(&poly1305, Direction::Encrypt).check_len(most).unwrap();
    assert_fails(cipher(&poly1305, Direction::Encrypt).check_len(most + 1), Cause::DataLenRange);
    cipher(&poly1305, Direction::Decrypt).check_len(most + 16).unwrap();
    assert_fails(cipher(&poly1305, Direction::Decrypt).check_len(most + 17), Cause::EncryptedDataLenRange);
    for len in [16, 31, 33] {
        let key = SecretKey::new(&random_bytes(len)).unwrap();
        for mode in [&poly1305, &stream(32, 0, &[0; 12])] {
            assert_fails(cipher(mode, Direction::Encrypt).run(&key, b"data"), Cause::KeySizeRange);
        }
    }
}
