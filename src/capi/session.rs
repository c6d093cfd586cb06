//! Session management and PINs (sections 5.5 and 5.6).

use super::{input, output};
use crate::error::{Cause, Result};
use crate::module::Module;
use crate::session::{Kind, Session, Who};
use crate::token::User;
use cryptoki_sys::*;
use std::ffi::c_void;

/// # Safety
/// `session` is null or good for writing.
pub(super) unsafe fn open(
    module: &Module,
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    _application: *mut c_void,
    _notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> Result<()> {
    if session.is_null() {
        return Err(Cause::ArgumentsBad.into());
    }
    let handle = module.sessions.open(module.slot(slot)?, flags)?;
    // SAFETY: the caller's promise, passed on.
    unsafe { output::value(session, handle) }
}

/// # Safety
/// Always safe.
pub(super) unsafe fn close(module: &Module, session: CK_SESSION_HANDLE) -> Result<()> {
    module.sessions.close(session)
}

/// # Safety
/// Always safe.
pub(super) unsafe fn close_all(module: &Module, slot: CK_SLOT_ID) -> Result<()> {
    module.sessions.close_all(module.slot(slot)?.id);
    Ok(())
}

/// # Safety
/// `info` is null or good for writing.
pub(super) unsafe fn info(session: &Session, info: *mut CK_SESSION_INFO) -> Result<()> {
    let writes = if session.read_write { CKF_RW_SESSION } else { 0 };
    let answer = CK_SESSION_INFO {
        slotID: session.slot.id,
        state: session.slot.state(session.read_write),
        flags: CKF_SERIAL_SESSION | writes,
        ulDeviceError: session.device_error().into(),
    };
    // SAFETY: the caller's promise, passed on.
    unsafe { output::value(info, answer) }
}

fn who(user: CK_USER_TYPE) -> Result<Who> {
    match user {
        CKU_SO => Ok(Who::User(User::So)),
        CKU_USER => Ok(Who::User(User::User)),
        CKU_CONTEXT_SPECIFIC => Ok(Who::Context),
        _ => Err(Cause::UserTypeInvalid.into()),
    }
}

/// # Safety
/// `pin` is null or good for `pin_len` bytes.
pub(super) unsafe fn login(
    session: &Session,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    pin_len: CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    let pin = unsafe { input::bytes(pin, pin_len) }?;
    session.login(who(user)?, pin)
}

/// The token has one user, who has no name: a name that is given is let pass.
///
/// # Safety
/// As for [`login`]; the name is null or good for its length.
pub(super) unsafe fn login_user(
    session: &Session,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    pin_len: CK_ULONG,
    name: *mut CK_UTF8CHAR,
    name_len: CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        input::bytes(name, name_len)?;
        login(session, user, pin, pin_len)
    }
}

/// # Safety
/// Always safe.
pub(super) unsafe fn logout(module: &Module, session: CK_SESSION_HANDLE) -> Result<()> {
    let session = module.sessions.get(session)?;
    module.sessions.logout(&session)
}

/// # Safety
/// `pin` is null or good for `pin_len` bytes.
pub(super) unsafe fn init_pin(session: &Session, pin: *mut CK_UTF8CHAR, pin_len: CK_ULONG) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    session.init_pin(unsafe { input::bytes(pin, pin_len) }?)
}

/// # Safety
/// Each PIN is null or good for its length.
pub(super) unsafe fn set_pin(
    session: &Session,
    old: *mut CK_UTF8CHAR,
    old_len: CK_ULONG,
    new: *mut CK_UTF8CHAR,
    new_len: CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    let (old, new) = unsafe { (input::bytes(old, old_len)?, input::bytes(new, new_len)?) };
    session.set_pin(old, new)
}

/// # Safety
/// Each pointer is null or good for its length.
pub(super) unsafe fn operation_state(session: &Session, state: *mut CK_BYTE, state_len: *mut CK_ULONG) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe { output::operation(state, state_len, || (), |room| session.operation_state(room)) }
}

/// # Safety
/// `state` is null or good for `state_len` bytes.
pub(super) unsafe fn set_operation_state(
    session: &Session,
    state: *mut CK_BYTE,
    state_len: CK_ULONG,
    encryption_key: CK_OBJECT_HANDLE,
    authentication_key: CK_OBJECT_HANDLE,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    let state = unsafe { input::bytes(state, state_len) }?;
    session.set_operation_state(state, [encryption_key, authentication_key])
}

/// No validation is claimed, so no flag is ever set (section 4.15.3.1).
///
/// # Safety
/// `flags` is null or good for writing.
pub(super) unsafe fn validation_flags(
    _: &Session,
    kind: CK_SESSION_VALIDATION_FLAGS_TYPE,
    flags: *mut CK_FLAGS,
) -> Result<()> {
    if kind != CKS_LAST_VALIDATION_OK {
        return Err(Cause::ArgumentsBad.with("no such kind of validation flags"));
    }
    // SAFETY: the caller's promise, passed on.
    unsafe { output::value(flags, 0) }
}

/// Kinds that are not active, and flags that are no operation's, are passed over (section 5.6.9).
///
/// # Safety
/// Always safe.
pub(super) unsafe fn cancel(session: &Session, flags: CK_FLAGS) -> Result<()> {
    for (_, kind) in Kind::FLAGS.iter().filter(|(flag, _)| flags & flag != 0) {
        session.cancel(*kind);
    }
    Ok(())
}
