//! Decryption (section 5.10).

use super::{input, output};
use crate::error::Result;
use crate::session::{Kind, Session};
use cryptoki_sys::*;

/// A null mechanism ends the operation (section 5.10.1).
///
/// # Safety
/// The mechanism is null or good for reading, and so is what it points to.
pub(super) unsafe fn init(session: &Session, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    match unsafe { input::mechanism(mechanism) } {
        // SAFETY: as above.
        Some(mechanism) => session.decrypt_init(mechanism.mechanism, || unsafe { input::parameter(&mechanism) }, key),
        None => {
            session.cancel(Kind::Decrypt);
            Ok(())
        }
    }
}

/// # Safety
/// Each pointer is null or good for its length.
pub(super) unsafe fn decrypt(
    session: &Session,
    encrypted: *mut CK_BYTE,
    encrypted_len: CK_ULONG,
    data: *mut CK_BYTE,
    data_len: *mut CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let encrypted = input::bytes(encrypted, encrypted_len);
        output::operation(data, data_len, || session.cancel(Kind::Decrypt), |room| session.decrypt(encrypted, room))
    }
}

/// Nothing comes out before the end: an RSA block is made of all its input.
///
/// # Safety
/// Each pointer is null or good for its length.
pub(super) unsafe fn update(
    session: &Session,
    encrypted: *mut CK_BYTE,
    encrypted_len: CK_ULONG,
    part: *mut CK_BYTE,
    part_len: *mut CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let encrypted = input::bytes(encrypted, encrypted_len);
        output::operation(
            part,
            part_len,
            || session.cancel(Kind::Decrypt),
            |room| session.decrypt_update(encrypted, room),
        )
    }
}

/// # Safety
/// Each pointer is null or good for its length.
pub(super) unsafe fn finish(session: &Session, last: *mut CK_BYTE, last_len: *mut CK_ULONG) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe { output::operation(last, last_len, || session.cancel(Kind::Decrypt), |room| session.decrypt_final(room)) }
}
