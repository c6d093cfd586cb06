//! Messages of a message-based process (sections 5.14 and 5.16). An error ends the message and not the process.

use super::{input, output};
use crate::error::{Cause, Result};
use crate::session::Session;
use cryptoki_sys::*;
use std::ffi::c_void;

/// The parameter of one message, of which no mechanism that signs has any. It is not read.
fn no_parameter(_: *mut c_void, len: CK_ULONG) -> Result<()> {
    if len == 0 { Ok(()) } else { Err(Cause::MechanismParamInvalid.with("a message to sign has no parameter")) }
}

/// # Safety
/// Each pointer is null or good for its length.
pub(super) unsafe fn sign(
    session: &Session,
    parameter: *mut c_void,
    parameter_len: CK_ULONG,
    data: *mut CK_BYTE,
    data_len: CK_ULONG,
    signature: *mut CK_BYTE,
    signature_len: *mut CK_ULONG,
) -> Result<()> {
    let parameter = no_parameter(parameter, parameter_len);
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let data = input::bytes(data, data_len);
        output::operation(signature, signature_len, || (), |room| session.sign_message(parameter, data, room))
    }
}

/// # Safety
/// Always safe: the parameter is not read.
pub(super) unsafe fn sign_begin(session: &Session, parameter: *mut c_void, parameter_len: CK_ULONG) -> Result<()> {
    session.sign_message_begin(no_parameter(parameter, parameter_len))
}

/// No length for the signature means that more parts follow.
///
/// # Safety
/// Each pointer is null or good for its length.
pub(super) unsafe fn sign_next(
    session: &Session,
    parameter: *mut c_void,
    parameter_len: CK_ULONG,
    part: *mut CK_BYTE,
    part_len: CK_ULONG,
    signature: *mut CK_BYTE,
    signature_len: *mut CK_ULONG,
) -> Result<()> {
    let parameter = no_parameter(parameter, parameter_len);
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let part = input::bytes(part, part_len);
        if signature_len.is_null() {
            return session.sign_message_next(parameter, part, None).map(drop);
        }
        let last = |room| session.sign_message_next(parameter, part, Some(room));
        output::operation(signature, signature_len, || (), last)
    }
}

/// # Safety
/// Each pointer is null or good for its length.
pub(super) unsafe fn verify(
    session: &Session,
    parameter: *mut c_void,
    parameter_len: CK_ULONG,
    data: *mut CK_BYTE,
    data_len: CK_ULONG,
    signature: *mut CK_BYTE,
    signature_len: CK_ULONG,
) -> Result<()> {
    let parameter = no_parameter(parameter, parameter_len);
    // SAFETY: the caller's promise, passed on.
    unsafe { session.verify_message(parameter, input::bytes(data, data_len), input::bytes(signature, signature_len)) }
}

/// # Safety
/// Always safe: the parameter is not read.
pub(super) unsafe fn verify_begin(session: &Session, parameter: *mut c_void, parameter_len: CK_ULONG) -> Result<()> {
    session.verify_message_begin(no_parameter(parameter, parameter_len))
}

/// No signature means that more parts follow.
///
/// # Safety
/// Each pointer is null or good for its length.
pub(super) unsafe fn verify_next(
    session: &Session,
    parameter: *mut c_void,
    parameter_len: CK_ULONG,
    part: *mut CK_BYTE,
    part_len: CK_ULONG,
    signature: *mut CK_BYTE,
    signature_len: CK_ULONG,
) -> Result<()> {
    let parameter = no_parameter(parameter, parameter_len);
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let part = input::bytes(part, part_len);
        let signature = (!signature.is_null()).then(|| input::bytes(signature, signature_len));
        session.verify_message_next(parameter, part, signature)
    }
}
