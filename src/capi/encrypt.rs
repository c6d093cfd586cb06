//! Encryption (section 5.8).

use super::{input, output};
use crate::error::Result;
use crate::session::{Kind, Session};
use cryptoki_sys::*;

/// A null mechanism ends the operation (section 5.8.1).
///
/// # Safety
/// The mechanism is null or good for reading, and so is what it points to.
pub(super) unsafe fn init(session: &Session, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    match unsafe { input::mechanism(mechanism) } {
        // SAFETY: as above.
        Some(mechanism) => session.encrypt_init(mechanism.mechanism, || unsafe { input::parameter(&mechanism) }, key),
        None => {
            session.cancel(Kind::Encrypt);
            Ok(())
        }
    }
}

/// # Safety
/// Each pointer is null or good for its length.
pub(super) unsafe fn encrypt(
    session: &Session,
    data: *mut CK_BYTE,
    data_len: CK_ULONG,
    encrypted: *mut CK_BYTE,
    encrypted_len: *mut CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let data = input::bytes(data, data_len);
        output::operation(
            encrypted,
            encrypted_len,
            || session.cancel(Kind::Encrypt),
            |room| session.encrypt(data, room),
        )
    }
}

/// Nothing comes out before the end: an RSA block is made of all its input.
///
/// # Safety
/// Each pointer is null or good for its length.
pub(super) unsafe fn update(
    session: &Session,
    part: *mut CK_BYTE,
    part_len: CK_ULONG,
    encrypted: *mut CK_BYTE,
    encrypted_len: *mut CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let part = input::bytes(part, part_len);
        output::operation(
            encrypted,
            encrypted_len,
            || session.cancel(Kind::Encrypt),
            |room| session.encrypt_update(part, room),
        )
    }
}

/// # Safety
/// Each pointer is null or good for its length.
pub(super) unsafe fn finish(session: &Session, last: *mut CK_BYTE, last_len: *mut CK_ULONG) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe { output::operation(last, last_len, || session.cancel(Kind::Encrypt), |room| session.encrypt_final(room)) }
}
