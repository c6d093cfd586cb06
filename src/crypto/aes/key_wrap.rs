//! The three ways to wrap keys with AES. Which lengths each takes is checked before.
#![forbid(unsafe_code)]

use super::{AesMode, padding};
use crate::crypto::Secret;
use crate::crypto::aes::Direction;
use crate::crypto::aws_lc::cipher::{BLOCK_LEN, Cipher, Mode};
use crate::crypto::aws_lc::key_wrap::{SEMIBLOCK, Schedule};
use crate::error::{Cause, Result};

/// Key wrap as it is.
pub(super) fn wrap(key: &[u8], iv: &[u8; SEMIBLOCK], data: &[u8]) -> Result<Secret> {
    let mut wrapped = Secret::zeroed(data.len() + SEMIBLOCK);
    Schedule::to_wrap(key)?.wrap(iv, data, wrapped.expose_mut())?;
    Ok(wrapped)
}

/// The inverse. [`Cause::EncryptedDataInvalid`].
pub(super) fn unwrap(key: &[u8], iv: &[u8; SEMIBLOCK], wrapped: &[u8]) -> Result<Secret> {
    let mut data = Secret::zeroed(wrapped.len().saturating_sub(SEMIBLOCK));
    Schedule::to_unwrap(key)?.unwrap(iv, wrapped, data.expose_mut())?;
    Ok(data)
}

/// PKCS#7 padding to a semiblock, then key wrap.
pub(super) fn wrap_pkcs7(key: &[u8], iv: &[u8; SEMIBLOCK], data: &[u8]) -> Result<Secret> {
    let fill = padding::fill(data.len(), SEMIBLOCK);
    wrap(key, iv, padded(data, fill, usize::from(fill))?.expose())
}

/// The inverse.
pub(super) fn unwrap_pkcs7(key: &[u8], iv: &[u8; SEMIBLOCK], wrapped: &[u8]) -> Result<Secret> {
    let mut data = unwrap(key, iv, wrapped)?;
    let last = data.expose().last_chunk::<SEMIBLOCK>().and_then(|last| padding::trailing(last));
    let padding = last.ok_or(Cause::EncryptedDataInvalid)?;
    data.truncate(data.len().saturating_sub(padding));
    Ok(data)
}

/// Key wrap with padding.
pub(super) fn wrap_padded(key: &[u8], iv: &[u8; 4], data: &[u8]) -> Result<Secret> {
    let padding = data.len().next_multiple_of(SEMIBLOCK) - data.len();
    let len = u32::try_from(data.len()).map_err(|_| Cause::DataLenRange)?;
    let mut wrapped = Secret::zeroed(data.len() + padding + SEMIBLOCK);
    if *iv == AesMode::KEY_WRAP_PADDED_IV {
        Schedule::to_wrap(key)?.wrap_padded(data, wrapped.expose_mut())?;
        return Ok(wrapped);
    }
    let padded = padded(data, 0, padding)?;
    let iv = initial_value(iv, len);
    if padded.len() > SEMIBLOCK {
        return wrap(key, &iv, padded.expose());
    }
    wrapped.expose_mut()[..SEMIBLOCK].copy_from_slice(&iv);
    wrapped.expose_mut()[SEMIBLOCK..].copy_from_slice(padded.expose());
    Cipher::new(Mode::Ecb, key, None, Direction::Encrypt)?.apply(wrapped.expose_mut())?;
    Ok(wrapped)
}

/// The inverse. [`Cause::EncryptedDataInvalid`].
pub(super) fn unwrap_padded(key: &[u8], iv: &[u8; 4], wrapped: &[u8]) -> Result<Secret> {
    let len = wrapped.len().checked_sub(SEMIBLOCK).ok_or(Cause::EncryptedDataLenRange)?;
    if *iv == AesMode::KEY_WRAP_PADDED_IV {
        let mut data = Secret::zeroed(len);
        let data_len = Schedule::to_unwrap(key)?.unwrap_padded(wrapped, data.expose_mut())?;
        data.truncate(data_len);
        return Ok(data);
    }
    // AWS-LC takes only the standard's initial value with padding, and any without: the eight lengths that lead to
    // so many semiblocks are tried.
    let lengths = (len.saturating_sub(SEMIBLOCK - 1)..=len)
        .filter_map(|data_len| Some((data_len, u32::try_from(data_len).ok()?)));
    for (data_len, said) in lengths {
        let iv = initial_value(iv, said);
        let Ok(mut data) =
            (if wrapped.len() == BLOCK_LEN { unwrap_block(key, &iv, wrapped) } else { unwrap(key, &iv, wrapped) })
        else {
            continue;
        };
        if data.expose().get(data_len..).is_some_and(|padding| padding.iter().all(|byte| *byte == 0)) {
            data.truncate(data_len);
            return Ok(data);
        }
    }
    Err(Cause::EncryptedDataInvalid.into())
}

/// A single semiblock under its initial value is one block of AES (RFC 5649, section 4.2).
fn unwrap_block(key: &[u8], iv: &[u8; SEMIBLOCK], wrapped: &[u8]) -> Result<Secret> {
    let mut block = Secret::with_capacity(BLOCK_LEN)?;
    block.append(wrapped)?;
    Cipher::new(Mode::Ecb, key, None, Direction::Decrypt)?.apply(block.expose_mut())?;
    let (found, data) = block.expose().split_first_chunk::<SEMIBLOCK>().ok_or(Cause::EncryptedDataLenRange)?;
    if !crate::crypto::mac::constant_time_eq(found, iv) {
        return Err(Cause::EncryptedDataInvalid.into());
    }
    let mut out = Secret::with_capacity(SEMIBLOCK)?;
    out.append(data)?;
    Ok(out)
}

/// The alternative initial value: the constant, and how many bytes are data.
fn initial_value(constant: &[u8; 4], len: u32) -> [u8; SEMIBLOCK] {
    (u64::from(u32::from_be_bytes(*constant)) << 32 | u64::from(len)).to_be_bytes()
}

fn padded(data: &[u8], fill: u8, count: usize) -> Result<Secret> {
    let mut padded = Secret::with_capacity(data.len() + count)?;
    padded.append(data)?;
    padded.append(&[fill; SEMIBLOCK][..count.min(SEMIBLOCK)])?;
    Ok(padded)
}
