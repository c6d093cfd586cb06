//! A reference model of PKCS#11 sessions, logins, objects and operations, and what drives module and model
//! side by side.
//!
//! The model is written from the text of PKCS#11 3.2 and knows nothing of the module. It is told of a call
//! and of what the module answered, says whether a module may answer so, and follows the answer where the
//! specification leaves a choice. Section numbers are those of that text.

pub(crate) mod actions;
pub(crate) mod drive;
pub(crate) mod drive_objects;
pub(crate) mod drive_operations;
pub(crate) mod login;
pub(crate) mod objects;
pub(crate) mod operations;
pub(crate) mod search;
pub(crate) mod shrink;

use cryptoki_sys::*;
use std::collections::{BTreeMap, BTreeSet};

/// What the model thinks of an answer: nothing, or what is wrong with it.
pub(crate) type Judged = Result<(), String>;

/// Functions that the module does not have: they answer `CKR_FUNCTION_NOT_SUPPORTED` to everything
/// (section 5.1: a function that is not supported is there, and says so).
const MISSING: &[&str] = &[];

/// Whether the module has no such function.
pub(crate) fn is_missing(function: &str) -> bool {
    MISSING.contains(&function)
}

/// Who is logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    So,
    User,
}

/// A session as the model knows it.
#[derive(Default)]
pub(crate) struct Session {
    pub(crate) read_write: bool,
    pub(crate) search: Option<search::Search>,
    pub(crate) operations: BTreeMap<operations::Kind, operations::Operation>,
}

/// The application's view of one token.
pub(crate) struct Model {
    pub(crate) sessions: BTreeMap<CK_SESSION_HANDLE, Session>,
    /// Every session that was ever opened, in order.
    pub(crate) all_sessions: Vec<CK_SESSION_HANDLE>,
    pub(crate) user: Option<User>,
    pub(crate) pins: [login::Pin; 2],
    pub(crate) objects: Vec<objects::Object>,
    /// Every object handle ever seen, in order, with its object and whether it still stands for it.
    pub(crate) handles: Vec<(CK_OBJECT_HANDLE, usize, bool)>,
    pub(crate) signatures: Vec<operations::Signature>,
    pub(crate) ciphertexts: Vec<operations::Ciphertext>,
    /// Key pairs made so far; both halves of one have its number.
    pub(crate) pairs: usize,
}

impl Model {
    /// A token just initialised, with both PINs set, and no session.
    pub(crate) fn new(so_pin: &[u8], user_pin: &[u8]) -> Self {
        Self {
            sessions: BTreeMap::new(),
            all_sessions: Vec::new(),
            user: None,
            pins: [login::Pin::new(so_pin), login::Pin::new(user_pin)],
            objects: Vec::new(),
            handles: Vec::new(),
            signatures: Vec::new(),
            ciphertexts: Vec::new(),
            pairs: 0,
        }
    }

    /// Section 5.1.1: a session handle that is none is noticed before everything else.
    pub(crate) fn session(&self, session: CK_SESSION_HANDLE, rv: CK_RV) -> Result<Option<&Session>, String> {
        match self.sessions.get(&session) {
            Some(known) => Ok(Some(known)),
            None => one_of(rv, &[CKR_SESSION_HANDLE_INVALID]).map(|()| None),
        }
    }

    /// `C_OpenSession` (5.6.1).
    pub(crate) fn opened(
        &mut self,
        slot: CK_SLOT_ID,
        flags: CK_FLAGS,
        rv: CK_RV,
        session: CK_SESSION_HANDLE,
    ) -> Judged {
        let mut faults = Vec::new();
        if slot == 1 {
            faults.push(CKR_TOKEN_NOT_RECOGNIZED);
        } else if slot > 1 {
            faults.push(CKR_SLOT_ID_INVALID);
        }
        if flags & CKF_SERIAL_SESSION == 0 {
            faults.push(CKR_SESSION_PARALLEL_NOT_SUPPORTED);
        }
        if flags & CKF_ASYNC_SESSION != 0 {
            faults.push(CKR_SESSION_ASYNC_NOT_SUPPORTED);
        }
        let read_write = flags & CKF_RW_SESSION != 0;
        if slot == 0 && self.user == Some(User::So) && !read_write {
            faults.push(CKR_SESSION_READ_WRITE_SO_EXISTS);
        }
        if !judge(rv, &faults)? {
            return Ok(());
        }
        // No handle is 0 (5.1), and none comes again: a caller that still has the old one would use the new
        // session with it.
        if session == 0 || self.all_sessions.contains(&session) {
            return Err(format!("session handle {session} is 0 or not new"));
        }
        self.all_sessions.push(session);
        self.sessions.insert(session, Session { read_write, ..Session::default() });
        Ok(())
    }

    /// `C_CloseSession` (5.6.2).
    pub(crate) fn closed(&mut self, session: CK_SESSION_HANDLE, rv: CK_RV) -> Judged {
        if self.session(session, rv)?.is_none() {
            return Ok(());
        }
        one_of(rv, &[CKR_OK])?;
        self.sessions.remove(&session);
        for object in self.objects.iter_mut().filter(|object| object.session == Some(session)) {
            object.gone = true;
        }
        if self.sessions.is_empty() {
            self.log_out();
        }
        Ok(())
    }

    /// `C_CloseAllSessions` (5.6.3).
    pub(crate) fn closed_all(&mut self, slot: CK_SLOT_ID, rv: CK_RV) -> Judged {
        if slot > 1 {
            return one_of(rv, &[CKR_SLOT_ID_INVALID]);
        }
        one_of(rv, &[CKR_OK])?;
        if slot == 0 {
            for session in self.sessions.keys().copied().collect::<Vec<_>>() {
                self.closed(session, CKR_OK)?;
            }
        }
        Ok(())
    }

    /// `C_GetSessionInfo` (5.6.4): the state by user and kind of session (5.6, table of session states).
    pub(crate) fn session_info(&self, session: CK_SESSION_HANDLE, rv: CK_RV, info: &CK_SESSION_INFO) -> Judged {
        let Some(known) = self.session(session, rv)? else { return Ok(()) };
        one_of(rv, &[CKR_OK])?;
        let state = match (self.user, known.read_write) {
            (None, false) => CKS_RO_PUBLIC_SESSION,
            (None, true) => CKS_RW_PUBLIC_SESSION,
            (Some(User::User), false) => CKS_RO_USER_FUNCTIONS,
            (Some(User::User), true) => CKS_RW_USER_FUNCTIONS,
            (Some(User::So), _) => CKS_RW_SO_FUNCTIONS,
        };
        let flags = CKF_SERIAL_SESSION | if known.read_write { CKF_RW_SESSION } else { 0 };
        same("slotID", info.slotID, 0)?;
        same("state", info.state, state)?;
        same("flags", info.flags, flags)?;
        // Nothing in these sequences is the environment's fault.
        same("ulDeviceError", info.ulDeviceError, 0)
    }

    /// `C_GetTokenInfo` (5.5.3): counts of sessions, and what there is to say of PINs.
    pub(crate) fn token_info(&self, rv: CK_RV, info: &CK_TOKEN_INFO) -> Judged {
        one_of(rv, &[CKR_OK])?;
        let read_write = self.sessions.values().filter(|session| session.read_write).count() as CK_ULONG;
        same("ulSessionCount", info.ulSessionCount, self.sessions.len() as CK_ULONG)?;
        same("ulRwSessionCount", info.ulRwSessionCount, read_write)?;
        let (so, user) = (&self.pins[0], &self.pins[1]);
        for (flag, set) in [
            (CKF_TOKEN_INITIALIZED, true),
            (CKF_LOGIN_REQUIRED, true),
            (CKF_USER_PIN_INITIALIZED, true),
            (CKF_USER_PIN_COUNT_LOW, user.failed > 0),
            (CKF_USER_PIN_FINAL_TRY, user.failed + 1 == login::TRIES),
            (CKF_USER_PIN_LOCKED, user.is_locked()),
            (CKF_SO_PIN_COUNT_LOW, so.failed > 0),
            (CKF_SO_PIN_FINAL_TRY, so.failed + 1 == login::TRIES),
            (CKF_SO_PIN_LOCKED, so.is_locked()),
        ] {
            same(&format!("token flag {flag:#x}"), info.flags & flag != 0, set)?;
        }
        Ok(())
    }

    /// `C_SessionCancel` (5.6.9): what is not active is passed over.
    pub(crate) fn cancelled(&mut self, session: CK_SESSION_HANDLE, flags: CK_FLAGS, rv: CK_RV) -> Judged {
        if self.session(session, rv)?.is_none() {
            return Ok(());
        }
        one_of(rv, &[CKR_OK])?;
        let session = self.sessions.get_mut(&session).expect("looked up above");
        if flags & CKF_FIND_OBJECTS != 0 {
            session.search = None;
        }
        session.operations.retain(|kind, _| flags & kind.flag() == 0);
        Ok(())
    }

    /// Sessions that are open.
    pub(crate) fn open_sessions(&self) -> Vec<CK_SESSION_HANDLE> {
        self.sessions.keys().copied().collect()
    }

    /// Objects that can be seen now.
    pub(crate) fn visible(&self) -> BTreeSet<usize> {
        (0..self.objects.len()).filter(|object| self.sees(*object)).collect()
    }
}

/// Whether a call succeeded, if it might: with one fault or more, any of their codes will do, because the
/// specification orders only a few errors (5.1.7); without a fault, only `CKR_OK`.
pub(crate) fn judge(rv: CK_RV, faults: &[CK_RV]) -> Result<bool, String> {
    one_of(rv, if faults.is_empty() { &[CKR_OK] } else { faults })?;
    Ok(rv == CKR_OK)
}

/// Whether an answer is one of those that are right.
pub(crate) fn one_of(rv: CK_RV, right: &[CK_RV]) -> Judged {
    if right.contains(&rv) { Ok(()) } else { Err(format!("answered {rv:#x}, right would be {right:#x?}")) }
}

/// Whether a value is what it should be.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, right: T) -> Judged {
    if found == right { Ok(()) } else { Err(format!("{what} is {found:x?}, right would be {right:x?}")) }
}
