//! The maths: the only floor that names a crypto library.
//!
//! AWS-LC does the work; [`aws_lc`] is the only folder that calls it, and says `unsafe` so that
//! nothing else has to. What it does not have, [`slh_dsa`], [`curve448`] and a part of [`ml_dsa`] have from RustCrypto. What callers see are values: [`PublicKey`], [`PrivateKey`], [`SecretKey`], [`Hash`], [`Curve`].

mod aes;
mod agree;
mod aws_lc;
mod chacha20;
mod components;
mod curve;
mod curve448;
mod der_writer;
mod dh;
mod dh_groups;
mod digest;
mod foreign;
mod generate;
mod hash;
mod hotp;
pub mod kdf;
mod key;
pub mod key_file;
mod load;
pub mod mac;
mod ml_dsa;
mod ml_kem;
mod ours;
pub mod password;
mod pkcs1;
mod pkcs8;
mod private;
mod public;
pub mod random;
mod rsa_numbers;
pub mod seal_box;
mod secret;
mod secret_key;
mod slh_dsa;
pub mod sp800_108;
mod stack;
mod symmetric;

#[cfg(test)]
mod tests;

pub use aes::{AES_BLOCK_LEN, Aes, AesMode, AesStream, Direction};
pub use agree::SharedSecretKdf;
pub use aws_lc::digest::Digester;
pub use chacha20::{ChaCha20, ChaCha20Mode, ChaCha20Nonce, ChaCha20Stream};
pub use components::{PrivateComponents, RsaComponents};
pub use curve::{Curve, EdVariant, KeyKind};
pub use dh_groups::DhGroup;
pub use digest::Digest;
pub use generate::SeededKind;
pub use hash::Hash;
pub use hotp::{HOTP_DIGITS, hotp};
pub use key::Key;
pub use mac::{Mac, MacAlgorithm};
pub use ml_dsa::{MlDsaSet, Mu};
pub use ml_kem::MlKemSet;
pub use private::PrivateKey;
pub use public::{PublicKey, PublicParts, RSA_BITS};
pub use secret::Secret;
pub use secret_key::SecretKey;
pub use slh_dsa::{SlhDsaMessage, SlhDsaSet};
pub(crate) use stack::WipedAfter;
pub use symmetric::{Symmetric, SymmetricStream};
