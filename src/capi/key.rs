//! Key management (section 5.18).

use super::{input, output};
use crate::error::{Cause, Result};
use crate::session::Session;
use cryptoki_sys::*;

/// # Safety
/// The template is null or good for its count; the mechanism is null or good for reading, and its
/// parameter for its length; the handle is null or good for writing.
pub(super) unsafe fn generate(
    session: &Session,
    mechanism: *mut CK_MECHANISM,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> Result<()> {
    if key.is_null() {
        return Err(Cause::ArgumentsBad.into());
    }
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let mechanism = input::mechanism(mechanism).ok_or(Cause::ArgumentsBad)?;
        let template = input::template(template, count)?;
        let made = session.generate_key(mechanism.mechanism, || input::parameter(&mechanism), &template)?;
        output::value(key, made)
    }
}

/// # Safety
/// Templates are null or good for their counts; the mechanism is null or good for reading, and its
/// parameter for its length; handles are null or good for writing.
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn generate_pair(
    session: &Session,
    mechanism: *mut CK_MECHANISM,
    public: *mut CK_ATTRIBUTE,
    public_count: CK_ULONG,
    private: *mut CK_ATTRIBUTE,
    private_count: CK_ULONG,
    public_key: *mut CK_OBJECT_HANDLE,
    private_key: *mut CK_OBJECT_HANDLE,
) -> Result<()> {
    if public_key.is_null() || private_key.is_null() {
        return Err(Cause::ArgumentsBad.into());
    }
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let mechanism = input::mechanism(mechanism).ok_or(Cause::ArgumentsBad)?;
        let public = input::template(public, public_count)?;
        let private = input::template(private, private_count)?;
        let (public, private) =
            session.generate_key_pair(mechanism.mechanism, || input::parameter(&mechanism), &public, &private)?;
        output::value(public_key, public)?;
        output::value(private_key, private)
    }
}
