//! The parameter of a mechanism that makes keys from passwords, read from the caller's memory.

use super::input::{bytes, structure};
use crate::error::{Cause, Result};
use crate::mechanism::{GivenPbkdf2, LONGEST_PASSWORD, Needs, Pbkdf2, find};
use cryptoki_sys::*;

/// Whether the mechanism's parameter holds a password.
pub(super) fn is_asked_for(mechanism: &CK_MECHANISM) -> bool {
    find(mechanism.mechanism).is_some_and(|row| row.needs() == Needs::Password)
}

/// `CK_PKCS5_PBKD2_PARAMS2`. `MechanismParamInvalid` if it has another length, or points to nothing or to more than
/// any password is.
///
/// # Safety
/// The parameter is null or good for its length, and so is what it points to.
pub(super) unsafe fn parameter(mechanism: &CK_MECHANISM) -> Result<Pbkdf2> {
    let bad = || Cause::MechanismParamInvalid.with("CK_PKCS5_PBKD2_PARAMS2");
    let short = |pointer: *const CK_BYTE, len: CK_ULONG| {
        if len > LONGEST_PASSWORD {
            return Err(bad());
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { bytes(pointer, len) }.map_err(|_| bad())
    };
    // SAFETY: as above; the structure is read only if the length is its own.
    let given: CK_PKCS5_PBKD2_PARAMS2 = unsafe { structure(mechanism) }.ok_or_else(bad)?;
    Pbkdf2::check(&GivenPbkdf2 {
        salt_source: given.saltSource,
        salt: short(given.pSaltSourceData.cast(), given.ulSaltSourceDataLen)?,
        iterations: given.iterations,
        prf: given.prf,
        has_prf_data: !given.pPrfData.is_null() || given.ulPrfDataLen != 0,
        password: short(given.pPassword, given.ulPasswordLen)?,
    })
}
