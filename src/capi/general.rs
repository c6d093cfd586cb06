//! General-purpose functions (sections 5.4 and 5.16).

use super::functions::{LIST_2_40, LIST_3_0, LIST_3_2};
use super::{input, output, vendor};
use crate::error::{Cause, Result};
use crate::module::{self, Module};
use cryptoki_sys::*;
use std::ffi::{CStr, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Who made library, slots and tokens.
pub(super) const MANUFACTURER: &str = "datakey-pkcs11";
const DESCRIPTION: &str = "AWS KMS data key pairs";

/// The version of this library, from Cargo's.
pub(super) const LIBRARY_VERSION: CK_VERSION =
    CK_VERSION { major: part(env!("CARGO_PKG_VERSION_MAJOR")), minor: part(env!("CARGO_PKG_VERSION_MINOR")) };

const fn part(text: &str) -> CK_BYTE {
    let mut number = 0;
    let mut index = 0;
    while index < text.len() {
        number = number * 10 + (text.as_bytes()[index] - b'0');
        index += 1;
    }
    number
}

/// # Safety
/// `arguments` is null or good for a `CK_C_INITIALIZE_ARGS`.
pub(super) unsafe fn initialize(arguments: *mut c_void) -> Result<()> {
    let mut threads_allowed = true;
    if !arguments.is_null() {
        // SAFETY: not null, and good for the structure as the caller promises.
        let arguments = unsafe { input::value(arguments.cast::<CK_C_INITIALIZE_ARGS>()) }?;
        input::reserved(arguments.pReserved)?;
        let given = [
            arguments.CreateMutex.is_some(),
            arguments.DestroyMutex.is_some(),
            arguments.LockMutex.is_some(),
            arguments.UnlockMutex.is_some(),
        ];
        let all = given.iter().all(|given| *given);
        if !all && given.iter().any(|given| *given) {
            return Err(Cause::ArgumentsBad.with("some mutex functions are given and some are not"));
        }
        // The module locks with the operating system's means, whether or not it must.
        if all && arguments.flags & CKF_OS_LOCKING_OK == 0 {
            return Err(Cause::CantLock.into());
        }
        threads_allowed = arguments.flags & CKF_LIBRARY_CANT_CREATE_OS_THREADS == 0;
    }
    module::initialise(threads_allowed)
}

/// # Safety
/// Always safe.
pub(super) unsafe fn finalize(reserved: *mut c_void) -> Result<()> {
    input::reserved(reserved)?;
    module::finalise()
}

/// # Safety
/// `info` is null or good for writing.
pub(super) unsafe fn info(_: &Module, info: *mut CK_INFO) -> Result<()> {
    let answer = CK_INFO {
        cryptokiVersion: LIST_3_2.version,
        manufacturerID: output::padded(MANUFACTURER),
        flags: 0,
        libraryDescription: output::padded(DESCRIPTION),
        libraryVersion: LIBRARY_VERSION,
    };
    // SAFETY: the caller's promise, passed on.
    unsafe { output::value(info, answer) }
}

/// # Safety
/// `list` is null or good for writing.
pub(super) unsafe fn function_list(list: *mut *mut CK_FUNCTION_LIST) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe { output::value(list, (&raw const LIST_2_40).cast_mut()) }
}

const NAME: &CStr = c"PKCS 11";

/// The interfaces, the preferred one first.
struct Interfaces([CK_INTERFACE; 4]);

// SAFETY: the pointers lead to statics that nobody writes.
unsafe impl Sync for Interfaces {}

static INTERFACES: Interfaces = Interfaces([
    interface(NAME, (&raw const LIST_3_2).cast()),
    interface(NAME, (&raw const LIST_3_0).cast()),
    interface(NAME, (&raw const LIST_2_40).cast()),
    interface(vendor::NAME, (&raw const vendor::LIST).cast()),
]);

const fn interface(name: &'static CStr, list: *const c_void) -> CK_INTERFACE {
    CK_INTERFACE {
        pInterfaceName: name.as_ptr().cast::<CK_UTF8CHAR>().cast_mut(),
        pFunctionList: list.cast_mut(),
        flags: 0,
    }
}

/// What `C_GetInterface` points its callers to, for each of [`INTERFACES`]. It can be written to: OpenSC's
/// pkcs11-spy puts its own function list there.
#[repr(C)]
struct HandedOut {
    name: AtomicPtr<CK_UTF8CHAR>,
    functions: AtomicPtr<c_void>,
    flags: AtomicU64,
}

const _: () = assert!(size_of::<HandedOut>() == size_of::<CK_INTERFACE>());

static HANDED_OUT: [HandedOut; 4] = [const { HandedOut::new() }; 4];

impl HandedOut {
    const fn new() -> Self {
        Self { name: AtomicPtr::new(null_mut()), functions: AtomicPtr::new(null_mut()), flags: AtomicU64::new(0) }
    }

    /// Makes it say what the interface is, whatever others wrote to it: what was there may be unloaded by now.
    fn filled(&self, from: &CK_INTERFACE) -> *mut CK_INTERFACE {
        self.name.store(from.pInterfaceName, Ordering::Relaxed);
        self.functions.store(from.pFunctionList, Ordering::Relaxed);
        self.flags.store(from.flags, Ordering::Relaxed);
        std::ptr::from_ref(self).cast_mut().cast()
    }
}

/// # Safety
/// `count` is null or good for a number; `interfaces` is null or good for `*count` structures.
pub(super) unsafe fn interface_list(interfaces: *mut CK_INTERFACE, count: *mut CK_ULONG) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe { output::list(interfaces, count, &INTERFACES.0) }
}

/// # Safety
/// `name` is null or a string; `version` is null or good for reading, `interface` for writing.
pub(super) unsafe fn interface_(
    name: *mut CK_UTF8CHAR,
    version: *mut CK_VERSION,
    interface: *mut *mut CK_INTERFACE,
    flags: CK_FLAGS,
) -> Result<()> {
    // SAFETY: not null, and a string as the caller promises. Who names none wants PKCS#11.
    let wanted = if name.is_null() { NAME } else { unsafe { CStr::from_ptr(name.cast()) } };
    // SAFETY: the caller's promise, passed on.
    let version = unsafe { input::value(version) }.ok();
    let found = INTERFACES.0.iter().zip(&HANDED_OUT).find(|(interface, _)| {
        // SAFETY: each interface has a static name, and each function list begins with its version.
        let (named, own) = unsafe {
            (CStr::from_ptr(interface.pInterfaceName.cast()), interface.pFunctionList.cast::<CK_VERSION>().read())
        };
        named == wanted
            && flags & !interface.flags == 0
            && version.is_none_or(|v| (v.major, v.minor) == (own.major, own.minor))
    });
    let (found, handed_out) = found.ok_or_else(|| Cause::ArgumentsBad.with("no such interface"))?;
    // SAFETY: the caller's promise, passed on.
    unsafe { output::value(interface, handed_out.filled(found)) }
}

/// `C_GetFunctionStatus` and `C_CancelFunction`, which are there for old times' sake.
///
/// # Safety
/// Always safe.
pub(super) unsafe fn not_parallel(module: &Module, session: CK_SESSION_HANDLE) -> Result<()> {
    module.sessions.get(session)?;
    Err(Cause::FunctionNotParallel.into())
}
