//! The parameter of a mechanism that makes keys from passwords, read from the caller's memory.

use super::input::{bytes, structure};
use crate::error::{Cause, Result};
use crate::mechanism::{GivenPbkdf2, LONGEST_PASSWORD, Needs, Pbkdf2, find};
use cryptoki_sys::*;

/// Whether the mechanism's parameter holds a password.
pub(super) fn is_asked_for(mechanism: &CK_MECHANISM) -> bool {
    find(mechanism.mechanism).is_some_and(|row| row.needs() == Needs::Password)
}

/// `CK_PKCS5_PBKD2_PARAMS2`, or the older `CK_PKCS5_PBKD2_PARAMS`, which NSS still gives: it is the same but for a
/// pointer to the password's length in the length's place. No length that is taken is as large as a pointer.
/// `MechanismParamInvalid` if it has another length, or points to nothing or to more than any password is.
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
        password: short(given.pPassword, password_len(given.ulPasswordLen).ok_or_else(bad)?)?,
    })
}

/// The length, or what is where it points to. Who knows the newer structure and gives a length that is wrong has
/// not promised that it is an address, so the kernel is asked to read there: it says no where the process would die.
fn password_len(given: CK_ULONG) -> Option<CK_ULONG> {
    if given <= LONGEST_PASSWORD {
        return Some(given);
    }
    let mut len: CK_ULONG = 0;
    let size = size_of::<CK_ULONG>();
    let here = libc::iovec { iov_base: (&raw mut len).cast(), iov_len: size };
    let there = libc::iovec { iov_base: given as *mut libc::c_void, iov_len: size };
    // SAFETY: `here` is good for writing `size` bytes; `there` may be anything, see above.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &raw const here, 1, &raw const there, 1, 0) };
    (usize::try_from(read) == Ok(size)).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_found_where_it_is_pointed_to_and_nowhere_else() {
        let length: CK_ULONG = 7;
        for (given, found) in [
            (0, Some(0)),
            (LONGEST_PASSWORD, Some(LONGEST_PASSWORD)),
            ((&raw const length) as CK_ULONG, Some(7)),
            (LONGEST_PASSWORD + 1, None),
            (CK_ULONG::MAX, None),
            (CK_ULONG::MAX - 7, None),
            (1 << 63, None),
        ] {
            assert_eq!(password_len(given), found, "{given:#x}");
        }
    }
}
