//! The login state machine (sections 5.6.6 to 5.6.8).

use super::lock;
use super::slot::Slot;
use super::table::{Session, Sessions};
use crate::error::{Cause, Result};
use crate::token::User;

/// Who asks to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// `CKU_SO` or `CKU_USER`.
    User(User),
    /// `CKU_CONTEXT_SPECIFIC`: for the operation that was just started with an always-authenticate key.
    Context,
}

impl Session {
    /// `C_Login`.
    ///
    /// Errors: `UserAlreadyLoggedIn`, `UserAnotherAlreadyLoggedIn`, `SessionReadOnlyExists`, and those
    /// of the PIN; `OperationNotInitialized` for a context-specific login without its operation.
    pub fn login(&self, who: Who, pin: &[u8]) -> Result<()> {
        match who {
            Who::User(user) => self.slot.login(user, pin),
            Who::Context => self.login_for_operation(pin),
        }
    }

    fn login_for_operation(&self, pin: &[u8]) -> Result<()> {
        let waits = self.signing.look(|operation| operation.needs_login()).unwrap_or(false)
            || self.decryption.look(|operation| operation.needs_login()).unwrap_or(false);
        if !waits {
            return Err(Cause::OperationNotInitialized.into());
        }
        let checked = self.slot.token.check_pin(User::User, pin);
        if checked.as_ref().is_err_and(|error| error.cause() == Cause::PinLocked) {
            self.slot.end_login(None);
        }
        checked?;
        self.signing.look(|operation| operation.logged_in());
        self.decryption.look(|operation| operation.logged_in());
        Ok(())
    }

    /// `C_InitPIN`. Only the security officer may, and only in a session that can write.
    pub fn init_pin(&self, pin: &[u8]) -> Result<()> {
        if self.slot.user() != Some(User::So) {
            return Err(Cause::UserNotLoggedIn.into());
        }
        self.slot.token.init_user_pin(pin)
    }

    /// `C_SetPIN`: the officer's PIN for the officer, the user's for everybody else.
    pub fn set_pin(&self, old: &[u8], new: &[u8]) -> Result<()> {
        if !self.read_write {
            return Err(Cause::SessionReadOnly.into());
        }
        let user = match self.slot.user() {
            Some(User::So) => User::So,
            Some(User::User) | None => User::User,
        };
        self.slot.token.change_pin(user, old, new)
    }
}

impl Slot {
    fn check_login(&self, user: User) -> Result<()> {
        let login = lock(&self.logged_in);
        match login.user {
            Some(present) if present == user => Err(Cause::UserAlreadyLoggedIn.into()),
            Some(_) => Err(Cause::UserAnotherAlreadyLoggedIn.into()),
            None if user == User::So && login.read_only_sessions > 0 => Err(Cause::SessionReadOnlyExists.into()),
            None => Ok(()),
        }
    }

    fn login(&self, user: User, pin: &[u8]) -> Result<()> {
        self.check_login(user)?;
        // Without the lock: it takes tens of milliseconds.
        let key = self.token.check_pin(user, pin)?;
        // Another thread may have logged in meanwhile; then this one is late.
        let mut login = lock(&self.logged_in);
        match login.user {
            Some(present) if present == user => return Err(Cause::UserAlreadyLoggedIn.into()),
            Some(_) => return Err(Cause::UserAnotherAlreadyLoggedIn.into()),
            None if login.read_only_sessions + login.read_write_sessions == 0 => {
                return Err(Cause::SessionHandleInvalid.into());
            }
            None => {}
        }
        login.user = Some(user);
        if key.is_some() {
            self.token.hold_key(key);
        }
        Ok(())
    }

    /// Ends a login: secrets are wiped, handles of private objects end for good. `sessions`, where
    /// given, lose the operations that use private keys.
    pub(super) fn end_login(&self, sessions: Option<&Sessions>) {
        lock(&self.logged_in).user = None;
        self.token.forget_secrets();
        self.handles.forget_private();
        for session in sessions.into_iter().flat_map(|sessions| sessions.of_slot(self.id)) {
            session.signing.cancel();
            session.decryption.cancel();
            session.search.cancel();
        }
    }
}

impl Sessions {
    /// `C_Logout`. `UserNotLoggedIn` if nobody is.
    pub fn logout(&self, session: &Session) -> Result<()> {
        if session.slot.user().is_none() {
            return Err(Cause::UserNotLoggedIn.into());
        }
        session.slot.end_login(Some(self));
        Ok(())
    }
}
