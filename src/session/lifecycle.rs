//! Opening and closing sessions.

use super::lock;
use super::slot::Slot;
use super::table::Sessions;
use crate::error::{Cause, Result};
use crate::token::User;
use cryptoki_sys::*;
use std::sync::Arc;

impl Sessions {
    /// `C_OpenSession`.
    ///
    /// Errors: `SessionParallelNotSupported`, `SessionAsyncNotSupported`, `TokenNotRecognized`,
    /// `StoreReadOnly` for a session that could not write, `SessionReadWriteSoExists`.
    pub fn open(&self, slot: &Arc<Slot>, flags: CK_FLAGS) -> Result<CK_SESSION_HANDLE> {
        if flags & CKF_SERIAL_SESSION == 0 {
            return Err(Cause::SessionParallelNotSupported.into());
        }
        if flags & CKF_ASYNC_SESSION != 0 {
            return Err(Cause::SessionAsyncNotSupported.into());
        }
        slot.token.initialised()?;
        let read_write = flags & CKF_RW_SESSION != 0;
        let mut login = lock(&slot.logged_in);
        if login.user == Some(User::So) && !read_write {
            return Err(Cause::SessionReadWriteSoExists.into());
        }
        match read_write {
            true => login.read_write_sessions += 1,
            false => login.read_only_sessions += 1,
        }
        Ok(self.insert(slot, read_write))
    }

    /// `C_CloseSession`. Closing the last session with a token logs out.
    pub fn close(&self, handle: CK_SESSION_HANDLE) -> Result<()> {
        let session = self.remove(handle)?;
        let slot = &session.slot;
        slot.handles.forget_session(handle);
        let last = {
            let mut login = lock(&slot.logged_in);
            match session.read_write {
                true => login.read_write_sessions -= 1,
                false => login.read_only_sessions -= 1,
            }
            login.read_only_sessions + login.read_write_sessions == 0
        };
        if last {
            slot.end_login(None);
        }
        Ok(())
    }

    /// `C_CloseAllSessions`, for one slot.
    pub fn close_all(&self, slot: CK_SLOT_ID) {
        for session in self.of_slot(slot) {
            // Another thread may have closed it meanwhile.
            let _ = self.close(session.handle);
        }
    }
}
