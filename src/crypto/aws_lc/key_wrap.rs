//! AES key wrap, without and with padding (SP 800-38F; RFC 3394 and RFC 5649).

use super::cipher::BLOCK_LEN;
use super::{check_or, take_error};
use crate::crypto::stack::{SIGN, WipedAfter};
use crate::error::{Cause, Result};
use crate::host::protected::Block;
use aws_lc_sys::*;

/// Half a block: what the algorithms work in.
pub(in crate::crypto) const SEMIBLOCK: usize = 8;

/// The key schedule of AES in one direction.
pub(in crate::crypto) struct Schedule(Block);

type Expand = unsafe extern "C" fn(*const u8, std::os::raw::c_uint, *mut AES_KEY) -> std::os::raw::c_int;

impl Schedule {
    /// For wrapping. [`Cause::KeySizeRange`] unless the key has 16, 24 or 32 bytes.
    pub(in crate::crypto) fn to_wrap(key: &[u8]) -> Result<Self> {
        Self::new(key, AES_set_encrypt_key)
    }

    /// For unwrapping; likewise.
    pub(in crate::crypto) fn to_unwrap(key: &[u8]) -> Result<Self> {
        Self::new(key, AES_set_decrypt_key)
    }

    fn new(key: &[u8], expand: Expand) -> Result<Self> {
        let _wiped = WipedAfter::<SIGN>;
        let bits = match key.len() {
            16 => 128,
            24 => 192,
            32 => 256,
            _ => return Err(Cause::KeySizeRange.with("an AES key has 16, 24 or 32 bytes")),
        };
        let mut block = Block::zeroed(size_of::<AES_KEY>())?;
        // SAFETY: the key has so many bits; a block of the pool is aligned to 16 and has the schedule's length.
        let failed = unsafe { expand(key.as_ptr(), bits, block.expose_mut().as_mut_ptr().cast()) };
        if failed == 0 { Ok(Self(block)) } else { Err(Cause::CryptoLibrary.with("AES key schedule")) }
    }

    fn as_ptr(&self) -> *const AES_KEY {
        self.0.expose().as_ptr().cast()
    }

    /// Wraps two or more semiblocks under an initial value; `out` is a semiblock longer.
    pub(in crate::crypto) fn wrap(&self, iv: &[u8; SEMIBLOCK], data: &[u8], out: &mut [u8]) -> Result<()> {
        let _wiped = WipedAfter::<SIGN>;
        if !data.len().is_multiple_of(SEMIBLOCK) || data.len() + SEMIBLOCK != out.len() {
            return Err(Cause::CryptoLibrary.with("key wrap lengths"));
        }
        // SAFETY: the schedule is one for encryption, the slices valid; `out` is a semiblock longer.
        let len = unsafe { AES_wrap_key(self.as_ptr(), iv.as_ptr(), out.as_mut_ptr(), data.as_ptr(), data.len()) };
        if usize::try_from(len).is_ok_and(|len| len == out.len()) { Ok(()) } else { Err(failed(Cause::DataLenRange)) }
    }

    /// Unwraps three or more semiblocks; `out` is a semiblock shorter. [`Cause::EncryptedDataInvalid`] unless the
    /// initial value comes out.
    pub(in crate::crypto) fn unwrap(&self, iv: &[u8; SEMIBLOCK], wrapped: &[u8], out: &mut [u8]) -> Result<()> {
        let _wiped = WipedAfter::<SIGN>;
        if !wrapped.len().is_multiple_of(SEMIBLOCK) || out.len() + SEMIBLOCK != wrapped.len() {
            return Err(Cause::CryptoLibrary.with("key unwrap lengths"));
        }
        // SAFETY: the schedule is one for decryption, the slices valid; `out` is a semiblock shorter.
        let len =
            unsafe { AES_unwrap_key(self.as_ptr(), iv.as_ptr(), out.as_mut_ptr(), wrapped.as_ptr(), wrapped.len()) };
        if usize::try_from(len).is_ok_and(|len| len == out.len()) {
            Ok(())
        } else {
            Err(failed(Cause::EncryptedDataInvalid))
        }
    }

    /// Wraps one or more bytes with padding and the standard's initial value; `out` is as long as the next multiple
    /// of a semiblock and one semiblock more.
    pub(in crate::crypto) fn wrap_padded(&self, data: &[u8], out: &mut [u8]) -> Result<()> {
        let _wiped = WipedAfter::<SIGN>;
        let mut len = 0;
        // SAFETY: the schedule is one for encryption, the slices valid, and no more than `out` holds is written.
        let done = unsafe {
            AES_wrap_key_padded(self.as_ptr(), out.as_mut_ptr(), &mut len, out.len(), data.as_ptr(), data.len())
        };
        if done == 1 && len == out.len() { Ok(()) } else { Err(failed(Cause::DataLenRange)) }
    }

    /// Unwraps two or more semiblocks with padding; how many bytes of `out`, which is a semiblock shorter, are the
    /// data. [`Cause::EncryptedDataInvalid`] whatever is wrong inside.
    pub(in crate::crypto) fn unwrap_padded(&self, wrapped: &[u8], out: &mut [u8]) -> Result<usize> {
        let _wiped = WipedAfter::<SIGN>;
        if !wrapped.len().is_multiple_of(SEMIBLOCK) || wrapped.len() < BLOCK_LEN {
            return Err(Cause::EncryptedDataLenRange.into());
        }
        let mut len = 0;
        // SAFETY: as in `wrap_padded`, with a schedule for decryption.
        let done = unsafe {
            let (at, from) = (out.as_mut_ptr(), wrapped.as_ptr());
            AES_unwrap_key_padded(self.as_ptr(), at, &mut len, out.len(), from, wrapped.len())
        };
        check_or(done, Cause::EncryptedDataInvalid)?;
        Ok(len)
    }
}

fn failed(cause: Cause) -> crate::error::Error {
    take_error();
    cause.into()
}
