//! PINs and the token key.
//!
//! Each token has a random token key, which encrypts every sealed key once more. A token with PINs
//! keeps it wrapped under each PIN (Argon2id, then AES-256-GCM), so that a PIN is needed and not
//! merely compared; a token without PINs keeps it sealed by KMS.

use super::token_key::{KEPT, kept_as};
use super::vouch::Vouching;
use super::{TRIES, Token, TokenKey};
use crate::config::{LoginMode, PinHash};
use crate::crypto::{Secret, password, random, seal_box};
use crate::error::{Cause, Error, Result};
use crate::host::lock::{lock, write};
use crate::store::{PinRecord, TokenRecord};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Who logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// The security officer, `CKU_SO`.
    So,
    /// The normal user, `CKU_USER`.
    User,
}

/// PIN lengths in bytes, as `CK_TOKEN_INFO` shows them.
pub const PIN_LEN: std::ops::RangeInclusive<usize> = 4..=255;

/// What `CK_TOKEN_INFO.flags` says about a PIN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PinFlags {
    /// It is set.
    pub initialised: bool,
    /// It was entered wrongly since it was last entered rightly.
    pub count_low: bool,
    /// One more wrong try locks it.
    pub final_try: bool,
    /// It is locked.
    pub locked: bool,
}

/// Whether a change of the token's record is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is.
    Write,
    /// The record is to stay as it is.
    Leave,
}

impl Token {
    /// `C_InitToken`: makes the token anew, without any objects. `label` is without its padding.
    ///
    /// It gets a new serial number: what was sealed for the old token is for no other. The SO PIN of a
    /// token that is initialised must be right. Makes one KMS call for a token without PINs, none
    /// otherwise.
    pub fn initialise(&self, so_pin: &[u8], label: &str) -> Result<()> {
        let before = self.fresh_record()?;
        if before.as_ref().is_some_and(|before| before.so_pin.is_some() || before.login == LoginMode::Pin) {
            self.check_pin(User::So, so_pin)?;
        }
        // The PIN was checked for the token as it was then. Tries that are counted may have moved its
        // version since; another PIN, or another token, must not be overwritten unasked.
        let now_there = self.fresh_record()?;
        let identity = |record: &Option<Arc<TokenRecord>>| {
            record.as_ref().map(|record| (record.serial.clone(), record.so_pin.as_ref().map(|pin| pin.salt)))
        };
        if identity(&before) != identity(&now_there) {
            return Err(Cause::StoreConflict.with("the token was changed at the same time"));
        }
        let before = now_there;
        let serial = new_serial()?;
        let mut record = TokenRecord {
            version: 0,
            serial,
            label: label.to_owned(),
            login: self.config.login,
            so_pin: None,
            user_pin: None,
            sealed_token_key: None,
            created: now(),
            changed: now(),
            mac: None,
        };
        match self.config.login {
            LoginMode::Pin => {
                check_length(so_pin)?;
                let key = new_key()?;
                TokenKey::vouch_new(&key, &mut record)?;
                let bound = bound_to(&record.serial, User::So, Vouching::Complete);
                record.so_pin = Some(self.wrap(key.expose(), &bound, so_pin)?);
            }
            LoginMode::None => {
                // The SO PIN of such a token guards against a mistaken C_InitToken and opens nothing.
                if !so_pin.is_empty() {
                    check_length(so_pin)?;
                    let bound = bound_to(&record.serial, User::So, Vouching::Complete);
                    record.so_pin = Some(self.wrap(new_key()?.expose(), &bound, so_pin)?);
                }
                let (key, sealed) = self.new_sealed_token_key(&record.serial)?;
                TokenKey::vouch_new(&key, &mut record)?;
                record.sealed_token_key = Some(sealed);
            }
        }
        self.store()?.initialise(&record, before.map(|record| record.version))?;
        self.forget_secrets();
        *write(&self.seen) = None;
        Ok(())
    }

    /// Checks a PIN and returns the token key that it opens (`None` on a token without PINs).
    ///
    /// Wrong tries are counted in the store. Errors: `PinIncorrect`, `PinLocked`,
    /// `UserPinNotInitialized`.
    ///
    /// Whatever others do meanwhile, it is as if it were done at one moment: what was computed for a PIN that others
    /// changed is computed again, and what the lock overtook is told of the lock and nothing else. So of all tries by
    /// all hosts only as many as are allowed learn whether a PIN is right.
    pub fn check_pin(&self, user: User, pin: &[u8]) -> Result<Option<Arc<TokenKey>>> {
        let _alone = lock(&self.trying);
        for _ in 0..TRIES {
            if let Some(done) = self.try_pin(user, pin)? {
                return Ok(done);
            }
        }
        Err(Cause::StoreConflict.with("the PIN is changed all the time"))
    }

    /// One try; `None` if the PIN was changed meanwhile.
    fn try_pin(&self, user: User, pin: &[u8]) -> Result<Option<Option<Arc<TokenKey>>>> {
        let record = self.fresh_record()?.ok_or(Cause::TokenNotRecognized)?;
        let Some(stored) = pin_of(&record, user) else {
            return match (record.login, user) {
                (LoginMode::None, _) => Ok(Some(None)),
                (LoginMode::Pin, User::User) => Err(Cause::UserPinNotInitialized.into()),
                (LoginMode::Pin, User::So) => Err(Cause::RecordCorrupt.with("the token has no SO PIN")),
            };
        };
        if self.flags_of(Some(stored)).locked {
            return Err(Cause::PinLocked.into());
        }
        if pin.is_empty() {
            // Never right, so it is no guess to be counted.
            return Err(Cause::PinIncorrect.into());
        }
        let opened = unwrap(stored, &record.serial, user, pin)?;
        // A right one that nothing was wrong with needs no change of the store.
        let now = self.fresh_record()?.ok_or(Cause::TokenNotRecognized)?;
        if !is_same_pin(&record, &now, user) {
            return Ok(None);
        }
        let needs_count = opened.is_none() || pin_of(&now, user).is_some_and(|pin| pin.failed_attempts != 0);
        if self.flags_of(pin_of(&now, user)).locked {
            return Err(Cause::PinLocked.into());
        }
        if needs_count && !self.count_pin(user, &record, opened.is_some())? {
            return Ok(None);
        }
        let opened = opened.ok_or(Cause::PinIncorrect)?;
        let key = match (record.login, opened.vouching) {
            (LoginMode::None, _) => None,
            (LoginMode::Pin, Vouching::Complete) => Some(TokenKey::new(&opened.key, &record, opened.vouching)?),
            (LoginMode::Pin, Vouching::Partial) => Some(self.adopt_by_pin(&opened, &record, user)?),
        };
        Ok(Some(key))
    }

    /// A token of an earlier version: its objects get their MACs, and this PIN opens it in the present way.
    fn adopt_by_pin(&self, opened: &OpenedByPin, token: &TokenRecord, user: User) -> Result<Arc<TokenKey>> {
        self.adopt(&opened.key, token, user, |mac| {
            let bound = bound_to(&token.serial, user, Vouching::Complete);
            let wrapped = seal_box::seal(opened.pin_key.expose(), &bound, opened.key.expose())?;
            let before = pin_of(token, user).map(|pin| &pin.wrapped_token_key);
            self.change_record(|record| {
                if let Some(pin) = pin_of_mut(record, user)
                    && Some(&pin.wrapped_token_key) == before
                {
                    pin.wrapped_token_key.clone_from(&wrapped);
                    record.mac = Some(mac);
                }
                Ok(Decision::Write)
            })
            .map(drop)
        })
    }

    /// Counts a wrong try, or forgets those before a right one, of the PIN as it was in `before`; false if it is another
    /// now. `PinLocked` if that was overtaken by its lock. A store that cannot be written cannot count; that is no
    /// reason to refuse a right PIN or to hide a wrong one.
    fn count_pin(&self, user: User, before: &TokenRecord, is_right: bool) -> Result<bool> {
        let result = self.change_record(|record| {
            if !is_same_pin(before, record, user) {
                return Ok(Decision::Leave);
            }
            if self.flags_of(pin_of(record, user)).locked {
                return Err(Cause::PinLocked.into());
            }
            if let Some(pin) = pin_of_mut(record, user) {
                pin.failed_attempts = if is_right { 0 } else { pin.failed_attempts.saturating_add(1) };
            }
            Ok(Decision::Write)
        });
        match result {
            Err(error) if error.cause() == Cause::StoreReadOnly => Ok(true),
            // A full disk keeps nobody out who has the PIN; the wrong tries before stay counted.
            Err(error) if is_right && error.cause() == Cause::StoreFull => Ok(true),
            other => other,
        }
    }

    /// `C_InitPIN`: the security officer, whose login holds the token key, sets the user's PIN.
    pub fn init_user_pin(&self, pin: &[u8]) -> Result<()> {
        check_length(pin)?;
        let record = self.fresh_record()?.ok_or(Cause::TokenNotRecognized)?;
        if record.login == LoginMode::None {
            return Err(Cause::FunctionNotSupported.with("a token with login = \"none\" has no user PIN"));
        }
        let key = self.token_key(&record)?;
        let bound = bound_to(&record.serial, User::User, key.vouching);
        let wrapped = self.wrap(key.key.expose()?, &bound, pin)?;
        self.change_record(|record| {
            if record.serial != key.serial {
                return Err(Cause::UserNotLoggedIn.with("the token was initialised anew"));
            }
            record.user_pin = Some(wrapped.clone());
            Ok(Decision::Write)
        })
        .map(drop)
    }

    /// `C_SetPIN`: changes a PIN by who knows the old one.
    pub fn change_pin(&self, user: User, old: &[u8], new: &[u8]) -> Result<()> {
        let record = self.fresh_record()?.ok_or(Cause::TokenNotRecognized)?;
        if pin_of(&record, user).is_none() && record.login == LoginMode::None {
            return Err(Cause::FunctionNotSupported.with("a token with login = \"none\" has no such PIN"));
        }
        for _ in 0..TRIES {
            let before = self.fresh_record()?.ok_or(Cause::TokenNotRecognized)?;
            let key = self.check_pin(user, old)?;
            check_length(new)?;
            let wrapped = match key {
                Some(key) => self.wrap(key.key.expose()?, &bound_to(&before.serial, user, key.vouching), new)?,
                None => self.wrap(new_key()?.expose(), &bound_to(&before.serial, user, Vouching::Complete), new)?,
            };
            let changed = self.change_record(|record| {
                // Whoever changed it meanwhile knew it, or is the officer: what is there now is to be tried anew.
                if !is_same_pin(&before, record, user) {
                    return Ok(Decision::Leave);
                }
                if self.flags_of(pin_of(record, user)).locked {
                    return Err(Cause::PinLocked.into());
                }
                match user {
                    User::So => record.so_pin = Some(wrapped.clone()),
                    User::User => record.user_pin = Some(wrapped.clone()),
                }
                Ok(Decision::Write)
            });
            if changed? {
                return Ok(());
            }
        }
        Err(Cause::StoreConflict.with("the PIN is changed all the time"))
    }

    /// The token key as it is kept under a PIN, at the configured price.
    fn wrap(&self, key: &[u8], bound_to: &[u8], pin: &[u8]) -> Result<PinRecord> {
        let PinHash { memory_kib, passes } = self.config.pin_hash;
        let cost = password::Cost { memory_kib, iterations: passes, lanes: 1 };
        let mut salt = [0; 16];
        random::fill(&mut salt)?;
        let pin_key = password::derive(pin, &salt, cost)?;
        Ok(PinRecord {
            salt,
            memory_kib: cost.memory_kib,
            iterations: cost.iterations,
            lanes: cost.lanes,
            wrapped_token_key: seal_box::seal(pin_key.expose(), bound_to, key)?,
            failed_attempts: 0,
        })
    }

    /// What `CK_TOKEN_INFO` says about a user's PIN.
    pub fn pin_flags(&self, record: &TokenRecord, user: User) -> PinFlags {
        let without_pins = record.login == LoginMode::None && user == User::User;
        PinFlags { initialised: without_pins || pin_of(record, user).is_some(), ..self.flags_of(pin_of(record, user)) }
    }

    fn flags_of(&self, pin: Option<&PinRecord>) -> PinFlags {
        let failed = pin.map_or(0, |pin| pin.failed_attempts);
        let most = self.config.max_pin_attempts;
        PinFlags {
            initialised: pin.is_some(),
            count_low: failed > 0,
            final_try: most != 0 && failed.saturating_add(1) == most,
            locked: most != 0 && failed >= most,
        }
    }

    /// Changes the token's record by compare-and-swap, again if another process was faster. False if `change` left it.
    pub(super) fn change_record(&self, change: impl Fn(&mut TokenRecord) -> Result<Decision>) -> Result<bool> {
        let mut last = Error::from(Cause::StoreConflict);
        for _ in 0..TRIES {
            let since = Instant::now();
            let before = self.store()?.token()?.ok_or(Cause::TokenNotRecognized)?;
            self.check_login_mode(&before)?;
            let mut record = before.clone();
            match change(&mut record) {
                Ok(Decision::Write) => {}
                // Who is told of a lock sees it from then on.
                left => {
                    self.note(since, Some(Arc::new(before)));
                    return left.map(|_| false);
                }
            }
            record.changed = now();
            match self.store()?.update_token(&record) {
                Ok(version) => {
                    self.note(since, Some(Arc::new(TokenRecord { version, ..record })));
                    return Ok(true);
                }
                Err(error) if error.cause() == Cause::StoreConflict => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// The configured pairs, as they are kept beside each sealed key: a later change of the
    /// configuration must not lock old keys.
    pub(super) fn user_context(&self) -> Vec<(String, String)> {
        self.config.kms.encryption_context.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

fn pin_of(record: &TokenRecord, user: User) -> Option<&PinRecord> {
    match user {
        User::So => record.so_pin.as_ref(),
        User::User => record.user_pin.as_ref(),
    }
}

fn pin_of_mut(record: &mut TokenRecord, user: User) -> Option<&mut PinRecord> {
    match user {
        User::So => record.so_pin.as_mut(),
        User::User => record.user_pin.as_mut(),
    }
}

/// Whether it is the same PIN of the same token: each that is set has a salt of its own.
fn is_same_pin(before: &TokenRecord, now: &TokenRecord, user: User) -> bool {
    let salt = |record| pin_of(record, user).map(|pin| pin.salt);
    before.serial == now.serial && salt(before) == salt(now)
}

fn check_length(pin: &[u8]) -> Result<()> {
    if PIN_LEN.contains(&pin.len()) { Ok(()) } else { Err(Cause::PinLenRange.into()) }
}

/// What a wrapped token key is bound to: it cannot be moved to another token or to the other user, and not pass for one
/// of a token whose objects have no MACs.
fn bound_to(serial: &str, user: User, vouching: Vouching) -> Vec<u8> {
    let role: &[u8] = match user {
        User::So => b"so",
        User::User => b"user",
    };
    let label = format!("datakey-pkcs11 token key v{}\0", kept_as(vouching));
    [label.as_bytes(), serial.as_bytes(), b"\0", role].concat()
}

/// What a PIN opened.
struct OpenedByPin {
    /// The token key.
    key: Secret,
    /// What the PIN was made into.
    pin_key: Secret,
    vouching: Vouching,
}

/// The token key, or `None` for a wrong PIN.
fn unwrap(record: &PinRecord, serial: &str, user: User, pin: &[u8]) -> Result<Option<OpenedByPin>> {
    let cost = password::Cost { memory_kib: record.memory_kib, iterations: record.iterations, lanes: record.lanes };
    let pin_key = password::derive(pin, &record.salt, cost)?;
    for (_, vouching) in KEPT {
        match seal_box::open(pin_key.expose(), &bound_to(serial, user, vouching), &record.wrapped_token_key) {
            Ok(key) if key.len() == 32 => return Ok(Some(OpenedByPin { key, pin_key, vouching })),
            Ok(_) => return Err(Cause::RecordCorrupt.with("the wrapped token key")),
            Err(error) if error.cause() == Cause::SealTokenKey => {}
            Err(error) => return Err(error),
        }
    }
    // A wrong PIN and a damaged record look the same, and are counted the same.
    Ok(None)
}

fn new_key() -> Result<Secret> {
    let mut key = Secret::zeroed(32);
    random::fill(key.expose_mut())?;
    Ok(key)
}

fn new_serial() -> Result<String> {
    let mut bytes = [0; 8];
    random::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
