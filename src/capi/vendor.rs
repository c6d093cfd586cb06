//! The vendor interface, `C_GetInterface("Vendor datakey-pkcs11")`: what PKCS#11 has no function for.
//!
//! Its C declarations are in `include/datakey_pkcs11.h`.

use super::{guard, output};
use crate::counters::Count;
use crate::error::Result;
use crate::module::Module;
use cryptoki_sys::*;
use std::ffi::CStr;

/// The name of the interface.
pub(super) const NAME: &CStr = c"Vendor datakey-pkcs11";

/// `DATAKEY_FUNCTION_LIST`.
#[repr(C)]
pub(super) struct FunctionList {
    /// Its own version, not that of PKCS#11: a new minor one has more functions at its end.
    version: CK_VERSION,
    /// `DATAKEY_GetErrorText`.
    error_text: unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_UTF8CHAR, *mut CK_ULONG) -> CK_RV,
    /// `DATAKEY_GetStatistics`.
    statistics: unsafe extern "C" fn(CK_SLOT_ID, *mut CK_ULONG, CK_ULONG) -> CK_RV,
    /// `DATAKEY_FlushKeys`.
    flush_keys: unsafe extern "C" fn(CK_SLOT_ID) -> CK_RV,
}

pub(super) static LIST: FunctionList = FunctionList {
    version: CK_VERSION { major: 1, minor: 0 },
    error_text: DATAKEY_GetErrorText,
    statistics: DATAKEY_GetStatistics,
    flush_keys: DATAKEY_FlushKeys,
};

/// The percentiles of KMS's latency that `DATAKEY_STATISTICS` has.
const PERCENTILES: [u64; 3] = [50, 90, 99];

#[allow(non_snake_case)]
unsafe extern "C" fn DATAKEY_GetErrorText(
    session: CK_SESSION_HANDLE,
    text: *mut CK_UTF8CHAR,
    text_len: *mut CK_ULONG,
) -> CK_RV {
    guard::module("DATAKEY_GetErrorText", |module| {
        let error = match session {
            CK_INVALID_HANDLE => guard::last_error(),
            session => module.sessions.get(session)?.last_error(),
        };
        let said = error.map(|error| format!("{}: {error}", error.cause().ckr_name())).unwrap_or_default();
        // SAFETY: the caller's promise, passed on.
        unsafe { output::list(text, text_len, said.as_bytes()) }
    })
}

#[allow(non_snake_case)]
unsafe extern "C" fn DATAKEY_GetStatistics(slot: CK_SLOT_ID, numbers: *mut CK_ULONG, size: CK_ULONG) -> CK_RV {
    guard::module("DATAKEY_GetStatistics", |module| {
        let known = statistics(module, slot)?;
        // SAFETY: the caller's promise, passed on.
        unsafe { output::numbers(numbers, size, &known) }
    })
}

#[allow(non_snake_case)]
unsafe extern "C" fn DATAKEY_FlushKeys(slot: CK_SLOT_ID) -> CK_RV {
    guard::module("DATAKEY_FlushKeys", |module| {
        module.slot(slot)?.token.forget_keys();
        Ok(())
    })
}

/// `DATAKEY_STATISTICS`, whose fields are all of one type.
fn statistics(module: &Module, slot: CK_SLOT_ID) -> Result<Vec<CK_ULONG>> {
    let slot = module.slot(slot)?;
    let subject = slot.token.subject();
    let times = subject.counters.latency.times();
    let counts = Count::ALL.iter().map(|count| subject.counters.get(*count));
    let percentiles = PERCENTILES.map(|percent| times.percentile(percent));
    Ok(counts.chain([subject.keys as u64]).chain(percentiles).collect())
}
