//! Secret keys, in protected memory.
#![forbid(unsafe_code)]

use crate::error::{Cause, Result};
use crate::host::protected::{Block, Stamp};

/// The bytes of a secret key: AES, HMAC or generic.
///
/// They live in the protected pool and are wiped when dropped. A forked child inherits only zeros: there
/// every use is [`Cause::NotInitialized`]. There is no `Debug`, no `Clone` and no `PartialEq` on purpose.
pub struct SecretKey {
    bytes: Block,
    stamp: Stamp,
}

impl SecretKey {
    /// A copy of `bytes`, of which there is at least one and at most about 256 KiB. [`Cause::KeySizeRange`] if
    /// there is none, [`Cause::HostMemory`] if there is no protected memory for so many.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Err(Cause::KeySizeRange.with("a secret key without bytes"));
        }
        let stamp = Stamp::new();
        Ok(Self { bytes: Block::copy_of(bytes)?, stamp })
    }

    /// How many bytes the key has; at least one. In a forked child too.
    #[allow(clippy::len_without_is_empty, reason = "no key is empty")]
    pub fn len(&self) -> usize {
        self.bytes.expose().len()
    }

    /// The bytes. Do not copy them anywhere that is not wiped. [`Cause::NotInitialized`] in a forked child.
    pub fn expose(&self) -> Result<&[u8]> {
        if self.stamp.is_ours() {
            Ok(self.bytes.expose())
        } else {
            Err(Cause::NotInitialized.with("the key was inherited over a fork"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_bytes_it_was_given() {
        for len in [1, 16, 64, 4096] {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let key = SecretKey::new(&bytes).unwrap();
            assert_eq!((key.len(), key.expose().unwrap()), (len, bytes.as_slice()));
        }
        assert_eq!(SecretKey::new(&[]).err().unwrap().cause(), Cause::KeySizeRange);
        assert_eq!(SecretKey::new(&vec![1; 300_000]).err().unwrap().cause(), Cause::HostMemory);
    }
}
