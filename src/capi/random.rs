//! Random numbers (section 5.19).

use crate::crypto;
use crate::error::{Cause, Result};
use crate::session::Session;
use cryptoki_sys::*;

/// The generator seeds itself and takes no seed from callers.
///
/// # Safety
/// Always safe: nothing is read.
pub(super) unsafe fn seed(_: &Session, seed: *mut CK_BYTE, len: CK_ULONG) -> Result<()> {
    match seed.is_null() && len > 0 {
        true => Err(Cause::ArgumentsBad.into()),
        false => Err(Cause::RandomSeedNotSupported.into()),
    }
}

/// # Safety
/// `out` is null or good for writing `len` bytes.
pub(super) unsafe fn generate(_: &Session, out: *mut CK_BYTE, len: CK_ULONG) -> Result<()> {
    if len == 0 {
        return Ok(());
    }
    if out.is_null() || isize::try_from(len).is_err() {
        return Err(Cause::ArgumentsBad.into());
    }
    // SAFETY: not null and good for `len` bytes; they are initialised before a reference is made.
    let out = unsafe {
        out.write_bytes(0, len as usize);
        std::slice::from_raw_parts_mut(out, len as usize)
    };
    crypto::random::fill(out)
}
