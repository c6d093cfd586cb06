//! What OpenSSL encrypts opens, and nothing else does.

use super::attestor::Recipient;
use super::cms;
use crate::crypto::PrivateKey;
use crate::error::Cause;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What OpenSSL encrypted for a key of its own, and the owner of that.
struct Made {
    recipient: Recipient,
    /// By each length of the content: of indefinite lengths, strict, and strict with the recipient named otherwise.
    answers: Vec<[Vec<u8>; 3]>,
}

const LENGTHS: [usize; 6] = [1, 15, 16, 1217, 2376, 4096];

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| at as u8).collect()
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "certificate.pem"];
        openssl(folder, &[&new[..], &["-subj", "/CN=enclave", "-days", "2"]].concat());
        openssl(folder, &["pkcs8", "-topk8", "-nocrypt", "-in", "key.pem", "-outform", "DER", "-out", "key.der"]);
        let answers = LENGTHS.map(|len| {
            std::fs::write(folder.join("content"), content(len)).unwrap();
            let encrypt = |more: &[&str]| {
                let how = ["cms", "-encrypt", "-binary", "-aes256", "-in", "content", "-outform", "DER"];
                let oaep = ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"];
                let whom = ["-out", "answer", "-recip", "certificate.pem"];
                openssl(folder, &[&how[..], more, &whom, &oaep].concat());
                std::fs::read(folder.join("answer")).unwrap()
            };
            [encrypt(&["-keyid", "-stream"]), encrypt(&["-keyid"]), encrypt(&[])]
        });
        let key = PrivateKey::from_pkcs8(&std::fs::read(folder.join("key.der")).unwrap()).unwrap();
        Made { recipient: Recipient::of(Arc::new(key), Vec::new()), answers: answers.into() }
    })
}

#[test]
fn what_is_encrypted_elsewhere_opens_in_each_form() {
    for (answers, len) in made().answers.iter().zip(LENGTHS) {
        assert_eq!((answers[0][1], answers[1][1]), (0x80, 0x82), "indefinite and definite");
        for answer in answers {
            assert_eq!(made().recipient.open(answer).unwrap().expose(), content(len));
        }
    }
}

#[test]
fn what_was_altered_is_one_error_or_something_else() {
    let answers = &made().answers[3];
    for answer in answers {
        for at in 0..answer.len() {
            assert!(cms::parse(&answer[..at]).is_none(), "cut at {at}");
            for bit in 0..8 {
                let mut bad = answer.clone();
                bad[at] ^= 1 << bit;
                let parsed = cms::parse(&bad);
                // Each opening is an operation of RSA.
                if parsed.is_some() && at % 7 == bit {
                    let error = made().recipient.open(&bad).err();
                    assert!(error.is_none_or(|error| error.cause() == Cause::AttestationAnswer), "byte {at}");
                }
            }
        }
        // In the last block but one it always shows: the padding is wrong.
        let enveloped = cms::parse(answer).unwrap();
        let blocks = enveloped.encrypted_content.chunks(16);
        let block = blocks.rev().nth(1).unwrap();
        let place = answer.windows(16).position(|bytes| bytes == block).unwrap();
        let mut bad = answer.clone();
        bad[place + 15] ^= 0x80;
        assert_eq!(made().recipient.open(&bad).err().unwrap().cause(), Cause::AttestationAnswer);
    }
    let another = Recipient::of(Arc::new(PrivateKey::generate_rsa_2048().unwrap()), Vec::new());
    let error = another.open(&answers[0]).err().unwrap();
    assert_eq!((error.cause(), error.detail()), (Cause::AttestationAnswer, ""));
}

/// Numbers that look random and are the same each time (SplitMix64).
fn numbers() -> impl FnMut(usize) -> usize {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move |below| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % below as u64) as usize
    }
}

#[test]
fn no_answer_is_too_strange() {
    let mut number = numbers();
    for answers in &made().answers[..3] {
        for answer in answers {
            for _ in 0..20_000 {
                let mut strange = answer.clone();
                for _ in 0..=number(4) {
                    let at = number(strange.len());
                    let end = at + number(strange.len() - at).min(40);
                    let piece = strange[at..end].to_vec();
                    match number(5) {
                        0 => strange[at] = number(256) as u8,
                        1 => strange[at] = [0, 0x30, 0x80, 0xa0, 0x24, 0x04, 0xff][number(7)],
                        2 => drop(strange.drain(at..end)),
                        3 => drop(strange.splice(at..at, piece)),
                        _ => strange.truncate(at.max(1)),
                    }
                    if strange.is_empty() {
                        strange.push(0x30);
                    }
                }
                // What is read is no more than what came.
                if let Some(read) = cms::parse(&strange) {
                    assert!(read.encrypted_key.len() + read.encrypted_content.len() < strange.len());
                }
            }
        }
    }
    for bomb in [[0x30, 0x80], [0xa0, 0x80], [0x24, 0x80], [0x00, 0x00], [0xff, 0xff]] {
        for len in [1, 100, 4096, 5000] {
            assert!(cms::parse(&bomb.repeat(len)).is_none());
        }
    }
    assert!(made().recipient.open(&[]).is_err());
}

#[test]
fn a_new_key_is_as_long_as_kms_wants_it_and_another_each_time() {
    let [one, another] = [(); 2].map(|()| PrivateKey::generate_rsa_2048().unwrap());
    assert_eq!(one.kind(), crate::crypto::KeyKind::Rsa { bits: 2048 });
    assert_ne!(one.public_key().spki_der(), another.public_key().spki_der());
    // Another implementation takes it too.
    use rsa::pkcs8::DecodePublicKey;
    let theirs = rsa::PublicKey::from_public_key_der(one.public_key().spki_der()).unwrap();
    let sealed = theirs.encrypt(&mut getrandom::SysRng, rsa::Oaep::<sha2::Sha256>::new(), b"x").unwrap();
    let hash = crate::crypto::Hash::Sha256;
    assert_eq!(one.decrypt_oaep(hash, hash, b"", &sealed).unwrap().expose(), b"x");
}
