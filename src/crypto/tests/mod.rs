//! The crypto floor against RustCrypto, in both directions, and against tampering.
#![forbid(unsafe_code)]

mod aes_modes;
mod aes_streams;
mod agree;
mod chacha20;
mod components;
mod curve448;
mod digest_state;
mod ec;
mod ed25519;
mod hotp;
mod kdf;
mod kem;
mod mac;
mod ml_dsa;
mod parse;
mod process;
mod rsa_oracle;
mod rsa_padding;
mod slh_dsa;
mod symmetric;

use super::PrivateKey;
use crate::error::{Cause, Result};
use getrandom::SysRng;
use rsa::pkcs8::EncodePrivateKey;
use std::sync::OnceLock;

/// An RSA key in both implementations.
struct RsaPair {
    theirs: rsa::PrivateKey,
    ours: PrivateKey,
    pkcs8: Vec<u8>,
}

fn rsa_pair(bits: usize) -> &'static RsaPair {
    static KEYS: [OnceLock<RsaPair>; 4] = [const { OnceLock::new() }; 4];
    let index = [1024, 2048, 3072, 2050].iter().position(|known| *known == bits).unwrap();
    KEYS[index].get_or_init(|| new_rsa_pair(bits))
}

fn new_rsa_pair(bits: usize) -> RsaPair {
    let theirs = rsa::PrivateKey::new_unchecked(&mut SysRng, bits).unwrap();
    let pkcs8 = theirs.to_pkcs8_der().unwrap().as_bytes().to_vec();
    RsaPair { ours: PrivateKey::from_pkcs8(&pkcs8).unwrap(), theirs, pkcs8 }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

fn random_bytes(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    super::random::fill(&mut bytes).unwrap();
    bytes
}

#[track_caller]
fn assert_fails<T>(result: Result<T>, cause: Cause) {
    match result {
        Ok(_) => panic!("succeeded instead of {cause:?}"),
        Err(error) => assert_eq!(error.cause(), cause, "{error}"),
    }
}

/// Runs `$body` with `$type` standing for RustCrypto's implementation of `$hash`.
macro_rules! with_theirs {
    ($hash:expr, $type:ident, $body:expr) => {
        match $hash {
            Hash::Sha1 => {
                type $type = sha1::Sha1;
                $body
            }
            Hash::Sha224 => {
                type $type = sha2::Sha224;
                $body
            }
            Hash::Sha256 => {
                type $type = sha2::Sha256;
                $body
            }
            Hash::Sha384 => {
                type $type = sha2::Sha384;
                $body
            }
            Hash::Sha512 => {
                type $type = sha2::Sha512;
                $body
            }
            Hash::Sha512_224 => {
                type $type = sha2::Sha512_224;
                $body
            }
            Hash::Sha512_256 => {
                type $type = sha2::Sha512_256;
                $body
            }
            Hash::Sha3_224 => {
                type $type = sha3::Sha3_224;
                $body
            }
            Hash::Sha3_256 => {
                type $type = sha3::Sha3_256;
                $body
            }
            Hash::Sha3_384 => {
                type $type = sha3::Sha3_384;
                $body
            }
            Hash::Sha3_512 => {
                type $type = sha3::Sha3_512;
                $body
            }
            Hash::Shake128 | Hash::Shake256 => unreachable!("of no fixed length"),
        }
    };
}
use with_theirs;
