//! Signing (section 5.13).

use super::{input, output};
use crate::error::Result;
use crate::session::{Kind, Session};
use cryptoki_sys::*;

/// A null mechanism ends the operation (section 5.13.1).
///
/// # Safety
/// The mechanism is null or good for reading, and so is what it points to.
pub(super) unsafe fn init(session: &Session, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    match unsafe { input::mechanism(mechanism) } {
        // SAFETY: as above.
        Some(mechanism) => session.sign_init(mechanism.mechanism, || unsafe { input::parameter(&mechanism) }, key),
        None => {
            session.cancel(Kind::Sign);
            Ok(())
        }
    }
}

/// # Safety
/// Each pointer is null or good for its length.
pub(super) unsafe fn sign(
    session: &Session,
    data: *mut CK_BYTE,
    data_len: CK_ULONG,
    signature: *mut CK_BYTE,
    signature_len: *mut CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let data = input::bytes(data, data_len);
        output::operation(signature, signature_len, || session.cancel(Kind::Sign), |room| session.sign(data, room))
    }
}

/// # Safety
/// `part` is null or good for `part_len` bytes.
pub(super) unsafe fn update(session: &Session, part: *mut CK_BYTE, part_len: CK_ULONG) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    session.sign_update(unsafe { input::bytes(part, part_len) })
}

/// # Safety
/// Each pointer is null or good for its length.
pub(super) unsafe fn finish(session: &Session, signature: *mut CK_BYTE, signature_len: *mut CK_ULONG) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        output::operation(signature, signature_len, || session.cancel(Kind::Sign), |room| session.sign_final(room))
    }
}
