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
    /// A session may be read-write on a token that cannot be written: clients that only sign ask for one.
    /// Errors: `SessionParallelNotSupported`, `SessionAsyncNotSupported`, `TokenNotRecognized`,
    /// `SessionReadWriteSoExists`.
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
        if login.initialising {
            return Err(Cause::TokenNotRecognized.with("the token is being initialised"));
        }
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
        session.close();
        for id in slot.handles.forget_session(handle) {
            slot.token.forget_key(id);
        }
        let logged_out = {
            let mut login = lock(&slot.logged_in);
            match session.read_write {
                true => login.read_write_sessions -= 1,
                false => login.read_only_sessions -= 1,
            }
            let last = login.sessions() == 0 && login.user.is_some();
            if last {
                slot.end_login_of(&mut login);
            }
            last
        };
        if logged_out {
            slot.token.forget_keys();
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
