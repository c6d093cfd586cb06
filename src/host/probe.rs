//! Loads a PKCS#11 module as any host does, and tries it over a fork: what the operator's tool asks of an installed one.
//!
//! Whatever is loaded runs in this process, so this is for a process that may die of it.

use cryptoki_sys::*;
use std::ffi::{CStr, CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;

/// What a module said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// `libraryDescription`.
    pub description: String,
    /// `libraryVersion`.
    pub version: (u8, u8),
    /// How many slots it has.
    pub slots: CK_ULONG,
}

type GetFunctionList = unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV;

/// Loads the module at `path`, initialises it, forks, initialises it in the child as well, and finalises both.
///
/// # Errors
/// The step that failed, for people to read.
pub fn module(path: &Path) -> Result<Probed, String> {
    let list = load(path)?;
    check("C_Initialize", initialise(list))?;
    let probed = look(list)?;
    in_child(list)?;
    // SAFETY: the argument is NULL, as it must be.
    check("C_Finalize", call(list.C_Finalize, |function| unsafe { function(null_mut()) }))?;
    Ok(probed)
}

fn load(path: &Path) -> Result<&'static CK_FUNCTION_LIST, String> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| "its name has a zero byte".to_owned())?;
    // SAFETY: the name ends with a zero; what the library's constructors do is what every host risks.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        return Err(format!("it cannot be loaded: {}", dl_error()));
    }
    // SAFETY: the library is loaded and the name ends with a zero.
    let symbol = unsafe { libc::dlsym(library, c"C_GetFunctionList".as_ptr()) };
    if symbol.is_null() {
        return Err("it is no PKCS#11 module: it has no C_GetFunctionList".to_owned());
    }
    // SAFETY: a function of this name has this type in every PKCS#11 module.
    let entry = unsafe { std::mem::transmute::<*mut c_void, GetFunctionList>(symbol) };
    let mut list = null_mut();
    // SAFETY: the argument is good for writing.
    check("C_GetFunctionList", unsafe { entry(&mut list) })?;
    // SAFETY: the module answers with its list, which lives as long as it is loaded; it is never unloaded.
    unsafe { list.as_ref() }.ok_or_else(|| "C_GetFunctionList gives no list".to_owned())
}

fn dl_error() -> String {
    // SAFETY: dlerror has no preconditions; its text lives until the next call of its kind in this thread.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "for no reason that is told".to_owned();
    }
    // SAFETY: not null, and a string.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

fn initialise(list: &CK_FUNCTION_LIST) -> CK_RV {
    let mut arguments = CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..Default::default() };
    // SAFETY: the arguments live as long as the call.
    call(list.C_Initialize, |function| unsafe { function((&raw mut arguments).cast()) })
}

fn look(list: &CK_FUNCTION_LIST) -> Result<Probed, String> {
    let mut info = CK_INFO::default();
    // SAFETY: the argument is good for writing.
    check("C_GetInfo", call(list.C_GetInfo, |function| unsafe { function(&mut info) }))?;
    let mut slots = 0;
    // SAFETY: without a list only the number is written.
    let count = call(list.C_GetSlotList, |function| unsafe { function(CK_TRUE, null_mut(), &mut slots) });
    check("C_GetSlotList", count)?;
    let description = String::from_utf8_lossy(&info.libraryDescription).trim_end().to_owned();
    Ok(Probed { description, version: (info.libraryVersion.major, info.libraryVersion.minor), slots })
}

/// A child finds the module not initialised, initialises it for itself and finalises it.
fn in_child(list: &CK_FUNCTION_LIST) -> Result<(), String> {
    // SAFETY: this process has one thread, so the child may do what the parent may.
    match unsafe { libc::fork() } {
        -1 => Err(format!("fork: {}", std::io::Error::last_os_error())),
        0 => {
            let done = initialise(list) == CKR_OK && look(list).is_ok();
            // SAFETY: the argument is NULL, as it must be.
            let done = done && call(list.C_Finalize, |function| unsafe { function(null_mut()) }) == CKR_OK;
            // SAFETY: ends the child without the parent's exit handlers.
            unsafe { libc::_exit(i32::from(!done)) }
        }
        child => {
            let mut status = 0;
            // SAFETY: `status` is good for writing.
            let waited = unsafe { libc::waitpid(child, &mut status, 0) };
            if waited == child && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 {
                return Ok(());
            }
            Err("in a forked child it cannot be initialised anew".to_owned())
        }
    }
}

/// Calls a function of the list; one that is missing is not supported.
fn call<F>(function: Option<F>, run: impl FnOnce(F) -> CK_RV) -> CK_RV {
    function.map_or(CKR_FUNCTION_NOT_SUPPORTED, run)
}

fn check(name: &str, answer: CK_RV) -> Result<(), String> {
    match answer {
        CKR_OK => Ok(()),
        other => Err(format!("{name} answers {other:#x}")),
    }
}
