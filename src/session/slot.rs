//! A slot: a token, who is logged in to it, and how many sessions it has.

use super::handles::Handles;
use super::lock;
use crate::config::{KmsBackend, LoginMode};
use crate::error::{Cause, Result};
use crate::token::{Token, User};
use cryptoki_sys::*;
use std::sync::Mutex;

/// A slot. Its token is always present.
pub struct Slot {
    /// Its number: the place of its `[[token]]` in the configuration, from 0.
    pub id: CK_SLOT_ID,
    /// Its token.
    pub token: Token,
    pub(super) logged_in: Mutex<Login>,
    pub(super) handles: Handles,
}

/// The state that all sessions of an application with a token share.
#[derive(Default)]
pub(super) struct Login {
    pub(super) user: Option<User>,
    pub(super) read_only_sessions: u64,
    pub(super) read_write_sessions: u64,
    /// The token is being initialised: no session may be opened.
    pub(super) initialising: bool,
    /// Moves with each logout: what was begun in an earlier login does not go on in a later one.
    pub(super) epoch: u64,
}

impl Login {
    pub(super) fn sessions(&self) -> u64 {
        self.read_only_sessions + self.read_write_sessions
    }
}

/// The states of a session (section 5.6.1).
pub type State = CK_STATE;

/// What `C_GetTokenInfo` answers, apart from what is the same for every token.
#[derive(Clone, Debug)]
pub struct TokenInfo {
    /// Empty before `C_InitToken`.
    pub label: String,
    /// Empty before `C_InitToken`.
    pub serial: String,
    /// Tells a token on the embedded KMS from others.
    pub model: &'static str,
    /// `CKF_` flags.
    pub flags: CK_FLAGS,
    /// All sessions of this process.
    pub sessions: u64,
    /// Those that can write.
    pub read_write_sessions: u64,
}

/// What a token on AWS KMS says it is.
const MODEL: &str = "KMS data key";
/// What a token on the embedded KMS says it is: not for production.
const MODEL_EMBEDDED: &str = "EMBEDDED TRY-OUT";

impl Slot {
    /// A slot with its token; touches neither store nor network.
    pub fn new(id: CK_SLOT_ID, token: Token) -> Self {
        Self { id, token, logged_in: Mutex::default(), handles: Handles::default() }
    }

    /// What `C_GetTokenInfo` answers.
    pub fn token_info(&self) -> Result<TokenInfo> {
        let (sessions, read_write_sessions) = {
            let login = lock(&self.logged_in);
            (login.sessions(), login.read_write_sessions)
        };
        let model = match self.token.config().kms.backend {
            KmsBackend::Aws => MODEL,
            KmsBackend::Embedded(_) => MODEL_EMBEDDED,
        };
        // The state of a digest, which is all that can be saved, has no key.
        let mut flags = CKF_RNG | CKF_DUAL_CRYPTO_OPERATIONS | CKF_RESTORE_KEY_NOT_NEEDED;
        if self.token.is_read_only() {
            flags |= CKF_WRITE_PROTECTED;
        }
        let Some(record) = self.token.record()? else {
            let (label, serial) = (String::new(), String::new());
            return Ok(TokenInfo { label, serial, model, flags, sessions, read_write_sessions });
        };
        flags |= CKF_TOKEN_INITIALIZED;
        if record.login == LoginMode::Pin {
            flags |= CKF_LOGIN_REQUIRED;
        }
        let user = self.token.pin_flags(&record, User::User);
        let so = self.token.pin_flags(&record, User::So);
        for (said, flag) in [
            (user.initialised, CKF_USER_PIN_INITIALIZED),
            (user.count_low, CKF_USER_PIN_COUNT_LOW),
            (user.final_try, CKF_USER_PIN_FINAL_TRY),
            (user.locked, CKF_USER_PIN_LOCKED),
            (so.count_low, CKF_SO_PIN_COUNT_LOW),
            (so.final_try, CKF_SO_PIN_FINAL_TRY),
            (so.locked, CKF_SO_PIN_LOCKED),
        ] {
            if said {
                flags |= flag;
            }
        }
        let (label, serial) = (record.label.clone(), record.serial.clone());
        Ok(TokenInfo { label, serial, model, flags, sessions, read_write_sessions })
    }

    /// `C_InitToken`. `SessionExists` while any session is open.
    pub fn init_token(&self, so_pin: &[u8], label: &str) -> Result<()> {
        {
            let mut login = lock(&self.logged_in);
            if login.sessions() > 0 || login.initialising {
                return Err(Cause::SessionExists.into());
            }
            login.initialising = true;
        }
        let _done = Initialising(self);
        self.token.initialise(so_pin, label)?;
        self.handles.forget_all();
        Ok(())
    }

    /// The login that is, as operations remember it.
    pub(super) fn login_epoch(&self) -> u64 {
        lock(&self.logged_in).epoch
    }

    /// Who is logged in.
    pub fn user(&self) -> Option<User> {
        lock(&self.logged_in).user
    }

    /// Whether private objects can be seen: the user is logged in, or the token needs no login.
    pub fn sees_private(&self) -> Result<bool> {
        Ok(self.user() == Some(User::User) || !self.token.login_required()?)
    }

    /// The state of a session of this slot.
    pub fn state(&self, read_write: bool) -> State {
        match (self.user(), read_write) {
            (Some(User::So), _) => CKS_RW_SO_FUNCTIONS,
            (Some(User::User), true) => CKS_RW_USER_FUNCTIONS,
            (Some(User::User), false) => CKS_RO_USER_FUNCTIONS,
            (None, true) => CKS_RW_PUBLIC_SESSION,
            (None, false) => CKS_RO_PUBLIC_SESSION,
        }
    }
}

/// Lets sessions be opened again, however the initialisation ended.
struct Initialising<'a>(&'a Slot);

impl Drop for Initialising<'_> {
    fn drop(&mut self) {
        lock(&self.0.logged_in).initialising = false;
    }
}
