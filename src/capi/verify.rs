//! Verification (section 5.15).

use super::input;
use crate::error::Result;
use crate::session::{Kind, Session};
use cryptoki_sys::*;

/// A null mechanism ends the operation (section 5.15.1).
///
/// # Safety
/// The mechanism is null or good for reading, and so is what it points to.
pub(super) unsafe fn init(session: &Session, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    match unsafe { input::mechanism(mechanism) } {
        // SAFETY: as above.
        Some(mechanism) => session.verify_init(mechanism.mechanism, || unsafe { input::parameter(&mechanism) }, key),
        None => {
            session.cancel(Kind::Verify);
            Ok(())
        }
    }
}

/// # Safety
/// Each pointer is null or good for its length.
pub(super) unsafe fn verify(
    session: &Session,
    data: *mut CK_BYTE,
    data_len: CK_ULONG,
    signature: *mut CK_BYTE,
    signature_len: CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe { session.verify(input::bytes(data, data_len), input::bytes(signature, signature_len)) }
}

/// # Safety
/// `part` is null or good for `part_len` bytes.
pub(super) unsafe fn update(session: &Session, part: *mut CK_BYTE, part_len: CK_ULONG) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    session.verify_update(unsafe { input::bytes(part, part_len) })
}

/// # Safety
/// `signature` is null or good for `signature_len` bytes.
pub(super) unsafe fn finish(session: &Session, signature: *mut CK_BYTE, signature_len: CK_ULONG) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    session.verify_final(unsafe { input::bytes(signature, signature_len) })
}
