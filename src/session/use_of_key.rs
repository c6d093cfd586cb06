//! A private or secret key in use by an operation: the login that it belongs to, and its audit.

use super::handles::Object;
use super::operation::{AnySlot, Slot as Operation};
use super::sign::Demand;
use super::slot::Slot;
use super::table::Session;
use crate::crypto::Key;
use crate::error::{Cause, Error, Result};
use crate::host::log;
use crate::mechanism::Mechanism;
use crate::object::Look;
use crate::store::ObjectId;
use crate::token::counted;
use crate::unwrap::Use;
use cryptoki_sys::{CK_MECHANISM_TYPE, CK_OBJECT_HANDLE, CKA_ALWAYS_AUTHENTICATE, CKA_TOKEN};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A private or secret key that an operation was started with. Its clones belong to the same login.
#[derive(Clone)]
pub(super) struct UseOfKey {
    object: Arc<Object>,
    /// What the audit calls the use: the name of a mechanism, or `reveal`.
    action: &'static str,
    /// The login in which the operation was started; it does not go on in another.
    epoch: u64,
    /// Operations count up, so that a login for one of them finds the last.
    started: u64,
    logged_in: bool,
}

/// An operation that may use a private or secret key.
pub(super) trait Keyed {
    /// Its use of the key; `None` where the key is public.
    fn key(&mut self) -> Option<&mut UseOfKey>;
}

/// The slot of such an operation, of whatever kind.
pub(super) trait KeyedSlot {
    /// Since when its operation waits for a context-specific login, if it does.
    fn waits_since(&self) -> Option<u64>;
    /// The user logged in for its operation.
    fn log_in(&self);
    /// The login is over: its operation ends, unless the key is public.
    fn end_login(&self);
}

impl<T: Keyed> KeyedSlot for Operation<T> {
    fn waits_since(&self) -> Option<u64> {
        self.look(|operation| operation.key()?.waits_since()).flatten()
    }

    fn log_in(&self) {
        self.look(|operation| operation.key().map(UseOfKey::log_in));
    }

    fn end_login(&self) {
        if self.look(|operation| operation.key().is_some()) == Some(true) {
            self.cancel();
        }
    }
}

/// A message-based operation.
pub(super) trait Messages: Keyed {
    /// What it was permitted by.
    fn permit(&self) -> Permit;
    /// Its key has changed, and still permits it.
    fn renew(&mut self, object: Arc<Object>);
}

/// What permits an operation that outlives one message.
#[derive(Clone, Copy)]
pub(super) struct Permit {
    /// The handle of the key.
    pub(super) key: CK_OBJECT_HANDLE,
    /// The mechanism.
    pub(super) mechanism: CK_MECHANISM_TYPE,
    /// What the key must be and allow.
    pub(super) demand: Demand,
}

impl Session {
    /// Works on a message-based operation at the beginning of a message. The operation is over if its key is gone,
    /// or permits it no more.
    pub(super) fn within_new<T: Messages, R>(
        &self,
        operation: &Operation<T>,
        work: impl FnOnce(&mut T) -> Result<R>,
    ) -> Result<R> {
        let Permit { key, mechanism, demand } =
            operation.look(|operation| operation.permit()).ok_or(Cause::OperationNotInitialized)?;
        let (_, object) = self.permitted(mechanism, key, &demand).inspect_err(|error| {
            // A store that does not answer says nothing of the key.
            if matches!(
                error.cause(),
                Cause::KeyHandleInvalid | Cause::KeyFunctionNotPermitted | Cause::MechanismInvalid
            ) {
                operation.cancel();
            }
        })?;
        self.within(operation, |operation| {
            operation.renew(object);
            work(operation)
        })
    }

    /// Works on a message-based operation, which outlives its messages, whatever becomes of them, and not its login:
    /// a logout does not find what is at work, and so in no slot.
    pub(super) fn within<T: Keyed, R>(
        &self,
        operation: &Operation<T>,
        work: impl FnOnce(&mut T) -> Result<R>,
    ) -> Result<R> {
        let result = operation.within(work);
        let ended = |operation: &mut T| operation.key().is_some_and(|key| key.check_login(&self.slot).is_err());
        if operation.look(ended) == Some(true) {
            operation.cancel();
        }
        result
    }
}

static STARTED: AtomicU64 = AtomicU64::new(0);

impl UseOfKey {
    /// Starts the use. `UserNotLoggedIn` unless the user is, or the token needs no login: also a sealed key
    /// that everybody may see is encrypted under the token key. A session's own key is not.
    pub(super) fn new(slot: &Slot, object: Arc<Object>, mechanism: &'static Mechanism) -> Result<Self> {
        Self::start(slot, object, mechanism.name)
    }

    /// The use of a key whose secret parts are told, by the same rules.
    pub(super) fn revealing(slot: &Slot, object: Arc<Object>) -> Result<Self> {
        Self::start(slot, object, "reveal")
    }

    fn start(slot: &Slot, object: Arc<Object>, action: &'static str) -> Result<Self> {
        let epoch = slot.login_epoch();
        if object.held().is_none() && !slot.sees_private()? {
            return Err(Cause::UserNotLoggedIn.into());
        }
        let logged_in = !object.record.attributes.is(CKA_ALWAYS_AUTHENTICATE);
        Ok(Self { object, action, epoch, started: STARTED.fetch_add(1, Ordering::Relaxed), logged_in })
    }

    /// Goes on with the key as it is now.
    pub(super) fn renew(&mut self, object: Arc<Object>) {
        self.object = object;
    }

    /// Since when it waits for a context-specific login, if it does.
    pub(super) fn waits_since(&self) -> Option<u64> {
        (!self.logged_in).then_some(self.started)
    }

    /// The user logged in for this operation.
    pub(super) fn log_in(&mut self) {
        self.logged_in = true;
    }

    /// The use that the user logged in for is over; the next one needs a login of its own.
    pub(super) fn end_use(&mut self) {
        self.logged_in = !self.object.record.attributes.is(CKA_ALWAYS_AUTHENTICATE);
    }

    /// `UserNotLoggedIn` if the login in which it was started is over.
    pub(super) fn check_login(&self, slot: &Slot) -> Result<()> {
        if self.epoch == slot.login_epoch() {
            return Ok(());
        }
        Err(Cause::UserNotLoggedIn.with("the login in which the operation was started has ended"))
    }

    /// Checks that the operation may go on. `UserNotLoggedIn` if not.
    pub(super) fn check(&self, slot: &Slot) -> Result<()> {
        self.check_login(slot)?;
        if !self.logged_in {
            return Err(Cause::UserNotLoggedIn.with("CKA_ALWAYS_AUTHENTICATE: C_Login with CKU_CONTEXT_SPECIFIC first"));
        }
        Ok(())
    }

    /// Has `take` choose a counter of the key, from its next one on, and moves that beyond it, before anybody sees what
    /// came of it ([`Token::count`](crate::token::Token::count)).
    pub(super) fn count(&self, slot: &Slot, take: impl Fn(u64) -> Result<u64>) -> Result<u64> {
        let record = &self.object.record;
        if !record.attributes.is(CKA_TOKEN) {
            return slot.handles.change(record.id, |record| counted(record, take));
        }
        let since = Instant::now();
        let (used, moved) = slot.token.count(&record.id, take)?;
        slot.handles.note(moved, since);
        Ok(used)
    }

    /// Does `work` with the key itself.
    pub(super) fn run<T>(&self, slot: &Slot, work: impl FnOnce(&Key) -> Result<T>) -> Result<T> {
        self.check(slot)?;
        if !log::auditing() {
            return work(&self.key(slot)?.key);
        }
        let since = Instant::now();
        let used = self.key(slot);
        let (used, result) = match used {
            Ok(used) => {
                let result = work(&used.key);
                (Some(used), result)
            }
            Err(error) => (None, Err(error)),
        };
        audit(self.object.record.id, self.action, used.as_ref(), since.elapsed(), result.as_ref().err());
        result
    }

    fn key(&self, slot: &Slot) -> Result<Use> {
        match self.object.held() {
            Some(key) => Ok(Use { key: Arc::clone(key), cached: true, request_id: None }),
            None => {
                self.object.check_vouched(|record| slot.token.check_vouched(record))?;
                let used = slot.token.key(&self.object.record, self.object.seal_tag())?;
                // Destroyed since: it is not to stay in the cache.
                if !used.cached && !slot.handles.knows(self.object.record.id) {
                    slot.token.forget_key(self.object.record.id);
                }
                Ok(used)
            }
        }
    }
}

/// Does `work`, which copies an object, and audits it if that is a private or secret key.
pub(super) fn copying<T>(object: &Object, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let is_key = object.held().is_some() || object.record.sealed.is_some();
    if !is_key || !log::auditing() {
        return work();
    }
    let since = Instant::now();
    let result = work();
    audit(object.record.id, "copy", None, since.elapsed(), result.as_ref().err());
    result
}

/// One line of JSON. All its strings are of known form: UUIDs, names of constants, ids of requests.
fn audit(object: ObjectId, action: &str, used: Option<&Use>, took: Duration, error: Option<&Error>) {
    let cached = used.is_some_and(|used| used.cached);
    let request: String = used
        .and_then(|used| used.request_id.as_deref())
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let result = error.map_or("CKR_OK", |error| error.cause().ckr_name());
    let device_error = error.map_or(0, |error| error.cause().device_error());
    let line = format!(
        "{{\"object\":\"{}\",\"mechanism\":\"{}\",\"cached\":{cached},\"request_id\":\"{request}\",\"microseconds\":{},\"result\":\"{result}\",\"device_error\":{device_error},\"time\":{},\"pid\":{}}}",
        object,
        action,
        took.as_micros(),
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        std::process::id(),
    );
    if !log::audit(&line) {
        tracing::error!("the use of a key could not be written to the audit file: {line}");
    }
}
