//! Ciphers as streams: AES in the modes of SP 800-38A.

use super::chacha20::KEY_LEN;
use super::{check, owner};
use crate::crypto::aes::Direction;
use crate::crypto::ours::Ours;
use crate::crypto::stack::{SIGN, WipedAfter};
use crate::error::{Cause, Result};
use aws_lc_sys::*;
use std::os::raw::c_int;
use std::ptr;

owner!(
    /// A key schedule and the state of a mode.
    Context, EVP_CIPHER_CTX, EVP_CIPHER_CTX_free
);

// SAFETY: the context has no ties to a thread and is only changed through `&mut`.
unsafe impl Send for Context {}

/// A mode of operation.
#[derive(Clone, Copy)]
pub(in crate::crypto) enum Mode {
    Ecb,
    Cbc,
    Ctr,
    Ofb,
    Cfb1,
    Cfb8,
    Cfb128,
    Gcm,
    Ccm,
    /// The one that is not of AES.
    ChaCha20Poly1305,
}

/// The length of a block, and of the initialisation vector of every mode that has one of fixed length.
pub(in crate::crypto) const BLOCK_LEN: usize = 16;

/// The functions of AWS-LC count with `int`; data is cut into pieces of whole blocks.
pub(super) const PIECE: usize = 1 << 30;

/// AWS-LC's description of a mode. [`Cause::KeySizeRange`] unless the key of AES has 16, 24 or 32 bytes, and that of
/// ChaCha20 32.
pub(super) fn algorithm(mode: Mode, key_len: usize) -> Result<*const EVP_CIPHER> {
    type Describe = unsafe extern "C" fn() -> *const EVP_CIPHER;
    let by_key: [Describe; 3] = match mode {
        Mode::Ecb => [EVP_aes_128_ecb, EVP_aes_192_ecb, EVP_aes_256_ecb],
        Mode::Cbc => [EVP_aes_128_cbc, EVP_aes_192_cbc, EVP_aes_256_cbc],
        Mode::Ctr => [EVP_aes_128_ctr, EVP_aes_192_ctr, EVP_aes_256_ctr],
        Mode::Ofb => [EVP_aes_128_ofb, EVP_aes_192_ofb, EVP_aes_256_ofb],
        Mode::Cfb1 => [EVP_aes_128_cfb1, EVP_aes_192_cfb1, EVP_aes_256_cfb1],
        Mode::Cfb8 => [EVP_aes_128_cfb8, EVP_aes_192_cfb8, EVP_aes_256_cfb8],
        Mode::Cfb128 => [EVP_aes_128_cfb128, EVP_aes_192_cfb128, EVP_aes_256_cfb128],
        Mode::Gcm => [EVP_aes_128_gcm, EVP_aes_192_gcm, EVP_aes_256_gcm],
        Mode::Ccm => [EVP_aes_128_ccm, EVP_aes_192_ccm, EVP_aes_256_ccm],
        Mode::ChaCha20Poly1305 if key_len != KEY_LEN => {
            return Err(Cause::KeySizeRange.with("a ChaCha20 key has 32 bytes"));
        }
        Mode::ChaCha20Poly1305 => [EVP_chacha20_poly1305; 3],
    };
    let [short, middle, long] = by_key;
    let describe = match key_len {
        16 => short,
        24 => middle,
        32 => long,
        _ => return Err(Cause::KeySizeRange.with("an AES key has 16, 24 or 32 bytes")),
    };
    // SAFETY: these return pointers to constants.
    Ok(unsafe { describe() })
}

impl Context {
    /// A context of a mode, in the protected pool, without key.
    pub(super) fn new(mode: Mode, key_len: usize, direction: Direction) -> Result<Ours<Self>> {
        let algorithm = algorithm(mode, key_len)?;
        Ours::made_by(|| {
            // SAFETY: no preconditions; the context is owned, the description a constant, and no key and no
            // vector are read where the pointers are null.
            unsafe {
                let context = Self::own(EVP_CIPHER_CTX_new())?;
                let encrypt = c_int::from(direction == Direction::Encrypt);
                let (none, no_key) = (ptr::null_mut(), ptr::null());
                check(EVP_CipherInit_ex(context.as_ptr(), algorithm, none, no_key, no_key, encrypt))?;
                check(EVP_CIPHER_CTX_set_padding(context.as_ptr(), 0))?;
                Ok(context)
            }
        })
    }

    /// Sets key and vector.
    ///
    /// # Safety
    /// They have the lengths that the context was made for, and takes; `iv` may be empty where the mode takes none.
    pub(super) unsafe fn set_key(&mut self, key: &[u8], iv: &[u8]) -> Result<()> {
        let _wiped = WipedAfter::<SIGN>;
        // SAFETY: the slices have the lengths that are read, as the caller promises; -1 keeps the direction.
        check(unsafe { EVP_CipherInit_ex(self.as_ptr(), ptr::null(), ptr::null_mut(), key.as_ptr(), iv.as_ptr(), -1) })
    }

    /// Encrypts or decrypts in place. For ECB and CBC `data` is a multiple of [`BLOCK_LEN`].
    pub(super) fn apply(&mut self, data: &mut [u8]) -> Result<()> {
        let _wiped = WipedAfter::<SIGN>;
        for piece in data.chunks_mut(PIECE) {
            let (at, len, mut out_len) = (piece.as_mut_ptr(), piece.len() as c_int, 0);
            // SAFETY: AWS-LC works in place where input and output are the same; of whole blocks, and in the
            // modes of streams, it writes as much as it reads.
            check(unsafe { EVP_CipherUpdate(self.as_ptr(), at, &mut out_len, at, len) })?;
            if out_len != len {
                return Err(Cause::CryptoLibrary.with("cipher output length"));
            }
        }
        Ok(())
    }
}

/// AES in a mode of SP 800-38A, under way.
pub(in crate::crypto) struct Cipher {
    context: Ours<Context>,
    in_blocks: bool,
}

impl Cipher {
    /// Starts with a key of 16, 24 or 32 bytes; the vector is `None` for ECB alone. Not for what authenticates.
    pub(in crate::crypto) fn new(
        mode: Mode,
        key: &[u8],
        iv: Option<&[u8; BLOCK_LEN]>,
        direction: Direction,
    ) -> Result<Self> {
        if matches!(mode, Mode::Gcm | Mode::Ccm | Mode::ChaCha20Poly1305) || iv.is_none() != matches!(mode, Mode::Ecb) {
            return Err(Cause::CryptoLibrary.with("mode and vector"));
        }
        let mut context = Context::new(mode, key.len(), direction)?;
        // SAFETY: the context was made for a key of this length; the vector has the length of a block, and
        // ECB reads none.
        unsafe { context.get()?.set_key(key, iv.map_or(&[][..], |iv| &iv[..]))? };
        Ok(Self { context, in_blocks: matches!(mode, Mode::Ecb | Mode::Cbc) })
    }

    /// Encrypts or decrypts in place the bytes that follow those before. In ECB and CBC they are whole blocks.
    pub(in crate::crypto) fn apply(&mut self, data: &mut [u8]) -> Result<()> {
        if self.in_blocks && !data.len().is_multiple_of(BLOCK_LEN) {
            return Err(Cause::CryptoLibrary.with("whole blocks"));
        }
        self.context.get()?.apply(data)
    }
}
