//! The login state machine (sections 5.6.6 to 5.6.8).

use super::lock;
use super::operation::AnySlot;
use super::slot::{Login, Slot};
use super::table::{Session, Sessions};
use super::use_of_key::KeyedSlot;
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
        // One login is for one operation: the one that was started last.
        let waiting = self.keyed().into_iter().filter_map(|slot| Some((slot.waits_since()?, slot)));
        let (_, last) = waiting.max_by_key(|(since, _)| *since).ok_or(Cause::OperationNotInitialized)?;
        let checked = self.slot.token.check_pin(User::User, pin);
        if checked.as_ref().is_err_and(|error| error.cause() == Cause::PinLocked) {
            self.slot.end_login();
            self.keyed().into_iter().for_each(KeyedSlot::end_login);
        }
        checked?;
        last.log_in();
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
        self.check_read_write()?;
        let user = match self.slot.user() {
            Some(User::So) => User::So,
            Some(User::User) | None => User::User,
        };
        self.slot.token.change_pin(user, old, new)
    }
}

impl Slot {
    fn login(&self, user: User, pin: &[u8]) -> Result<()> {
        check(&lock(&self.logged_in), user)?;
        // Without the lock: it takes tens of milliseconds.
        let key = self.token.check_pin(user, pin)?;
        // Another thread may have been faster.
        let mut login = lock(&self.logged_in);
        check(&login, user)?;
        if login.sessions() == 0 {
            return Err(Cause::SessionHandleInvalid.into());
        }
        login.user = Some(user);
        if key.is_some() {
            self.token.hold_key(key);
        }
        Ok(())
    }

    /// Ends a login: secrets are wiped, handles of private objects end for good.
    pub(super) fn end_login(&self) {
        self.end_login_of(&mut lock(&self.logged_in));
        self.token.forget_keys();
    }

    /// The part of it that nobody may see half done. The caller lets go of the lock and calls
    /// [`crate::token::Token::forget_keys`].
    pub(super) fn end_login_of(&self, login: &mut Login) {
        login.user = None;
        login.epoch += 1;
        self.token.hold_key(None);
        self.handles.forget_private();
    }
}

/// Whether `user` may log in now.
fn check(login: &Login, user: User) -> Result<()> {
    match login.user {
        Some(present) if present == user => Err(Cause::UserAlreadyLoggedIn.into()),
        Some(_) => Err(Cause::UserAnotherAlreadyLoggedIn.into()),
        None if user == User::So && login.read_only_sessions > 0 => Err(Cause::SessionReadOnlyExists.into()),
        None => Ok(()),
    }
}

impl Sessions {
    /// `C_Logout`. `UserNotLoggedIn` if nobody is.
    pub fn logout(&self, session: &Session) -> Result<()> {
        let slot = &session.slot;
        {
            let mut login = lock(&slot.logged_in);
            if login.user.is_none() {
                return Err(Cause::UserNotLoggedIn.into());
            }
            slot.end_login_of(&mut login);
        }
        slot.token.forget_keys();
        // They would answer `UserNotLoggedIn`; ended, they do not stand in the way of new ones.
        // And what was made of a key on the way goes with them.
        for session in self.of_slot(slot.id) {
            session.keyed().into_iter().for_each(KeyedSlot::end_login);
            if session.digesting.look(|digesting| digesting.has_key) == Some(true) {
                session.digesting.cancel();
            }
            session.search.cancel();
        }
        Ok(())
    }
}
