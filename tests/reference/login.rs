//! Logins and PINs (sections 5.6.6 to 5.6.8, 5.5.7 and 5.5.8).

use super::operations::{Kind, Life};
use super::{Judged, Model, User, judge, one_of};
use cryptoki_sys::*;

/// How many wrong tries lock a PIN: the test's configuration says it.
pub(crate) const TRIES: u32 = 3;

/// A PIN and how often it was entered wrongly since it was last entered rightly.
pub(crate) struct Pin {
    pub(crate) value: Vec<u8>,
    pub(crate) failed: u32,
}

impl Pin {
    pub(crate) fn new(value: &[u8]) -> Self {
        Self { value: value.to_vec(), failed: 0 }
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.failed >= TRIES
    }

    /// The answers to a try, and the count after it.
    fn entered(&mut self, pin: &[u8], rv: CK_RV) -> Judged {
        if self.is_locked() {
            return one_of(rv, &[CKR_PIN_LOCKED]);
        }
        if pin == self.value {
            one_of(rv, &[CKR_OK])?;
            self.failed = 0;
            return Ok(());
        }
        // A PIN that can be none may be told by its length; it is no guess that must be counted.
        if pin.is_empty() {
            return one_of(rv, &[CKR_PIN_INCORRECT, CKR_PIN_LEN_RANGE]);
        }
        one_of(rv, &[CKR_PIN_INCORRECT])?;
        self.failed += 1;
        Ok(())
    }
}

impl Model {
    /// `C_Login`.
    pub(crate) fn logged_in(&mut self, session: CK_SESSION_HANDLE, who: CK_USER_TYPE, pin: &[u8], rv: CK_RV) -> Judged {
        if self.session(session, rv)?.is_none() {
            return Ok(());
        }
        let user = match who {
            CKU_SO => User::So,
            CKU_USER => User::User,
            CKU_CONTEXT_SPECIFIC => return self.logged_in_for_operation(session, pin, rv),
            _ => return one_of(rv, &[CKR_USER_TYPE_INVALID]),
        };
        // The state decides before the PIN: one that is refused for the state is no try that counts.
        match self.user {
            Some(present) if present == user => return one_of(rv, &[CKR_USER_ALREADY_LOGGED_IN]),
            Some(_) => return one_of(rv, &[CKR_USER_ANOTHER_ALREADY_LOGGED_IN]),
            None => {}
        }
        if user == User::So && self.sessions.values().any(|session| !session.read_write) {
            return one_of(rv, &[CKR_SESSION_READ_ONLY_EXISTS]);
        }
        self.pins[user as usize].entered(pin, rv)?;
        if rv == CKR_OK {
            self.user = Some(user);
            self.doubt_operations();
        }
        Ok(())
    }

    /// With `CKU_CONTEXT_SPECIFIC`: for a signature under way that waits for it. Whether the try fails or
    /// not, the operation lives on; a PIN that is locked by it logs the user out.
    fn logged_in_for_operation(&mut self, session: CK_SESSION_HANDLE, pin: &[u8], rv: CK_RV) -> Judged {
        let operations = &mut self.sessions.get_mut(&session).expect("looked up before").operations;
        let Some(waiting) = operations.get_mut(&Kind::Sign).filter(|operation| operation.waits_for_login) else {
            return one_of(rv, &[CKR_OPERATION_NOT_INITIALIZED]);
        };
        if waiting.life == Life::Doubtful && rv == CKR_OPERATION_NOT_INITIALIZED {
            operations.remove(&Kind::Sign);
            return Ok(());
        }
        let locked_before = self.pins[User::User as usize].is_locked();
        self.pins[User::User as usize].entered(pin, rv)?;
        if rv == CKR_OK {
            waiting.waits_for_login = false;
        }
        if locked_before && rv == CKR_PIN_LOCKED {
            self.log_out();
        }
        Ok(())
    }

    /// `C_Logout`.
    pub(crate) fn logged_out(&mut self, session: CK_SESSION_HANDLE, rv: CK_RV) -> Judged {
        if self.session(session, rv)?.is_none() {
            return Ok(());
        }
        let faults: &[CK_RV] = if self.user.is_none() { &[CKR_USER_NOT_LOGGED_IN] } else { &[] };
        if judge(rv, faults)? {
            self.log_out();
        }
        Ok(())
    }

    /// The end of a login: handles of private objects end for good, private session objects are gone.
    pub(crate) fn log_out(&mut self) {
        self.user = None;
        for (_, object, stands) in &mut self.handles {
            *stands &= !self.objects[*object].is(CKA_PRIVATE);
        }
        for object in &mut self.objects {
            object.gone |= object.session.is_some() && object.is(CKA_PRIVATE);
        }
        self.doubt_operations();
    }

    /// After a login or a logout, operations that were active "may or may not" be so still (5.6.6, 5.6.8).
    fn doubt_operations(&mut self) {
        for session in self.sessions.values_mut() {
            for operation in session.operations.values_mut() {
                operation.life = Life::Doubtful;
            }
            if let Some(search) = &mut session.search {
                (search.life, search.shaken) = (Life::Doubtful, true);
            }
        }
    }

    /// `C_InitPIN`: the officer's, in a session that can write. To others, both codes that the function has
    /// for it tell the truth.
    pub(crate) fn pin_initialised(&mut self, session: CK_SESSION_HANDLE, pin: &[u8], rv: CK_RV) -> Judged {
        let Some(known) = self.session(session, rv)? else { return Ok(()) };
        let mut faults = Vec::new();
        if self.user != Some(User::So) {
            faults.push(CKR_USER_NOT_LOGGED_IN);
            if !known.read_write {
                faults.push(CKR_SESSION_READ_ONLY);
            }
        }
        if !(4..=255).contains(&pin.len()) {
            faults.push(CKR_PIN_LEN_RANGE);
        }
        if judge(rv, &faults)? {
            self.pins[User::User as usize] = Pin::new(pin);
        }
        Ok(())
    }

    /// `C_SetPIN`: of who is logged in, and of the user before anybody is.
    pub(crate) fn pin_set(&mut self, session: CK_SESSION_HANDLE, old: &[u8], new: &[u8], rv: CK_RV) -> Judged {
        let Some(known) = self.session(session, rv)? else { return Ok(()) };
        if !known.read_write {
            return one_of(rv, &[CKR_SESSION_READ_ONLY]);
        }
        let pin = &mut self.pins[self.user.unwrap_or(User::User) as usize];
        if !(4..=255).contains(&new.len()) {
            // Which of two faults is told is free; whether the old PIN was looked at shows in the code. One
            // that is right may have been counted as entered, or not: the test has no failed tries then.
            if rv == CKR_PIN_LEN_RANGE {
                return Ok(());
            }
            return if old == pin.value && !pin.is_locked() {
                one_of(rv, &[CKR_PIN_LEN_RANGE])
            } else {
                pin.entered(old, rv)
            };
        }
        pin.entered(old, rv)?;
        if rv == CKR_OK {
            *pin = Pin::new(new);
        }
        Ok(())
    }
}
