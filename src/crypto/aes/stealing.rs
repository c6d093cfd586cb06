//! The end of CBC with ciphertext stealing: CS1 of the addendum to SP 800-38A.
//!
//! The last two blocks overlap: the one before the last is cut to what the last lacks. Data of whole blocks is
//! plain CBC.
#![forbid(unsafe_code)]

use super::{BLOCK_LEN, Direction};
use crate::crypto::aws_lc::cipher::{Cipher, Mode};
use crate::error::{Cause, Result};
use zeroize::Zeroizing;

type Block = [u8; BLOCK_LEN];

/// CBC of which the last two blocks are treated at the end.
pub(super) struct Stealing {
    cbc: Cipher,
    /// To decrypt: the last block comes before the one whose end it holds.
    ecb: Option<Cipher>,
    /// The last ciphertext block that was decrypted, or the vector.
    previous: Block,
}

impl Stealing {
    pub(super) fn new(key: &[u8], iv: &Block, direction: Direction) -> Result<Self> {
        let ecb = match direction {
            Direction::Encrypt => None,
            Direction::Decrypt => Some(Cipher::new(Mode::Ecb, key, None, direction)?),
        };
        Ok(Self { cbc: Cipher::new(Mode::Cbc, key, Some(iv), direction)?, ecb, previous: *iv })
    }

    /// Whole blocks that are not among the last two.
    pub(super) fn apply(&mut self, data: &mut [u8]) -> Result<()> {
        if let Some(last) = data.last_chunk() {
            self.previous = *last;
        }
        self.cbc.apply(data)
    }

    /// The end, in place: from one block to two. [`Cause::DataLenRange`] for less.
    pub(super) fn finish(mut self, data: &mut [u8]) -> Result<()> {
        let len = data.len();
        if len == BLOCK_LEN || len == 2 * BLOCK_LEN {
            return self.cbc.apply(data);
        }
        let stolen = len.checked_sub(BLOCK_LEN).filter(|len| *len < BLOCK_LEN).ok_or(Cause::DataLenRange)?;
        // Encrypted: all of the last block but one, then the last. Decrypted: the same in plain.
        let mut blocks = Zeroizing::new([0; 2 * BLOCK_LEN]);
        let Some(ecb) = &mut self.ecb else {
            blocks[..len].copy_from_slice(data);
            self.cbc.apply(blocks.as_mut_slice())?;
            data[..stolen].copy_from_slice(&blocks[..stolen]);
            data[stolen..].copy_from_slice(&blocks[BLOCK_LEN..]);
            return Ok(());
        };
        let (first, last) = blocks.split_at_mut(BLOCK_LEN);
        // What the last block was before it was encrypted: the plaintext's end, mixed with the block before.
        last.copy_from_slice(&data[stolen..]);
        ecb.apply(last)?;
        first[..stolen].copy_from_slice(&data[..stolen]);
        first[stolen..].copy_from_slice(&last[stolen..]);
        for (byte, cipher) in last.iter_mut().zip(first.iter()) {
            *byte ^= cipher;
        }
        ecb.apply(first)?;
        for (byte, cipher) in first.iter_mut().zip(&self.previous) {
            *byte ^= cipher;
        }
        data.copy_from_slice(&blocks[..len]);
        Ok(())
    }
}
