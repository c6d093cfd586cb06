//! Authenticated encryption as a stream: AES-GCM (SP 800-38D) and ChaCha20-Poly1305 (RFC 8439).

use super::chacha20::NONCE_LEN;
use super::cipher::{Context, Mode, PIECE};
use super::{check, check_or};
use crate::crypto::aes::Direction;
use crate::crypto::ours::Ours;
use crate::crypto::stack::{SIGN, WipedAfter};
use crate::error::{Cause, Result};
use aws_lc_sys::*;
use std::os::raw::c_int;
use std::ptr;

/// An authenticated encryption or decryption under way.
pub(in crate::crypto) struct AeadStream(Ours<Context>);

impl AeadStream {
    /// Starts AES-GCM with a key of 16, 24 or 32 bytes and a vector of 1 to 2^31-1.
    pub(in crate::crypto) fn gcm(key: &[u8], iv: &[u8], direction: Direction) -> Result<Self> {
        Self::new(Mode::Gcm, key, iv, direction)
    }

    /// Starts ChaCha20-Poly1305 with a key of 32 bytes.
    pub(in crate::crypto) fn chacha20_poly1305(
        key: &[u8],
        nonce: &[u8; NONCE_LEN],
        direction: Direction,
    ) -> Result<Self> {
        Self::new(Mode::ChaCha20Poly1305, key, nonce, direction)
    }

    fn new(mode: Mode, key: &[u8], iv: &[u8], direction: Direction) -> Result<Self> {
        let iv_len = c_int::try_from(iv.len()).ok().filter(|len| *len > 0).ok_or(Cause::MechanismParamInvalid)?;
        let mut context = Context::new(mode, key.len(), direction)?;
        let inner = context.get()?;
        // SAFETY: the context is owned and made for a key of this length, and told the length of the vector.
        unsafe {
            check(EVP_CIPHER_CTX_ctrl(inner.as_ptr(), EVP_CTRL_AEAD_SET_IVLEN, iv_len, ptr::null_mut()))?;
            inner.set_key(key, iv)?;
        }
        Ok(Self(context))
    }

    /// Authenticates data that is not encrypted. All of it comes before the first [`Self::apply`].
    pub(in crate::crypto) fn authenticate(&mut self, aad: &[u8]) -> Result<()> {
        let _wiped = WipedAfter::<SIGN>;
        let context = self.0.get()?.as_ptr();
        for piece in aad.chunks(PIECE) {
            let mut len = 0;
            // SAFETY: the context is keyed; where the output is null the input is only authenticated.
            check(unsafe {
                EVP_CipherUpdate(context, ptr::null_mut(), &mut len, piece.as_ptr(), piece.len() as c_int)
            })?;
        }
        Ok(())
    }

    /// Encrypts or decrypts in place the bytes that follow those before.
    pub(in crate::crypto) fn apply(&mut self, data: &mut [u8]) -> Result<()> {
        self.0.get()?.apply(data)
    }

    /// Writes the leftmost bytes of the tag of all that was encrypted: 1 to 16.
    pub(in crate::crypto) fn tag(mut self, out: &mut [u8]) -> Result<()> {
        let _wiped = WipedAfter::<SIGN>;
        let context = self.0.get()?.as_ptr();
        let mut len = 0;
        // SAFETY: the context is keyed and ends without writing data; AWS-LC refuses a tag of another length
        // than 1 to 16, and writes as many bytes as `out` has.
        unsafe {
            check(EVP_CipherFinal_ex(context, ptr::null_mut(), &mut len))?;
            let (at, len) = (out.as_mut_ptr().cast(), tag_len(out)?);
            check(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, len, at))
        }
    }

    /// Compares the leftmost bytes of the tag of all that was decrypted, in constant time.
    /// [`Cause::EncryptedDataInvalid`] if they differ.
    pub(in crate::crypto) fn verify(mut self, tag: &[u8]) -> Result<()> {
        let _wiped = WipedAfter::<SIGN>;
        let context = self.0.get()?.as_ptr();
        let mut len = 0;
        // SAFETY: as above; the tag is copied out of the slice, which the cast only makes fit the function.
        unsafe {
            let at = tag.as_ptr().cast_mut().cast();
            check(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, tag_len(tag)?, at))?;
            check_or(EVP_CipherFinal_ex(context, ptr::null_mut(), &mut len), Cause::EncryptedDataInvalid)
        }
    }
}

/// The length of a tag as AWS-LC's functions count.
pub(super) fn tag_len(tag: &[u8]) -> Result<c_int> {
    c_int::try_from(tag.len()).map_err(|_| Cause::MechanismParamInvalid.into())
}
