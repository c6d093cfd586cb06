//! The ciphers of secret keys under one name, for callers who do not care which it is.
#![forbid(unsafe_code)]

use super::{Aes, AesStream, ChaCha20, ChaCha20Stream, Secret, SecretKey};
use crate::error::Result;

/// A cipher with its parameters, and a direction. It knows the lengths of all output without a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Symmetric {
    /// AES in one of its modes.
    Aes(Aes),
    /// ChaCha20, alone or with Poly1305.
    ChaCha20(ChaCha20),
}

/// An encryption or decryption under way. In a forked child every use is [`crate::error::Cause::NotInitialized`].
pub enum SymmetricStream {
    /// AES.
    Aes(AesStream),
    /// ChaCha20.
    ChaCha20(ChaCha20Stream),
}

/// The same for each kind of cipher.
macro_rules! each {
    ($of:ident, $self:expr, $it:ident => $work:expr) => {
        match $self {
            $of::Aes($it) => $work,
            $of::ChaCha20($it) => $work,
        }
    };
}

impl Symmetric {
    /// Starts with a key. [`crate::error::Cause::KeySizeRange`] if it is too short or too long.
    pub fn start(&self, key: &SecretKey) -> Result<SymmetricStream> {
        match self {
            Self::Aes(aes) => aes.start(key).map(SymmetricStream::Aes),
            Self::ChaCha20(chacha20) => chacha20.start(key).map(SymmetricStream::ChaCha20),
        }
    }

    /// Encrypts or decrypts the whole of `data`.
    pub fn run(&self, key: &SecretKey, data: &[u8]) -> Result<Secret> {
        each!(Self, self, cipher => cipher.run(key, data))
    }

    /// The length in bytes of what a first part of `len` bytes gives.
    pub fn update_len(&self, len: usize) -> usize {
        each!(Self, self, cipher => cipher.update_len(len))
    }

    /// The length in bytes of what data of `len` bytes gives in all; the most, unless [`Self::is_exact`].
    pub fn output_len(&self, len: usize) -> usize {
        each!(Self, self, cipher => cipher.output_len(len))
    }

    /// Whether it takes data of `len` bytes in all.
    pub fn check_len(&self, len: usize) -> Result<()> {
        each!(Self, self, cipher => cipher.check_len(len))
    }

    /// Whether [`Self::output_len`] is exact: no padding is to come off.
    pub fn is_exact(&self) -> bool {
        match self {
            Self::Aes(aes) => aes.is_exact(),
            Self::ChaCha20(_) => true,
        }
    }
}

impl SymmetricStream {
    /// The length in bytes of what the next part of `len` bytes gives.
    pub fn update_len(&self, len: usize) -> usize {
        each!(Self, self, stream => stream.update_len(len))
    }

    /// The length in bytes of what the end gives; where padding is to come off it is the most.
    pub fn finish_len(&self) -> usize {
        each!(Self, self, stream => stream.finish_len())
    }

    /// Takes in the next part, and gives what need not wait.
    pub fn update(&mut self, part: &[u8]) -> Result<Secret> {
        each!(Self, self, stream => stream.update(part))
    }

    /// Ends, and gives the rest.
    pub fn finish(self) -> Result<Secret> {
        each!(Self, self, stream => stream.finish())
    }

    /// The last part, and the end.
    pub fn run(self, data: &[u8]) -> Result<Secret> {
        each!(Self, self, stream => stream.run(data))
    }
}
