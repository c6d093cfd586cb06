//! One-time passwords by a counter: HOTP (RFC 4226).

use super::{Hash, Mac, MacAlgorithm, Secret};
use crate::error::{Cause, Result};
use std::ops::RangeInclusive;

/// How many digits a password may have. The RFC asks for six, and its arithmetic has no more than ten; nobody uses more
/// than eight, and the first of ten would only be 0, 1 or 2.
pub const HOTP_DIGITS: RangeInclusive<u32> = 6..=8;

/// The password of `counter`: so many decimal digits, the first of which may be zeros.
///
/// The hash is SHA-1, as the RFC has it, whatever the length of the key.
pub fn hotp(key: &[u8], counter: u64, digits: u32) -> Result<Secret> {
    if !HOTP_DIGITS.contains(&digits) {
        return Err(Cause::MechanismParamInvalid.with("a password of so many digits"));
    }
    let mut mac = Mac::new(&MacAlgorithm::Hmac(Hash::Sha1), key)?;
    mac.update(&counter.to_be_bytes())?;
    let mac = mac.finish()?;
    // The last four bits of the MAC say where in it the number stands (section 5.3).
    let at = usize::from(mac.last().copied().unwrap_or_default() & 0xf);
    let number = mac.get(at..).and_then(<[u8]>::first_chunk).ok_or(Cause::CryptoLibrary)?;
    let number = u32::from_be_bytes(*number) & 0x7fff_ffff;
    Ok(Secret::new(format!("{:0width$}", number % 10_u32.pow(digits), width = digits as usize).into_bytes()))
}
