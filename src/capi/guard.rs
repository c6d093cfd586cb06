//! What stands at every entry point: is this our process, has anything crashed, is there a module,
//! what goes to the log, and what the caller gets.

use crate::error::{Cause, Error, Result};
use crate::host::fork::PerProcess;
use crate::host::lock::lock;
use crate::module::{self, Module};
use crate::session::Session;
use cryptoki_sys::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// An entry that needs no `C_Initialize`.
pub(super) fn always(function: &'static str, work: impl FnOnce() -> Result<()>) -> CK_RV {
    entry(function, work)
}

/// An entry that needs the module.
pub(super) fn module(function: &'static str, work: impl FnOnce(&Module) -> Result<()>) -> CK_RV {
    entry(function, || {
        let module = module::current()?;
        module.tidy();
        work(&module)
    })
}

/// An entry that needs a session. What it fails with is noted for `C_GetSessionInfo`.
pub(super) fn session(
    function: &'static str,
    handle: CK_SESSION_HANDLE,
    work: impl FnOnce(&Session) -> Result<()>,
) -> CK_RV {
    entry(function, || {
        let module = module::current()?;
        module.tidy();
        let session = module.sessions.get(handle)?;
        // Only the session is kept: what a slow call holds on to should be no more than it needs.
        drop(module);
        work(&session).inspect_err(|error| session.note(error))
    })
}

/// An entry that this version does not have.
pub(super) fn missing(function: &'static str) -> CK_RV {
    entry(function, || {
        module::current()?;
        Err(Cause::FunctionNotSupported.into())
    })
}

fn entry(function: &'static str, work: impl FnOnce() -> Result<()>) -> CK_RV {
    let result = catch_unwind(AssertUnwindSafe(|| {
        #[cfg(test)]
        super::tests::injected_panic();
        work()
    }));
    // A panic ends here: behind it is a host that never heard of Rust.
    match result.unwrap_or_else(|_| Err(Cause::Panic.into())) {
        Ok(()) => {
            tracing::trace!(function, "CKR_OK");
            CKR_OK
        }
        Err(error) => {
            report(function, &error);
            let ckr = error.cause().ckr();
            if error.cause().device_error() != 0 {
                *lock(LAST.get()) = Some(error);
            }
            ckr
        }
    }
}

/// What the last call of this process failed with that failed for a reason outside it.
static LAST: PerProcess<Mutex<Option<Error>>> = PerProcess::new();

/// What the last call of this process failed with, of those that have a device error.
pub(super) fn last_error() -> Option<Error> {
    lock(LAST.get()).clone()
}

fn report(function: &'static str, error: &Error) {
    let cause = error.cause();
    match cause.device_error() {
        0 => tracing::debug!(function, "{}: {error}", cause.ckr_name()),
        number => {
            tracing::error!(function, device_error = format_args!("{number:#x}"), "{}: {error}", cause.ckr_name());
        }
    }
}
