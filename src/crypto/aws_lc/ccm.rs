//! AES-CCM (SP 800-38C): the whole message at once, because its length comes first into the MAC.

use super::aead_stream::tag_len;
use super::check;
use super::cipher::{Context, Mode};
use super::take_error;
use crate::crypto::aes::Direction;
use crate::crypto::ours::Ours;
use crate::crypto::stack::{SIGN, WipedAfter};
use crate::error::{Cause, Result};
use aws_lc_sys::*;
use std::os::raw::c_int;
use std::ptr;

/// What a message is encrypted or decrypted with.
pub(in crate::crypto) struct Ccm<'a> {
    /// 16, 24 or 32 bytes.
    pub(in crate::crypto) key: &'a [u8],
    /// 7 to 13 bytes.
    pub(in crate::crypto) nonce: &'a [u8],
    /// Authenticated, not encrypted. At most 2^31-1 bytes.
    pub(in crate::crypto) aad: &'a [u8],
}

impl Ccm<'_> {
    /// Encrypts in place and writes the MAC, of 4, 6, … 16 bytes. At most 2^31-1 bytes.
    pub(in crate::crypto) fn seal(&self, data: &mut [u8], mac: &mut [u8]) -> Result<()> {
        let _wiped = WipedAfter::<SIGN>;
        let len = int(data, Cause::DataLenRange)?;
        let mac_len = tag_len(mac)?;
        let mut context = self.start(Direction::Encrypt, mac_len, ptr::null_mut())?;
        self.run(&mut context, data, len)?;
        let context = context.get()?.as_ptr();
        // SAFETY: the context has made a MAC of this length, which `mac` holds.
        check(unsafe { EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, mac_len, mac.as_mut_ptr().cast()) })
    }

    /// Decrypts in place if the MAC is right; otherwise `data` is wiped and it is [`Cause::EncryptedDataInvalid`].
    pub(in crate::crypto) fn open(&self, data: &mut [u8], mac: &[u8]) -> Result<()> {
        let _wiped = WipedAfter::<SIGN>;
        let len = int(data, Cause::EncryptedDataLenRange)?;
        let mut context = self.start(Direction::Decrypt, tag_len(mac)?, mac.as_ptr().cast_mut())?;
        self.run(&mut context, data, len).map_err(|_| Cause::EncryptedDataInvalid.into())
    }

    /// A context with everything but the data. `mac` is copied; null to encrypt.
    fn start(&self, direction: Direction, mac_len: c_int, mac: *mut u8) -> Result<Ours<Context>> {
        let mut context = Context::new(Mode::Ccm, self.key.len(), direction)?;
        let inner = context.get()?;
        // SAFETY: the context is owned and made for a key of this length, and told the length of the nonce;
        // AWS-LC refuses lengths that the mode does not have, and reads `mac_len` bytes where `mac` is not null.
        unsafe {
            let at = inner.as_ptr();
            let nonce_len = int(self.nonce, Cause::MechanismParamInvalid)?;
            check(EVP_CIPHER_CTX_ctrl(at, EVP_CTRL_AEAD_SET_IVLEN, nonce_len, ptr::null_mut()))?;
            check(EVP_CIPHER_CTX_ctrl(at, EVP_CTRL_AEAD_SET_TAG, mac_len, mac.cast()))?;
            inner.set_key(self.key, self.nonce)?;
        }
        Ok(context)
    }

    fn run(&self, context: &mut Ours<Context>, data: &mut [u8], len: c_int) -> Result<()> {
        let aad_len = int(self.aad, Cause::MechanismParamInvalid)?;
        let context = context.get()?.as_ptr();
        let (at, mut done) = (data.as_mut_ptr(), 0);
        // SAFETY: the context is keyed. The first call gives it the length, the second the data that is only
        // authenticated, the third works in place on as much as was announced.
        let worked = unsafe {
            EVP_CipherUpdate(context, ptr::null_mut(), &mut done, ptr::null(), len) == 1
                && (aad_len == 0
                    || EVP_CipherUpdate(context, ptr::null_mut(), &mut done, self.aad.as_ptr(), aad_len) == 1)
                && EVP_CipherUpdate(context, at, &mut done, at, len) == 1
        };
        if worked && done == len {
            return Ok(());
        }
        take_error();
        Err(Cause::CryptoLibrary.with("AES-CCM"))
    }
}

fn int(bytes: &[u8], too_long: Cause) -> Result<c_int> {
    c_int::try_from(bytes.len()).map_err(|_| too_long.into())
}
