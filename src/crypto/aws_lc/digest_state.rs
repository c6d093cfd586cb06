//! The state of a hash function under way, as bytes: to be kept, and gone on from later.
//!
//! It is what the standard calls the state: the chaining words, the number of bits that came in, and what
//! does not fill a block yet; all big-endian. AWS-LC publishes the structures of SHA-1 and SHA-2, and keeps
//! that of SHA-3 to itself.

use super::digest::Digester;
use crate::crypto::{Hash, Secret};
use aws_lc_sys::*;

macro_rules! state {
    ($save:ident, $load:ident, $context:ty, $word:ty, $block:ident) => {
        fn $save(context: &$context) -> Option<Secret> {
            let partial = context.$block.get(..context.num as usize)?;
            let words = context.h.iter().chain([&context.Nh, &context.Nl]).flat_map(|word| word.to_be_bytes());
            Some(Secret::new(words.chain(partial.iter().copied()).collect()))
        }

        /// Leaves the context as it is where `saved` is no state.
        fn $load(context: &mut $context, saved: &[u8]) -> Option<()> {
            let (words, partial) = saved.split_at_checked((context.h.len() + 2) * size_of::<$word>())?;
            let (words, _) = words.as_chunks();
            let (chaining, bits) = words.split_at_checked(context.h.len())?;
            let (high, low) = (<$word>::from_be_bytes(*bits.first()?), <$word>::from_be_bytes(*bits.last()?));
            // Whole bytes, of which those beyond the last whole block are there.
            let block = context.$block.len() as $word;
            if low % 8 != 0 || (low / 8) % block != partial.len() as $word {
                return None;
            }
            for (word, bytes) in context.h.iter_mut().zip(chaining) {
                *word = <$word>::from_be_bytes(*bytes);
            }
            (context.Nh, context.Nl) = (high, low);
            context.$block.get_mut(..partial.len())?.copy_from_slice(partial);
            context.num = partial.len() as u32;
            Some(())
        }
    };
}

state!(save_sha1, load_sha1, SHA_CTX, u32, data);
state!(save_sha256, load_sha256, SHA256_CTX, u32, data);
state!(save_sha512, load_sha512, SHA512_CTX, u64, p);

impl Digester {
    /// Its state; `None` for SHA-3, whose state cannot be had.
    pub fn save(&self) -> Option<Secret> {
        let state = self.state();
        // SAFETY: the context is initialised for its hash function, whose state has this structure.
        unsafe {
            match self.hash() {
                Hash::Sha1 => save_sha1(state.cast::<SHA_CTX>().as_ref()?),
                Hash::Sha224 | Hash::Sha256 => save_sha256(state.cast::<SHA256_CTX>().as_ref()?),
                Hash::Sha384 | Hash::Sha512 | Hash::Sha512_224 | Hash::Sha512_256 => {
                    save_sha512(state.cast::<SHA512_CTX>().as_ref()?)
                }
                Hash::Sha3_224 | Hash::Sha3_256 | Hash::Sha3_384 | Hash::Sha3_512 | Hash::Shake128 | Hash::Shake256 => {
                    None
                }
            }
        }
    }

    /// Goes on from a state that [`Self::save`] gave; `None` if it is none of this hash function.
    pub fn restore(hash: Hash, saved: &[u8]) -> Option<Self> {
        let digester = Self::new(hash);
        let state = digester.state();
        // SAFETY: as above; nobody else knows the context.
        unsafe {
            match hash {
                Hash::Sha1 => load_sha1(state.cast::<SHA_CTX>().as_mut()?, saved)?,
                Hash::Sha224 | Hash::Sha256 => load_sha256(state.cast::<SHA256_CTX>().as_mut()?, saved)?,
                Hash::Sha384 | Hash::Sha512 | Hash::Sha512_224 | Hash::Sha512_256 => {
                    load_sha512(state.cast::<SHA512_CTX>().as_mut()?, saved)?;
                }
                Hash::Sha3_224 | Hash::Sha3_256 | Hash::Sha3_384 | Hash::Sha3_512 | Hash::Shake128 | Hash::Shake256 => {
                    return None;
                }
            }
        }
        Some(digester)
    }
}
