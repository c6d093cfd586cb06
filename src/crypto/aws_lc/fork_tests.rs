//! What a forked child gets: random numbers of its own, and no key.

use crate::crypto::{Aes, AesMode, ChaCha20, ChaCha20Mode, ChaCha20Nonce, DhGroup, Direction, Hash, Mac, MacAlgorithm};
use crate::crypto::{PrivateKey, SecretKey, SeededKind, SlhDsaMessage, SlhDsaSet, Symmetric, SymmetricStream, random};
use crate::error::Cause;
use ed25519_dalek::pkcs8::EncodePrivateKey;

/// Runs `child` in a fork; what it answers is the exit status.
fn in_child(child: impl FnOnce() -> u8) -> i32 {
    // SAFETY: glibc lets a child of a threaded process allocate; it exits without running destructors.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::_exit(i32::from(child()));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
        assert!(libc::WIFEXITED(status), "the child was killed");
        libc::WEXITSTATUS(status)
    }
}

#[test]
fn a_child_draws_other_random_numbers() {
    random::fill(&mut [0; 16]).unwrap();
    let mut ends = [0; 2];
    // SAFETY: a pipe of our own, used with buffers of the lengths given.
    unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        let status = in_child(|| {
            let mut bytes = [0; 32];
            let filled = random::fill(&mut bytes).is_ok();
            let written = libc::write(ends[1], bytes.as_ptr().cast(), 32);
            u8::from(!filled || written != 32)
        });
        assert_eq!(status, 0);
        let (mut theirs, mut ours) = ([0; 32], [0; 32]);
        assert_eq!(libc::read(ends[0], theirs.as_mut_ptr().cast(), 32), 32);
        random::fill(&mut ours).unwrap();
        assert_ne!(ours, theirs);
        libc::close(ends[0]);
        libc::close(ends[1]);
    }
}

#[test]
fn a_child_can_neither_use_nor_harm_its_parents_keys() {
    let ed25519 = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).to_pkcs8_der().unwrap();
    let rsa = rsa::PrivateKey::new_unchecked(&mut getrandom::SysRng, 1024).unwrap().to_pkcs8_der().unwrap();
    let ec = p256::SecretKey::from_slice(&[7; 32]).unwrap().to_pkcs8_der().unwrap();
    let x25519 = [&b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6e\x04\x22\x04\x20"[..], &[7; 32]].concat();
    let ml_kem = ml_kem::ml_kem_512::DecapsulationKey::from_seed([7; 64].into()).to_pkcs8_der().unwrap();
    let ml_dsa = ml_dsa::SigningKey::<ml_dsa::MlDsa44>::from_seed(&[7; 32].into()).to_pkcs8_der().unwrap();
    const DH: SeededKind = SeededKind::Dh { group: DhGroup::Ffdhe2048, bits: None };
    let [slh_dsa, ed448, x448, dh] =
        [SeededKind::SlhDsa(SlhDsaSet::Sha2_128f), SeededKind::Ed448, SeededKind::X448, DH].map(|kind| {
            let key = PrivateKey::generate(kind).unwrap();
            key.to_pkcs8().unwrap()
        });
    for der in [
        ml_kem.as_bytes(),
        ml_dsa.as_bytes(),
        ed25519.as_bytes(),
        rsa.as_bytes(),
        ec.as_bytes(),
        &x25519,
        slh_dsa.expose(),
        ed448.expose(),
        x448.expose(),
        dh.expose(),
    ] {
        let key = PrivateKey::from_pkcs8(der).unwrap();
        let digest = Hash::Sha256.digest(b"message");
        let sign = |key: &PrivateKey| match key.kind() {
            crate::crypto::KeyKind::Rsa { .. } => key.sign_pkcs1(Some(Hash::Sha256), &digest),
            crate::crypto::KeyKind::Ec(_) => key.ecdsa_sign(&digest),
            crate::crypto::KeyKind::Ed25519 | crate::crypto::KeyKind::Ed448 => {
                key.eddsa_sign(crate::crypto::EdVariant::Pure, &digest)
            }
            crate::crypto::KeyKind::MlKem(_) => key.decapsulate(&[7; 768]).map(|secret| secret.expose().to_vec()),
            crate::crypto::KeyKind::MlDsa(_) => key.ml_dsa_sign(&[7; 64], true),
            crate::crypto::KeyKind::SlhDsa(_) => key.slh_dsa_sign(SlhDsaMessage::Pure(&digest), b"", true),
            crate::crypto::KeyKind::Dh(_) => key.dh(&[9]).map(|secret| secret.expose().to_vec()),
            crate::crypto::KeyKind::X448 => key.ecdh(&[9; 56]).map(|secret| secret.expose().to_vec()),
            crate::crypto::KeyKind::X25519 => key.ecdh(&[9; 32]).map(|secret| secret.expose().to_vec()),
        };
        let status = in_child(|| {
            let refused = sign(&key).is_err_and(|error| error.cause() == Cause::NotInitialized);
            // What a child unwraps for itself works, beside what it inherited and after that was dropped.
            let own = PrivateKey::from_pkcs8(der).is_ok_and(|own| sign(&own).is_ok());
            // SAFETY: the child's copy is not used after this.
            drop(unsafe { std::ptr::read(&raw const key) });
            let still = PrivateKey::from_pkcs8(der).is_ok_and(|own| sign(&own).is_ok());
            u8::from(!refused) + 2 * u8::from(!own) + 4 * u8::from(!still)
        });
        assert_eq!(status, 0, "{:?}", key.kind());
        assert!(sign(&key).is_ok());
    }
}

#[test]
fn a_child_gets_no_secret_key() {
    let key = SecretKey::new(&[7; 32]).unwrap();
    let status = in_child(|| {
        let refused = key.expose().is_err_and(|error| error.cause() == Cause::NotInitialized);
        let own = SecretKey::new(&[8; 32]).is_ok_and(|own| own.expose().is_ok_and(|bytes| bytes == [8; 32]));
        u8::from(!refused) + 2 * u8::from(!own)
    });
    assert_eq!(status, 0);
    assert_eq!(key.expose().unwrap(), [7; 32]);
}

#[test]
fn a_child_can_neither_go_on_with_nor_harm_its_parents_operations() {
    let key = SecretKey::new(&[7; 32]).unwrap();
    let start = |mode| Symmetric::Aes(Aes::new(mode, Direction::Encrypt).unwrap()).start(&key).unwrap();
    let chacha20 = |mode| Symmetric::ChaCha20(ChaCha20::new(mode, Direction::Encrypt).unwrap()).start(&key).unwrap();
    let (short, long) = (ChaCha20Nonce::Ietf([1; 12]), ChaCha20Nonce::Extended([1; 24]));
    let mut streams = [
        start(AesMode::Ecb),
        start(AesMode::Cts { iv: [1; 16] }),
        start(AesMode::Gcm { iv: vec![1; 100], aad: vec![2; 5], tag_len: 16 }),
        start(AesMode::KeyWrap { iv: AesMode::KEY_WRAP_IV }),
        chacha20(ChaCha20Mode::Stream { counter_bits: 32, counter: 0, nonce: short }),
        chacha20(ChaCha20Mode::Stream { counter_bits: 64, counter: 0, nonce: long }),
        chacha20(ChaCha20Mode::Poly1305 { nonce: long, aad: vec![2; 5] }),
    ];
    let algorithms =
        [MacAlgorithm::Hmac(Hash::Sha256), MacAlgorithm::AesCmac, MacAlgorithm::AesGmac { iv: vec![1; 100] }];
    let mut macs = algorithms.map(|algorithm| Mac::new(&algorithm, &[7; 32]).unwrap());
    let status = in_child(|| {
        let inherited = |error: crate::error::Error| error.cause() == Cause::NotInitialized;
        let mut refused = true;
        for stream in &mut streams {
            // SAFETY: the child's copy is not used after this.
            let stream = unsafe { std::ptr::read(&raw const *stream) };
            refused &= SymmetricStream::run(stream, &[0; 48]).is_err_and(inherited);
        }
        for mac in &mut macs {
            refused &= mac.update(b"data").is_err_and(inherited);
            // SAFETY: as above.
            drop(unsafe { std::ptr::read(&raw const *mac) });
        }
        u8::from(!refused)
    });
    assert_eq!(status, 0);
    for stream in streams {
        assert!(stream.run(&[0; 48]).is_ok());
    }
    for mut mac in macs {
        assert!(mac.update(b"data").is_ok() && mac.finish().is_ok());
    }
}
