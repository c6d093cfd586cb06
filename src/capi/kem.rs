//! Key encapsulation (section 5.18.8 and 5.18.9).

use super::{input, output};
use crate::error::{Cause, Result};
use crate::object::Template;
use crate::session::Session;
use cryptoki_sys::*;

/// # Safety
/// The template is null or good for its count; the mechanism is null or good for reading, and its parameter for its
/// length; `ciphertext_len` is null or good for writing, and `ciphertext` null or good for so many bytes; the handle
/// is null or good for writing.
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn encapsulate(
    session: &Session,
    mechanism: *mut CK_MECHANISM,
    public_key: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    ciphertext: *mut CK_BYTE,
    ciphertext_len: *mut CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> Result<()> {
    // Who only asks for the length needs no place for the handle.
    if key.is_null() && !ciphertext.is_null() {
        return Err(Cause::ArgumentsBad.into());
    }
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let mechanism = input::mechanism(mechanism).ok_or(Cause::ArgumentsBad)?;
        let given = input::template(template, count)?;
        let template = || Template::parse(&given);
        let mut made = None;
        output::operation(
            ciphertext,
            ciphertext_len,
            || {},
            |room| {
                let parameter = || input::parameter(&mechanism);
                let (outcome, handle) =
                    session.encapsulate(mechanism.mechanism, parameter, public_key, template, room)?;
                made = handle;
                Ok(outcome)
            },
        )?;
        made.map_or(Ok(()), |handle| output::value(key, handle))
    }
}

/// # Safety
/// The template is null or good for its count; the mechanism is null or good for reading, and its parameter for its
/// length; the ciphertext is null or good for its length; the handle is null or good for writing.
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn decapsulate(
    session: &Session,
    mechanism: *mut CK_MECHANISM,
    private_key: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    ciphertext: *mut CK_BYTE,
    ciphertext_len: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> Result<()> {
    if key.is_null() {
        return Err(Cause::ArgumentsBad.into());
    }
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let mechanism = input::mechanism(mechanism).ok_or(Cause::ArgumentsBad)?;
        let given = input::template(template, count)?;
        let template = || Template::parse(&given);
        let ciphertext = input::bytes(ciphertext, ciphertext_len)?;
        let parameter = || input::parameter(&mechanism);
        let made = session.decapsulate(mechanism.mechanism, parameter, private_key, template, ciphertext)?;
        output::value(key, made)
    }
}
