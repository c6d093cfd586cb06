//! The value of a hash function.
#![forbid(unsafe_code)]

use std::ops::Deref;
use zeroize::Zeroize;

/// What a hash function made of some data: up to 64 bytes, held in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    bytes: [u8; 64],
    len: usize,
}

impl Digest {
    /// A digest of `len` bytes (at most 64), as `fill` writes them.
    pub(super) fn made_by(len: usize, fill: impl FnOnce(&mut [u8; 64])) -> Self {
        let mut bytes = [0; 64];
        fill(&mut bytes);
        Self { bytes, len: len.min(64) }
    }
}

impl Deref for Digest {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Zeroize for Digest {
    fn zeroize(&mut self) {
        self.bytes.zeroize();
        self.len = 0;
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
