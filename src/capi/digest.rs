//! Digests (section 5.12).

use super::{input, output};
use crate::error::Result;
use crate::session::{Kind, Session};
use cryptoki_sys::*;

/// A null mechanism ends the operation (section 5.12.1).
///
/// # Safety
/// The mechanism is null or good for reading, and so is what it points to.
pub(super) unsafe fn init(session: &Session, mechanism: *mut CK_MECHANISM) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    match unsafe { input::mechanism(mechanism) } {
        // SAFETY: as above.
        Some(mechanism) => session.digest_init(mechanism.mechanism, || unsafe { input::parameter(&mechanism) }),
        None => {
            session.cancel(Kind::Digest);
            Ok(())
        }
    }
}

/// # Safety
/// Each pointer is null or good for its length.
pub(super) unsafe fn digest(
    session: &Session,
    data: *mut CK_BYTE,
    data_len: CK_ULONG,
    digest: *mut CK_BYTE,
    digest_len: *mut CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let data = input::bytes(data, data_len);
        output::operation(digest, digest_len, || session.cancel(Kind::Digest), |room| session.digest(data, room))
    }
}

/// # Safety
/// `part` is null or good for `part_len` bytes.
pub(super) unsafe fn update(session: &Session, part: *mut CK_BYTE, part_len: CK_ULONG) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    session.digest_update(unsafe { input::bytes(part, part_len) })
}

/// # Safety
/// Each pointer is null or good for its length.
pub(super) unsafe fn finish(session: &Session, digest: *mut CK_BYTE, digest_len: *mut CK_ULONG) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe { output::operation(digest, digest_len, || session.cancel(Kind::Digest), |room| session.digest_final(room)) }
}
