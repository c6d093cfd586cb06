//! Slot and token management (section 5.5).

use super::{general, input, output};
use crate::error::{Cause, Result};
use crate::mechanism;
use crate::module::Module;
use crate::token::PIN_LEN;
use cryptoki_sys::*;
use std::ffi::c_void;

/// # Safety
/// `count` is null or good for a number; `slots` is null or good for `*count` numbers.
pub(super) unsafe fn list(
    module: &Module,
    _present: CK_BBOOL,
    slots: *mut CK_SLOT_ID,
    count: *mut CK_ULONG,
) -> Result<()> {
    let ids: Vec<_> = module.slots.iter().map(|slot| slot.id).collect();
    // SAFETY: the caller's promise, passed on.
    unsafe { output::list(slots, count, &ids) }
}

/// # Safety
/// `info` is null or good for writing.
pub(super) unsafe fn info(module: &Module, slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) -> Result<()> {
    let slot = module.slot(slot)?;
    let answer = CK_SLOT_INFO {
        slotDescription: output::padded(&format!("datakey-pkcs11 slot {}: {}", slot.id, slot.token.config().label)),
        manufacturerID: output::padded(general::MANUFACTURER),
        flags: CKF_TOKEN_PRESENT,
        hardwareVersion: CK_VERSION { major: 0, minor: 0 },
        firmwareVersion: general::LIBRARY_VERSION,
    };
    // SAFETY: the caller's promise, passed on.
    unsafe { output::value(info, answer) }
}

/// # Safety
/// `info` is null or good for writing.
pub(super) unsafe fn token_info(module: &Module, slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> Result<()> {
    if info.is_null() {
        return Err(Cause::ArgumentsBad.into());
    }
    let token = module.slot(slot)?.token_info()?;
    let answer = CK_TOKEN_INFO {
        label: output::padded(&token.label),
        manufacturerID: output::padded(general::MANUFACTURER),
        model: output::padded(token.model),
        serialNumber: output::padded(&token.serial),
        flags: token.flags,
        ulMaxSessionCount: CK_EFFECTIVELY_INFINITE,
        ulSessionCount: token.sessions,
        ulMaxRwSessionCount: CK_EFFECTIVELY_INFINITE,
        ulRwSessionCount: token.read_write_sessions,
        ulMaxPinLen: *PIN_LEN.end() as CK_ULONG,
        ulMinPinLen: *PIN_LEN.start() as CK_ULONG,
        ulTotalPublicMemory: CK_ULONG::MAX,
        ulFreePublicMemory: CK_ULONG::MAX,
        ulTotalPrivateMemory: CK_ULONG::MAX,
        ulFreePrivateMemory: CK_ULONG::MAX,
        hardwareVersion: CK_VERSION { major: 0, minor: 0 },
        firmwareVersion: general::LIBRARY_VERSION,
        // There is no clock on the token (CKF_CLOCK_ON_TOKEN is clear).
        utcTime: [b' '; 16],
    };
    // SAFETY: the caller's promise, passed on.
    unsafe { output::value(info, answer) }
}

/// # Safety
/// `count` is null or good for a number; `mechanisms` is null or good for `*count` numbers.
pub(super) unsafe fn mechanisms(
    module: &Module,
    slot: CK_SLOT_ID,
    mechanisms: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> Result<()> {
    module.slot(slot)?;
    let ids: Vec<_> = mechanism::MECHANISMS.iter().map(|row| row.id).collect();
    // SAFETY: the caller's promise, passed on.
    unsafe { output::list(mechanisms, count, &ids) }
}

/// # Safety
/// `info` is null or good for writing.
pub(super) unsafe fn mechanism_info(
    module: &Module,
    slot: CK_SLOT_ID,
    mechanism: CK_MECHANISM_TYPE,
    info: *mut CK_MECHANISM_INFO,
) -> Result<()> {
    module.slot(slot)?;
    let found =
        mechanism::find(mechanism).ok_or_else(|| Cause::MechanismInvalid.with(format!("{mechanism:#x}")))?.info();
    let answer =
        CK_MECHANISM_INFO { ulMinKeySize: found.min_key_size, ulMaxKeySize: found.max_key_size, flags: found.flags };
    // SAFETY: the caller's promise, passed on.
    unsafe { output::value(info, answer) }
}

/// # Safety
/// `pin` is null or good for `pin_len` bytes; `label` is null or good for 32.
pub(super) unsafe fn init_token(
    module: &Module,
    slot: CK_SLOT_ID,
    pin: *mut CK_UTF8CHAR,
    pin_len: CK_ULONG,
    label: *mut CK_UTF8CHAR,
) -> Result<()> {
    let slot = module.slot(slot)?;
    // SAFETY: the caller's promise, passed on.
    let pin = unsafe { input::bytes(pin, pin_len) }?;
    // SAFETY: `label` is null or 32 bytes, padded with blanks (section 5.5.8).
    let label = unsafe { input::value(label.cast::<[u8; 32]>()) }?;
    let label = std::str::from_utf8(&label).map_err(|_| Cause::ArgumentsBad.with("the label is not UTF-8"))?;
    slot.init_token(pin, label.trim_end_matches(' '))
}

/// # Safety
/// Always safe.
pub(super) unsafe fn wait_for_event(
    module: &Module,
    flags: CK_FLAGS,
    slot: *mut CK_SLOT_ID,
    reserved: *mut c_void,
) -> Result<()> {
    input::reserved(reserved)?;
    if slot.is_null() {
        return Err(Cause::ArgumentsBad.into());
    }
    // Tokens are never inserted or removed, so there is only C_Finalize to wait for.
    if flags & CKF_DONT_BLOCK != 0 { Err(Cause::NoEvent.into()) } else { module.wait_for_end() }
}
